"""Streams: the prediction does not depend on the chunks, and equals that of the whole recording."""

from __future__ import annotations

import time

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

import kanjo
from kanjo.errors import AudioError, KanjoError
from tests.clips import RECORDINGS, TWO_TURNS


def _assert_close(actual: kanjo.Prediction, expected: kanjo.Prediction) -> None:
    assert actual.probabilities == pytest.approx(expected.probabilities, abs=1e-5)
    assert (actual.label, actual.warnings) == (expected.label, expected.warnings)
    assert actual.speech_s == pytest.approx(expected.speech_s, abs=1e-6)
    for segments, others in ((actual.windows, expected.windows), (actual.segments, expected.segments)):
        assert [(s.start_s, s.end_s, s.label) for s in segments] == [(s.start_s, s.end_s, s.label) for s in others]
        for segment, other in zip(segments, others, strict=True):
            assert segment.probabilities == pytest.approx(other.probabilities, abs=1e-5)


@settings(max_examples=4, deadline=None)
@given(
    sizes=st.lists(st.integers(400, 60_000), min_size=1, max_size=10),
    rate=st.sampled_from([8_000, 16_000, 22_050, 44_100, 48_000]),
)
def test_stream_any_chunks_and_rate_equals_predict(
    default_recognizer: kanjo.Recognizer, sizes: list[int], rate: int
) -> None:
    signal = kanjo.audio.load(TWO_TURNS, rate)
    expected = default_recognizer.predict_signal(signal, rate, name="<stream>")
    stream = kanjo.Stream(default_recognizer, rate)
    position, n_chunks, windows = 0, 0, []
    while position < len(signal):
        size = sizes[n_chunks % len(sizes)]
        results = stream.feed(signal[position : position + size])
        windows += [segment for segment in results if segment.is_final]
        position, n_chunks = position + size, n_chunks + 1
    _assert_close(stream.finish(), expected)
    first = expected.windows[: len(windows)]
    assert [(s.start_s, s.label) for s in windows] == [(s.start_s, s.label) for s in first]
    assert len(expected.windows) - len(windows) <= 2  # finish() completes these


def test_stream_with_options_equals_predict_of_the_file(default_recognizer: kanjo.Recognizer) -> None:
    path = RECORDINGS / "sadness-2.flac"
    samples, rate = soundfile.read(path, dtype="int16")
    stream = kanjo.Stream(default_recognizer, rate, name=str(path), min_confidence=0.7, language="ja")
    for chunk in np.array_split(np.stack([samples, samples], 1), 37):
        stream.feed(chunk)
    prediction = stream.finish()
    _assert_close(prediction, default_recognizer.predict(path, min_confidence=0.7, language="ja"))
    assert prediction.warnings[0] == "language ja: the bundle was trained on en, ko, pl only"
    assert prediction.label == "unsure" and "unsure" in [segment.label for segment in prediction.segments]


def test_stream_gives_early_results_and_final_ones_after_the_pause(default_recognizer: kanjo.Recognizer) -> None:
    """Early results come after 1, 2 and 4 s of a segment, the final one when the pause is too long to be in it."""
    samples, rate = soundfile.read(TWO_TURNS, dtype="float32")
    stream, results = kanjo.Stream(default_recognizer, rate), []
    chunk_length = rate // 10
    for start in range(0, len(samples), chunk_length):
        results += [(stream.seconds, segment) for segment in stream.feed(samples[start : start + chunk_length])]
        if start == rate:
            assert stream.speech > 0.5
    prediction = stream.finish()
    final = {window.start_s: window for window in prediction.windows}
    early = [segment for _, segment in results if not segment.is_final]
    assert early and {segment.start_s for segment in early} <= final.keys()
    for start_s in {segment.start_s for segment in early}:
        lengths_s = [segment.end_s - start_s for segment in early if segment.start_s == start_s]
        assert lengths_s == pytest.approx([1, 2, 4][: len(lengths_s)], abs=0.25)
    for seconds, segment in results:
        assert seconds - segment.end_s < (0.75 if segment.is_final else 0.25)
    assert early[0].as_dict()["is_final"] is False and "is_final" not in prediction.windows[0].as_dict()


def test_stream_invalid_chunk_raises_and_the_stream_continues(default_recognizer: kanjo.Recognizer) -> None:
    samples, rate = soundfile.read(RECORDINGS / "sadness-1.flac", dtype="float32")
    stream = kanjo.Stream(default_recognizer, rate)
    stream.feed(samples[:1000])
    for chunk, message in (
        (np.array([0.1, np.nan], np.float32), "sample 1001 is not a number"),
        (np.zeros((2, 3, 4), np.float32), "expected float or int16"),
        (np.zeros(3, np.int64), "expected float or int16"),
    ):
        with pytest.raises(AudioError, match=message):
            stream.feed(chunk)
    assert stream.feed(np.zeros(0, np.float32)) == []
    stream.feed(samples[1000:])
    _assert_close(stream.finish(), default_recognizer.predict_signal(samples, rate, name="<stream>"))


def test_stream_feed_after_finish_raises(recognizer: kanjo.Recognizer) -> None:
    stream = kanjo.Stream(recognizer, 16_000)
    stream.feed(np.full(16_000, 0.1, np.float32))
    assert stream.finish().probabilities == stream.finish().probabilities
    with pytest.raises(KanjoError, match="this stream has finished"):
        stream.feed(np.zeros(10, np.float32))


def test_stream_without_samples_raises(recognizer: kanjo.Recognizer) -> None:
    stream = kanjo.Stream(recognizer, 16_000)
    for _ in range(2):
        with pytest.raises(AudioError, match="no samples"):
            stream.finish()


def test_stream_invalid_arguments_raise(recognizer: kanjo.Recognizer) -> None:
    with pytest.raises(AudioError, match="100 Hz; expected 4000"):
        kanjo.Stream(recognizer, 100)
    with pytest.raises(KanjoError, match="min_confidence of 2"):
        kanjo.Stream(recognizer, 16_000, min_confidence=2)


def test_stream_processing_time_is_a_fraction_of_the_audio(default_recognizer: kanjo.Recognizer) -> None:
    """With early results, each second of speech is encoded at most twice; the limit allows for a shared machine."""
    samples, rate = soundfile.read(TWO_TURNS, dtype="float32")
    stream = kanjo.Stream(default_recognizer, rate)
    stream.feed(samples)
    start_s, start = time.process_time(), stream.seconds
    for chunk in np.array_split(np.tile(samples, 3), 60):
        stream.feed(chunk)
    assert (time.process_time() - start_s) / (stream.seconds - start) < 0.1
