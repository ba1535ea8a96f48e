"""Feature extractor and model as one module, from samples to logits."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from kanjo.errors import RecipeError
from kanjo.train.config.schema import Recipe
from kanjo.train.features.log_mel import LogMel, Waveform


class EmotionModel(nn.Module):
    """A feature extractor and a model.

    Args:
        feature_extractor: Computes features from samples.
        model: One of kanjo.train.models.
        sample_rate: Sample rate in Hz.

    Shape:
        Signal (B, N) to logits (B, E) and embeddings (B, D).
    """

    feature_extractor: LogMel | Waveform
    model: Any

    def __init__(self, feature_extractor: LogMel | Waveform, model: nn.Module, sample_rate: int) -> None:
        super().__init__()
        self.feature_extractor, self.model, self.sample_rate = feature_extractor, model, sample_rate

    @property
    def speaker_size(self) -> int:
        """Size D of the speaker's mean embedding that the model takes (0: it takes none)."""
        return int(getattr(self.model, "speaker_size", 0))

    def forward(self, signal: Tensor, *speaker: Tensor) -> tuple[Tensor, Tensor]:
        """Compute logits and embeddings.

        Args:
            signal: Samples (B, N).
            speaker: Optional, for models with speaker conditioning: the speakers' mean embeddings (B, D), and 1 where
                the speaker is enrolled, else 0 (B, 1).

        Returns:
            Logits (B, E) and embeddings (B, D).
        """
        return self.model(*self.features(signal), *speaker)  # type: ignore[no-any-return]

    def features(self, signal: Tensor) -> tuple[Tensor, Tensor]:
        """Compute features in float32, whatever precision the model runs in.

        Args:
            signal: Samples (B, N).

        Returns:
            Features (B, C, M, T) and numbers of valid frames (B,).
        """
        with torch.autocast(signal.device.type, enabled=False), torch.no_grad():
            # On a CPU, allocating memory for the whole batch takes longer than computing its features.
            parts = torch.split(signal, 8) if signal.device.type == "cpu" else [signal]
            results = [self.feature_extractor(part) for part in parts]
            features, frames = (torch.cat(values) for values in zip(*results, strict=True))
        return features.contiguous(memory_format=torch.channels_last), frames


def build_emotion_model(recipe: Recipe, n_emotions: int) -> EmotionModel:
    """Build the untrained model that a recipe describes.

    Raises:
        RecipeError: Settings of the model that don't fit the features.
    """
    feature_extractor = recipe.features.build(recipe.audio.sample_rate)
    n_frames = feature_extractor.n_frames(recipe.audio.window)
    shape = (feature_extractor.channels, feature_extractor.n_mels, n_frames)
    try:
        model = recipe.model.build(n_emotions, shape, feature_extractor)
    except ValueError as error:
        raise RecipeError(f"model {recipe.model.type}: {error}") from error
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return EmotionModel(feature_extractor, model, recipe.audio.sample_rate)
