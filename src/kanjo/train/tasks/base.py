"""What all tasks share: the interface of a task, and the Lightning module that does the steps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, cast

import lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from kanjo.corpora.splits import Fold
from kanjo.train.config.training import TrainingConfig
from kanjo.train.cost_estimate import Cost
from kanjo.train.data.datasets import BatchDataset
from kanjo.train.data.experiment_data import (
    ExperimentData,
    class_weights,
    feature_mean_std,
    label_mask_per_corpus,
    sampling_weights,
)
from kanjo.train.data.loaders import build_data_loader
from kanjo.train.distributed import all_gather, is_distributed, loss_scale
from kanjo.train.features.log_mel import LogMel
from kanjo.train.models.emotion_model import EmotionModel, build_emotion_model
from kanjo.train.models.pretrained_weights import PUBLISHED, read_weights
from kanjo.train.tasks.optimizers import build_lr_scheduler, build_optimizer
from kanjo.train.warm_start import initialize_from_bundle

#: Logit of emotions that an utterance's corpus doesn't have.
MASKED_LOGIT = -1e4


@dataclass(frozen=True)
class TaskPaths:
    """Files of a model of two stages; other tasks need none.

    Attributes:
        stage1_weights: Weights of the CNN from stage 1 (None: those that the recipe names).
        segment_features: Folder that caches the features of the segments.
    """

    stage1_weights: Path | None = None
    segment_features: Path | None = None


@dataclass(frozen=True)
class PredictedLogits:
    """Logits that a model predicts for utterances.

    Attributes:
        logits: Logits (U, E).
        labels: Classes (U,).
        speakers: Speakers (U,), -1 if unknown (None: speakers are not distinguished).
        enrolled_logits: With speaker conditioning: logits (U, E), given the mean embedding of each speaker's other
            utterances.
    """

    logits: Tensor
    labels: Tensor
    speakers: Tensor | None = None
    enrolled_logits: Tensor | None = None


class Task(ABC):
    """How a kind of model is trained on a fold.

    Call the methods in this order: :meth:`build_model`, :meth:`prepare`, :meth:`datasets`, :meth:`training_module`.

    Args:
        data: Utterances, labels and recipe.
        fold: Indices of training and validation utterances. Test utterances are not used.
        paths: Files that only some tasks have.

    Attributes:
        keeps_last_epoch: Whether the last epoch is the best by definition, as where a minimum is searched.
    """

    keeps_last_epoch: ClassVar[bool] = False

    def __init__(self, data: ExperimentData, fold: Fold, paths: TaskPaths | None = None) -> None:
        self.data, self.fold, self.paths = data, fold, paths or TaskPaths()
        self.recipe, self.training, self.n_emotions = data.recipe, data.recipe.training, len(data.emotions)

    def build_model(self) -> EmotionModel:
        """Seed the random generators, and build the model with its initial weights.

        Raises:
            RecipeError: Settings that don't fit each other, or weights that can't be read.
            BundleError: The bundle to start from is damaged.
        """
        L.seed_everything(self.training.seed, verbose=False)
        emotion_model = build_emotion_model(self.recipe, self.n_emotions)
        self.initialize(emotion_model)
        return emotion_model

    def initialize(self, emotion_model: EmotionModel) -> None:
        """Load the weights that training starts from: a bundle's, or pre-trained ones."""
        if self.recipe.init_from:
            initialize_from_bundle(emotion_model, self.data, self.fold)
        else:
            load_pretrained_weights(emotion_model.model, self.recipe.model.weights, self.recipe.model.pretrained)

    def prepare(self, emotion_model: EmotionModel, *, resume: bool = False) -> None:
        """Compute what depends on the training set but is not trained, such as the features' mean and deviation.

        Args:
            emotion_model: The model.
            resume: Leave out what a checkpoint holds.
        """
        if self.recipe.features.needs_statistics and not self.recipe.init_from and not resume:
            log_mel = cast(LogMel, emotion_model.feature_extractor)
            log_mel.set_statistics(*feature_mean_std(log_mel, self.data, self.fold))

    @abstractmethod
    def datasets(self, emotion_model: EmotionModel) -> tuple[BatchDataset[Any], BatchDataset[Any]]:
        """Build the training and the validation dataset."""

    @abstractmethod
    def training_module(self, emotion_model: EmotionModel) -> TrainingModule:
        """Build the Lightning module that trains the model, or a part of it."""

    @abstractmethod
    def predict_logits(self, emotion_model: EmotionModel, dataset: BatchDataset[Any]) -> PredictedLogits:
        """Predict a dataset's logits with a model in evaluation mode."""

    @abstractmethod
    def estimate_cost(self) -> Cost:
        """Estimate the cost of training, by measuring a few steps."""

    def data_loaders(
        self, train: BatchDataset[Any], validation: BatchDataset[Any]
    ) -> tuple[DataLoader[Any], DataLoader[Any]]:
        """Build the data loaders of a training and a validation dataset."""
        training = self.training
        train_loader = build_data_loader(
            train,
            training.batch_size,
            shuffle=True,
            seed=training.seed,
            balance_classes=training.balance == "class_sampling",
            sample_weights=self.sampling_weights(),
            distributed=True,
        )
        return train_loader, build_data_loader(validation, training.batch_size, shuffle=False, distributed=True)

    def class_weights(self) -> Tensor | None:
        """Weights (E,) of the emotions in the loss, if the recipe wants them."""
        return class_weights(self.data, self.fold) if self.training.balance == "class_weights" else None

    def label_mask(self) -> Tensor | None:
        """Which emotions each corpus has, bool (corpora, E), if the recipe masks the others."""
        return label_mask_per_corpus(self.data, self.fold) if self.training.mask_missing_labels else None

    def sampling_weights(self) -> list[float] | None:
        """Weight of each training utterance in sampling, if the recipe balances corpora and emotions."""
        balanced = self.training.balance == "corpus_class_sampling"
        return sampling_weights(self.data, self.fold) if balanced else None


