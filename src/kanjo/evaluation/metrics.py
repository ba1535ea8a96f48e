"""Metrics of emotion recognition, with bootstrap intervals over speakers.

The values are scikit-learn's. UAR (unweighted average recall) is the mean recall of the emotions. An emotion without
utterances has no recall and does not enter the mean: chance is 1 / the number of emotions that have utterances, however
unbalanced they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kanjo.corpora.fold_classes import join_names
from kanjo.errors import requires_extra

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
#: Bootstrap resamples of one interval.
N_RESAMPLES = 2000
#: Fewer speakers than this give no interval.
MIN_SPEAKERS = 3


def format_interval(value: float, low: float | None = None, high: float | None = None, unit: str = " %") -> str:
    """A fraction and its interval in percent, such as "66.2 % [59.8, 72.6]"."""
    return f"{100 * value:.1f}{unit} {format_bounds(low, high)}".rstrip()


def format_bounds(low: float | None, high: float | None, sign: str = "") -> str:
    """The bounds of an interval in percent, such as "[59.8, 72.6]"; "" if there are none.

    Args:
        low: Lower bound.
        high: Upper bound.
        sign: "+" to show the sign of positive bounds.
    """
    return "" if low is None or high is None else f"[{100 * low:{sign}.1f}, {100 * high:{sign}.1f}]"


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % interval.

    Attributes:
        value: The value, usually from 0 to 1.
        low: Lower bound; None if there are fewer than three speakers or if the speakers are unknown.
        high: Upper bound, or None.
    """

    value: float
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        return format_interval(self.value, self.low, self.high)


@dataclass(frozen=True)
class Scores:
    """All scores of a set of predictions.

    Attributes:
        labels: The emotions (E).
        n: Number of utterances.
        uar: Unweighted average recall.
        accuracy: Fraction of correct predictions (also called weighted accuracy, WA).
        macro_f1: Mean F1 of the emotions.
        recalls: Recall of each emotion; None if it has no utterances.
        confusion_matrix: Counts (E, E); rows are the true, columns the predicted emotions.
        ece: Expected calibration error.
        uar_by_speaker: UAR of each speaker with a name.
        uar_by_sex: UAR of each sex.
    """

    labels: tuple[str, ...]
    n: int
    uar: Interval
    accuracy: Interval
    macro_f1: Interval
    recalls: dict[str, float | None]
    confusion_matrix: tuple[tuple[int, ...], ...]
    ece: float
    uar_by_speaker: dict[str, float]
    uar_by_sex: dict[str, float]

    @property
    def labels_present(self) -> tuple[str, ...]:
        """The emotions that have utterances."""
        return tuple(name for name in self.labels if self.recalls[name] is not None)

    @property
    def chance_uar(self) -> float:
        """UAR of a random choice among the emotions that have utterances."""
        return 1 / len(self.labels_present)

    def describe_missing_labels(self) -> str:
        """State which emotions have no utterances, and the chance level of the others; "" if all have some."""
        missing = [name for name in self.labels if self.recalls[name] is None]
        if not missing:
            return ""
        return (
            f"UAR over {len(self.labels_present)} of {len(self.labels)} classes (no test utterance of "
            f"{join_names(missing)}), chance {100 * self.chance_uar:.1f} %"
        )

    def as_dict(self) -> dict[str, Any]:
        """The content of ``scores.json``."""
        return {
            "n": self.n,
            "chance_uar": self.chance_uar,
            **{name: vars(getattr(self, name)) for name in ("uar", "accuracy", "macro_f1")},
            "ece": self.ece,
            "labels": list(self.labels),
            "recalls": self.recalls,
            "confusion_matrix": [list(row) for row in self.confusion_matrix],
            "uar_by_speaker": self.uar_by_speaker,
            "uar_by_sex": self.uar_by_sex,
        }


@dataclass(frozen=True)
class PairedDifference:
    """The difference of two UARs on the same utterances.

    Attributes:
        uar: The difference with its 95 % interval.
        p_value: Fraction of the resamples with a difference of at most 0 (one-sided bootstrap test).
    """

    uar: Interval
    p_value: float


def require_scikit_learn() -> None:
    """Raise KanjoError if scikit-learn is not installed; call this before a long computation that ends in scores."""
    with requires_extra("evaluation", "scores need scikit-learn"):
        import sklearn  # noqa: F401


