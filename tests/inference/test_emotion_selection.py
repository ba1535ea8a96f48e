"""Prediction among some of a bundle's emotions: words, renormalized probabilities, and the same result everywhere."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import kanjo
from kanjo.errors import KanjoError
from kanjo.inference.emotion_selection import restrict_probabilities, select_emotions
from kanjo.inference.onnx_session import WindowOutput
from kanjo.inference.options import InferenceOptions, resolve_options
from kanjo.inference.recording import RecordingSession
from tests.clips import TWO_TURNS
from tests.inference.conftest import LABELS

FOUR = ("anger", "happiness", "neutral", "sadness")


@pytest.mark.parametrize(
    ("requested", "expected"),
    [
        (None, LABELS),
        ("all", LABELS),
        (["ALL"], LABELS),
        ("sadness,anger", ("anger", "sadness")),
        (" Sad , angry, ", ("anger", "sadness")),
        (("화남", "기쁨", "anger"), ("anger", "happiness")),
        (LABELS[::-1], LABELS),
    ],
)
def test_select_emotions_returns_labels_in_the_order_of_the_bundle(
    requested: str | tuple[str, ...] | None, expected: tuple[str, ...]
) -> None:
    assert select_emotions(requested, LABELS) == expected


def test_select_emotions_prefers_labels_of_the_bundle_to_the_vocabulary() -> None:
    labels = ("bored", "Stressed", "neutral")
    assert select_emotions("BORED,stressed", labels) == ("bored", "Stressed")


@pytest.mark.parametrize(
    ("requested", "message"),
    [
        ("anger,hapiness", r"unknown emotion 'hapiness' \(did you mean happiness\?\); the bundle has: anger, calm"),
        ("anger,sadd", r"'sadd' \(did you mean sadness\?\)"),
        ("anger,qqq", "unknown emotion 'qqq'; the bundle has: anger"),
        ("anger,bored", "emotion 'bored': the bundle has only anger"),
        ("anger,all", "unknown emotion 'all'"),
        ("anger", "emotions anger: expected at least two different ones of: anger"),
        ("anger,angry", "emotions anger, angry: expected at least two"),
        ("", r"emotions \(none\): expected at least two"),
        ((1, 2), r"emotions \(1, 2\): expected words"),
    ],
)
def test_select_emotions_with_invalid_words_raises(requested: str, message: str) -> None:
    with pytest.raises(KanjoError, match=message):
        select_emotions(requested, LABELS)


@given(
    st.lists(st.floats(0, 1, width=32), min_size=3, max_size=8),
    st.lists(st.integers(0, 2), min_size=2, max_size=3, unique=True),
)
def test_restrict_probabilities_returns_probabilities_in_the_same_proportions(
    values: list[float], indices: list[int]
) -> None:
    probabilities = np.asarray(values, np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        restricted = restrict_probabilities(probabilities, indices)
    assert restricted.dtype == np.float32 and restricted.sum() == pytest.approx(1, abs=1e-6)
    kept = probabilities[indices].astype(np.float64)
    if kept.sum() > 0:
        np.testing.assert_allclose(restricted, kept / kept.sum(), atol=1e-6)
    else:
        np.testing.assert_allclose(restricted, 1 / len(indices))


def test_predict_with_emotions_renormalizes_windows_segments_and_recording(recognizer: kanjo.Recognizer) -> None:
    whole = recognizer.predict(TWO_TURNS)
    prediction = recognizer.predict(TWO_TURNS, emotions=["sad", "anger", "neutral", "happy"])
    assert len(prediction.windows) == len(whole.windows) > 2
    for window, reference in zip(prediction.windows, whole.windows, strict=True):
        total = sum(reference.probabilities[name] for name in FOUR)
        expected = {name: reference.probabilities[name] / total for name in FOUR}
        assert window.probabilities == pytest.approx(expected, abs=1e-6)
        assert window.label == max(expected, key=lambda name: expected[name])
    segments = [segment for segment in prediction.segments if segment.label != "silence"]
    for part in (prediction, *segments):
        assert tuple(part.probabilities) == FOUR and part.label in FOUR
        assert sum(part.probabilities.values()) == pytest.approx(1, abs=1e-6)
        assert part.confidence == pytest.approx(max(part.probabilities.values()))
    assert prediction.ood_score == whole.ood_score
    np.testing.assert_array_equal(prediction.embedding, whole.embedding)


def test_predict_with_all_emotions_is_identical_to_the_default(recognizer: kanjo.Recognizer) -> None:
    whole = recognizer.predict(TWO_TURNS)
    assert recognizer.predict(TWO_TURNS, emotions="all") == whole
    assert recognizer.predict(TWO_TURNS, emotions=LABELS[::-1]) == whole


def test_predict_with_emotions_compares_the_renormalized_confidence(recognizer: kanjo.Recognizer) -> None:
    whole = recognizer.predict(TWO_TURNS)
    prediction = recognizer.predict(TWO_TURNS, emotions=FOUR)
    threshold = (whole.confidence + prediction.confidence) / 2
    assert whole.confidence < threshold < prediction.confidence
    assert recognizer.predict(TWO_TURNS, min_confidence=threshold).label == "unsure"
    assert recognizer.predict(TWO_TURNS, min_confidence=threshold, emotions=FOUR).label == prediction.label


def test_predict_of_silence_with_emotions_is_unsure_with_equal_probabilities(recognizer: kanjo.Recognizer) -> None:
    prediction = recognizer.predict_signal(np.zeros(16_000), 16_000, emotions=("anger", "sadness"))
    assert prediction.label == "unsure" and prediction.probabilities == {"anger": 0.5, "sadness": 0.5}


def test_window_whose_emotions_have_no_probability_stays_finite(recognizer: kanjo.Recognizer) -> None:
    options = resolve_options(InferenceOptions(emotions=("anger", "sadness")), recognizer.metadata)
    session = RecordingSession("tone", 16_000, recognizer.metadata, options)
    signal = np.sin(np.arange(16_000) / 10).astype(np.float32)
    output = WindowOutput(np.eye(len(LABELS), dtype=np.float32)[LABELS.index("fear")], np.zeros(16, np.float32), 0.5)
    windows = [session.add_window_result(window, output) for window in [*session.feed(signal), *session.finish()]]
    prediction = session.finalize()
    assert windows
    for part in (*windows, prediction):
        assert part.probabilities == {"anger": 0.5, "sadness": 0.5}


def test_all_ways_to_predict_with_emotions_agree(recognizer: kanjo.Recognizer) -> None:
    expected = recognizer.predict(TWO_TURNS, emotions=FOUR)
    (from_many,) = recognizer.predict_many([TWO_TURNS], emotions=FOUR)
    signal = kanjo.audio.load(TWO_TURNS, 16_000)
    stream = kanjo.Stream(recognizer, 16_000, emotions=FOUR)
    assert stream.emotions == FOUR
    windows = [window for chunk in np.array_split(signal, 7) for window in stream.feed(chunk)]
    for prediction in (from_many, stream.finish()):
        assert prediction.label == expected.label
        assert prediction.probabilities == pytest.approx(expected.probabilities, abs=1e-5)
        assert [part.label for part in prediction.segments] == [part.label for part in expected.segments]
    assert windows[0].probabilities == pytest.approx(expected.windows[0].probabilities, abs=1e-5)
