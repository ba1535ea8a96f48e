"""The OOD score on synthetic embeddings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from kanjo.corpora.splits import Fold
from kanjo.train.calibration.ood import (
    MAX_UTTERANCES,
    N_COMPONENTS,
    THRESHOLD_QUANTILE,
    Embeddings,
    evenly_spaced,
    fit_ood_scorer,
    fit_pca_residual,
    ood_score,
)


def _embeddings(n: int = 400, seed: int = 0) -> Embeddings:
    """Embeddings (n, 60) whose variance falls from dimension to dimension."""
    scale = np.linspace(3, 0.1, 60, dtype=np.float32)
    return np.random.default_rng(seed).normal(size=(n, 60)).astype(np.float32) * scale


def test_fit_pca_residual_components_match_scikit_learn() -> None:
    from sklearn.decomposition import PCA

    embeddings = _embeddings()
    scorer = fit_pca_residual(embeddings, unit_norm=False)
    expected = PCA(N_COMPONENTS, svd_solver="full").fit(embeddings)
    assert scorer.components.shape == (60, N_COMPONENTS)
    cosines = np.abs((scorer.components.T * expected.components_).sum(1))
    np.testing.assert_allclose(cosines, 1, atol=1e-3)


def test_ood_score_unit_median_is_one_at_training_median() -> None:
    embeddings = _embeddings()
    scorer = fit_pca_residual(embeddings, unit_norm=False)
    assert np.median(ood_score(scorer, embeddings, unit=scorer.median)) == pytest.approx(1, abs=0.01)
    assert ood_score(scorer, embeddings + 3, unit=scorer.median).min() > 2
    assert np.median(ood_score(scorer, embeddings)) == pytest.approx(scorer.median_score, rel=0.01)


@pytest.mark.parametrize("unit_norm", [True, False])
def test_ood_score_is_below_one_for_quantile_of_held_out(unit_norm: bool) -> None:
    held_out = 1.2 * _embeddings(seed=1)
    scorer = fit_pca_residual(_embeddings(), held_out, unit_norm=unit_norm)
    assert np.mean(ood_score(scorer, held_out) <= 1) == pytest.approx(THRESHOLD_QUANTILE, abs=0.01)


def test_ood_score_unit_norm_ignores_scale_of_embeddings() -> None:
    embeddings = _embeddings()
    scaled, unscaled = (fit_pca_residual(embeddings, unit_norm=unit_norm) for unit_norm in (True, False))
    np.testing.assert_allclose(ood_score(scaled, 5 * embeddings), ood_score(scaled, embeddings), rtol=1e-3, atol=1e-3)
    assert ood_score(unscaled, 5 * embeddings).min() > 2 * ood_score(unscaled, embeddings).min()


def test_fit_ood_scorer_after_refit_takes_threshold_of_model_before_refit() -> None:
    fold = Fold(1, "fold 1", tuple(range(100)), tuple(range(100, 150)), ())
    before, after = _embeddings(150, seed=2), _embeddings(150, seed=3)

    def embed_before(indices: Sequence[int]) -> Embeddings:
        return before[list(indices)]

    def embed_after(indices: Sequence[int]) -> Embeddings:
        return after[list(indices)]

    scorer = fit_ood_scorer(fold, embed_after, embed_before)
    assert scorer.threshold == fit_ood_scorer(fold, embed_before).threshold
    np.testing.assert_array_equal(scorer.mean, fit_pca_residual(after).mean)
    assert scorer.threshold != fit_ood_scorer(fold, embed_after).threshold


def test_evenly_spaced_limits_number_and_keeps_ends() -> None:
    assert evenly_spaced([3, 5, 9]) == [3, 5, 9]
    chosen = evenly_spaced(range(10 * MAX_UTTERANCES))
    assert len(chosen) == MAX_UTTERANCES and chosen[0] == 0 and chosen[-1] == 10 * MAX_UTTERANCES - 1
