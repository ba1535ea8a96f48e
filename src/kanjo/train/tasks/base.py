"""The system that is trained (front end and network), and how Lightning steps it, or a part of it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kanjo.train.config.models import WaveformSection
from kanjo.train.config.schema import AugmentSection, Recipe, TrainingSection
from kanjo.train.data import augmentation
from kanjo.train.data.datasets import Batch, FeatureBatch, SegmentBatch
from kanjo.train.distributed import gathered, scale_of, together
from kanjo.train.features.log_mel import LogMel, Waveform
from kanjo.train.models import build
from kanjo.train.models.dcnn_blstm import DcnnBlstm
from kanjo.train.models.speaker_means import Voices


class System(nn.Module):
    """Front end and network: signal (B, N) -> logits (B, E), embedding (B, D)."""

    def __init__(self, frontend: LogMel | Waveform, network: nn.Module, sample_rate: int) -> None:
        super().__init__()
        self.frontend, self.network, self.sample_rate = frontend, network, sample_rate

    def forward(self, signal: Tensor, *speaker: Tensor) -> tuple[Tensor, Tensor]:
        """``speaker``: for networks that take it, a speaker's mean embedding (B, D) and whether it is known (B, 1)."""
        return self.network(*self.features(signal), *speaker)  # type: ignore[no-any-return]

    def features(self, signal: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, C, M, T) in float32, whatever precision the network is run in, and frames heard (B,)."""
        with torch.autocast(signal.device.type, enabled=False), torch.no_grad():
            # a few at a time: on a CPU, allocating what many need takes longer than computing it
            parts = [
                self.frontend(part) for part in (torch.split(signal, 8) if signal.device.type == "cpu" else [signal])
            ]
            features, frames = (torch.cat(side) for side in zip(*parts, strict=True))
        return features.contiguous(memory_format=torch.channels_last), frames


def system_of(recipe: Recipe, n_emotions: int) -> System:
    """The untrained system that a recipe describes. Raises RecipeError for settings that don't fit each other."""
    rate, frontend = recipe.audio.sample_rate, frontend_of(recipe)
    shape = (frontend.channels, frontend.n_mels, frontend.n_frames(recipe.audio.window))
    settings = recipe.network.model_dump(exclude={"weights", "freeze"})
    network = build(settings.pop("type"), n_emotions, shape, settings, frontend)
    return System(frontend, network.to(memory_format=torch.channels_last), rate)  # type: ignore[call-overload]


def frontend_of(recipe: Recipe) -> LogMel | Waveform:
    """The front end that a recipe describes, before it knows any training set's statistics."""
    if isinstance(recipe.frontend, WaveformSection):
        return Waveform()
    return LogMel(recipe.audio.sample_rate, **recipe.frontend.model_dump(exclude={"type"}))


def deep_network(system: System) -> DcnnBlstm:
    """The network of a system that is known to have two stages."""
    assert isinstance(system.network, DcnnBlstm)
    return system.network


def uar(labels: Tensor, predicted: Tensor, n_emotions: int) -> float:
    """Unweighted average recall over the emotions that occur, 0 to 1."""
    hits = torch.bincount(labels[labels == predicted], minlength=n_emotions)
    support = torch.bincount(labels, minlength=n_emotions)
    there = support > 0
    return float((hits[there] / support[there]).mean())


