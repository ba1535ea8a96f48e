"""Metrics: equal to scikit-learn's, with intervals over speakers."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from kanjo.errors import KanjoError
from kanjo.evaluation import metrics

LABELS = ("anger", "happiness", "neutral", "sadness")
PAIRS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60)


def make_predictions(n: int, seed: int, accuracy: float = 0.6) -> tuple[np.ndarray, np.ndarray]:
    """True emotions (U,) and probabilities (U, 4), of which about the fraction ``accuracy`` is correct."""
    generator = np.random.default_rng(seed)
    y_true = generator.integers(0, 4, n)
    probabilities = generator.dirichlet(np.ones(4), n)
    correct = generator.random(n) < accuracy
    probabilities[correct, y_true[correct]] += 1.0
    return y_true, probabilities / probabilities.sum(1, keepdims=True)


@given(PAIRS)
def test_metrics_from_counts_equal_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    y_true, y_pred = np.array(pairs).T
    counts = sk.confusion_matrix(y_true, y_pred, labels=range(4)).astype(float)
    present = sorted(set(y_true.tolist()))
    recall = sk.recall_score(y_true, y_pred, labels=present, average="macro", zero_division=0)
    f1 = sk.f1_score(y_true, y_pred, average="macro", zero_division=0)
    assert float(metrics.uar_from_counts(counts)) == pytest.approx(recall, abs=1e-12)
    assert float(metrics.accuracy_from_counts(counts)) == pytest.approx(sk.accuracy_score(y_true, y_pred), abs=1e-12)
    assert float(metrics.macro_f1_from_counts(counts)) == pytest.approx(f1, abs=1e-12)
    assert metrics.unweighted_average_recall(y_true, y_pred) == recall


@given(PAIRS)
def test_score_predictions_equals_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    y_true, y_pred = np.array(pairs).T
    scores = metrics.score_predictions(LABELS, y_true, np.eye(4)[y_pred], ["a"] * len(pairs))
    assert scores.accuracy.value == sk.accuracy_score(y_true, y_pred)
    np.testing.assert_array_equal(scores.confusion_matrix, sk.confusion_matrix(y_true, y_pred, labels=range(4)))
    recalls = sk.recall_score(y_true, y_pred, labels=range(4), average=None, zero_division=np.nan)
    assert [scores.recalls[name] is None for name in LABELS] == np.isnan(recalls).tolist()


def test_unweighted_average_recall_averages_only_classes_that_occur() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch (extra train) is not installed")
    assert metrics.unweighted_average_recall([0, 0, 1], [0, 2, 1]) == pytest.approx(0.75)
    assert metrics.unweighted_average_recall(torch.tensor([0, 0, 1]), torch.tensor([0, 2, 1])) == pytest.approx(0.75)


def test_unweighted_average_recall_of_constant_prediction_is_chance() -> None:
    y_true = np.repeat([0, 1, 2, 3], [700, 100, 100, 100])
    assert metrics.unweighted_average_recall(y_true, np.zeros_like(y_true)) == 0.25


def test_confusion_matrix_rows_are_true_emotions() -> None:
    scores = metrics.score_predictions(("a", "b"), np.array([0, 0]), np.eye(2)[[1, 1]], ["s", "s"])
    assert scores.confusion_matrix == ((0, 2), (0, 0))


def test_interval_contains_value_and_narrows_with_more_speakers() -> None:
    widths = []
    for n_speakers in (6, 60):
        y_true, probabilities = make_predictions(n_speakers * 20, 0)
        speakers = [f"s{i % n_speakers}" for i in range(len(y_true))]
        uar = metrics.score_predictions(LABELS, y_true, probabilities, speakers).uar
        assert uar.low is not None and uar.high is not None
        assert uar.low <= uar.value <= uar.high
        widths.append(uar.high - uar.low)
    assert widths[1] < widths[0]


@pytest.mark.parametrize("speakers", [["a", "b"] * 20, [""] * 40, ["a", "b", "c", ""] * 10])
def test_interval_with_few_or_unknown_speakers_is_missing(speakers: list[str]) -> None:
    y_true, probabilities = make_predictions(40, 0)
    assert metrics.score_predictions(LABELS, y_true, probabilities, speakers).uar.low is None


def test_format_interval_shows_percent_and_bounds() -> None:
    assert str(metrics.Interval(0.6617, 0.598, 0.726)) == "66.2 % [59.8, 72.6]"
    assert str(metrics.Interval(0.5)) == "50.0 %"
    assert metrics.format_interval(0.5, 0.4, 0.6, unit="") == "50.0 [40.0, 60.0]"


def test_unsure_prediction_counts_as_error() -> None:
    y_true, probabilities = np.array([0, 0, 1, 1]), np.eye(4)[[0, 0, 1, 1]]
    scores = metrics.score_predictions(LABELS, y_true, probabilities, ["a"] * 4, y_pred=np.array([0, -1, 1, 1]))
    assert scores.recalls == {"anger": 0.5, "happiness": 1.0, "neutral": None, "sadness": None}
    assert scores.accuracy.value == 0.75
    assert scores.uar.value == 0.75


def test_expected_calibration_error_of_known_distributions() -> None:
    y_true = np.repeat([0, 1], 500)
    certain = np.zeros((1000, 4))
    certain[:, 0] = 1.0
    assert metrics.expected_calibration_error(certain, y_true) == pytest.approx(0.5)
    calibrated = np.full((1000, 4), [0.5, 0.3, 0.1, 0.1])
    assert metrics.expected_calibration_error(calibrated, y_true) == pytest.approx(0.0)


def test_uar_by_speaker_and_sex_are_those_of_the_groups() -> None:
    y_true, probabilities = make_predictions(80, 3)
    speakers, sexes = ["a", "b", "c", ""] * 20, ["female", "male"] * 40
    scores = metrics.score_predictions(LABELS, y_true, probabilities, speakers, sexes)
    assert set(scores.uar_by_speaker) == set("abc")
    assert set(scores.uar_by_sex) == {"female", "male"}
    y_pred = probabilities.argmax(1)
    assert scores.uar_by_speaker["b"] == metrics.unweighted_average_recall(y_true[1::4], y_pred[1::4])
    assert scores.uar_by_sex["female"] == metrics.unweighted_average_recall(y_true[::2], y_pred[::2])


def test_score_predictions_without_utterances_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to score"):
        metrics.score_predictions(LABELS, np.zeros(0, int), np.zeros((0, 4)), [])


def test_score_predictions_without_scikit_learn_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(KanjoError, match=r"pip install 'kanjo\[evaluation\]'"):
        metrics.unweighted_average_recall([0, 1], [0, 1])


def test_paired_bootstrap_detects_difference_within_overlapping_intervals() -> None:
    """The first system is correct wherever the second is, and on two more utterances of each speaker."""
    generator = np.random.default_rng(0)
    y_true = np.tile([0, 1], 200)
    speakers = [f"s{i // 20}" for i in range(400)]
    difficulty = np.repeat(generator.uniform(0.2, 0.9, 20), 20)
    second = np.where(generator.random(400) < difficulty, y_true, 1 - y_true)
    first = second.copy()
    for speaker in range(20):
        errors = [i for i in range(20 * speaker, 20 * speaker + 20) if first[i] != y_true[i]]
        first[errors[:2]] = y_true[errors[:2]]
    difference = metrics.paired_bootstrap(y_true, first, second, speakers, 2)
    assert difference.uar.low is not None and difference.uar.low > 0 and difference.p_value == 0.0
    uars = [
        metrics.score_predictions(("a", "b"), y_true, np.eye(2)[y_pred], speakers).uar for y_pred in (first, second)
    ]
    assert uars[0].low is not None and uars[1].high is not None and uars[0].low < uars[1].high
    assert difference.uar.value == pytest.approx(uars[0].value - uars[1].value)
    swapped = metrics.paired_bootstrap(y_true, second, first, speakers, 2)
    assert swapped.uar.value == pytest.approx(-difference.uar.value)
    assert swapped.uar.high == pytest.approx(-difference.uar.low)
