"""The speech splitter: the same segments for blocks of any size, splits of long speech, recordings without speech."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kanjo.inference import vad
from kanjo.inference.speech_splitter import SpeechSplitter
from kanjo.inference.windowing import Window

RATE = 16_000
FRAME = vad.FRAME_LENGTH
#: Parts of a recording: number of frames, and probability of speech.
Parts = list[tuple[int, float]]


def _split(parts: Parts, block_frames: int = 10_000, max_s: float = 8.0) -> tuple[list[Window], np.ndarray]:
    """Feed a ramp, whose samples are their own index, in blocks; return the segments and the frames."""
    probabilities = np.concatenate([np.full(n, p, np.float32) for n, p in parts])
    signal = np.arange(len(probabilities) * FRAME, dtype=np.float32)
    splitter, windows = SpeechSplitter(RATE, int(max_s * RATE)), []
    for first in range(0, len(probabilities), block_frames):
        frames = slice(first, first + block_frames)
        windows += splitter.feed(signal[first * FRAME : (first + block_frames) * FRAME], probabilities[frames])
    windows += splitter.finish(np.zeros(0, np.float32))
    return windows, probabilities


def _spans(windows: list[Window]) -> list[tuple[float, float]]:
    return [(window.start / RATE, (window.start + window.valid) / RATE) for window in windows]


parts = st.lists(st.tuples(st.integers(1, 200), st.sampled_from([0.0, 0.3, 0.4, 0.6, 1.0])), min_size=1, max_size=8)


@given(parts, st.integers(1, 40))
@settings(deadline=None, max_examples=60)
def test_speech_splitter_blocks_of_any_size_give_the_same_segments(parts: Parts, block_frames: int) -> None:
    whole, _ = _split(parts)
    blocks, _ = _split(parts, block_frames)
    assert _spans(blocks) == _spans(whole)
    for window in blocks:
        np.testing.assert_array_equal(window.signal, np.arange(window.start, window.start + window.valid))


@given(parts)
@settings(deadline=None, max_examples=60)
def test_speech_splitter_segments_together_are_the_speech_of_the_detector(parts: Parts) -> None:
    windows, probabilities = _split(parts)
    expected = vad.speech_segments(probabilities, len(probabilities) * vad.FRAME_S)
    joined: list[list[float]] = []
    for start, end in _spans(windows):
        if joined and start == joined[-1][1]:
            joined[-1][1] = end
        else:
            joined.append([start, end])
    if expected:
        np.testing.assert_allclose(joined, expected, atol=1e-3)
    else:
        assert len(windows) == 1, "a recording without speech is one segment"
    assert all(window.valid <= 8 * RATE for window in windows)


def test_speech_splitter_long_speech_is_split_where_there_is_least_speech() -> None:
    windows, _ = _split([(30, 0.0), (170, 1.0), (10, 0.6), (200, 1.0), (30, 0.0)])
    split_s = (30 + 170 + 5) * vad.FRAME_S
    spans = _spans(windows)
    assert len(spans) == 2 and spans[0][1] == spans[1][0] == pytest.approx(split_s, abs=0.1)


def test_speech_splitter_open_segment_grows_until_it_ends() -> None:
    splitter = SpeechSplitter(RATE, 8 * RATE)
    block = np.ones(10 * FRAME, np.float32)
    assert list(splitter.feed(block, np.zeros(10, np.float32))) == [] and splitter.open_segment is None
    assert list(splitter.feed(block, np.ones(10, np.float32))) == []
    assert list(splitter.feed(block, np.ones(10, np.float32))) == []
    segment = splitter.open_segment
    assert segment is not None and segment.valid == pytest.approx(20 * FRAME + 0.1 * RATE, abs=1)
    (complete,) = [window for _ in range(3) for window in splitter.feed(block, np.zeros(10, np.float32))]
    assert complete.start == segment.start and splitter.open_segment is None


def test_speech_splitter_without_speech_keeps_the_part_that_may_be_speech() -> None:
    (window,), _ = _split([(50, 0.0), (20, 0.3), (50, 0.0)])
    assert _spans([window]) == [pytest.approx((50 * vad.FRAME_S - 0.1, 70 * vad.FRAME_S + 0.1))]
    (silence,), _ = _split([(1_000, 0.0)])
    assert _spans([silence]) == [(0.0, 8.0)]
