"""Project the embeddings of utterances to two dimensions, for a figure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from kanjo.errors import requires_extra
from kanjo.evaluation.evaluate import ScoredUtterance
from kanjo.evaluation.reports.figures import plot_embeddings
from kanjo.evaluation.reports.rendering import RenderedFigure

#: t-SNE is fitted on a random sample if there are more utterances than this.
MAX_POINTS = 2000
MIN_POINTS = 10
#: Principal components that t-SNE receives; it keeps 30 neighbors, so that more components change little.
_N_COMPONENTS = 30


def draw_embeddings(utterances: Sequence[ScoredUtterance]) -> RenderedFigure | None:
    """Draw the embeddings of utterances; None if fewer than ten utterances have an embedding."""
    candidates = [utterance for utterance in utterances if utterance.embedding is not None]
    if len(candidates) < MIN_POINTS:
        return None
    if len(candidates) > MAX_POINTS:
        chosen = np.random.default_rng(0).choice(len(candidates), MAX_POINTS, replace=False)
        candidates = [candidates[i] for i in np.sort(chosen)]
    embeddings = np.stack([u.embedding for u in candidates if u.embedding is not None]).astype(np.float64)
    method = "t-SNE"
    if len(candidates) < len(utterances):
        method += f", {len(candidates)} of {len(utterances)}"
    return plot_embeddings(
        fit_tsne(embeddings),
        [utterance.emotion for utterance in candidates],
        [utterance.speaker for utterance in candidates],
        method,
    )


def fit_tsne(embeddings: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Project embeddings (U, D) to points (U, 2) with t-SNE, which starts from the first two principal components."""
    with requires_extra("evaluation", "the map of the embeddings needs scikit-learn"):
        from sklearn.manifold import TSNE

    centered = embeddings - embeddings.mean(0)
    left, singular_values, _ = np.linalg.svd(centered, full_matrices=False)
    components = left * singular_values
    start = 1e-4 * components[:, :2] / max(float(components[:, 0].std()), 1e-12)
    perplexity = min(30.0, (len(centered) - 1) / 3)
    tsne = TSNE(2, perplexity=perplexity, init=start, random_state=0)
    return np.asarray(tsne.fit_transform(components[:, :_N_COMPONENTS]))