class EmotionModule(L.LightningModule, ABC):
    """Cross-entropy; logs ``train/loss``, ``train/uar``, ``validation/loss`` and ``validation/uar`` each epoch.

    What is trained on which batches is the subclasses'. Only parameters that require a gradient are stepped.
    """

    def __init__(self, n_emotions: int, training: TrainingSection, class_weights: Tensor | None) -> None:
        super().__init__()
        self.n_emotions, self.training_settings = n_emotions, training
        self.class_weights: Tensor | None
        self.register_buffer("class_weights", class_weights, persistent=False)
        self._seen: dict[str, list[tuple[Tensor, Tensor, Tensor]]] = {"train": [], "validation": []}

    @abstractmethod
    def logits(self, batch: Any) -> Tensor:
        """Logits (B, E) of a batch as it is."""

    def training_logits(self, batch: Any) -> tuple[Tensor, Tensor]:
        """Logits (B or more, E) and targets (the same) of a batch, augmented; the first B are the batch's in its order."""
        return self.logits(batch), self.targets(batch["label"])

    def targets(self, label: Tensor, allowed: Tensor | None = None) -> Tensor:
        """One-hot (B, E), smoothed over the emotions that are ``allowed``, bool (B, E) (default: all)."""
        share = self.training_settings.label_smoothing
        spread = torch.ones_like(F.one_hot(label, self.n_emotions)) if allowed is None else allowed
        return (1 - share) * F.one_hot(label, self.n_emotions) + share * spread / spread.sum(1, keepdim=True)

    def training_step(self, batch: Any, _: int) -> Tensor:
        logits, targets = self.training_logits(batch)
        logits = logits.float()
        loss = F.cross_entropy(logits, targets, weight=self.class_weights)
        self._note("train", loss, batch["label"], logits[: len(batch["label"])])
        return loss * scale_of(len(logits), loss.device)

    def validation_step(self, batch: Any, _: int) -> None:
        logits = self.logits(batch).float()
        self._note(
            "validation", F.cross_entropy(logits, batch["label"], weight=self.class_weights), batch["label"], logits
        )

    def on_train_batch_end(self, *_: Any) -> None:
        if self.trainer.is_last_batch and not self.trainer.enable_validation:
            self._summarise("train")

    def on_validation_epoch_end(self) -> None:
        # the epoch's training steps are all done here, and callbacks run before the module's own on_train_epoch_end
        self._summarise("train")
        self._summarise("validation")

    def configure_optimizers(self) -> Any:
        settings = self.training_settings
        trained = [p for p in self.parameters() if p.requires_grad]
        weights, scales = [p for p in trained if p.ndim > 1], [p for p in trained if p.ndim <= 1]
        groups = [{"params": weights, "weight_decay": settings.weight_decay}, {"params": scales, "weight_decay": 0.0}]
        optimizer: torch.optim.Optimizer
        if settings.optimizer == "sgd":
            optimizer = torch.optim.SGD(
                groups, settings.learning_rate, momentum=settings.momentum, nesterov=settings.momentum > 0
            )
        else:
            kind = torch.optim.AdamW if settings.optimizer == "adamw" else torch.optim.Adam
            optimizer = kind(groups, settings.learning_rate, fused=True)
        if settings.schedule == "constant":
            return optimizer
        if settings.schedule == "exponential":
            fall = torch.optim.lr_scheduler.LambdaLR(
                optimizer, lambda epoch: max(settings.floor, settings.decay**epoch)
            )
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": fall, "interval": "epoch"}}
        total = int(self.trainer.estimated_stepping_batches)
        warm = max(1, round(settings.warmup * total))

        def rate(step: int) -> float:
            if step < warm:
                return (step + 1) / warm
            return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, total - warm)))

        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: Any = None, gradient_clip_algorithm: Any = None
    ) -> None:
        # Lightning's own refuses fused optimisers, for the sake of a gradient scaler that bfloat16 doesn't have
        if gradient_clip_val:
            torch.nn.utils.clip_grad_norm_([p for p in self.parameters() if p.grad is not None], gradient_clip_val)

    def _note(self, side: str, loss: Tensor, label: Tensor, logits: Tensor) -> None:
        self._seen[side].append((loss.detach() * len(label), label, logits.detach().argmax(1)))

    def _summarise(self, side: str) -> None:
        losses, labels, predicted = zip(*self._seen[side], strict=True)
        self._seen[side].clear()
        parts = gathered([torch.stack(losses), torch.cat(labels), torch.cat(predicted)])
        loss, label, answered = (torch.cat(part) for part in zip(*parts, strict=True))
        kept: dict[str, Any] = {"on_step": False, "on_epoch": True, "sync_dist": together()}
        self.log(f"{side}/loss", loss.sum() / len(label), **kept)
        self.log(f"{side}/uar", uar(label, answered, self.n_emotions), prog_bar=side == "validation", **kept)


class WindowModule(EmotionModule):
    """A whole system on windows.

    ``emotions``: bool (corpora, E), which emotions each corpus has; an utterance is told from no others (None: from all).
    ``n_speakers``: how many speakers the run has, for networks that take a speaker's mean embedding (0: the network takes none).
    """

    emotions: Tensor | None

    def __init__(
        self,
        system: System,
        n_emotions: int,
        training: TrainingSection,
        augmentation: AugmentSection,
        class_weights: Tensor | None,
        emotions: Tensor | None = None,
        n_speakers: int = 0,
    ) -> None:
        super().__init__(n_emotions, training, class_weights)
        self.system, self.augmentation = system, augmentation
        self.register_buffer("emotions", emotions, persistent=False)
        size = getattr(system.network, "embedding_size", 0)
        self.voices = Voices(n_speakers, size) if n_speakers else None

    def logits(self, batch: Batch) -> Tensor:
        return self.system(batch["signal"])[0]  # type: ignore[no-any-return]

    def training_logits(self, batch: Batch) -> tuple[Tensor, Tensor]:
        features, frames = augmented(self.system, batch, self.augmentation)
        allowed = None if self.emotions is None else self.emotions[batch["corpus"]]
        blend = augmentation.blend(len(frames), self.augmentation.mixup, frames.device)
        targets = blend.of(self.targets(batch["label"], allowed))
        frames = torch.maximum(frames, frames[blend.order])
        features = features if blend.share == 1 else blend.of(features)
        plain, centred, known = answered(self.system.network, self.voices, features, frames, batch["speaker"], blend)
        logits, targets = torch.cat([plain, centred[known]]), torch.cat([targets, targets[known]])
        if allowed is not None:
            allowed = allowed | allowed[blend.order]
            logits = logits.float().masked_fill(~torch.cat([allowed, allowed[known]]), -1e4)
        return logits, targets


