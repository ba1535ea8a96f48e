"""The recipe: everything that a training run depends on."""

from __future__ import annotations

from typing import Any

import yaml
from pydantic import Field, field_validator, model_validator

from kanjo.train.config.base import Config
from kanjo.train.config.data import AudioConfig, CorpusConfig, LabelsConfig, SelectConfig, SplitConfig
from kanjo.train.config.features import FeaturesConfig, LogMelConfig
from kanjo.train.config.models import ModelConfig
from kanjo.train.config.training import AugmentConfig, TrainingConfig
from kanjo.train.config.tuning import TuneConfig


class PaperConfig(Config):
    """The paper that the recipe follows.

    Attributes:
        title: Authors, title and year.
        doi: DOI of the paper.
    """

    title: str
    doi: str = ""


class Recipe(Config):
    """One experiment with all its settings.

    Attributes:
        name: Name of the recipe, and of its run folders and bundles.
        description: One line for people.
        paper: The paper that the recipe follows.
        corpora: Corpora to train on; a name alone means ``{name: ...}``.
        labels: Which emotions the model predicts.
        select: Which utterances are used.
        split: Protocol and fold.
        audio: Sample rate and windows.
        features: What is computed from the samples before the model.
        model: The architecture.
        augment: Random changes of training clips.
        training: How the model is trained.
        stage1: How stage 1 of a model of two stages is trained (None: without stage 1).
        ablations: For ``kanjo ablate``: names and their overrides, ``KEY=VALUE``.
        tune: For ``kanjo tune``: what is searched.
        init_from: Bundle whose weights training starts from (None: the weights of ``model``).
    """

    name: str
    description: str = ""
    paper: PaperConfig | None = None
    corpora: tuple[CorpusConfig, ...]
    labels: LabelsConfig = LabelsConfig()
    select: SelectConfig = SelectConfig()
    split: SplitConfig = SplitConfig()
    audio: AudioConfig = AudioConfig()
    features: FeaturesConfig = LogMelConfig()
    model: ModelConfig
    augment: AugmentConfig = AugmentConfig()
    stage1: TrainingConfig | None = None
    training: TrainingConfig = TrainingConfig()
    ablations: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    tune: TuneConfig | None = None
    init_from: str | None = None

    @field_validator("corpora", mode="before")
    @classmethod
    def _expand_names(cls, value: Any) -> Any:
        if isinstance(value, list | tuple) and value:
            return [{"name": item} if isinstance(item, str) else item for item in value]
        raise ValueError("expected at least one corpus, such as [ravdess]")

    @model_validator(mode="after")
    def _check_sections(self) -> Recipe:
        """Check that the sections fit each other."""
        self._check_model()
        self._check_stages()
        self._check_full_batch()
        return self

    def _check_model(self) -> None:
        kind = self.model.type
        if self.init_from and not self.model.can_start_from_bundle:
            raise ValueError(f"init_from: model {kind} can't start from a bundle; remove the key")
        if self.audio.crop_s and not self.model.trains_on_crops:
            raise ValueError(f"audio.crop_s: model {kind} trains on whole windows; set it to null")
        if self.model.input_kind not in ("", self.features.type):
            raise ValueError(
                f"features.type is {self.features.type}; model {kind} needs features.type {self.model.input_kind}"
            )
        masks_or_warps = self.augment.frequency_masks or self.augment.max_vtlp_warp
        if masks_or_warps and not self.features.has_frequency_axis:
            raise ValueError(
                "augment.frequency_masks and augment.max_vtlp_warp need log-mel features; "
                f"features.type is {self.features.type}; set both to 0"
            )
        if self.audio.window < self.model.min_window(self.features.hop_length):
            raise ValueError(f"audio.window_s {self.audio.window_s} is shorter than one segment of model {kind}")

    def _check_stages(self) -> None:
        if self.model.n_stages == 1:
            if self.stage1:
                raise ValueError(f"stage1: model {self.model.type} has one stage; remove the section")
            return
        if self.training.refit_on_train_val:
            raise ValueError(
                "training.refit_on_train_val is for models of one stage, because stage 1 would have to be trained "
                "again; set it to false"
            )
        if self.stage1 and self.stage1.refit_on_train_val:
            raise ValueError("stage1.refit_on_train_val: stage 1 keeps its best epoch; set it to false")
        if self.augment.mixup_alpha:
            raise ValueError(
                "augment.mixup_alpha mixes whole utterances, but stage 1 is trained on single segments; set it to 0"
            )

    def _check_full_batch(self) -> None:
        """Check that a full-batch optimizer and a frozen encoder occur together, and only with settings they use."""
        full_batch, training = self.training.full_batch, self.training
        if full_batch != self.model.frozen_encoder:
            raise ValueError(
                "model.type: encoder and training.optimizer: lbfgs need each other: "
                "L-BFGS fits the linear heads of a frozen encoder"
            )
        if training.n_augmented_copies and not full_batch:
            raise ValueError(
                "training.n_augmented_copies is for training.optimizer lbfgs; "
                "other optimizers augment the clips in each epoch; set it to 0"
            )
        balances = ("none", "corpus_class_sampling")
        if training.calibration == "held_out_groups" and not (
            full_batch and training.refit_on_train_val and training.balance in balances
        ):
            raise ValueError(
                "training.calibration: held_out_groups needs training.optimizer lbfgs, training.refit_on_train_val "
                f"true, and training.balance {' or '.join(balances)} (a group may lack an emotion)"
            )
        unused = {
            "augment.mixup_alpha": self.augment.mixup_alpha,
            "augment.max_vtlp_warp": self.augment.max_vtlp_warp,
            "augment.frequency_masks": self.augment.frequency_masks,
            "augment.time_masks": self.augment.time_masks,
            "training.gradient_clip_norm": training.gradient_clip_norm,
            "training.ema_decay": training.ema_decay,
        }
        if not full_batch:
            unused = {"augment.short_crop_prob": self.augment.short_crop_prob}
        wrong = [key for key, value in unused.items() if value]
        if wrong:
            raise ValueError(f"{', '.join(wrong)}: not used with training.optimizer {training.optimizer}; set to 0")

    def text(self) -> str:
        """The recipe with all defaults, as YAML."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=120)