def unweighted_average_recall(y_true: npt.ArrayLike, y_pred: npt.ArrayLike) -> float:
    """Unweighted average recall over the classes that occur in ``y_true``.

    Args:
        y_true: True classes (U,), NumPy arrays or tensors in CPU memory.
        y_pred: Predicted classes (U,).

    Raises:
        KanjoError: scikit-learn is not installed.
    """
    require_scikit_learn()
    from sklearn.metrics import recall_score

    y_true = np.asarray(y_true)
    present = np.unique(y_true)
    return float(recall_score(y_true, np.asarray(y_pred), labels=present, average="macro", zero_division=0.0))


def expected_calibration_error(probabilities: Floats, y_true: Ints, n_bins: int = 15) -> float:
    """Expected calibration error with bins of equal width (Guo et al. 2017).

    Shape:
        probabilities (U, E), y_true (U,).
    """
    confidence, y_pred = probabilities.max(1), probabilities.argmax(1)
    bins = np.minimum((confidence * n_bins).astype(int), n_bins - 1)
    correct = (y_pred == y_true).astype(float)
    gaps = np.abs(np.bincount(bins, correct, n_bins) - np.bincount(bins, confidence, n_bins))
    return float(gaps.sum() / max(len(y_true), 1))


def score_predictions(
    labels: Sequence[str],
    y_true: Ints,
    probabilities: Floats,
    speakers: Sequence[str],
    sexes: Sequence[str] | None = None,
    y_pred: Ints | None = None,
    seed: int = 0,
) -> Scores:
    """Compute all scores of a set of predictions.

    Args:
        labels: The emotions (E).
        y_true: Indices of the true emotions (U,).
        probabilities: Probabilities (U, E).
        speakers: Speaker of each utterance; "" is unknown and prevents intervals.
        sexes: Sex of each speaker; "" is unknown.
        y_pred: Indices of the predicted emotions (U,), -1 for "unsure", which is an error. Default: the most probable.
        seed: Seed of the bootstrap.

    Raises:
        ValueError: There are no utterances.
        KanjoError: scikit-learn is not installed.
    """
    require_scikit_learn()
    from sklearn import metrics

    if not len(y_true):
        raise ValueError("nothing to score: no utterances")
    indices = np.arange(len(labels))
    # "unsure" is one more class, which is never true, so that it can only lower a score
    predicted = np.where(y_pred < 0, len(labels), y_pred) if y_pred is not None else probabilities.argmax(1)
    speaker_names = list(dict.fromkeys(speakers))
    resampled = None
    if len(speaker_names) >= MIN_SPEAKERS and "" not in speaker_names:
        resampled = _bootstrap(_count_by_group(y_true, predicted, speakers, len(labels) + 1), seed)

    def interval(value: float, metric: Callable[[Floats], Floats]) -> Interval:
        if resampled is None:
            return Interval(float(value))
        low, high = np.quantile(metric(resampled), [0.025, 0.975])
        return Interval(float(value), float(low), float(high))

    recalls = metrics.recall_score(y_true, predicted, labels=indices, average=None, zero_division=np.nan)
    macro_f1 = metrics.f1_score(y_true, predicted, average="macro", zero_division=0.0)
    matrix = metrics.confusion_matrix(y_true, predicted, labels=indices)
    return Scores(
        labels=tuple(labels),
        n=len(y_true),
        uar=interval(unweighted_average_recall(y_true, predicted), uar_from_counts),
        accuracy=interval(metrics.accuracy_score(y_true, predicted), accuracy_from_counts),
        macro_f1=interval(macro_f1, macro_f1_from_counts),
        recalls={name: None if np.isnan(value) else float(value) for name, value in zip(labels, recalls, strict=True)},
        confusion_matrix=tuple(tuple(int(count) for count in row) for row in matrix),
        ece=expected_calibration_error(probabilities, y_true),
        uar_by_speaker=_uar_by_group(y_true, predicted, speakers, [name for name in speaker_names if name]),
        uar_by_sex=_uar_by_group(y_true, predicted, sexes or [], sorted(set(sexes or []) - {""})),
    )


