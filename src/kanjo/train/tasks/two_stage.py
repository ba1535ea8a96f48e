"""Train a model of two stages: stage 1 its CNN on single segments, stage 2 what follows the CNN, on utterances."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import Any

import lightning as L
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.utils.data import DataLoader

from kanjo import files
from kanjo.corpora.splits import Fold
from kanjo.errors import RecipeError
from kanjo.train.config.models import DcnnBlstmConfig
from kanjo.train.config.schema import Recipe
from kanjo.train.config.training import AugmentConfig, TrainingConfig
from kanjo.train.cost_estimate import (
    N_MEASURED_STEPS,
    Cost,
    count_parameters,
    measure_steps,
    measure_training_step,
    measure_validation_step,
    peak_memory_mb,
)
from kanjo.train.data.augmented_features import augmented_features
from kanjo.train.data.datasets import BatchDataset, FeatureBatch, SegmentBatch, SegmentDataset, WindowDataset
from kanjo.train.data.experiment_data import ExperimentData, class_weights, train_val_datasets
from kanjo.train.data.loaders import build_data_loader
from kanjo.train.data.segment_feature_cache import SegmentFeatureDataset, embed_segments, segment_feature_datasets
from kanjo.train.hardware import use_bf16
from kanjo.train.models.dcnn_blstm import DcnnBlstm
from kanjo.train.models.emotion_model import EmotionModel, build_emotion_model
from kanjo.train.models.pretrained_weights import weights_digest
from kanjo.train.tasks.base import PredictedLogits, Task, TrainingModule, load_pretrained_weights, predict_in_batches
from kanjo.train.tasks.end_to_end import EndToEndTask
from kanjo.train.trainer import BestEpoch, TrainingPaths, run_trainer

log = logging.getLogger("kanjo")


class TwoStageTask(Task):
    """Stage 2 on a frozen CNN: train what follows it, on features that are computed once."""

    def initialize(self, emotion_model: EmotionModel) -> None:
        """Load the CNN's weights from stage 1, or those that the recipe names."""
        _initialize_cnn(self, emotion_model)

    def datasets(self, emotion_model: EmotionModel) -> tuple[SegmentFeatureDataset, SegmentFeatureDataset]:
        """Compute the segments' features, or read them from the cache.

        Raises:
            KanjoError: The cache can't be written.
        """
        if self.paths.segment_features is None:
            raise RecipeError(f"{self.recipe.name} needs a folder for the features of its segments")
        train, validation = segment_feature_datasets(
            emotion_model,
            train_val_datasets(self.data, self.fold),
            self.paths.segment_features,
            use_bf16(self.training.precision),
        )
        return train, validation

    def training_module(self, emotion_model: EmotionModel) -> UtteranceHeadModule:
        """Build the Lightning module that trains what follows the CNN."""
        return UtteranceHeadModule(emotion_model.model.head, self.n_emotions, self.training, self.class_weights())

    def predict_logits(self, emotion_model: EmotionModel, dataset: BatchDataset[Any]) -> PredictedLogits:
        """Predict the logits of segment features."""
        loader = build_data_loader(dataset, self.training.batch_size, shuffle=False)
        return predict_in_batches(self.training_module(emotion_model), loader)

    def estimate_cost(self) -> Cost:
        """Estimate the cost of both stages from a few steps, and from the features of a few windows."""
        stage1_minutes = _estimate_stage1_minutes(self.data, self.fold)
        emotion_model = self.build_model()
        self.prepare(emotion_model)
        train, validation = train_val_datasets(self.data, self.fold)
        batch_size, bf16 = self.training.batch_size, use_bf16(self.training.precision)
        n_batches, n_validation_batches = (ceil(len(dataset) / batch_size) for dataset in (train, validation))
        windows = build_data_loader(train, batch_size, shuffle=False)
        emotion_model.model.extractor.eval()
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            seconds_per_batch = measure_steps(lambda batch: embed_segments(emotion_model, batch["signal"]), windows)
        module = self.training_module(emotion_model)
        segments, feature_size = emotion_model.model.segments, emotion_model.model.extractor.embedding_size
        batch: FeatureBatch = {
            "features": torch.zeros((batch_size, segments.n_segments, feature_size), dtype=torch.float16),
            "count": torch.full((batch_size,), segments.n_segments),
            "label": torch.zeros(batch_size, dtype=torch.long),
        }
        batches = [batch] * (N_MEASURED_STEPS + 1)
        step = measure_training_step(module, batches, bf16=bf16)
        validation_seconds = n_validation_batches * measure_validation_step(module, batches, bf16=bf16)
        epochs = self.training.epochs * (n_batches * step + validation_seconds)
        minutes = stage1_minutes + (epochs + (n_batches + n_validation_batches) * seconds_per_batch) / 60
        return Cost(count_parameters(emotion_model), n_batches, step, minutes, peak_memory_mb(), stage1_minutes)


