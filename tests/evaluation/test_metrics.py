"""Metrics against scikit-learn, and what intervals and calibration must be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from kanjo.evaluation import metrics

LABELS = ("anger", "happiness", "neutral", "sadness")


def _answers(n: int, seed: int, skill: float = 0.6) -> tuple[np.ndarray, np.ndarray]:
    chance = np.random.default_rng(seed)
    truth = chance.integers(0, 4, n)
    shares = chance.dirichlet(np.ones(4), n)
    right = chance.random(n) < skill
    shares[right, truth[right]] += 1.0
    return truth, shares / shares.sum(1, keepdims=True)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60))
def test_equal_to_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    truth, answered = np.array(pairs).T
    confusion = metrics.confusion_matrix(truth, answered, 4)
    np.testing.assert_array_equal(confusion, sk.confusion_matrix(truth, answered, labels=range(4)))
    assert float(metrics.accuracy(confusion)) == pytest.approx(sk.accuracy_score(truth, answered))
    there = sorted(set(truth.tolist()))
    assert float(metrics.uar(confusion)) == pytest.approx(
        sk.recall_score(truth, answered, labels=there, average="macro", zero_division=0)
    )
    either = sorted({*truth.tolist(), *answered.tolist()})
    assert float(metrics.macro_f1(confusion)) == pytest.approx(
        sk.f1_score(truth, answered, labels=either, average="macro", zero_division=0)
    )


def test_rows_are_truth_and_columns_answers() -> None:
    assert metrics.confusion_matrix(np.array([0, 0]), np.array([1, 1]), 2).tolist() == [[0, 2], [0, 0]]


def test_uar_of_chance_is_one_over_e() -> None:
    truth = np.repeat([0, 1, 2, 3], [700, 100, 100, 100])
    assert float(metrics.uar(metrics.confusion_matrix(truth, np.zeros_like(truth), 4))) == 0.25


def test_interval_holds_the_score_and_narrows_with_more_speakers() -> None:
    widths = []
    for n_speakers in (6, 60):
        truth, shares = _answers(n_speakers * 20, 0)
        found = metrics.score(LABELS, truth, shares, [f"s{i % n_speakers}" for i in range(len(truth))])
        assert found.uar.low is not None and found.uar.high is not None
        assert found.uar.low <= found.uar.value <= found.uar.high
        widths.append(found.uar.high - found.uar.low)
    assert widths[1] < widths[0]


def test_two_speakers_or_nameless_ones_give_no_interval() -> None:
    truth, shares = _answers(40, 0)
    for speakers in (["a", "b"] * 20, [""] * 40):
        assert metrics.score(LABELS, truth, shares, speakers).uar.low is None


def test_unsure_answers_only_lower_a_recall() -> None:
    truth, shares = np.array([0, 0, 1, 1]), np.eye(4)[[0, 0, 1, 1]]
    found = metrics.score(LABELS, truth, shares, ["a"] * 4, answered=np.array([0, -1, 1, 1]))
    assert found.recalls == {"anger": 0.5, "happiness": 1.0, "neutral": None, "sadness": None}
    assert found.accuracy.value == 0.75
    assert found.uar.value == 0.75


def test_calibration_error() -> None:
    truth = np.repeat([0, 1], 500)
    sure = np.zeros((1000, 4))
    sure[:, 0] = 1.0
    assert metrics.expected_calibration_error(sure, truth) == pytest.approx(0.5)
    honest = np.full((1000, 4), [0.5, 0.3, 0.1, 0.1])
    assert metrics.expected_calibration_error(honest, truth) == pytest.approx(0.0)


def test_groups() -> None:
    truth, shares = _answers(80, 3)
    found = metrics.score(LABELS, truth, shares, ["a", "b", "c", "d"] * 20, ["female", "male"] * 40)
    assert set(found.speakers) == set("abcd")
    assert set(found.sexes) == {"female", "male"}
    with pytest.raises(ValueError, match="nothing to score"):
        metrics.score(LABELS, truth[:0], shares[:0], [])
