"""Train all layers of a model together, on windows of utterances."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from kanjo.train.config.training import AugmentConfig, TrainingConfig
from kanjo.train.cost_estimate import (
    Cost,
    count_parameters,
    measure_training_step,
    measure_validation_step,
    peak_memory_mb,
)
from kanjo.train.data.augmentation import Mixup, draw_mixup
from kanjo.train.data.augmented_features import augmented_features
from kanjo.train.data.datasets import Batch, BatchDataset, WindowDataset
from kanjo.train.data.experiment_data import train_val_datasets
from kanjo.train.data.loaders import build_data_loader
from kanjo.train.hardware import use_bf16
from kanjo.train.models.emotion_model import EmotionModel
from kanjo.train.models.speaker_means import RunningSpeakerMeans, leave_one_out_speaker_mean
from kanjo.train.tasks.base import MASKED_LOGIT, PredictedLogits, Task, TrainingModule

_PREDICTION_BATCH = 32
#: With mixup, a clip's embedding counts as its speaker's if the clip has more than this weight.
_MIN_SPEAKER_WEIGHT = 0.8


class EndToEndTask(Task):
    """Train all layers together."""

    def datasets(self, emotion_model: EmotionModel) -> tuple[WindowDataset, WindowDataset]:
        """Build the datasets of augmented training windows and original validation windows."""
        return train_val_datasets(self.data, self.fold)

    def training_module(self, emotion_model: EmotionModel) -> EndToEndModule:
        """Build the Lightning module that trains the model."""
        n_speakers = len({utterance.speaker_key for utterance in self.data.utterances})
        return EndToEndModule(
            emotion_model,
            self.n_emotions,
            self.training,
            self.recipe.augment,
            self.class_weights(),
            self.label_mask(),
            n_speakers if self.recipe.model.speaker_conditioning else 0,
        )

    def predict_logits(self, emotion_model: EmotionModel, dataset: BatchDataset[Any]) -> PredictedLogits:
        """Predict the logits of windows, with and without the speakers' mean embeddings."""
        with torch.inference_mode():
            batches = [
                (*emotion_model(batch["signal"]), batch["speaker"], batch["label"])
                for batch in build_data_loader(dataset, _PREDICTION_BATCH, shuffle=False)
            ]
            logits, embeddings, speakers, labels = (torch.cat(values) for values in zip(*batches, strict=True))
            enrolled_logits = None
            if emotion_model.speaker_size:
                enrolled_logits = predict_enrolled_logits(emotion_model.model, embeddings, speakers)
        return PredictedLogits(logits, labels, speakers, enrolled_logits)

    def estimate_cost(self) -> Cost:
        """Estimate the cost from a few training and validation steps."""
        emotion_model = self.build_model()
        self.prepare(emotion_model)
        module = self.training_module(emotion_model)
        train, validation = self.data_loaders(*self.datasets(emotion_model))
        bf16 = use_bf16(self.training.precision)
        step = measure_training_step(module, train, bf16=bf16)
        seconds = len(train) * step + len(validation) * measure_validation_step(module, validation, bf16=bf16)
        if self.training.refit_on_train_val:
            seconds += len(train) * step * (1 + len(self.fold.validation) / len(self.fold.train))
        minutes = self.training.epochs * seconds / 60
        return Cost(count_parameters(emotion_model), len(train), step, minutes, peak_memory_mb())


class EndToEndModule(TrainingModule):
    """Trains a feature extractor's model on windows.

    Args:
        emotion_model: The model.
        n_emotions: Number E of emotions.
        training: The recipe's training section.
        augment: The recipe's augment section.
        class_weights: Weights (E,) of the emotions in the loss.
        label_mask: Emotions that each corpus has, bool (corpora, E); an utterance is only compared with these
            (None: all).
        n_speakers: Number of speakers, for models with speaker conditioning (0: none).
    """

    label_mask: Tensor | None

    def __init__(
        self,
        emotion_model: EmotionModel,
        n_emotions: int,
        training: TrainingConfig,
        augment: AugmentConfig,
        class_weights: Tensor | None,
        label_mask: Tensor | None = None,
        n_speakers: int = 0,
    ) -> None:
        super().__init__(n_emotions, training, class_weights)
        self.emotion_model, self.augment = emotion_model, augment
        self.register_buffer("label_mask", label_mask, persistent=False)
        embedding_size = cast(int, emotion_model.model.embedding_size)
        self.speaker_means = RunningSpeakerMeans(n_speakers, embedding_size) if n_speakers else None

    def logits(self, batch: Batch) -> Tensor:
        """Compute logits (B, E) of a batch that is not augmented."""
        return self.emotion_model(batch["signal"])[0]  # type: ignore[no-any-return]

    def training_logits(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Augment a batch, and compute its logits and targets."""
        features, frames = augmented_features(self.emotion_model, batch, self.augment)
        label_mask = None if self.label_mask is None else self.label_mask[batch["corpus"]]
        mixup = draw_mixup(len(frames), self.augment.mixup_alpha, frames.device)
        targets = mixup.mix(self.targets(batch["label"], label_mask))
        frames = torch.maximum(frames, frames[mixup.permutation])
        features = features if mixup.weight == 1 else mixup.mix(features)
        if self.speaker_means is None:
            logits = self.emotion_model.model(features, frames)[0]
            enrolled = torch.zeros(len(logits), dtype=torch.bool, device=logits.device)
        else:
            logits, enrolled_logits, enrolled = self._speaker_logits(
                self.speaker_means, features, frames, batch["speaker"], mixup
            )
            logits = torch.cat([logits, enrolled_logits[enrolled]])
            targets = torch.cat([targets, targets[enrolled]])
        if label_mask is not None:
            label_mask = label_mask | label_mask[mixup.permutation]
            logits = logits.float().masked_fill(~torch.cat([label_mask, label_mask[enrolled]]), MASKED_LOGIT)
        return logits, targets

    def _speaker_logits(
        self, speaker_means: RunningSpeakerMeans, features: Tensor, frames: Tensor, speakers: Tensor, mixup: Mixup
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Compute logits with and without the speakers' running means, and update these.

        Returns:
            Logits (B, E) without and with speaker means, and where both mixed speakers have a mean, bool (B,).
        """
        model = self.emotion_model.model
        embeddings = model.embed(features, frames)
        means, has_mean = speaker_means.lookup(speakers)
        logits = model.classify(embeddings)
        enrolled_logits = model.classify(embeddings, mixup.mix(means), torch.ones_like(embeddings[:, :1]))
        if max(mixup.weight, 1 - mixup.weight) > _MIN_SPEAKER_WEIGHT:
            main_speakers = speakers if mixup.weight > 0.5 else speakers[mixup.permutation]
            speaker_means.update(embeddings.detach(), main_speakers)
        return logits, enrolled_logits, (has_mean & has_mean[mixup.permutation])[:, 0]


def predict_enrolled_logits(model: Any, embeddings: Tensor, speakers: Tensor) -> Tensor:
    """Predict logits (U, E), given the mean embedding of each speaker's other utterances.

    Args:
        model: A model with speaker conditioning.
        embeddings: Embeddings (U, D).
        speakers: Speakers (U,), -1 if unknown.
    """
    mean, has_mean = leave_one_out_speaker_mean(embeddings, speakers)
    return model.classify(embeddings, mean, has_mean.to(embeddings.dtype))  # type: ignore[no-any-return]