class SegmentModule(EmotionModule):
    """The first stage of a deep CNN over segments: the CNN alone, each segment labelled as its utterance is."""

    def __init__(
        self,
        system: System,
        n_emotions: int,
        training: TrainingSection,
        augmentation: AugmentSection,
        class_weights: Tensor | None,
    ) -> None:
        super().__init__(n_emotions, training, class_weights)
        self.extractor, self.augmentation = deep_network(system).extractor, augmentation
        self._hears = [system]  # in a list, so that what is not trained is no part of this module or its checkpoints

    def on_fit_start(self) -> None:
        self._hears[0].to(self.device)

    def logits(self, batch: SegmentBatch) -> Tensor:
        return self._classified(*self._hears[0].features(batch["signal"]), batch)

    def training_logits(self, batch: SegmentBatch) -> tuple[Tensor, Tensor]:
        return self._classified(*augmented(self._hears[0], batch, self.augmentation), batch), self.targets(
            batch["label"]
        )

    def _classified(self, features: Tensor, frames: Tensor, batch: SegmentBatch) -> Tensor:
        network = deep_network(self._hears[0])
        # a clip played faster has fewer segments than it was counted with
        segment = torch.minimum(batch["segment"], network.segments.count(frames)[batch["row"]] - 1)
        return self.extractor(network.images(features, batch["row"], segment))  # type: ignore[no-any-return]


class FeatureModule(EmotionModule):
    """The second stage on segment features that were computed before: what follows the CNN."""

    def __init__(
        self, head: nn.Module, n_emotions: int, training: TrainingSection, class_weights: Tensor | None
    ) -> None:
        super().__init__(n_emotions, training, class_weights)
        self.head = head

    def logits(self, batch: FeatureBatch) -> Tensor:
        return self.head(batch["features"].float(), batch["count"])[0]  # type: ignore[no-any-return]


def answered(
    network: Any,
    voices: Voices | None,
    features: Tensor,
    frames: Tensor,
    speaker: Tensor,
    blend: augmentation.Blend,
) -> tuple[Tensor, Tensor, Tensor]:
    """Logits (B, E) of nobody known; of a network that has ``voices``, also those with speakers known, and of whom something is (B,).

    Features (B, C, M, T), frames heard (B,), speakers (B,), all blended alike. Of clips that are nearly one speaker's the voices take note.
    """
    if voices is None:
        plain = network(features, frames)[0]
        return plain, plain, torch.zeros(len(plain), dtype=torch.bool, device=plain.device)
    embedding = network.embed(features, frames)
    mean, known = voices.of(speaker)
    plain = network.classify(embedding)
    centred = network.classify(embedding, blend.of(mean), torch.ones_like(embedding[:, :1]))
    if max(blend.share, 1 - blend.share) > 0.8:  # nearly one clip's
        voices.update(embedding.detach(), speaker if blend.share > 0.5 else speaker[blend.order])
    return plain, centred, (known & known[blend.order])[:, 0]


def augmented(system: System, batch: Batch, settings: AugmentSection) -> tuple[Tensor, Tensor]:
    """Features (B, C, M, T) and frames (B,) of a training batch, signal and features varied, and masked."""
    features, frames = varied(system, batch, settings)
    return augmentation.mask_features(features, settings), frames


def varied(system: System, batch: Batch, settings: AugmentSection) -> tuple[Tensor, Tensor]:
    """Features (B, C, M, T) and frames (B,) of a training batch, signal and features varied."""
    signal = augmentation.vary_signal(batch["signal"], batch["valid"], settings, system.sample_rate)
    features, frames = system.features(signal)
    if settings.warp and isinstance(system.frontend, LogMel):
        features = augmentation.warp_frequencies(features, settings.warp, system.sample_rate, *system.frontend.band)
    return features, frames
