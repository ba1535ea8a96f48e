"""The sections of a recipe that describe what the network hears, and the network."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from kanjo.train.config.base import Count, Pool, Positive, Read, Section, Share


class WaveformSection(Section):
    """Raw samples at an RMS of 1: see kanjo.train.features.log_mel.Waveform."""

    type: Literal["waveform"]


class LogMelSection(Section):
    """The log-mel front end: see kanjo.train.features.log_mel.LogMel. Lengths are samples, frequencies Hz."""

    type: Literal["log-mel"] = "log-mel"
    n_fft: Count = 2048
    hop_length: Count = 512
    win_length: Count | None = None
    n_mels: Count = 128
    fmin: Annotated[float, Field(ge=0)] = 0.0
    fmax: Positive | None = None
    mel_scale: Literal["slaney", "htk", "kaldi"] = "slaney"
    preemphasis: Share = 0.0
    top_db: Positive | None = 80.0
    with_deltas: bool = False
    normalization: Literal["none", "utterance", "corpus", "image", "audioset"] = "corpus"
    trim_db: Positive | None = None

    @model_validator(mode="after")
    def _plain(self) -> LogMelSection:
        if self.trim_db and self.with_deltas:
            raise ValueError("trim_db is for one channel; set with_deltas to false")
        if self.normalization == "audioset" and self.with_deltas:
            raise ValueError("normalization audioset has no deltas; set with_deltas to false")
        return self


def _frontend_type(value: Any) -> str:
    return str(value.get("type", "log-mel") if isinstance(value, dict) else value.type)


FrontendSection = Annotated[
    Annotated[LogMelSection, Tag("log-mel")] | Annotated[WaveformSection, Tag("waveform")],
    Discriminator(
        _frontend_type,
        custom_error_type="frontend_type",
        custom_error_message="unknown type, expected log-mel or waveform",
    ),
]


class CnnLstm2dSection(Section):
    """Four local feature learning blocks and an LSTM (Zhao et al. 2019). Pools are [mel, time] pairs."""

    type: Literal["cnn-lstm-2d"]
    read: Read = "last"
    filters: tuple[Count, ...] = (64, 64, 128, 128)
    kernel: Count = 3
    pools: tuple[Pool, ...] = ((2, 2), (4, 4), (4, 4), (4, 4))
    lstm_units: Count = 256
    dropout: Share = 0.0


class CnnLstm1dSection(Section):
    """Four local feature learning blocks and an LSTM over raw samples (Zhao et al. 2019). Kernel and pools are lengths in time."""

    type: Literal["cnn-lstm-1d"]
    read: Read = "last"
    filters: tuple[Count, ...] = (64, 64, 128, 128)
    kernel: Count = 3
    pools: tuple[Count, ...] = (4, 4, 4, 4)
    lstm_units: Count = 64
    dropout: Share = 0.0


class SegmentSection(Section):
    """How features are cut for a deep CNN: ``frames`` every ``hop``, resized to ``size`` x ``size``."""

    frames: Count = 64
    hop: Count = 32
    size: Annotated[int, Field(ge=63)] = 227


class DcnnBlstmSection(Section):
    """A deep CNN over segments, (B)LSTM, attention and dense layers (Zhang et al. 2021).

    ``weights`` that AlexNet starts from: "imagenet" (torchvision's, fetched), "none" (random), a file, or "auto" (ImageNet's
    where they are at hand or can be fetched, else none; which of the two is said, and written into the run's recipe).
    ``freeze``: the second stage leaves the CNN as the first has left it, and computes its features once.
    """

    type: Literal["dcnn-blstm-attention"]
    weights: str = "auto"
    segment: SegmentSection = SegmentSection()
    extractor_dropout: Share = 0.5
    freeze: bool = True
    lstm_units: Count = 128
    bidirectional: bool = True
    attention: Literal["self", "mean"] = "self"
    hidden: Annotated[tuple[Count, ...], Field(min_length=1)] = (512, 256)
    dropout: Share = 0.1


class MobileNetSection(Section):
    """MobileNetV3-Large over log-mels (Schmid et al. 2023).

    ``weights`` that its trunk starts from: "audioset" (EfficientAT's, fetched), "none" (random), a file, or "auto" (AudioSet's where they
    are at hand or can be fetched, else none). ``width``: the published files' share of channels (0.4: mn04_as). ``speaker``: it takes a
    speaker's mean embedding as an input, and can do without (see kanjo.train.models.speaker_means).
    """

    type: Literal["mobilenet"]
    weights: str = "auto"
    width: Positive = 0.4
    pooling: Literal["mean", "attention", "blstm"] = "attention"
    lstm_units: Count = 128
    dropout: Share = 0.3
    speaker: bool = False


class WhisperSection(Section):
    """Whisper-tiny's lower encoder layers (Radford et al. 2022): see kanjo.train.models.whisper. ``speaker``: as MobileNet's.

    They stay as they were published, and the heads alone are fitted (``training.optimizer: lbfgs``: see kanjo.train.tasks.linear_probe).

    ``weights`` that they start from: "smart-turn" (pipecat's, fetched), "none" (random), a file, or "auto" (as MobileNet's). ``hidden``: how many of a
    layer's 1536 hidden units stay, those of the largest weights. ``read``: what is pooled, the last layer's steps or those of all, side by side.
    """

    type: Literal["whisper"]
    weights: str = "auto"
    layers: Annotated[int, Field(ge=1, le=4)] = 1
    read: Literal["last", "all"] = "last"
    hidden: Annotated[int, Field(ge=1, le=1536)] = 1024
    dropout: Share = 0.0
    speaker: bool = False


#: Networks that tell emotions from an embedding (kanjo.train.models.layers.pooling.Told): they hear crops.
ToldSection = MobileNetSection | WhisperSection


NetworkSection = Annotated[
    CnnLstm2dSection | CnnLstm1dSection | DcnnBlstmSection | MobileNetSection | WhisperSection,
    Field(discriminator="type"),
]