class UnfrozenTwoStageTask(EndToEndTask):
    """Stage 2 on a CNN that is trained further (``model.freeze: false``): train all layers together."""

    def initialize(self, emotion_model: EmotionModel) -> None:
        """Load the CNN's weights from stage 1, or those that the recipe names."""
        _initialize_cnn(self, emotion_model)

    def estimate_cost(self) -> Cost:
        """Estimate the cost of both stages from a few training and validation steps."""
        stage1_minutes, cost = _estimate_stage1_minutes(self.data, self.fold), super().estimate_cost()
        return replace(cost, minutes=cost.minutes + stage1_minutes, stage1_minutes=stage1_minutes)


class SegmentCnnModule(TrainingModule):
    """Stage 1: trains the CNN on segments that have the labels of their utterances.

    Args:
        emotion_model: The model.
        n_emotions: Number E of emotions.
        training: The recipe's stage1 section.
        augment: The recipe's augment section.
        class_weights: Weights (E,) of the emotions in the loss.
    """

    def __init__(
        self,
        emotion_model: EmotionModel,
        n_emotions: int,
        training: TrainingConfig,
        augment: AugmentConfig,
        class_weights: Tensor | None,
    ) -> None:
        super().__init__(n_emotions, training, class_weights)
        self.extractor, self.augment = emotion_model.model.extractor, augment
        # In a list, so that the layers that are not trained here are no part of this module and its checkpoints.
        self._emotion_model = [emotion_model]

    def on_fit_start(self) -> None:
        """Move the layers that are not part of this module too."""
        self._emotion_model[0].to(self.device)

    def logits(self, batch: SegmentBatch) -> Tensor:
        """Compute logits (B, E) of a batch that is not augmented."""
        return self._segment_logits(*self._emotion_model[0].features(batch["signal"]), batch)

    def training_logits(self, batch: SegmentBatch) -> tuple[Tensor, Tensor]:
        """Augment a batch, and compute its logits and targets."""
        features, frames = augmented_features(self._emotion_model[0], batch, self.augment)
        return self._segment_logits(features, frames, batch), self.targets(batch["label"])

    def _segment_logits(self, features: Tensor, frames: Tensor, batch: SegmentBatch) -> Tensor:
        model: DcnnBlstm = self._emotion_model[0].model
        # A clip that is sped up may have fewer segments than the original clip, whose segments were counted.
        segment = torch.minimum(batch["segment"], model.segments.count(frames)[batch["row"]] - 1)
        return self.extractor(model.images(features, batch["row"], segment))  # type: ignore[no-any-return]


class UtteranceHeadModule(TrainingModule):
    """Stage 2 on a frozen CNN: trains what follows the CNN, on precomputed segment features."""

    def __init__(
        self, head: nn.Module, n_emotions: int, training: TrainingConfig, class_weights: Tensor | None
    ) -> None:
        super().__init__(n_emotions, training, class_weights)
        self.head = head

    def logits(self, batch: FeatureBatch) -> Tensor:
        """Compute logits (B, E) of a batch that is not augmented."""
        return self.head(batch["features"].float(), batch["count"])[0]  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Stage1Paths:
    """Files of stage 1.

    Attributes:
        training: Metrics, checkpoints and logs.
        weights: The trained CNN, a safetensors file.
    """

    training: TrainingPaths
    weights: Path


