"""The recipe section ``model``: one class per kind of model.

Each class builds its model, creates the task that trains it, and states what the kind of model can do. The rest of
kanjo.train asks these classes and never compares kinds of models. Imports of torch are inside the methods, so that
reading a recipe stays fast.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator

from kanjo.train.config.base import Config, Fraction

if TYPE_CHECKING:
    from torch import nn

    from kanjo.corpora.splits import Fold
    from kanjo.train.data.experiment_data import ExperimentData
    from kanjo.train.tasks.base import Task, TaskPaths

#: What the utterance embedding is made of: the LSTM's last output, or the mean of its outputs over the valid steps.
Aggregation = Literal["last", "mean"]
#: Pooling factors of mel bands and time steps.
Pool = tuple[PositiveInt, PositiveInt]


class BaseModelConfig(Config, ABC):
    """What all kinds of models state about themselves.

    Attributes:
        n_stages: Stages of training.
        input_kind: The value of ``features.type`` that the model needs.
        trains_on_crops: Whether training clips may be shorter than the window (``audio.crop_s``).
        can_start_from_bundle: Whether training may start from a bundle's weights (``init_from``).
        supports_distributed: Whether several processes can train one model (torchrun).
        frozen_encoder: Whether the encoder keeps its pre-trained weights, and only linear heads are fitted.
        pretrained: Which published weights ``weights: auto`` means
            (kanjo.train.models.pretrained_weights; None: the model has none).
    """

    n_stages: ClassVar[int] = 1
    input_kind: ClassVar[str] = "log-mel"
    trains_on_crops: ClassVar[bool] = False
    can_start_from_bundle: ClassVar[bool] = True
    supports_distributed: ClassVar[bool] = True
    frozen_encoder: ClassVar[bool] = False
    pretrained: ClassVar[str | None] = None

    @abstractmethod
    def build(self, n_emotions: int, input_shape: tuple[int, int, int], feature_extractor: nn.Module) -> nn.Module:
        """Build the model.

        Args:
            n_emotions: Number E of emotions.
            input_shape: Channels, mel bands and frames (C, M, T) of the features.
            feature_extractor: What computes the features.

        Raises:
            ValueError: Settings that don't fit the features.

        Shape:
            The model maps features (B, C, M, T) and numbers of valid frames (B,) to logits (B, E) and embeddings
            (B, D).
        """

    @abstractmethod
    def create_task(self, data: ExperimentData, fold: Fold, paths: TaskPaths | None = None) -> Task:
        """Create the task that trains the model on a fold."""

    def min_window(self, hop_length: int) -> int:
        """Shortest window in samples, for features of a hop length in samples."""
        return 1

    def _arguments(self) -> dict[str, Any]:
        """Arguments of the model's constructor: all keys but those that only training uses."""
        return self.model_dump(exclude={"type", "weights", "freeze"})


class EndToEndConfig(BaseModelConfig):
    """A model of which all layers are trained together."""

    def create_task(self, data: ExperimentData, fold: Fold, paths: TaskPaths | None = None) -> Task:
        """Create the task that trains all layers together."""
        from kanjo.train.tasks.end_to_end import EndToEndTask

        return EndToEndTask(data, fold, paths)


class CnnLstm2dConfig(EndToEndConfig):
    """2D CNN-LSTM on log-mel spectrograms (Zhao et al. 2019).

    Attributes:
        type: Type of the model.
        aggregation: What the embedding is: the LSTM's last output, or the mean of its outputs over the valid steps.
        channels: Output channels of each convolution.
        kernel: Kernel size of the convolutions.
        pools: Pooling factors (mel bands, time steps) after each convolution.
        lstm_units: Units of the LSTM.
        dropout: Dropout before the linear layer.
    """

    weights: ClassVar[str] = "none"
    speaker_conditioning: ClassVar[bool] = False

    type: Literal["cnn-lstm-2d"]
    aggregation: Aggregation = "last"
    channels: tuple[PositiveInt, ...] = (64, 64, 128, 128)
    kernel: PositiveInt = 3
    pools: tuple[Pool, ...] = ((2, 2), (4, 4), (4, 4), (4, 4))
    lstm_units: PositiveInt = 256
    dropout: Fraction = 0.0

    def build(self, n_emotions: int, input_shape: tuple[int, int, int], feature_extractor: nn.Module) -> nn.Module:
        """Build the model."""
        from kanjo.train.models.cnn_lstm import CnnLstm2d

        return CnnLstm2d(n_emotions, input_shape, **self._arguments())