class TrainingModule(L.LightningModule, ABC):
    """Cross-entropy training of the parameters that require a gradient.

    It logs loss, UAR and accuracy of each epoch, such as ``train/loss`` and ``validation/uar``.

    Args:
        n_emotions: Number E of emotions.
        training: The recipe's training section.
        class_weights: Weights (E,) of the emotions in the loss.

    Attributes:
        preparation_seconds: Time that was spent on computations before the first epoch.
    """

    preparation_seconds: float = 0.0
    class_weights: Tensor | None

    def __init__(self, n_emotions: int, training: TrainingConfig, class_weights: Tensor | None) -> None:
        super().__init__()
        self.n_emotions, self.training_settings = n_emotions, training
        self.register_buffer("class_weights", class_weights, persistent=False)
        self._results: dict[str, list[tuple[Tensor, Tensor, Tensor]]] = {"train": [], "validation": []}

    @abstractmethod
    def logits(self, batch: Any) -> Tensor:
        """Compute logits (B, E) of a batch that is not augmented."""

    def training_logits(self, batch: Any) -> tuple[Tensor, Tensor]:
        """Augment a batch, and compute its logits.

        Returns:
            Logits and targets, both (B or more, E). The first B rows are the batch's items in their order.
        """
        return self.logits(batch), self.targets(batch["label"])

    def targets(self, labels: Tensor, label_mask: Tensor | None = None) -> Tensor:
        """Build targets (B, E) with label smoothing.

        Args:
            labels: Classes (B,).
            label_mask: Emotions to smooth over, bool (B, E) (None: all).
        """
        smoothing = self.training_settings.label_smoothing
        one_hot = F.one_hot(labels, self.n_emotions)
        allowed = torch.ones_like(one_hot) if label_mask is None else label_mask
        return (1 - smoothing) * one_hot + smoothing * allowed / allowed.sum(1, keepdim=True)

    def training_step(self, batch: Any, _: int) -> Tensor:
        """Compute the loss of a training batch."""
        logits, targets = self.training_logits(batch)
        logits = logits.float()
        loss = F.cross_entropy(logits, targets, weight=self.class_weights)
        self.add_results("train", loss, batch["label"], logits[: len(batch["label"])])
        return loss * loss_scale(len(logits), loss.device)

    def validation_step(self, batch: Any, _: int) -> None:
        """Keep the loss and the predictions of a validation batch."""
        logits = self.logits(batch).float()
        loss = F.cross_entropy(logits, batch["label"], weight=self.class_weights)
        self.add_results("validation", loss, batch["label"], logits)

    def on_train_batch_end(self, *_: Any) -> None:
        """Log the epoch's training scores, if there is no validation."""
        if self.trainer.is_last_batch and not self.trainer.enable_validation:
            self._log_epoch("train")

    def on_validation_epoch_end(self) -> None:
        """Log the epoch's training and validation scores."""
        # All training steps of the epoch are done here, and callbacks run before on_train_epoch_end of the module.
        self._log_epoch("train")
        self._log_epoch("validation")

    def configure_optimizers(self) -> Any:
        """Build the optimizer and the learning-rate schedule."""
        optimizer = build_optimizer(self.parameters(), self.training_settings)
        scheduler = build_lr_scheduler(
            optimizer, self.training_settings, lambda: int(self.trainer.estimated_stepping_batches)
        )
        return optimizer if scheduler is None else {"optimizer": optimizer, "lr_scheduler": scheduler}

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: Any = None, gradient_clip_algorithm: Any = None
    ) -> None:
        """Clip the norm of the gradient."""
        # Lightning's own method refuses fused optimizers because of the gradient scaler, which bfloat16 doesn't need.
        if gradient_clip_val:
            torch.nn.utils.clip_grad_norm_([p for p in self.parameters() if p.grad is not None], gradient_clip_val)

    def add_results(self, part: str, loss: Tensor, labels: Tensor, logits: Tensor) -> None:
        """Keep a batch's loss and predictions for the scores of the epoch; ``part``: "train" or "validation"."""
        self._results[part].append((loss.detach() * len(labels), labels, logits.detach().argmax(1)))

    def clear_results(self, part: str) -> None:
        """Discard what :meth:`add_results` has kept in this epoch."""
        self._results[part].clear()

    def _log_epoch(self, part: str) -> None:
        losses, labels, predicted = zip(*self._results[part], strict=True)
        self.clear_results(part)
        per_process = all_gather([torch.stack(losses), torch.cat(labels), torch.cat(predicted)])
        loss, label, prediction = (torch.cat(values) for values in zip(*per_process, strict=True))
        options: dict[str, Any] = {"on_step": False, "on_epoch": True, "sync_dist": is_distributed()}
        self.log(f"{part}/loss", loss.sum() / len(label), **options)
        self.log(f"{part}/accuracy", (label == prediction).float().mean(), **options)
        self.log(f"{part}/uar", _uar(label, prediction, self.n_emotions), prog_bar=part == "validation", **options)


