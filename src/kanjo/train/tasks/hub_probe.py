"""Fit linear heads on a frozen encoder of the library transformers."""

from __future__ import annotations

from typing import cast

from kanjo.corpora.splits import Fold
from kanjo.errors import RecipeError
from kanjo.train.config.models import EncoderConfig
from kanjo.train.data.experiment_data import ExperimentData
from kanjo.train.models.emotion_model import EmotionModel
from kanjo.train.models.hub_encoder import HubEncoder
from kanjo.train.models.hub_source import find_encoder
from kanjo.train.models.pretrained_weights import NONE
from kanjo.train.tasks.base import TaskPaths
from kanjo.train.tasks.linear_probe import LinearProbeTask


class HubProbeTask(LinearProbeTask):
    """Fit the linear heads of an encoder of transformers.

    Args:
        data: Utterances, labels and recipe.
        fold: Indices of training and validation utterances.
        paths: Not used.

    Raises:
        RecipeError: The encoder can't be found, or needs another sample rate.
    """

    def __init__(self, data: ExperimentData, fold: Fold, paths: TaskPaths | None = None) -> None:
        super().__init__(data, fold, paths)
        model = cast(EncoderConfig, self.recipe.model)
        rate, expected = self.recipe.audio.sample_rate, find_encoder(model.source, model.revision).sample_rate
        if rate != expected:
            raise RecipeError(f"audio.sample_rate is {rate}; {model.source} needs {expected}")

    def initialize(self, emotion_model: EmotionModel) -> None:
        """Set the heads to zero, then load a bundle's weights, or the encoder's."""
        super().initialize(emotion_model)
        if not self.recipe.init_from and cast(EncoderConfig, self.recipe.model).weights != NONE:
            cast(HubEncoder, emotion_model.model.encoder).load_pretrained()