class CnnLstm1dConfig(EndToEndConfig):
    """1D CNN-LSTM on raw samples (Zhao et al. 2019).

    Attributes:
        type: Type of the model.
        aggregation: What the embedding is: the LSTM's last output, or the mean of its outputs over the valid steps.
        channels: Output channels of each convolution.
        kernel: Kernel size of the convolutions.
        pools: Pooling factor in time after each convolution.
        lstm_units: Units of the LSTM.
        dropout: Dropout before the linear layer.
    """

    input_kind: ClassVar[str] = "waveform"
    weights: ClassVar[str] = "none"
    speaker_conditioning: ClassVar[bool] = False

    type: Literal["cnn-lstm-1d"]
    aggregation: Aggregation = "last"
    channels: tuple[PositiveInt, ...] = (64, 64, 128, 128)
    kernel: PositiveInt = 3
    pools: tuple[PositiveInt, ...] = (4, 4, 4, 4)
    lstm_units: PositiveInt = 64
    dropout: Fraction = 0.0

    def build(self, n_emotions: int, input_shape: tuple[int, int, int], feature_extractor: nn.Module) -> nn.Module:
        """Build the model."""
        from kanjo.train.models.cnn_lstm import CnnLstm1d

        return CnnLstm1d(n_emotions, input_shape, **self._arguments())


class SegmentConfig(Config):
    """How features are cut into segments for a deep CNN.

    Attributes:
        frames: Frames in a segment.
        hop: Frames between the starts of two segments.
        size: Height and width that segments are resized to.
    """

    frames: PositiveInt = 64
    hop: PositiveInt = 32
    size: Annotated[int, Field(ge=63)] = 227


class DcnnBlstmConfig(BaseModelConfig):
    """AlexNet on segments, then (B)LSTM, attention and dense layers (Zhang et al. 2021).

    Attributes:
        type: Type of the model.
        segment: How features are cut into segments.
        lstm_units: Units of the LSTM in each direction.
        lstm_layers: Layers of LSTMs, one after the other.
        bidirectional: Whether there is a backward LSTM.
        attention: "self" is scaled dot-product self-attention, then the mean over segments; "self-sum" the sum instead
            of the mean; "mean" is the mean only.
        dense_units: Units of each dense layer.
        weights: Initial weights of AlexNet: "imagenet" (torchvision's, downloaded), "none" (random), a file, or "auto"
            ("imagenet" if it is on disk or can be downloaded, else "none").
        extractor_dropout: Dropout of AlexNet.
        freeze: Keep AlexNet unchanged in stage 2, and compute its features once.
        dropout: Dropout of the dense layers.
    """

    n_stages: ClassVar[int] = 2
    can_start_from_bundle: ClassVar[bool] = False
    supports_distributed: ClassVar[bool] = False
    pretrained: ClassVar[str | None] = "imagenet"
    speaker_conditioning: ClassVar[bool] = False

    type: Literal["dcnn-blstm-attention"]
    weights: str = "auto"
    segment: SegmentConfig = SegmentConfig()
    extractor_dropout: Fraction = 0.5
    freeze: bool = True
    lstm_units: PositiveInt = 128
    lstm_layers: Annotated[int, Field(ge=1, le=64)] = 1
    bidirectional: bool = True
    attention: Literal["self", "self-sum", "mean"] = "self"
    dense_units: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (512, 256)
    dropout: Fraction = 0.1

    def build(self, n_emotions: int, input_shape: tuple[int, int, int], feature_extractor: nn.Module) -> nn.Module:
        """Build the model."""
        from kanjo.train.models.dcnn_blstm import DcnnBlstm

        return DcnnBlstm(n_emotions, input_shape, **self._arguments())

    def create_task(self, data: ExperimentData, fold: Fold, paths: TaskPaths | None = None) -> Task:
        """Create the task of stage 2."""
        from kanjo.train.tasks.two_stage import TwoStageTask, UnfrozenTwoStageTask

        return TwoStageTask(data, fold, paths) if self.freeze else UnfrozenTwoStageTask(data, fold, paths)

    def min_window(self, hop_length: int) -> int:
        """One segment."""
        return self.segment.frames * hop_length


class MobileNetConfig(EndToEndConfig):
    """MobileNetV3-Large on log-mel spectrograms (Schmid et al. 2023).

    Attributes:
        type: Type of the model.
        dropout: Dropout before the linear layer.
        weights: Initial weights of the convolutions: "audioset" (EfficientAT's, downloaded), "none" (random), a file,
            or "auto" ("audioset" if it is on disk or can be downloaded, else "none").
        width: Factor on all numbers of channels (the published mn04_as has 0.4).
        pooling: How time steps become one embedding.
        lstm_units: Units of the LSTM of pooling "blstm".
        speaker_conditioning: Take a speaker's mean embedding as an optional input (kanjo.train.models.speaker_means).
    """

    trains_on_crops: ClassVar[bool] = True
    pretrained: ClassVar[str | None] = "audioset"

    type: Literal["mobilenet"]
    weights: str = "auto"
    width: PositiveFloat = 0.4
    pooling: Literal["mean", "attention", "blstm"] = "attention"
    lstm_units: PositiveInt = 128
    dropout: Fraction = 0.3
    speaker_conditioning: bool = False

    def build(self, n_emotions: int, input_shape: tuple[int, int, int], feature_extractor: nn.Module) -> nn.Module:
        """Build the model."""
        from kanjo.train.models.mobilenet import MobileNet

        return MobileNet(n_emotions, input_shape, **self._arguments())