@dataclass(frozen=True)
class Stage1Result:
    """The trained CNN, and its predictions for the S validation segments.

    Attributes:
        path: File of its weights.
        best: The epoch that was kept.
        labels: Classes (S,).
        probabilities: Probabilities (S, E).
        speakers: Speakers (S,).
    """

    path: Path
    best: BestEpoch
    labels: tuple[int, ...]
    probabilities: tuple[tuple[float, ...], ...]
    speakers: tuple[str, ...]


def train_stage1(
    data: ExperimentData,
    fold: Fold,
    paths: Stage1Paths,
    *,
    resume: bool = False,
    threads: int = 0,
    progress: bool = False,
) -> Stage1Result:
    """Train the CNN on single segments, and keep its best epoch. Checkpoints are removed at the end.

    Args:
        data: Utterances, labels and recipe.
        fold: Indices of training and validation utterances.
        paths: Where files are written.
        resume: Go on from the last checkpoint, if there is one.
        threads: Number of threads (0: torch's default).
        progress: Show a progress bar.

    Raises:
        RecipeError: The recipe has no stage 1.
        KanjoError: A file can't be written.
    """
    recipe, training = data.recipe, data.recipe.stage1
    if training is None:
        raise RecipeError(f"{recipe.name} has no stage 1; add a section 'stage1' to the recipe")
    if threads:
        torch.set_num_threads(threads)
    L.seed_everything(training.seed, verbose=False)
    emotion_model = build_emotion_model(recipe, len(data.emotions))
    cnn: nn.Module = emotion_model.model.extractor
    load_pretrained_weights(cnn, recipe.model.weights, recipe.model.pretrained)
    log.info("stage 1: %s weights, %d parameters", recipe.model.weights, count_parameters(cnn))
    train, validation = _segment_datasets(emotion_model, data, fold)
    weights = class_weights(data, fold) if training.balance == "class_weights" else None
    module = SegmentCnnModule(emotion_model, len(data.emotions), training, recipe.augment, weights)
    train_loader, validation_loader = _segment_loaders(train, validation, training)
    best = run_trainer(
        module,
        train_loader,
        validation_loader,
        paths.training,
        n_items=train.n_segments,
        item_name="segments",
        resume=resume,
        progress=progress,
    )
    emotion_model.cpu()
    predicted = predict_in_batches(module, validation_loader)
    _save_cnn(paths.weights, cnn, data, fold, best)
    shutil.rmtree(paths.training.checkpoints, ignore_errors=True)
    return Stage1Result(
        paths.weights,
        best,
        tuple(predicted.labels.tolist()),
        tuple(tuple(row) for row in predicted.logits.softmax(1).tolist()),
        _segment_speakers(data, validation),
    )


def stage1_key(data: ExperimentData, fold: Fold) -> str:
    """Compute a digest of everything that the trained CNN depends on: recordings, labels, fold and recipe sections."""
    recipe, model = data.recipe, _two_stage_config(data.recipe)
    sections = [recipe.audio, recipe.features, recipe.augment, recipe.stage1]
    content = [
        [section.model_dump(mode="json") if section else None for section in sections],
        model.segment.model_dump(),
        model.extractor_dropout,
        weights_digest(model.weights),
        [data.audio_cache.folder.name, data.emotions, data.labels, fold.train, fold.validation],
    ]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def find_stage1_weights(data: ExperimentData, fold: Fold, candidates: Iterable[Path]) -> Path | None:
    """Return the first of the files that stage 1 of this recipe has written on this fold (None: there is none)."""
    key = stage1_key(data, fold)
    return next((path for path in candidates if _read_metadata(path).get("key") == key), None)


def stage1_minutes(weights: Path) -> float:
    """Return how long stage 1 took that wrote a file of weights (0: unknown)."""
    return float(_read_metadata(weights).get("minutes", 0))


