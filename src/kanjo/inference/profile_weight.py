"""The weight of a speaker profile: how far a model relies on the mean embedding of a speaker's recordings.

The mean of a few recordings, or of recordings with one emotion, describes their emotion more than the voice. A model
that relied on it fully would remove this emotion from every prediction. So the logits and the temperature are mixed::

    (1 - weight) * without a speaker + weight * with the speaker's mean

The weight grows with the number of recordings, and with the variety of the model's own predictions for them. It is 0
for a single short recording. docs/explanation/models.md says how the constants were chosen.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

#: Variety (nats) up to which the weight is 0, and from which it depends on the number of recordings only.
MIN_VARIETY, FULL_VARIETY = 0.16, 0.35
#: This number of recordings after the first one halves the distance of the weight from 1.
HALF_WEIGHT_CLIPS = 2.0


def prediction_variety(
    probabilities: npt.NDArray[np.float64], weights: npt.NDArray[np.float64], n_clips: float
) -> float:
    """Compute how much predictions differ from recording to recording.

    This is the mutual information of recording and emotion: the entropy of the mean prediction minus the mean entropy
    of the predictions. An emotion that the model predicts for everything a speaker says does not increase it. The
    estimate from n recordings is too small by a factor of about (n - 1) / n, and is corrected for it.

    Args:
        probabilities: Predictions without a speaker profile.
        weights: Weight of each prediction; the sum is not 0.
        n_clips: Number of recordings that the predictions come from; longer recordings may count more than 1.

    Returns:
        The mutual information in nats, 0 to 2 log(E).

    Shape:
        - probabilities: (P, E)
        - weights: (P,)
    """
    weights = weights / weights.sum()
    entropies = _entropy(probabilities)
    information = float(_entropy(weights @ probabilities) - weights @ entropies)
    return max(0.0, information) * min(2.0, n_clips / max(n_clips - 1, 1e-9))


def profile_weight(n_clips: float, variety: float) -> float:
    """Compute the weight of a profile, 0 to 1.

    Args:
        n_clips: Number of recordings; longer recordings may count more than 1.
        variety: Result of :func:`prediction_variety`.
    """
    n_more = max(0.0, n_clips - 1)
    variety_factor = min(1.0, max(0.0, (variety - MIN_VARIETY) / (FULL_VARIETY - MIN_VARIETY)))
    return variety_factor * n_more / (n_more + HALF_WEIGHT_CLIPS)


def _entropy(probabilities: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Entropy in nats over the last axis: (..., E) -> (...)."""
    positive = np.maximum(probabilities, np.finfo(np.float64).tiny)
    return np.asarray(-(probabilities * np.log(positive)).sum(-1))