class EncoderConfig(BaseModelConfig):
    """Lower layers of a pre-trained speech encoder, frozen, with linear heads.

    Attributes:
        type: Type of the model.
        source: The encoder: "whisper-base", "whisper-tiny.en" or another small Whisper; or, with the extra ``hub``, a
            name of the Hugging Face Hub ("user/model"), or a folder that transformers has written (a path with a "/").
        revision: Commit, tag or branch of a name of the Hub (None: the default branch). A run stores the commit.
        layers: Numbers of the encoder's layers, from 1, whose mean and standard deviation over time are the embedding.
        weights: Weights of the encoder: the name of the source (its published weights, downloaded), "none" (random), a
            file (only for kanjo's own Whisper), or "auto": those of the source; for kanjo's own Whisper random weights
            if they are not on disk and can't be downloaded.
        ffn_dim: Hidden units to keep of each layer of kanjo's own Whisper: those of the largest weights (None: all).
        speaker_conditioning: Take a speaker's mean embedding as an optional input (kanjo.train.models.speaker_means).
    """

    supports_distributed: ClassVar[bool] = False
    frozen_encoder: ClassVar[bool] = True
    dropout: ClassVar[float] = 0.0

    type: Literal["encoder"]
    source: str
    revision: str | None = None
    layers: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (1, 2, 3, 4)
    weights: str = "auto"
    ffn_dim: PositiveInt | None = None
    speaker_conditioning: bool = False

    @property
    def is_from_hub(self) -> bool:
        """Whether the library transformers has the encoder: a name of the Hub, or a folder."""
        return "/" in self.source or "\\" in self.source

    @property
    def input_kind(self) -> str:  # type: ignore[override]
        """The value of ``features.type`` that the encoder needs; "" if it depends on the encoder's family."""
        return "" if self.is_from_hub else "log-mel"

    @property
    def pretrained(self) -> str | None:  # type: ignore[override]
        """Name of the published weights."""
        return None if self.is_from_hub else self.source

    @field_validator("layers")
    @classmethod
    def _check_layers(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if list(value) != sorted(set(value)):
            raise ValueError(f"{list(value)}: expected different numbers in ascending order, such as [1, 2, 3]")
        return value

    @model_validator(mode="after")
    def _check_source(self) -> EncoderConfig:
        if not self.is_from_hub:
            if self.revision is not None:
                raise ValueError(
                    f"revision is for names of the Hugging Face Hub; source is {self.source}; set it to null"
                )
            return self
        if self.weights not in ("auto", "none", self.source):
            raise ValueError(f"weights {self.weights}: expected auto, none or {self.source}, the source")
        if self.ffn_dim is not None:
            raise ValueError(f"ffn_dim is for kanjo's own Whisper; source is {self.source}; set it to null")
        return self

    def build(self, n_emotions: int, input_shape: tuple[int, int, int], feature_extractor: nn.Module) -> nn.Module:
        """Build the model."""
        from kanjo.train.models.encoder import EncoderClassifier, SpeechEncoder
        from kanjo.train.models.whisper import build_whisper_encoder

        n_frames = input_shape[2]
        encoder: SpeechEncoder
        if self.is_from_hub:
            from kanjo.train.models.hub_encoder import build_hub_encoder
            from kanjo.train.models.hub_source import find_encoder

            files = find_encoder(self.source, self.revision)
            encoder = build_hub_encoder(files, self.layers, feature_extractor, n_frames)
        else:
            encoder = build_whisper_encoder(self.source, self.layers, feature_extractor, n_frames, self.ffn_dim)
        return EncoderClassifier(encoder, self.layers, n_emotions, self.speaker_conditioning)

    def create_task(self, data: ExperimentData, fold: Fold, paths: TaskPaths | None = None) -> Task:
        """Create the task that fits the heads."""
        if self.is_from_hub:
            from kanjo.train.tasks.hub_probe import HubProbeTask

            return HubProbeTask(data, fold, paths)
        from kanjo.train.tasks.linear_probe import LinearProbeTask

        return LinearProbeTask(data, fold, paths)


ModelConfig = Annotated[
    CnnLstm2dConfig | CnnLstm1dConfig | DcnnBlstmConfig | MobileNetConfig | EncoderConfig,
    Field(discriminator="type"),
]
