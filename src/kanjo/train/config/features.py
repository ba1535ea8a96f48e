"""The recipe section ``features``: what is computed from the samples before the model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, NonNegativeFloat, PositiveFloat, Tag, model_validator

from kanjo.train.config.base import Config, Fraction, FrameLength

if TYPE_CHECKING:
    from kanjo.train.features.log_mel import LogMel, Waveform


class WaveformConfig(Config):
    """Samples scaled to an RMS of 1 (kanjo.train.features.log_mel.Waveform).

    Attributes:
        type: Type of the features.
        hop_length: Samples per frame.
        has_frequency_axis: Whether frequencies can be masked or warped.
        needs_statistics: Whether mean and deviation of the training set are needed.
    """

    hop_length: ClassVar[int] = 1
    has_frequency_axis: ClassVar[bool] = False
    needs_statistics: ClassVar[bool] = False

    type: Literal["waveform"]

    def build(self, sample_rate: int) -> Waveform:
        """Build the feature extractor for a sample rate in Hz."""
        from kanjo.train.features.log_mel import Waveform

        return Waveform()


class LogMelConfig(Config):
    """Log-mel spectrogram (kanjo.train.features.log_mel.LogMel). Lengths are in samples, frequencies in Hz.

    Attributes:
        has_frequency_axis: Whether frequencies can be masked or warped.
        type: Type of the features.
        n_fft: Length of the Fourier transform.
        hop_length: Samples per frame.
        win_length: Length of the Hann window (None: ``n_fft``).
        n_mels: Number of mel bands.
        fmin: Lower end of the lowest mel band.
        fmax: Upper end of the highest mel band (None: half the sample rate).
        mel_scale: Formula of the mel scale.
        preemphasis: Coefficient of the pre-emphasis filter; 0 turns it off.
        top_db: Floor of the spectrogram, in dB below its maximum (None: no floor but ``floor_db``).
        floor_db: Lowest level of the spectrogram, in dB. With the normalization "image", it decides how much of the
            range of an image the padding takes.
        with_deltas: Add first and second deltas as channels.
        normalization: "max" is decibels relative to the utterance's maximum; "utterance" gives each utterance mean 0
            and deviation 1; "corpus" uses mean and deviation of the training set; "image" scales each channel to the
            range of ImageNet; "audioset" is that of EfficientAT, "whisper" that of Whisper at a constant level.
        noise_floor_db: Add the power of white noise so many dB below the utterance's level (None: no noise). Needs
            normalization "whisper".
        trim_db: Leave out frames before the first and after the last frame whose level is within so many dB of the
            loudest one (None: keep all).
        mask_padding: Leave the padding after a clip out of the model. If false, it is silence to the model; only
            models with segments notice the difference.
    """

    has_frequency_axis: ClassVar[bool] = True

    type: Literal["log-mel"] = "log-mel"
    n_fft: FrameLength = 2048
    hop_length: FrameLength = 512
    win_length: FrameLength | None = None
    n_mels: Annotated[int, Field(ge=1, le=4096)] = 128
    fmin: NonNegativeFloat = 0.0
    fmax: PositiveFloat | None = None
    mel_scale: Literal["slaney", "htk", "kaldi"] = "slaney"
    preemphasis: Fraction = 0.0
    top_db: PositiveFloat | None = 80.0
    floor_db: Annotated[float, Field(ge=-300, le=0)] = -100.0
    with_deltas: bool = False
    normalization: Literal["none", "max", "utterance", "corpus", "image", "audioset", "whisper"] = "corpus"
    noise_floor_db: NonNegativeFloat | None = None
    trim_db: PositiveFloat | None = None
    mask_padding: bool = True

    @property
    def needs_statistics(self) -> bool:
        """Whether mean and deviation of the training set are needed."""
        return self.normalization == "corpus"

    def build(self, sample_rate: int) -> LogMel:
        """Build the feature extractor for a sample rate in Hz."""
        from kanjo.train.features.log_mel import LogMel

        return LogMel(sample_rate, **self.model_dump(exclude={"type"}))

    @model_validator(mode="after")
    def _check_deltas(self) -> LogMelConfig:
        if self.trim_db and self.with_deltas:
            raise ValueError("trim_db needs features of one channel; set with_deltas to false")
        if self.trim_db and not self.mask_padding:
            raise ValueError("trim_db removes frames of the clip; set mask_padding to true")
        if self.normalization in ("max", "audioset", "whisper") and self.with_deltas:
            raise ValueError(
                f"normalization {self.normalization} needs features of one channel; set with_deltas to false"
            )
        if self.noise_floor_db is not None and self.normalization != "whisper":
            raise ValueError("noise_floor_db needs normalization whisper; set it to null")
        return self


def _type_of_features(value: Any) -> str:
    return str(value.get("type", "log-mel") if isinstance(value, dict) else getattr(value, "type", "log-mel"))


FeaturesConfig = Annotated[
    Annotated[LogMelConfig, Tag("log-mel")] | Annotated[WaveformConfig, Tag("waveform")],
    Discriminator(
        _type_of_features,
        custom_error_type="features_type",
        custom_error_message="unknown type; expected log-mel or waveform",
    ),
]
