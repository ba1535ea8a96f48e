"""Segmentation: from the probabilities of windows to segments."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kanjo.inference.segmentation import build_segments, time_step_posteriors, viterbi_decode

SPANS = [(0.0, 4.0), (2.0, 6.0)]
ROWS = np.array([[1.0, 0.0], [0.0, 1.0]])
#: Nine time steps of the first emotion, except one in the middle.
ONE_OUTLIER = np.array([[0.8, 0.2]] * 4 + [[0.4, 0.6]] + [[0.8, 0.2]] * 4)


def test_time_step_posteriors_equal_weights_average_in_the_overlap() -> None:
    edges, posteriors = time_step_posteriors(SPANS, ROWS, np.array([1.0, 1.0]), 2.0, 6.0)
    np.testing.assert_allclose(edges, [0, 2, 4, 6])
    np.testing.assert_allclose(posteriors, [[1, 0], [0.5, 0.5], [0, 1]])


def test_time_step_posteriors_weight_windows_by_speech() -> None:
    _, posteriors = time_step_posteriors(SPANS, ROWS, np.array([3.0, 1.0]), 2.0, 6.0)
    np.testing.assert_allclose(posteriors[1], [0.75, 0.25])


def test_time_step_posteriors_without_speech_are_uniform() -> None:
    _, posteriors = time_step_posteriors(SPANS, ROWS, np.array([0.0, 0.0]), 2.0, 6.0)
    np.testing.assert_allclose(posteriors, 0.5)


def test_viterbi_decode_ignores_a_single_outlier() -> None:
    assert viterbi_decode(ONE_OUTLIER).tolist() == [0] * 9


def test_viterbi_decode_follows_a_lasting_change() -> None:
    rows = np.array([[0.8, 0.2]] * 4 + [[0.2, 0.8]] * 4)
    assert viterbi_decode(rows).tolist() == [0] * 4 + [1] * 4


def test_viterbi_decode_without_penalty_is_argmax() -> None:
    assert viterbi_decode(ONE_OUTLIER, transition_penalty=0.0).tolist() == ONE_OUTLIER.argmax(1).tolist()


@given(st.integers(1, 6), st.integers(0, 2**32 - 1), st.floats(0, 3))
def test_viterbi_decode_equals_brute_force(n_steps: int, seed: int, penalty: float) -> None:
    rows = np.random.default_rng(seed).dirichlet([1.0, 1.0, 1.0], n_steps)

    def score(path: tuple[int, ...]) -> float:
        n_changes = sum(a != b for a, b in itertools.pairwise(path))
        return float(sum(np.log(rows[step, label]) for step, label in enumerate(path)) - penalty * n_changes)

    best = max(score(path) for path in itertools.product(range(3), repeat=n_steps))
    assert score(tuple(viterbi_decode(rows, penalty).tolist())) == pytest.approx(best, abs=1e-9)


@given(st.integers(1, 40), st.integers(0, 2**32 - 1), st.lists(st.floats(0, 39), max_size=8))
def test_build_segments_covers_the_recording_without_gaps(n_steps: int, seed: int, times: list[float]) -> None:
    rows = np.random.default_rng(seed).dirichlet([0.5, 0.5, 0.5], n_steps)
    borders = sorted({round(time, 3) for time in times if time < n_steps})
    speech = list(zip(borders[::2], borders[1::2], strict=False))
    segments = build_segments(np.arange(n_steps + 1.0), rows, speech, ("a", "b", "c"), 0.0)
    assert segments[0].start_s == 0 and segments[-1].end_s == pytest.approx(n_steps)
    for segment, following in itertools.pairwise(segments):
        assert segment.end_s == following.start_s and segment.label != following.label
    for segment in segments:
        assert segment.label == "silence" or sum(segment.probabilities.values()) == pytest.approx(1)
    speech_s = sum(segment.end_s - segment.start_s for segment in segments if segment.label != "silence")
    assert speech_s == pytest.approx(sum(end - start for start, end in speech))


def test_build_segments_below_min_confidence_is_unsure() -> None:
    rows = np.array([[0.6, 0.4]] * 2)
    (segment,) = build_segments(np.arange(3.0), rows, [(0.0, 2.0)], ("a", "b"), 0.7)
    assert segment.label == "unsure" and segment.confidence == pytest.approx(0.6)


def test_build_segments_part_without_a_change_has_the_probabilities_of_the_whole() -> None:
    """The first part has time steps of one emotion; the second one changes, and is divided."""
    edges = np.arange(0, 8.5, 0.5)
    rows = np.array([[0.9, 0.1]] * 8 + [[0.9, 0.1]] * 4 + [[0.1, 0.9]] * 4)
    whole = np.array([[0.6, 0.4], [0.5, 0.5]])
    segments = build_segments(edges, rows, [(0.0, 3.0), (4.0, 8.0)], ["a", "b"], 0.0, whole)
    assert [(s.start_s, s.end_s, s.label) for s in segments] == [
        (0.0, 3.0, "a"),
        (3.0, 4.0, "silence"),
        (4.0, 6.0, "a"),
        (6.0, 8.0, "b"),
    ]
    assert segments[0].probabilities == pytest.approx({"a": 0.6, "b": 0.4})
    assert segments[2].probabilities == pytest.approx({"a": 0.9, "b": 0.1})
