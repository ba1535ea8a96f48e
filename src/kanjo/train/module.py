"""The system that is trained (front end and network), and how Lightning steps it."""

from __future__ import annotations

import math
from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kanjo.train import augment
from kanjo.train.data import Batch
from kanjo.train.frontend import LogMel
from kanjo.train.networks import build
from kanjo.train.recipe import AugmentSection, Recipe, TrainingSection


class System(nn.Module):
    """Front end and network: signal (B, N) -> logits (B, E), embedding (B, D)."""

    def __init__(self, frontend: LogMel, network: nn.Module) -> None:
        super().__init__()
        self.frontend, self.network = frontend, network

    def forward(self, signal: Tensor) -> tuple[Tensor, Tensor]:
        return self.network(self.features(signal))  # type: ignore[no-any-return]

    def features(self, signal: Tensor) -> Tensor:
        """Features (B, C, M, T) in float32, whatever precision the network is run in."""
        with torch.autocast(signal.device.type, enabled=False), torch.no_grad():
            return self.frontend(signal).contiguous(memory_format=torch.channels_last)  # type: ignore[no-any-return]


def system_of(recipe: Recipe, n_emotions: int) -> System:
    """The untrained system that a recipe describes. Raises RecipeError for settings that don't fit each other."""
    frontend = LogMel(recipe.audio.sample_rate, **recipe.frontend.model_dump())
    shape = (frontend.channels, frontend.n_mels, frontend.n_frames(recipe.audio.window))
    settings = recipe.network.model_dump()
    network = build(settings.pop("type"), n_emotions, shape, settings)
    return System(frontend, network.to(memory_format=torch.channels_last))  # type: ignore[call-overload]


def uar(labels: Tensor, predicted: Tensor, n_emotions: int) -> float:
    """Unweighted average recall over the emotions that occur, 0 to 1."""
    hits = torch.bincount(labels[labels == predicted], minlength=n_emotions)
    support = torch.bincount(labels, minlength=n_emotions)
    there = support > 0
    return float((hits[there] / support[there]).mean())


class EmotionModule(L.LightningModule):
    """Cross-entropy on windows; logs ``train/loss``, ``train/uar``, ``validation/loss`` and ``validation/uar`` each epoch."""

    def __init__(
        self,
        system: System,
        n_emotions: int,
        training: TrainingSection,
        augmentation: AugmentSection,
        class_weights: Tensor | None,
    ) -> None:
        super().__init__()
        self.system, self.n_emotions = system, n_emotions
        self.training_settings, self.augmentation = training, augmentation
        self.class_weights: Tensor | None
        self.register_buffer("class_weights", class_weights, persistent=False)
        self._seen: dict[str, list[tuple[Tensor, Tensor, Tensor]]] = {"train": [], "validation": []}

    def training_step(self, batch: Batch, _: int) -> Tensor:
        settings = self.augmentation
        features = self.system.features(augment.vary_signal(batch["signal"], settings))
        if settings.frequency_masks or settings.time_masks:
            features = augment.mask_features(features, settings)
        targets = F.one_hot(batch["label"], self.n_emotions).float()
        if settings.mixup:
            features, targets = augment.mixup(features, targets, settings.mixup)
        logits = self.system.network(features)[0].float()
        loss = F.cross_entropy(logits, targets, weight=self.class_weights, label_smoothing=self.training_settings.label_smoothing)
        self._note("train", loss, batch["label"], logits)
        return loss

    def validation_step(self, batch: Batch, _: int) -> None:
        logits = self.system(batch["signal"])[0].float()
        self._note("validation", F.cross_entropy(logits, batch["label"], weight=self.class_weights), batch["label"], logits)

    def on_validation_epoch_end(self) -> None:
        # the epoch's training steps are all done here, and callbacks run before the module's own on_train_epoch_end
        self._summarise("train")
        self._summarise("validation")

    def configure_optimizers(self) -> Any:
        settings = self.training_settings
        weights = [p for p in self.parameters() if p.ndim > 1]
        scales = [p for p in self.parameters() if p.ndim <= 1]
        groups = [{"params": weights, "weight_decay": settings.weight_decay}, {"params": scales, "weight_decay": 0.0}]
        optimizer: torch.optim.Optimizer
        if settings.optimizer == "sgd":
            optimizer = torch.optim.SGD(
                groups, settings.learning_rate, momentum=settings.momentum, nesterov=settings.momentum > 0
            )
        else:
            kind = torch.optim.AdamW if settings.optimizer == "adamw" else torch.optim.Adam
            optimizer = kind(groups, settings.learning_rate)
        if settings.schedule == "constant":
            return optimizer
        total = int(self.trainer.estimated_stepping_batches)
        warm = max(1, round(settings.warmup * total))

        def rate(step: int) -> float:
            if step < warm:
                return (step + 1) / warm
            return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, total - warm)))

        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _note(self, side: str, loss: Tensor, label: Tensor, logits: Tensor) -> None:
        self._seen[side].append((loss.detach() * len(label), label, logits.detach().argmax(1)))

    def _summarise(self, side: str) -> None:
        losses, labels, predicted = zip(*self._seen[side], strict=True)
        self._seen[side].clear()
        label = torch.cat(labels)
        self.log(f"{side}/loss", torch.stack(losses).sum() / len(label))
        self.log(f"{side}/uar", uar(label, torch.cat(predicted), self.n_emotions), prog_bar=side == "validation")
