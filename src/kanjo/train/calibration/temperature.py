"""Temperature scaling, and a temperature that grows with the out-of-distribution (OOD) score.

One temperature (Guo et al. 2017, arXiv 1706.04599) does not fit all new speakers. A model that is trained on three
corpora is slightly over-confident on new speakers of these corpora, and over-confident by a factor of three on a new
corpus. The OOD score (kanjo.train.calibration.ood) separates the two cases, so the temperature grows with it::

    temperature * min(max(1, ood_score / median), max_ratio) ** exponent

``median`` is the median score of the training utterances. ``max_ratio`` is the 98th percentile of ``ood_score /
median`` over held-out speakers, because higher scores were too rare to calibrate on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

#: The temperature is searched in this range, at this many logarithmically spaced values.
MIN_TEMPERATURE, MAX_TEMPERATURE, N_TEMPERATURES = 0.05, 20, 400
#: Limits of the temperature where utterances of some classes are missing.
_MIN_INCOMPLETE, _MAX_INCOMPLETE = 0.5, 2.0
#: Exponents of the OOD-dependent temperature that are tried.
_EXPONENTS = np.linspace(0, 8, 17)


@dataclass(frozen=True)
class OodTemperature:
    """How the temperature grows with the OOD score (see the module's description).

    Attributes:
        max_ratio: The largest ``ood_score / median`` that raises the temperature further.
        exponent: Exponent without speaker enrollment.
        exponent_enrolled: Exponent with speaker enrollment.
    """

    max_ratio: float
    exponent: float
    exponent_enrolled: float


def fit_temperature(logits: Tensor, labels: Tensor, speakers: Tensor | None = None) -> float:
    """Find the temperature that minimizes the cross-entropy.

    The targets are smoothed by 1 / (U + 2), as in Platt scaling (Platt 1999): otherwise the temperature would be
    extreme where a few utterances are all predicted correctly. Where utterances of some classes are missing, the
    softmax is over the other classes, and the temperature is limited. With one class it is 1.

    Args:
        logits: Logits (U, E).
        labels: Class indices (U,).
        speakers: Speaker indices (U,). If given, each speaker has the same total weight, because the model is
            calibrated for new speakers.
    """
    present, present_labels = torch.unique(labels, return_inverse=True)
    if len(present) < 2:
        return 1.0
    smoothing = 1 / (len(labels) + 2)
    if len(present) == logits.shape[1]:
        return _search_temperature(logits, labels, speakers, smoothing)[1]
    temperature = _search_temperature(logits[:, present], present_labels, speakers, smoothing)[1]
    return min(max(temperature, _MIN_INCOMPLETE), _MAX_INCOMPLETE)


def fit_temperature_to_arrays(
    logits: npt.NDArray[np.floating[Any]], labels: npt.NDArray[np.integer[Any]], speakers: npt.NDArray[Any] | None
) -> float:
    """Call :func:`fit_temperature` with numpy arrays: logits (U, E), labels (U,) and speaker indices (U,)."""
    speaker_indices = None if speakers is None else torch.from_numpy(speakers)
    return fit_temperature(torch.from_numpy(logits).float(), torch.from_numpy(labels), speaker_indices)


def fit_ood_temperature(logits: Tensor, labels: Tensor, speakers: Tensor, ood_ratio: Tensor) -> tuple[float, float]:
    """Find the temperature and the exponent that together minimize the cross-entropy.

    Args:
        logits: Logits (U, E).
        labels: Class indices (U,).
        speakers: Speaker indices (U,). Each speaker has the same total weight.
        ood_ratio: OOD score / median (U,), limited to 1 or more.

    Returns:
        The temperature at a ratio of 1, and the exponent.
    """
    candidates = []
    for exponent in _EXPONENTS:
        loss, temperature = _search_temperature(logits / ood_ratio[:, None] ** exponent, labels, speakers)
        candidates.append((loss, temperature, float(exponent)))
    _, temperature, exponent = min(candidates)
    return temperature, exponent


def _search_temperature(
    logits: Tensor, labels: Tensor, speakers: Tensor | None, smoothing: float = 0.0
) -> tuple[float, float]:
    """Return the smallest cross-entropy (summed over utterances or speakers) and its temperature."""
    temperatures = torch.logspace(np.log10(MIN_TEMPERATURE), np.log10(MAX_TEMPERATURE), N_TEMPERATURES)
    weight = torch.ones(len(labels))
    if speakers is not None:
        _, speaker_index, counts = torch.unique(speakers, return_inverse=True, return_counts=True)
        weight = 1 / counts[speaker_index].float()
    losses = torch.stack(
        [
            (weight * F.cross_entropy(logits / value, labels, reduction="none", label_smoothing=smoothing)).sum()
            for value in temperatures
        ]
    )
    return float(losses.min()), float(temperatures[losses.argmin()])
