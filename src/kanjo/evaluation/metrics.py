"""Scores, from labels and probabilities alone.

UAR (unweighted average recall) is the mean of the emotions' recalls: chance is 1 / E however unbalanced the data. An
emotion that does not occur among the labels has no recall and is left out of the means.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
RESAMPLES = 2000


@dataclass(frozen=True)
class Interval:
    """A score and its 95 % interval; None where it can't be told (fewer than three speakers)."""

    value: float
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        span = "" if self.low is None or self.high is None else f" [{100 * self.low:.1f}, {100 * self.high:.1f}]"
        return f"{100 * self.value:.1f} %{span}"


@dataclass(frozen=True)
class Scores:
    """All scores of one set of answers; rates are 0 to 1. ``confusion[i][j]``: truth i answered as j."""

    labels: tuple[str, ...]
    n: int
    uar: Interval
    accuracy: Interval
    macro_f1: Interval
    recalls: dict[str, float | None]
    confusion: tuple[tuple[int, ...], ...]
    ece: float
    speakers: dict[str, float]
    sexes: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """What ``scores.json`` holds."""
        return {
            "n": self.n,
            **{name: vars(getattr(self, name)) for name in ("uar", "accuracy", "macro_f1")},
            "ece": self.ece,
            "labels": list(self.labels),
            "recalls": self.recalls,
            "confusion": [list(row) for row in self.confusion],
            "speakers": self.speakers,
            "sexes": self.sexes,
        }


def confusion_matrix(truth: Ints, answered: Ints, n_emotions: int) -> Counts:
    """(E, E) counts: row truth, column answer."""
    flat = np.bincount(truth * n_emotions + answered, minlength=n_emotions * n_emotions)
    return flat.reshape(n_emotions, n_emotions).astype(np.int64)


def uar(confusion: Floats | Counts) -> Floats:
    """Unweighted average recall of confusion matrices (..., E, E)."""
    support = confusion.sum(-1)
    recall = np.diagonal(confusion, axis1=-2, axis2=-1) / np.maximum(support, 1)
    return np.asarray(recall.sum(-1) / np.maximum((support > 0).sum(-1), 1), np.float64)


def accuracy(confusion: Floats | Counts) -> Floats:
    """Share of right answers (WA, weighted accuracy in the field's words) of (..., E, E)."""
    right = np.trace(confusion, axis1=-2, axis2=-1)
    return np.asarray(right / np.maximum(confusion.sum((-2, -1)), 1), np.float64)


def macro_f1(confusion: Floats | Counts) -> Floats:
    """Mean of the emotions' F1, over emotions that occur as truth or answer (scikit-learn's macro), of (..., E, E)."""
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    mass = confusion.sum(-1) + confusion.sum(-2)
    f1 = 2 * hits / np.maximum(mass, 1)
    return np.asarray(f1.sum(-1) / np.maximum((mass > 0).sum(-1), 1), np.float64)


def expected_calibration_error(probabilities: Floats, truth: Ints, bins: int = 15) -> float:
    """ECE with equal-width bins of confidence (Guo et al. 2017): probabilities (U, E), truth (U,)."""
    confidence, answered = probabilities.max(1), probabilities.argmax(1)
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    right = (answered == truth).astype(float)
    weight = np.bincount(place, minlength=bins)
    gap = np.abs(np.bincount(place, right, bins) - np.bincount(place, confidence, bins))
    return float(gap.sum() / max(weight.sum(), 1))


def score(
    labels: Sequence[str],
    truth: Ints,
    probabilities: Floats,
    speakers: Sequence[str],
    sexes: Sequence[str] | None = None,
    answered: Ints | None = None,
    seed: int = 0,
) -> Scores:
    """All scores of answers: truth (U,), probabilities (U, E), each utterance's speaker ("" unknown) and sex.

    ``answered`` (default: the most probable) lets an "unsure" answer count as wrong when it is given as -1. Intervals are
    bootstrapped over speakers. Raises ValueError when there is nothing to score.
    """
    if not len(truth):
        raise ValueError("nothing to score: no utterances")
    n_emotions = len(labels)
    chosen = probabilities.argmax(1) if answered is None else answered
    # an answer of "unsure" takes a column of its own while we count, so that it can only lower a recall
    wide = np.where(chosen < 0, n_emotions, chosen)
    by_speaker = {
        name: _counts(truth, wide, n_emotions, np.asarray([speaker == name for speaker in speakers]))
        for name in dict.fromkeys(speakers)
    }
    parts = np.stack(list(by_speaker.values()))
    whole = parts.sum(0)
    draws = _resampled(parts, seed) if len(parts) >= 3 and "" not in by_speaker else None

    def interval(measure: Any) -> Interval:
        value = float(measure(whole))
        if draws is None:
            return Interval(value)
        low, high = np.quantile(measure(draws), [0.025, 0.975])
        return Interval(value, float(low), float(high))

    support = whole.sum(1)
    recalls = {name: float(whole[i, i] / support[i]) if support[i] else None for i, name in enumerate(labels)}
    groups = {
        sex: float(uar(_counts(truth, wide, n_emotions, np.asarray([other == sex for other in sexes or []]))))
        for sex in sorted(set(sexes or []) - {""})
    }
    return Scores(
        labels=tuple(labels),
        n=len(truth),
        uar=interval(uar),
        accuracy=interval(accuracy),
        macro_f1=interval(macro_f1),
        recalls=recalls,
        confusion=tuple(tuple(int(n) for n in row[:n_emotions]) for row in whole[:n_emotions]),
        ece=expected_calibration_error(probabilities, truth),
        speakers={name: float(uar(part)) for name, part in by_speaker.items() if name},
        sexes=groups,
    )


def paired_bootstrap(
    truth: Ints, first: Ints, second: Ints, units: Sequence[str], n_emotions: int, seed: int = 0
) -> tuple[float, float, float, float]:
    """UAR of ``first`` less that of ``second``, answers (U,) to the same truths (U,): value, 95 % interval, share of draws <= 0.

    Whole ``units`` (speakers) are drawn with replacement, the same for both, so that what is hard for both cancels out. An answer
    of ``n_emotions`` is no emotion's.
    """
    names = {name: i for i, name in enumerate(dict.fromkeys(units))}
    place = np.asarray([names[unit] for unit in units])
    width = n_emotions + 1
    parts = []
    for answered in (first, second):
        flat = np.bincount((place * width + truth) * width + answered, minlength=len(names) * width * width)
        parts.append(flat.reshape(len(names), width, width).astype(np.int64))
    value = float(uar(parts[0].sum(0)) - uar(parts[1].sum(0)))
    draws = uar(_resampled(parts[0], seed)) - uar(_resampled(parts[1], seed))
    low, high = np.quantile(draws, [0.025, 0.975])
    return value, float(low), float(high), float((draws <= 0).mean())


def _counts(truth: Ints, answered: Ints, n_emotions: int, mask: npt.NDArray[np.bool_]) -> Counts:
    return confusion_matrix(truth[mask], answered[mask], n_emotions + 1)


def _resampled(parts: Counts, seed: int) -> Floats:
    """Confusion matrices of RESAMPLES draws of whole speakers with replacement: (S, E, E) -> (R, E, E)."""
    n = len(parts)
    weights = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=RESAMPLES)
    return np.asarray(np.tensordot(weights, parts, 1), np.float64)
