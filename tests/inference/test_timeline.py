"""The timeline: time steps of segments of speech and of windows."""

from __future__ import annotations

import numpy as np

import kanjo
from kanjo import audio
from kanjo.inference.timeline import Timeline
from tests.clips import TWO_TURNS

SPANS = np.array([[0.0, 1.0], [2.0, 2.6]])
ROWS = np.array([[0.6, 0.4], [0.3, 0.7]])
SPEECH = [(0.0, 1.0), (2.0, 2.6)]


def test_timeline_of_speech_segments_has_their_time_steps_and_nan_between_them() -> None:
    steps = [np.array([[0.9, 0.1]] * 4, np.float32), np.array([[0.2, 0.8]] * 3, np.float32)]
    timeline = Timeline(SPANS, ROWS, np.array([1.0, 0.6]), steps, SPEECH, 0.25, 3.0)
    probabilities = timeline.speech_probabilities()
    assert probabilities.edges_s.tolist() == np.arange(0, 3.01, 0.25).tolist()
    np.testing.assert_allclose(probabilities.probabilities[:4, 0], 0.9, rtol=1e-6)
    np.testing.assert_allclose(probabilities.probabilities[8:10, 0], 0.2, rtol=1e-6)
    assert np.isnan(probabilities.probabilities[4:8]).all() and np.isnan(probabilities.probabilities[11]).all()
    segments = timeline.segments(["a", "b"], 0.0)
    assert [(s.label, round(s.confidence, 3)) for s in segments] == [
        ("a", 0.6),
        ("silence", 1),
        ("b", 0.7),
        ("silence", 1),
    ]


def test_predict_time_steps_cover_the_recording(default_recognizer: kanjo.Recognizer) -> None:
    clip = audio.load(TWO_TURNS, 16_000)
    prediction = default_recognizer.predict_signal(clip, 16_000, emotions=("anger", "sadness"))
    assert prediction.time_steps is not None
    edges, probabilities = prediction.time_steps.edges_s, prediction.time_steps.probabilities
    assert edges[-1] == prediction.duration_s and probabilities.shape == (len(edges) - 1, 2)
    with_speech = ~np.isnan(probabilities[:, 0])
    np.testing.assert_allclose(probabilities[with_speech].sum(1), 1, atol=1e-5)
    assert abs(0.25 * with_speech.sum() - prediction.speech_s) < 1
    noise = np.random.default_rng(0).normal(0, 0.01, 32_000).astype(np.float32)
    assert default_recognizer.predict_signal(noise, 16_000).time_steps is None
