"""Voice activity detection."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kanjo
from kanjo import audio
from kanjo.audio.levels import LevelMeter
from kanjo.inference import vad
from tests.clips import RECORDINGS


def _detect(signal: np.ndarray, rate: int = vad.SAMPLE_RATE, sizes: tuple[int, ...] = (10**9,)) -> np.ndarray:
    """Run the detector on a signal, in blocks of these sizes."""
    detector = vad.VoiceActivityDetector(rate)
    position, n_blocks = 0, 0
    while position < len(signal):
        size = sizes[n_blocks % len(sizes)]
        detector.feed(signal[position : position + size])
        position, n_blocks = position + size, n_blocks + 1
    detector.feed(np.zeros(0, np.float32), last=True)
    return detector.probabilities


def test_detector_finds_speech_between_silence_and_noise() -> None:
    speech = audio.load(RECORDINGS / "sadness-1.flac", vad.SAMPLE_RATE)
    noise = np.random.default_rng(0).normal(0, 0.05, 3 * vad.SAMPLE_RATE).astype(np.float32)
    signal = np.concatenate([np.zeros(2 * vad.SAMPLE_RATE, np.float32), speech, noise])
    ((start_s, end_s),) = vad.speech_segments(_detect(signal), len(signal) / vad.SAMPLE_RATE)
    assert start_s == pytest.approx(2.0, abs=0.25)
    assert end_s == pytest.approx(2 + len(speech) / vad.SAMPLE_RATE, abs=0.6)


@pytest.mark.parametrize("hz", [100, 440, 3000])
def test_detector_tone_is_not_speech(hz: int) -> None:
    tone = 0.3 * np.sin(2 * np.pi * hz * np.arange(32_000) / vad.SAMPLE_RATE).astype(np.float32)
    assert _detect(tone).max() < vad.ONSET


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(1, 40_000), min_size=1, max_size=6))
def test_detector_result_does_not_depend_on_the_blocks(sizes: list[int]) -> None:
    speech = audio.load(RECORDINGS / "german.flac", vad.SAMPLE_RATE)
    np.testing.assert_allclose(_detect(speech, sizes=tuple(sizes)), _detect(speech), atol=1e-5)


def test_detector_resamples_other_rates() -> None:
    expected = _detect(audio.load(RECORDINGS / "sadness-1.flac", vad.SAMPLE_RATE)) > vad.ONSET
    actual = _detect(audio.load(RECORDINGS / "sadness-1.flac", 32_000), 32_000) > vad.ONSET
    assert np.mean(actual[: len(expected)] == expected) > 0.95


def test_detector_before_the_first_frame_has_probability_0() -> None:
    detector = vad.VoiceActivityDetector(vad.SAMPLE_RATE)
    assert detector.last_probability == 0.0
    assert detector.probabilities.shape == (0,)


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        ("0000000000", []),
        ("", []),
        ("0001111000", []),  # 0.13 s is too short
        ("0" * 10 + "1" * 10 + "0" * 30 + "1" * 10, [(0.22, 0.74), (1.5, 1.92)]),  # a long gap
        ("0" * 10 + "1" * 10 + "0" * 15 + "1" * 10, [(0.22, 1.44)]),  # a short gap
        ("0" * 10 + "1" * 5 + "4" * 5 + "0" * 20, [(0.22, 0.74)]),  # 0.4 continues speech
        ("4" * 10 + "1" * 10, [(0.22, 0.64)]),  # 0.4 does not start speech
    ],
)
def test_speech_segments_applies_thresholds_and_durations(frames: str, expected: list[tuple[float, float]]) -> None:
    """Each digit is one frame: 1 stands for a probability of 1, other digits for tenths."""
    probabilities = np.asarray([1.0 if digit == "1" else int(digit) / 10 for digit in frames], np.float32)
    segments = vad.speech_segments(probabilities, len(frames) * vad.FRAME_S)
    assert segments == [pytest.approx(segment) for segment in expected]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 40), st.sampled_from([0.1, 0.4, 0.9])), min_size=1, max_size=30), st.data())
def test_speech_segments_before_the_lookahead_do_not_change_when_the_signal_continues(
    runs: list[tuple[int, float]], data: st.DataObject
) -> None:
    frames = np.concatenate([np.full(n, probability, np.float32) for n, probability in runs])
    n_known = data.draw(st.integers(1, len(frames)))
    limit_s = n_known * vad.FRAME_S - vad.LOOKAHEAD_S
    known = vad.speech_segments(frames[:n_known], n_known * vad.FRAME_S)
    complete = vad.speech_segments(frames, len(frames) * vad.FRAME_S)
    parts = [[(start, min(end, limit_s)) for start, end in part if start < limit_s] for part in (known, complete)]
    assert parts[0] == parts[1]


def test_speech_seconds_measures_the_overlap_with_windows() -> None:
    starts, ends = np.array([0.0, 1.5, 2.0, 4.0]), np.array([10.0, 3.5, 3.0, 4.5])
    np.testing.assert_allclose(vad.speech_seconds([(1.0, 2.0), (3.0, 5.0)], starts, ends), [3.0, 1.0, 0.0, 0.5])
    np.testing.assert_allclose(vad.speech_seconds([], np.array([0.0]), np.array([1.0])), [0.0])


def test_predict_windows_without_speech_have_little_weight(default_recognizer: kanjo.Recognizer) -> None:
    """Noise that follows the speech, and is too loud to be silence, hardly changes the prediction."""
    speech = audio.load(RECORDINGS / "sadness-1.flac", 16_000)[: 4 * 16_000]
    noise = np.random.default_rng(1).normal(0, 0.02, 20 * 16_000).astype(np.float32)
    levels = LevelMeter()
    levels.feed(noise)
    assert not levels.is_silent
    expected = default_recognizer.predict_signal(speech, 16_000, hop_s=4.0)
    actual = default_recognizer.predict_signal(np.concatenate([speech, noise]), 16_000, hop_s=4.0)
    assert actual.probabilities == pytest.approx(expected.probabilities, abs=0.1)  # the padding contains some noise
    assert actual.segments[-1].label == "silence"
    assert actual.speech_s == pytest.approx(expected.speech_s, abs=0.6)


@pytest.mark.corpus
def test_predict_acted_speech_contains_speech(ravdess_clips: list[Path], default_recognizer: kanjo.Recognizer) -> None:
    predictions = list(default_recognizer.predict_many(ravdess_clips[::40]))
    n = len(predictions)
    # In 13 of all 1440 clips (shouts and sobs), no speech is detected.
    assert sum(prediction.speech_s == 0 for prediction in predictions) <= 0.03 * n
    speech_s, duration_s = (sum(getattr(item, name) for item in predictions) for name in ("speech_s", "duration_s"))
    assert 0.4 < speech_s / duration_s < 0.65
    # These are training and test speakers. Of the test speakers' clips, 1 % are above 1.
    assert sum((prediction.ood_score or 0) > 1 for prediction in predictions) <= 0.15 * n


@pytest.mark.corpus
def test_ood_score_separates_speech_from_hum_and_noise(corpora: Path, default_recognizer: kanjo.Recognizer) -> None:
    """Clips of a corpus without training data (ESD, English) are near 1; hum and noise are far above."""
    predictions = list(default_recognizer.predict_many(sorted((corpora / "esd").rglob("*.wav"))))
    assert len(predictions) == 16
    assert max(prediction.ood_score or 0 for prediction in predictions) < 1.25
    times_s = np.arange(64_000) / 16_000
    hum = 0.1 * sum(np.sin(2 * np.pi * 110 * harmonic * times_s) / harmonic for harmonic in range(1, 6))
    noise = np.random.default_rng(0).normal(0, 0.05, 64_000)
    for signal in (hum, noise):
        assert (default_recognizer.predict_signal(signal.astype(np.float32), 16_000).ood_score or 0) > 2
