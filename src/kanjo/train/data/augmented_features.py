"""Features of augmented training batches."""

from __future__ import annotations

from typing import cast

from torch import Tensor

from kanjo.train.config.training import AugmentConfig
from kanjo.train.data.augmentation import apply_spec_augment, apply_vtlp, augment_signal
from kanjo.train.data.datasets import Batch
from kanjo.train.features.log_mel import LogMel
from kanjo.train.models.emotion_model import EmotionModel


def augmented_features(emotion_model: EmotionModel, batch: Batch, augment: AugmentConfig) -> tuple[Tensor, Tensor]:
    """Augment a batch's samples, compute their features, and warp and mask these.

    Returns:
        Features (B, C, M, T) and numbers of valid frames (B,).
    """
    signal = augment_signal(batch["signal"], batch["valid"], augment, emotion_model.sample_rate)
    features, frames = emotion_model.features(signal)
    if augment.max_vtlp_warp:
        log_mel = cast(LogMel, emotion_model.feature_extractor)  # the recipe refuses warping of waveforms
        fmin, fmax = log_mel.frequency_range_hz
        features = apply_vtlp(features, augment.max_vtlp_warp, emotion_model.sample_rate, fmin, fmax)
    return apply_spec_augment(features, augment), frames
