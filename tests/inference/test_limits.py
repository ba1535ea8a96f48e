"""Limits of one recording: windows, duration, cancellation, and memory for each block."""

from __future__ import annotations

import io
import threading
import tracemalloc

import numpy as np
import pytest
import soundfile

import kanjo
from kanjo.errors import AudioError
from kanjo.inference.limits import PredictionCancelledError, RecordingLimits, TooManyWindowsError
from kanjo.inference.options import InferenceOptions, resolve_options

RATE = 16_000


def flac(duration_s: float) -> io.BytesIO:
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).normal(0, 0.1, round(RATE * duration_s))
    soundfile.write(buffer, noise, RATE, format="FLAC")
    buffer.seek(0)
    return buffer


def prepare(recognizer: kanjo.Recognizer, duration_s: float, hop_s: float, limits: RecordingLimits) -> str:
    """Prepare a recording with windows of 1 s, and return its error."""
    options = resolve_options(InferenceOptions(hop_s=hop_s), recognizer.metadata)
    prepared = recognizer._prepare(flac(duration_s), options, "a.flac", limits)
    return prepared.failure.error if prepared.failure else ""


@pytest.mark.parametrize(("max_windows", "is_accepted"), [(21, True), (20, False)])
def test_prepare_counts_the_windows_as_the_splitter(
    recognizer: kanjo.Recognizer, max_windows: int, is_accepted: bool
) -> None:
    duration_s, hop_s = 10.8, 0.5
    assert len(recognizer.predict(flac(duration_s), hop_s=hop_s).windows) == 21
    limits = RecordingLimits(max_windows=max_windows)
    if is_accepted:
        assert prepare(recognizer, duration_s, hop_s, limits) == ""
    else:
        with pytest.raises(TooManyWindowsError, match=r"a\.flac: more than 20 windows in 10\.8 s with a hop of 0\.5 s"):
            prepare(recognizer, duration_s, hop_s, limits)


def test_prepare_too_long_recording_has_error(recognizer: kanjo.Recognizer) -> None:
    assert prepare(recognizer, 2.0, 0.5, RecordingLimits(max_duration_s=2.0)) == ""
    assert prepare(recognizer, 2.1, 0.5, RecordingLimits(max_duration_s=2.0)) == "longer than the limit of 2 s"


def test_prepare_cancelled_stops_a_long_recording_and_completes_a_short_one(recognizer: kanjo.Recognizer) -> None:
    cancelled = threading.Event()
    cancelled.set()
    limits = RecordingLimits(cancelled=cancelled)
    assert prepare(recognizer, 5.0, 0.5, limits) == ""
    with pytest.raises(PredictionCancelledError):
        prepare(recognizer, 60.0, 0.5, limits)


def test_stream_with_limits_refuses_more_windows(recognizer: kanjo.Recognizer) -> None:
    stream = kanjo.Stream(recognizer, RATE, hop_s=0.1)
    stream._set_limits(RecordingLimits(max_windows=21))
    assert len(stream.feed(np.zeros(3 * RATE, np.int16))) == 21
    with pytest.raises(TooManyWindowsError):
        stream.feed(np.zeros(RATE, np.int16))


def test_stream_large_chunk_equals_small_chunks_and_needs_little_memory(recognizer: kanjo.Recognizer) -> None:
    """The chunk completes 5,900 windows of 64 kB."""
    samples = np.random.default_rng(0).normal(0, 3000, 60 * RATE).astype(np.int16)
    large, small = (kanjo.Stream(recognizer, RATE, hop_s=0.01) for _ in range(2))
    tracemalloc.start()
    windows = large.feed(samples)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60e6  # all windows at once would need 378 MB
    assert windows == [window for chunk in np.split(samples, 60) for window in small.feed(chunk)]
    assert large.finish().probabilities == small.finish().probabilities


def test_stream_bad_chunk_in_its_last_block_is_ignored_as_a_whole(recognizer: kanjo.Recognizer) -> None:
    stream = kanjo.Stream(recognizer, RATE)
    chunk = np.zeros(25 * RATE, np.float32)
    chunk[-1] = np.nan
    with pytest.raises(AudioError, match=f"sample {25 * RATE - 1} is not a number"):
        stream.feed(chunk)
    assert stream.seconds == 0
    assert len(stream.feed(np.zeros(RATE, np.float32))) == 1
