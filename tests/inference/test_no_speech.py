"""Recordings and windows without speech: the label is "unsure"."""

from __future__ import annotations

import numpy as np
import pytest

import kanjo
from kanjo import audio
from kanjo.corpora import Utterance
from kanjo.evaluation.evaluate import scored_utterance
from tests.clips import TWO_TURNS
from tests.corpora_fixtures import make_tone

CLIP = TWO_TURNS
RATE = 16_000


def _noise(seconds: float, exponent: float, level: float = 0.1) -> np.ndarray:
    """Return noise whose power falls with the frequency to this exponent: 0 white, 1 pink, 2 brown."""
    n = int(seconds * RATE)
    frequencies = np.maximum(np.fft.rfftfreq(n, 1 / RATE), 1.0)
    spectrum = np.fft.rfft(np.random.default_rng(0).standard_normal(n)) / frequencies ** (exponent / 2)
    signal = np.fft.irfft(spectrum, n)
    return (level * signal / np.abs(signal).max()).astype(np.float32)


@pytest.mark.parametrize(
    "signal",
    [_noise(6, 0, 1.0), _noise(6, 1), _noise(6, 2), make_tone(6.0, 50.0)],
    ids=["white", "pink", "brown", "hum"],
)
def test_predict_without_speech_is_unsure(default_recognizer: kanjo.Recognizer, signal: np.ndarray) -> None:
    prediction = default_recognizer.predict_signal(signal, RATE)
    assert prediction.label == "unsure" and prediction.unsure_reason == "no speech"
    assert {window.label for window in prediction.windows} == {"unsure"}
    assert [segment.label for segment in prediction.segments] == ["silence"]
    assert prediction.confidence == pytest.approx(max(prediction.probabilities.values()))
    assert "no speech detected (music or noise?), so the label is unsure" in prediction.warnings


def test_predict_of_speech_and_noise_labels_only_the_speech(default_recognizer: kanjo.Recognizer) -> None:
    signal = np.concatenate([audio.load(CLIP, RATE), _noise(20, 1, 0.02)])
    prediction = default_recognizer.predict_signal(signal, RATE)
    assert prediction.label in default_recognizer.labels and prediction.unsure_reason == ""
    assert all(window.label in default_recognizer.labels for window in prediction.windows)
    assert prediction.windows[-1].end_s < len(audio.load(CLIP, RATE)) / RATE + 0.5
    assert prediction.segments[-1].label == "silence" and prediction.segments[-1].end_s > 20


def test_stream_of_noise_is_unsure_live_and_at_the_end(default_recognizer: kanjo.Recognizer) -> None:
    stream = kanjo.Stream(default_recognizer, RATE)
    assert stream.feed(_noise(10, 1)) == []
    prediction = stream.finish()
    assert prediction.label == "unsure" and [window.label for window in prediction.windows] == ["unsure"]


def test_scored_utterance_without_detected_speech_has_the_most_probable_emotion(
    default_recognizer: kanjo.Recognizer,
) -> None:
    labels = default_recognizer.labels
    prediction = default_recognizer.predict_signal(_noise(3, 1), RATE)
    best = max(labels, key=lambda label: prediction.probabilities[label])
    assert scored_utterance(Utterance("c", "a.wav", "anger"), "anger", prediction, labels, CLIP).predicted == best
    silent = default_recognizer.predict_signal(np.zeros(RATE, np.float32), RATE)
    assert silent.unsure_reason == "silent"
    assert scored_utterance(Utterance("c", "a.wav", "anger"), "anger", silent, labels, CLIP).predicted == "unsure"
