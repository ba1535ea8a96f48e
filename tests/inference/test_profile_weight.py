"""The weight of a speaker profile."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kanjo.inference.profile_weight import FULL_VARIETY, MIN_VARIETY, prediction_variety, profile_weight


def test_prediction_variety_equal_predictions_is_zero() -> None:
    probabilities = np.tile([0.7, 0.2, 0.1], (5, 1))
    assert prediction_variety(probabilities, np.ones(5), 5) == pytest.approx(0, abs=1e-12)


def test_prediction_variety_certain_predictions_is_the_entropy_of_their_mean() -> None:
    probabilities = np.eye(4)[[0, 1, 2, 3] * 5]
    assert prediction_variety(probabilities, np.ones(20), 20) == pytest.approx(np.log(4) * 20 / 19)
    assert prediction_variety(np.eye(2), np.array([3.0, 1.0]), 4) == pytest.approx(
        -(0.75 * np.log(0.75) + 0.25 * np.log(0.25)) * 4 / 3
    )


def test_prediction_variety_equals_mutual_information_of_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    counts = np.random.default_rng(0).integers(1, 50, (8, 5))  # how often each recording gets each emotion
    expected = metrics.mutual_info_score(None, None, contingency=counts)
    probabilities, weights = counts / counts.sum(1, keepdims=True), counts.sum(1).astype(float)
    assert prediction_variety(probabilities, weights, 1e9) == pytest.approx(expected)


def test_profile_weight_needs_several_recordings_and_variety() -> None:
    assert profile_weight(1, 1.0) == 0
    assert profile_weight(20, MIN_VARIETY) == 0
    assert profile_weight(3, FULL_VARIETY) == pytest.approx(0.5)
    assert profile_weight(1000, 1.0) > 0.99


@given(st.floats(0, 1e4), st.floats(0, 4), st.floats(0, 100), st.floats(0, 2))
def test_profile_weight_is_between_0_and_1_and_grows(n: float, variety: float, more: float, wider: float) -> None:
    weight = profile_weight(n, variety)
    assert 0 <= weight <= profile_weight(n + more, variety + wider) <= 1


@given(st.integers(1, 20), st.integers(2, 8), st.integers(0, 2**31))
def test_prediction_variety_is_finite_and_not_negative(n: int, n_emotions: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.full(n_emotions, 0.1), n)
    variety = prediction_variety(probabilities, rng.uniform(0.1, 5, n), n)
    assert 0 <= variety <= 2 * np.log(n_emotions) + 1e-9