def uar_interval(y_true: Ints, y_pred: Ints, units: Sequence[str], n_classes: int, seed: int = 0) -> Interval:
    """UAR with its 95 % interval by a bootstrap over units, such as speakers or utterances.

    Args:
        y_true: True classes (U,).
        y_pred: Predicted classes (U,); ``n_classes`` is "unsure".
        units: The unit of each utterance.
        n_classes: Number of classes.
        seed: Seed of the bootstrap.
    """
    resampled = uar_from_counts(_bootstrap(_count_by_group(y_true, y_pred, units, n_classes + 1), seed))
    low, high = np.quantile(resampled, [0.025, 0.975])
    return Interval(unweighted_average_recall(y_true, y_pred), float(low), float(high))


def paired_bootstrap(
    y_true: Ints, y_pred: Ints, other_y_pred: Ints, units: Sequence[str], n_classes: int, seed: int = 0
) -> PairedDifference:
    """The UAR of ``y_pred`` minus that of ``other_y_pred``, with a paired bootstrap.

    Each resample draws whole units (speakers) with replacement, the same ones for both sets of predictions. What makes
    an utterance difficult for both cancels out.

    Args:
        y_true: True classes (U,).
        y_pred: Predicted classes (U,); ``n_classes`` is "unsure".
        other_y_pred: Predictions (U,) of the other system.
        units: The unit of each utterance.
        n_classes: Number of classes.
        seed: Seed of the bootstrap.
    """
    uars = []
    for predicted in (y_pred, other_y_pred):
        counts = _count_by_group(y_true, predicted, units, n_classes + 1)
        uars.append(uar_from_counts(_bootstrap(counts, seed)))
    resampled = uars[0] - uars[1]
    value = unweighted_average_recall(y_true, y_pred) - unweighted_average_recall(y_true, other_y_pred)
    low, high = np.quantile(resampled, [0.025, 0.975])
    return PairedDifference(Interval(value, float(low), float(high)), float((resampled <= 0).mean()))


# scikit-learn has no vectorized metrics. These compute thousands of resamples at once from confusion matrices; a test
# compares them with scikit-learn.


def uar_from_counts(counts: Floats) -> Floats:
    """Unweighted average recalls (...) of confusion matrices (..., E, E)."""
    support = counts.sum(-1)
    recall = np.diagonal(counts, axis1=-2, axis2=-1) / np.maximum(support, 1)
    return np.asarray(recall.sum(-1) / np.maximum((support > 0).sum(-1), 1), np.float64)


def accuracy_from_counts(counts: Floats) -> Floats:
    """Accuracies (...) of confusion matrices (..., E, E)."""
    correct = np.trace(counts, axis1=-2, axis2=-1)
    return np.asarray(correct / np.maximum(counts.sum((-2, -1)), 1), np.float64)


def macro_f1_from_counts(counts: Floats) -> Floats:
    """Macro F1 (...) of confusion matrices (..., E, E), over the classes that are true or predicted at least once."""
    true_positives = np.diagonal(counts, axis1=-2, axis2=-1)
    true_plus_predicted = counts.sum(-1) + counts.sum(-2)
    f1 = 2 * true_positives / np.maximum(true_plus_predicted, 1)
    return np.asarray(f1.sum(-1) / np.maximum((true_plus_predicted > 0).sum(-1), 1), np.float64)


def _count_by_group(y_true: Ints, y_pred: Ints, groups: Sequence[str], n_classes: int) -> Ints:
    """Confusion matrices (G, E, E) of groups of utterances, in the order in which the groups first occur."""
    index_of_group = {name: i for i, name in enumerate(dict.fromkeys(groups))}
    group_index = np.asarray([index_of_group[name] for name in groups])
    flat = (group_index * n_classes + y_true) * n_classes + y_pred
    counts = np.bincount(flat, minlength=len(index_of_group) * n_classes * n_classes)
    return counts.reshape(len(index_of_group), n_classes, n_classes).astype(np.int64)


def _bootstrap(counts: Ints, seed: int) -> Floats:
    """Confusion matrices (R, E, E) of resamples that draw whole groups (G, E, E) with replacement."""
    n_groups = len(counts)
    generator = np.random.default_rng(seed)
    weights = generator.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=N_RESAMPLES)
    return np.asarray(np.tensordot(weights, counts, 1), np.float64)


def _uar_by_group(y_true: Ints, y_pred: Ints, groups: Sequence[str], names: Sequence[str]) -> dict[str, float]:
    """UAR of the utterances of each named group."""
    group_of_utterance = np.asarray(groups)
    masks = {name: group_of_utterance == name for name in names}
    return {name: unweighted_average_recall(y_true[mask], y_pred[mask]) for name, mask in masks.items()}