def count_segments(emotion_model: EmotionModel, windows: WindowDataset) -> list[int]:
    """Count the segments of each window, without augmentation."""
    lengths = []
    for index in windows.indices:
        nonzero = windows.audio_cache.signal(index)[: windows.window].nonzero()[0]
        speech_length = int(nonzero[-1]) + 1 if len(nonzero) else 0
        lengths.append(speech_length if emotion_model.feature_extractor.mask_padding else windows.window)
    frames = torch.tensor([emotion_model.feature_extractor.n_frames(length) for length in lengths])
    return [int(count) for count in emotion_model.model.segments.count(frames)]


def _two_stage_config(recipe: Recipe) -> DcnnBlstmConfig:
    if recipe.model.n_stages == 1:
        raise RecipeError(f"{recipe.name}: model {recipe.model.type} has no stage 1")
    return recipe.model  # type: ignore[return-value]  # the only model of two stages


def _initialize_cnn(task: Task, emotion_model: EmotionModel) -> None:
    """Load the CNN's weights from stage 1, or those that the recipe names."""
    config = task.recipe.model
    source = str(task.paths.stage1_weights or config.weights)
    load_pretrained_weights(emotion_model.model.extractor, source, config.pretrained)


def _estimate_stage1_minutes(data: ExperimentData, fold: Fold) -> float:
    """Estimate the duration of stage 1 from a few steps; 0 for recipes without it."""
    training = data.recipe.stage1
    if training is None:
        return 0.0
    emotion_model = build_emotion_model(data.recipe, len(data.emotions))
    train, validation = _segment_datasets(emotion_model, data, fold)
    module = SegmentCnnModule(emotion_model, len(data.emotions), training, data.recipe.augment, None)
    train_loader, validation_loader = _segment_loaders(train, validation, training)
    bf16 = use_bf16(training.precision)
    seconds = len(train_loader) * measure_training_step(module, train_loader, bf16=bf16)
    seconds += len(validation_loader) * measure_validation_step(module, validation_loader, bf16=bf16)
    return training.epochs * seconds / 60


def _save_cnn(path: Path, cnn: nn.Module, data: ExperimentData, fold: Fold, best: BestEpoch) -> None:
    """Save the CNN's weights, with metadata that :func:`find_stage1_weights` and :func:`stage1_minutes` read."""
    metadata = {
        "key": stage1_key(data, fold),
        "recipe": data.recipe.name,
        "validation_uar": f"{best.validation_uar:.6f}",
        "minutes": f"{best.minutes:.6f}",
    }
    state = {key: value.contiguous() for key, value in cnn.state_dict().items()}
    with files.atomic_write(path) as temporary:
        temporary.write_bytes(save(state, metadata))
    uar_percent = 100 * best.validation_uar
    log.info(
        "stage 1: best epoch %d, validation UAR of segments %.1f %%, %.1f minutes",
        best.epoch,
        uar_percent,
        best.minutes,
    )


def _segment_datasets(
    emotion_model: EmotionModel, data: ExperimentData, fold: Fold
) -> tuple[SegmentDataset, SegmentDataset]:
    """Build the datasets of the segments of training and of validation windows."""
    train, validation = train_val_datasets(data, fold)
    return (
        SegmentDataset(train, count_segments(emotion_model, train)),
        SegmentDataset(validation, count_segments(emotion_model, validation)),
    )


def _segment_loaders(
    train: SegmentDataset, validation: SegmentDataset, training: TrainingConfig
) -> tuple[DataLoader[Any], DataLoader[Any]]:
    """Build the data loaders of training and of validation segments."""
    train_loader = build_data_loader(
        train,
        train.n_groups(training.batch_size),
        shuffle=True,
        seed=training.seed,
        balance_classes=training.balance == "class_sampling",
    )
    return train_loader, build_data_loader(validation, validation.n_groups(training.batch_size), shuffle=False)


def _segment_speakers(data: ExperimentData, segments: SegmentDataset) -> tuple[str, ...]:
    return tuple(
        data.utterances[segments.windows.indices[window]].speaker_key
        for window, group in segments.groups
        for _ in group
    )


def _read_metadata(path: Path) -> dict[str, str]:
    """Metadata of a safetensors file; empty if it can't be read."""
    try:
        with safe_open(path, "pt") as content:
            return dict(content.metadata() or {})
    except (OSError, SafetensorError):
        return {}
