"""Calibration of a linear probe on held-out groups: groups of speakers, and corpora.

Users of a bundle are not among its training speakers, and their recordings mostly come from another corpus. So the
temperatures (kanjo.train.calibration.temperature) are fitted to predictions for speakers and corpora that the
classifier was not trained on.
"""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from kanjo.corpora.splits import Fold, make_folds
from kanjo.train.calibration.ood import evenly_spaced, fit_pca_residual, ood_score
from kanjo.train.calibration.temperature import OodTemperature, fit_ood_temperature
from kanjo.train.data.embedding_cache import EncoderEmbeddings, compute_embeddings
from kanjo.train.data.experiment_data import ExperimentData
from kanjo.train.models.emotion_model import EmotionModel
from kanjo.train.tasks.linear_probe import LinearProbeTask, fit_lbfgs

log = logging.getLogger("kanjo")

_N_GROUPS = 5
_MAX_RATIO_QUANTILE = 0.98
#: Logit of an emotion that the training utterances do not have.
_ABSENT_LOGIT = -1e4


@dataclass(frozen=True)
class Calibration:
    """Temperatures at the median OOD score, without and with enrollment, and how they grow with the score."""

    temperature: float
    temperature_enrolled: float
    ood_temperature: OodTemperature


@dataclass(frozen=True)
class _HeldOutPredictions:
    """Predictions for utterances (U,) of a held-out group.

    ``logits`` and ``logits_enrolled`` (U, E), ``label`` and ``speaker`` (U,), ``ood_ratio`` (U,): OOD score / median.
    """

    logits: Tensor
    logits_enrolled: Tensor
    label: Tensor
    speaker: Tensor
    ood_ratio: Tensor


def calibrate_on_held_out_groups(model: EmotionModel, data: ExperimentData, fold: Fold) -> Calibration:
    """Calibrate on all training speakers by cross-validation over groups of speakers and over corpora.

    The classifier is fitted without each group in turn, because users of a bundle are not among its training speakers,
    and their recordings mostly come from another corpus.

    Args:
        model: The model before its classifier is fitted. It is not changed.
        data: The experiment's data.
        fold: The fold whose training side has all utterances that may be used (training and validation).
    """
    start, embeddings = time.monotonic(), compute_embeddings(model, data)
    groups = [_predict_held_out(model, data, group, embeddings) for group in _held_out_groups(data, fold)]
    label, speaker, ood_ratio = (
        torch.cat([getattr(group, name) for group in groups]) for name in ("label", "speaker", "ood_ratio")
    )
    max_ratio = max(1.0, float(ood_ratio.quantile(_MAX_RATIO_QUANTILE)))
    ood_ratio = ood_ratio.clamp(1, max_ratio)
    temperature, exponent = fit_ood_temperature(
        torch.cat([group.logits for group in groups]), label, speaker, ood_ratio
    )
    temperature_enrolled, exponent_enrolled = fit_ood_temperature(
        torch.cat([group.logits_enrolled for group in groups]), label, speaker, ood_ratio
    )
    log.info(
        "calibrated on %d held-out speakers: temperature %.2f, OOD exponent %.1f up to %.2f x median score (%.1f s)",
        len(torch.unique(speaker)),
        temperature,
        exponent,
        max_ratio,
        time.monotonic() - start,
    )
    return Calibration(temperature, temperature_enrolled, OodTemperature(max_ratio, exponent, exponent_enrolled))


def _held_out_groups(data: ExperimentData, fold: Fold) -> Iterator[Fold]:
    """Yield folds whose validation speakers, or validation corpus, have no training utterances.

    Where speakers are unknown, the groups are random utterances. Validation utterances of an emotion without training
    utterances are left out.
    """
    rows = [data.utterances[i] for i in fold.train]
    speakers = {row.speaker_key for row in rows}
    protocol, n_groups = "speaker_kfold", min(_N_GROUPS, len(speakers))
    if "" in speakers or len(speakers) < 2:
        protocol, n_groups = "speaker_dependent", min(_N_GROUPS, len(rows))
    groups = [*make_folds(rows, protocol, n_folds=n_groups, seed=data.recipe.training.seed)]
    if len({row.corpus for row in rows}) > 1:
        groups += make_folds(rows, "leave_one_corpus_out")
    for group in groups:
        held_out = {fold.train[i] for i in group.test}
        train = tuple(i for i in fold.train if i not in held_out)
        train_labels = {data.labels[i] for i in train}
        validation = tuple(i for i in fold.train if i in held_out and data.labels[i] in train_labels)
        yield replace(fold, train=train, validation=validation)


def _predict_held_out(
    model: EmotionModel, data: ExperimentData, group: Fold, embeddings: EncoderEmbeddings
) -> _HeldOutPredictions:
    """Fit the classifier to the group's training utterances and predict its validation utterances."""
    model = copy.deepcopy(model)
    task = LinearProbeTask(data, group, embeddings=embeddings)
    task.prepare(model)
    train, validation = task.datasets(model)
    classifier = fit_lbfgs(task.training_module(model), train, data.recipe.training.epochs)
    absent = torch.full((len(data.emotions),), _ABSENT_LOGIT)
    absent[sorted({data.labels[i] for i in group.train})] = 0
    original = train.embedding[: len(group.train)]  # the augmented copies follow them
    scorer = fit_pca_residual(original[evenly_spaced(range(len(original)))].numpy(), unit_norm=False)
    with torch.inference_mode():
        logits = classifier.classify(validation.embedding)
        logits_enrolled = classifier.classify(
            validation.embedding, validation.speaker_mean, validation.has_speaker_mean
        )
    ood_ratio = torch.from_numpy(ood_score(scorer, validation.embedding.numpy(), unit=scorer.median))
    return _HeldOutPredictions(
        logits + absent, logits_enrolled + absent, validation.label, validation.speaker, ood_ratio
    )