def load_pretrained_weights(module: nn.Module, source: str, pretrained: str | None) -> None:
    """Load weights into a module.

    Args:
        module: The module that the weights are for.
        source: The recipe's ``model.weights``.
        pretrained: Which published weights ``source`` may name (None: the module has none, and stays unchanged).
    """
    if pretrained is not None:
        read_weights(module, source, PUBLISHED[pretrained])


def predict_in_batches(module: TrainingModule, loader: DataLoader[Any]) -> PredictedLogits:
    """Compute the logits of all batches, in evaluation mode and float32."""
    module.eval()
    with torch.inference_mode():
        batches = [(module.logits(batch).float(), batch["label"]) for batch in loader]
    logits, labels = zip(*batches, strict=True)
    return PredictedLogits(torch.cat(logits), torch.cat(labels))


def _uar(labels: Tensor, predicted: Tensor, n_emotions: int) -> float:
    """Compute the unweighted average recall (0 to 1) over the emotions that occur in ``labels``.

    It is kanjo.evaluation.metrics's, but in float32: another rounding would order epochs of equal UAR differently, and
    so change which epoch a seeded training keeps.
    """
    hits = torch.bincount(labels[labels == predicted], minlength=n_emotions)
    support = torch.bincount(labels, minlength=n_emotions)
    occurs = support > 0
    return float((hits[occurs] / support[occurs]).mean())
