"""Train one fold: build the model, fit it, calibrate it, and optionally fit it again with the validation utterances."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from kanjo.corpora.splits import Fold
from kanjo.evaluation.metrics import unweighted_average_recall
from kanjo.train.calibration.held_out_groups import Calibration, calibrate_on_held_out_groups
from kanjo.train.calibration.temperature import OodTemperature, fit_temperature
from kanjo.train.callbacks import EpochResult
from kanjo.train.cost_estimate import count_parameters
from kanjo.train.data.datasets import BatchDataset
from kanjo.train.data.experiment_data import ExperimentData
from kanjo.train.models.emotion_model import EmotionModel
from kanjo.train.tasks.base import PredictedLogits, Task, TaskPaths, TrainingModule
from kanjo.train.trainer import BestEpoch, TrainingPaths, run_trainer

log = logging.getLogger("kanjo")


@dataclass(frozen=True)
class FitPaths:
    """Files of training on one fold.

    Attributes:
        training: Files of the training.
        refit: Files of the second training, on training and validation utterances.
        task: Files that only models of two stages have.
    """

    training: TrainingPaths
    refit: TrainingPaths
    task: TaskPaths = field(default_factory=TaskPaths)


@dataclass(frozen=True)
class EnrolledResult:
    """Validation of a model with speaker conditioning, each speaker enrolled with all their other utterances."""

    temperature: float
    validation_uar: float


@dataclass(frozen=True)
class ValidationResult:
    """Validation of a model.

    Attributes:
        temperature: The temperature that minimizes the cross-entropy.
        validation_uar: UAR, 0 to 1.
        enrolled: The same with enrolled speakers (None: a model without speaker conditioning).
    """

    temperature: float
    validation_uar: float
    enrolled: EnrolledResult | None


@dataclass(frozen=True)
class TrainedModel:
    """A trained model. Temperature, epoch and UAR are from the training before a refit.

    Attributes:
        emotion_model: The model, in evaluation mode.
        temperature: Temperature of the softmax.
        best_epoch: The epoch whose weights were kept.
        validation_uar: UAR of that epoch on validation utterances, 0 to 1.
        minutes: Duration of training.
        enrolled: Validation with enrolled speakers (None: a model without speaker conditioning).
        before_refit: After a refit: the model that was not trained on validation utterances.
        ood_temperature: How the temperature grows with the out-of-distribution score (None: it doesn't).
    """

    emotion_model: EmotionModel
    temperature: float
    best_epoch: int
    validation_uar: float
    minutes: float
    enrolled: EnrolledResult | None = None
    before_refit: EmotionModel | None = None
    ood_temperature: OodTemperature | None = None


@dataclass(frozen=True)
class TrainingRun:
    """Everything that a training needs before its first step.

    Attributes:
        task: How the model is trained.
        emotion_model: The model with its initial weights.
        module: The Lightning module that trains it, or a part of it.
        train_loader: Training batches.
        validation_loader: Validation batches.
        validation_dataset: All validation items; of several processes, a loader has only a part of them.
    """

    task: Task
    emotion_model: EmotionModel
    module: TrainingModule
    train_loader: DataLoader[Any]
    validation_loader: DataLoader[Any]
    validation_dataset: BatchDataset[Any]


def fit(
    data: ExperimentData,
    fold: Fold,
    paths: FitPaths,
    *,
    resume: bool = False,
    threads: int = 0,
    progress: bool = False,
    refit: bool = True,
) -> TrainedModel:
    """Train a model on one fold.

    The epoch is chosen by validation UAR or another metric (``training.best_epoch_metric``), and the temperature by
    validation cross-entropy. Test utterances are not read.

    Args:
        data: Utterances, labels and recipe.
        fold: Indices of training and validation utterances.
        paths: Where files are written.
        resume: Go on from the last checkpoint, if there is one.
        threads: Number of threads (0: torch's default).
        progress: Show a progress bar.
        refit: Train again on training and validation utterances, if ``training.refit_on_train_val`` is true.

    Raises:
        KanjoError: A file can't be written.
        RecipeError: Settings that don't fit each other, or weights that can't be read.
    """
    if threads:
        torch.set_num_threads(threads)
    training = data.recipe.training
    refit = refit and training.refit_on_train_val
    run = build_training_run(data, fold, paths.training, paths.task, resume=resume)
    log.info("%s", _describe(run.emotion_model, data))
    # A refit ends where the schedule ends, so the first training must too, to have the same temperature.
    keep_last_epoch = run.task.keeps_last_epoch or training.keeps_last_epoch or (refit and training.anneals_to_zero)
    best = run_trainer(
        run.module,
        run.train_loader,
        run.validation_loader,
        paths.training,
        n_items=len(fold.train),
        keep_last_epoch=keep_last_epoch,
        resume=resume,
        progress=progress,
    )
    run.emotion_model.cpu().float().eval()
    result = validate(run.task.predict_logits(run.emotion_model, run.validation_dataset))
    minutes = best.minutes + run.module.preparation_seconds / 60
    trained = TrainedModel(
        run.emotion_model, result.temperature, best.epoch, best.validation_uar, minutes, result.enrolled
    )
    _log_result(trained, "last" if keep_last_epoch else "best")
    if not refit:
        return trained
    return refit_on_both(trained, data, fold, paths, keeps_last_epoch=keep_last_epoch, resume=resume, progress=progress)


def fit_without_calibration(
    data: ExperimentData, fold: Fold, paths: TrainingPaths, on_epoch_end: Callable[[EpochResult], None]
) -> BestEpoch:
    """Train a model of one stage on one fold, and return its best epoch only.

    Args:
        data: Utterances, labels and recipe.
        fold: Indices of training and validation utterances.
        paths: Where files are written.
        on_epoch_end: Called after each epoch. What it raises ends the training.
    """
    run = build_training_run(data, fold, paths)
    return run_trainer(
        run.module, run.train_loader, run.validation_loader, paths, n_items=len(fold.train), on_epoch_end=on_epoch_end
    )


def build_training_run(
    data: ExperimentData,
    fold: Fold,
    paths: TrainingPaths | None = None,
    task_paths: TaskPaths | None = None,
    *,
    resume: bool = False,
) -> TrainingRun:
    """Build the model with its initial weights, and what trains it.

    Args:
        data: Utterances, labels and recipe.
        fold: Indices of training and validation utterances.
        paths: Where an interrupted training has its checkpoints.
        task_paths: Files that only models of two stages have.
        resume: Leave out what the last checkpoint holds, if there is one.
    """
    task = data.recipe.model.create_task(data, fold, task_paths)
    emotion_model = task.build_model()
    task.prepare(emotion_model, resume=resume and paths is not None and paths.last_checkpoint.is_file())
    train, validation = task.datasets(emotion_model)
    module = task.training_module(emotion_model)
    return TrainingRun(task, emotion_model, module, *task.data_loaders(train, validation), validation)


def validate(predicted: PredictedLogits) -> ValidationResult:
    """Fit the temperature, and compute the UAR, on utterances that the model was not trained on."""
    temperature, score = _calibrate_and_score(predicted.logits, predicted)
    enrolled = None
    if predicted.enrolled_logits is not None:
        enrolled = EnrolledResult(*_calibrate_and_score(predicted.enrolled_logits, predicted))
    return ValidationResult(temperature, score, enrolled)


def _calibrate_and_score(logits: Tensor, predicted: PredictedLogits) -> tuple[float, float]:
    """Return the temperature that minimizes the cross-entropy, and the UAR."""
    temperature = fit_temperature(logits, predicted.labels, predicted.speakers)
    return temperature, unweighted_average_recall(predicted.labels.numpy(), logits.argmax(1).numpy())


def refit_on_both(
    first: TrainedModel,
    data: ExperimentData,
    fold: Fold,
    paths: FitPaths,
    *,
    keeps_last_epoch: bool,
    resume: bool,
    progress: bool,
) -> TrainedModel:
    """Train again on training and validation utterances, with no utterances left to choose the epoch by.

    If the first training kept its last epoch, the second has as many epochs; else it ends at the first one's best
    epoch. So both are trained alike, and the first one's temperature is right for the second, unless the recipe
    calibrates on held-out groups.

    Args:
        first: The model that was trained without the validation utterances.
        data: Utterances, labels and recipe.
        fold: Indices of training and validation utterances.
        paths: Where files are written.
        keeps_last_epoch: Whether the first training kept its last epoch.
        resume: Go on from the last checkpoint, if there is one.
        progress: Show a progress bar.
    """
    training = data.recipe.training
    both = replace(fold, train=tuple(sorted((*fold.train, *fold.validation))))
    log.info("refit on %d utterances, including the %d validation utterances", len(both.train), len(fold.validation))
    run = build_training_run(data, both, paths.refit, paths.task, resume=resume)
    if training.calibration == "held_out_groups":
        first = _with_calibration(first, calibrate_on_held_out_groups(run.emotion_model, data, both))
    last = run_trainer(
        run.module,
        run.train_loader,
        None,
        paths.refit,
        n_items=len(both.train),
        epochs=training.epochs if keeps_last_epoch else first.best_epoch,
        resume=resume,
        progress=progress,
    )
    minutes = first.minutes + last.minutes + run.module.preparation_seconds / 60
    emotion_model = run.emotion_model.cpu().float().eval()
    return replace(first, emotion_model=emotion_model, minutes=minutes, before_refit=first.emotion_model)


def _with_calibration(trained: TrainedModel, calibration: Calibration) -> TrainedModel:
    enrolled = trained.enrolled
    if enrolled:
        enrolled = replace(enrolled, temperature=calibration.temperature_enrolled)
    return replace(
        trained,
        temperature=calibration.temperature,
        ood_temperature=calibration.ood_temperature,
        enrolled=enrolled,
    )


def _log_result(trained: TrainedModel, kept: str) -> None:
    if trained.enrolled:
        log.info("with enrolled speakers: validation UAR %.1f %%", 100 * trained.enrolled.validation_uar)
    log.info(
        "%s epoch %d, validation UAR %.1f %%, temperature %.2f, %.1f minutes",
        kept,
        trained.best_epoch,
        100 * trained.validation_uar,
        trained.temperature,
        trained.minutes,
    )


def _describe(emotion_model: EmotionModel, data: ExperimentData) -> str:
    features = emotion_model.feature_extractor
    shape = (features.channels, features.n_mels, features.n_frames(data.recipe.audio.window))
    emotions = json.dumps(list(data.emotions))
    return f"{data.recipe.name}: {count_parameters(emotion_model):,} parameters, input {shape}, emotions {emotions}"
