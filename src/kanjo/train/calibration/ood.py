"""Out-of-distribution (OOD) score: how far an embedding lies from the embeddings of the training utterances.

The embeddings of the training windows lie near a subspace of few dimensions, spanned by their principal components.
The PCA residual is the part of an embedding outside this subspace. It is small for speech that is similar to the
training speech, also from new speakers, and large for music, noise, other languages and other channels. The score is
the length of this residual: the feature reconstruction error of Ndiour et al. 2020 (arXiv 2012.15082), without their
Gaussian model.

Embeddings of fine-tuned models are scaled to unit length first, because music and noise activate such a model less
than speech does: without scaling their residual is small (mobilenet detects 4 % of music and 5 % of noise without
scaling, 99 % and 100 % with it). Embeddings of a frozen encoder are not scaled, because the encoder was not trained
to ignore music and noise (it detects all of both without scaling, none with it).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from kanjo.corpora.splits import Fold

#: Dimensions of the subspace, at most.
N_COMPONENTS = 16
#: The score is 1 at this quantile of the squared residuals of the validation speakers' windows.
THRESHOLD_QUANTILE = 0.98
#: The scorer is fitted to at most this many utterances.
MAX_UTTERANCES = 1500
#: Lower bound of an embedding's norm, to avoid a division by zero.
MIN_NORM = np.float32(1e-6)
_MIN_RESIDUAL = 1e-9

Embeddings = npt.NDArray[np.float32]
#: Takes indices of utterances, returns their embeddings (U, D).
EmbedFunction = Callable[[Sequence[int]], Embeddings]


@dataclass(frozen=True)
class PcaResidualScorer:
    """Principal components of the training embeddings, and the scale of the OOD score.

    Attributes:
        mean: Mean of the training embeddings (D,).
        components: Orthonormal principal components (D, K).
        threshold: Squared residual at which the OOD score is 1.
        median: Median squared residual of the training embeddings.
        unit_norm: Whether embeddings are scaled to unit length first.
    """

    mean: Embeddings
    components: Embeddings
    threshold: float
    median: float
    unit_norm: bool = True

    @property
    def median_score(self) -> float:
        """Median OOD score of the training embeddings."""
        return float(np.sqrt(self.median / self.threshold))


def fit_ood_scorer(
    fold: Fold, embed: EmbedFunction, embed_before_refit: EmbedFunction | None = None, *, unit_norm: bool = True
) -> PcaResidualScorer:
    """Fit the scorer on training windows and its threshold on windows of the validation speakers.

    Args:
        fold: Gives the training and validation utterances.
        embed: Computes embeddings with the exported model.
        embed_before_refit: Computes embeddings with the same model before it was refitted on training and validation
            speakers together. The validation speakers are new to this model only, so it determines the threshold.
        unit_norm: Whether to scale embeddings to unit length first (see the module's description).
    """
    embed_held_out = embed_before_refit or embed
    training, held_out = (embed_held_out(evenly_spaced(indices)) for indices in (fold.train, fold.validation))
    scorer = fit_pca_residual(training, held_out, unit_norm=unit_norm)
    if embed_before_refit:
        train_and_validation = embed(evenly_spaced((*fold.train, *fold.validation)))
        scorer = replace(fit_pca_residual(train_and_validation, unit_norm=unit_norm), threshold=scorer.threshold)
    return scorer


def evenly_spaced(indices: Sequence[int]) -> list[int]:
    """Return at most ``MAX_UTTERANCES`` of the indices, evenly spaced."""
    return [indices[i] for i in np.linspace(0, len(indices) - 1, min(MAX_UTTERANCES, len(indices))).astype(int)]


def fit_pca_residual(
    training: Embeddings, held_out: Embeddings | None = None, *, unit_norm: bool = True
) -> PcaResidualScorer:
    """Fit principal components to training embeddings, and the threshold to held-out embeddings.

    Args:
        training: Embeddings of training windows (U, D).
        held_out: Embeddings of windows of other speakers (V, D). Default: the training embeddings.
        unit_norm: Whether to scale embeddings to unit length first.
    """
    held_out = training if held_out is None else held_out
    if unit_norm:
        training, held_out = _scale_to_unit_norm(training), _scale_to_unit_norm(held_out)
    mean = training.mean(0)
    _, _, axes = np.linalg.svd(training - mean, full_matrices=False)
    components = np.ascontiguousarray(axes[: max(1, min(N_COMPONENTS, len(axes) // 2))].T)
    residuals, held_out_residuals = (_squared_residuals(part - mean, components) for part in (training, held_out))
    return PcaResidualScorer(
        mean,
        components,
        threshold=max(float(np.quantile(held_out_residuals, THRESHOLD_QUANTILE)), _MIN_RESIDUAL),
        median=max(float(np.median(residuals)), _MIN_RESIDUAL),
        unit_norm=unit_norm,
    )


def ood_score(scorer: PcaResidualScorer, embeddings: Embeddings, unit: float | None = None) -> Embeddings:
    """Compute OOD scores.

    Args:
        scorer: A fitted scorer.
        embeddings: Embeddings (U, D), not scaled.
        unit: Squared residual at which the score is 1. Default: the scorer's threshold, as in the exported graph.

    Returns:
        Scores (U,), 0 or more.
    """
    if scorer.unit_norm:
        embeddings = _scale_to_unit_norm(embeddings)
    residuals = _squared_residuals(embeddings - scorer.mean, scorer.components)
    scores: Embeddings = np.sqrt(np.maximum(residuals, 0) / np.float32(scorer.threshold if unit is None else unit))
    return scores


def _scale_to_unit_norm(embeddings: Embeddings) -> Embeddings:
    """Divide each embedding by its Euclidean norm."""
    scaled: Embeddings = embeddings / np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), MIN_NORM)
    return scaled


def _squared_residuals(centered: Embeddings, components: Embeddings) -> Embeddings:
    """Squared length (U,) of what the components leave of centered embeddings (U, D)."""
    residuals: Embeddings = np.square(centered).sum(1) - np.square(centered @ components).sum(1)
    return residuals
