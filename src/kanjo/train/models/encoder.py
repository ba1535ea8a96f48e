"""Base class of models on the lower layers of a pre-trained speech encoder.

An encoder was trained on mel bands at 16 kHz with a constant level. These are computed inside the graph from the
log-mel spectrogram that the feature extractor computes for all models.
"""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import torch
from torch import Tensor, nn

from kanjo.train.features.log_mel import LogMel, full_frame_counts
from kanjo.train.features.stft import mel_filters
from kanjo.train.models.embedding_classifier import EmbeddingClassifier
from kanjo.train.models.layers.pooling import AttentiveStatisticsPooling, frame_mask

#: The encoder's mel bands: Slaney's, 16 kHz, periodic Hann windows of 25 ms every 10 ms.
ENCODER_SAMPLE_RATE, ENCODER_FRAME_LENGTH, ENCODER_HOP_LENGTH = 16000, 400, 160
_EPSILON = 1e-9
#: Floor of the power after the logarithm is undone: larger than the rounding error of silence.
_MIN_POWER = 1e-7


class EncoderBands(nn.Module):
    """Convert log-mel spectrograms to power in the encoder's mel bands, at a constant level.

    Args:
        feature_extractor: Feature extractor with normalization "audioset" and a hop of 10 ms.
        n_bands: Number of the encoder's mel bands.
        level_db: Level of the valid frames after the conversion, in dB of full scale (RMS).

    Raises:
        ValueError: The log-mel spectrograms of the feature extractor can't be converted.

    Shape:
        log-mel spectrogram (B, 1, M, T), number of valid frames (B,) -> power (B, n_bands, T), mask of the valid
        frames bool (B, T, 1).
    """

    mels: Tensor
    loudness: Tensor

    def __init__(self, feature_extractor: LogMel, n_bands: int, level_db: float) -> None:
        super().__init__()
        mels, loudness = band_conversion_matrices(feature_extractor, n_bands, level_db)
        self.register_buffer("mels", mels, persistent=False)
        self.register_buffer("loudness", loudness, persistent=False)

    def forward(self, features: Tensor, n_frames: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Compute the power in the encoder's bands and the mask."""
        power = (torch.exp(5 * features[:, 0].float() - 4.5) - 1e-5).clamp(min=_MIN_POWER)  # (B, M, T)
        n_valid = full_frame_counts(power) if n_frames is None else n_frames.clamp(max=power.shape[2])
        mask = frame_mask(power.transpose(1, 2), n_valid)  # (B, T, 1)
        level = ((self.loudness @ power) * mask[..., 0]).sum(1) / n_valid  # (B,)
        return (self.mels @ power) / level.clamp(min=_EPSILON).reshape(-1, 1, 1), mask


class Standardizer(nn.Module):
    """Standardize with the mean and the standard deviation of the training set: (B, D) -> (B, D)."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("deviation", torch.ones(size))

    def set_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Store the mean and the standard deviation of the training set, each (D,)."""
        self.mean.copy_(mean)
        self.deviation.copy_(std.clamp(min=float(std.median()) / 10 + _EPSILON))

    def forward(self, x: Tensor) -> Tensor:
        """Subtract the mean and divide by the standard deviation."""
        return (x - self.mean) / self.deviation


class Encoder(EmbeddingClassifier):
    """A speech encoder, attentive statistics pooling, standardization and a linear layer.

    Args:
        n_emotions: Number E of emotions.
        size: Size S of the encoder's steps; the embedding has size 2 S.
        feature_extractor: Feature extractor with normalization "audioset" and a hop of 10 ms.
        n_bands: Number of mel bands that the encoder was trained on.
        level_db: Level that the encoder was trained on, in dB of full scale (RMS).
        dropout: Dropout before the linear layer.
        speaker_conditioning: Accept the mean embedding of the speaker, see
            :class:`kanjo.train.models.embedding_classifier.EmbeddingClassifier`.

    Raises:
        ValueError: The log-mel spectrograms of the feature extractor can't be converted to the encoder's bands.

    Shape:
        log-mel spectrogram (B, 1, M, T), number of valid frames (B,) -> logits (B, E), embedding (B, 2 S).
    """

    def __init__(
        self,
        n_emotions: int,
        size: int,
        *,
        feature_extractor: LogMel,
        n_bands: int,
        level_db: float,
        dropout: float,
        speaker_conditioning: bool,
    ) -> None:
        super().__init__(2 * size, n_emotions, dropout, speaker_conditioning)
        self.bands = EncoderBands(feature_extractor, n_bands, level_db)
        self.attention = AttentiveStatisticsPooling(size)
        self.norm = Standardizer(2 * size)

    @abstractmethod
    def encode(self, power: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the encoder's steps.

        Args:
            power: Power in the encoder's mel bands, (B, n_bands, T).
            mask: Mask of the valid frames, bool (B, T, 1).

        Returns:
            Steps (B, n_steps, S) and the mask of the valid steps, bool (B, n_steps, 1).
        """

    def embed(self, features: Tensor, n_frames: Tensor | None = None) -> Tensor:
        """Compute the embedding: features (B, 1, M, T), number of valid frames (B,) -> (B, 2 S)."""
        return self.standardize(self.pooled_statistics(features, n_frames))

    def pooled_statistics(self, features: Tensor, n_frames: Tensor | None = None) -> Tensor:
        """Compute mean and standard deviation of the steps, before they are standardized: (B, 2 S)."""
        power, mask = self.bands(features, n_frames)
        return self.attention(*self.encode(power, mask))  # type: ignore[no-any-return]

    def standardize(self, pooled_statistics: Tensor) -> Tensor:
        """Compute the embedding from the pooled statistics: (B, 2 S) -> (B, 2 S)."""
        return self.norm(pooled_statistics)  # type: ignore[no-any-return]


def band_conversion_matrices(feature_extractor: LogMel, n_bands: int, level_db: float) -> tuple[Tensor, Tensor]:
    """Compute the linear maps from a feature extractor's mel power to the encoder's mel bands and to the level.

    The spectrum is interpolated linearly between the center frequencies of the feature extractor's bands, its
    pre-emphasis is undone, and the encoder's filters are applied to it. On speech the result differs from librosa's
    bands by at most 1 dB for 40 bands, and 1.6 dB for 80 bands (see the tests).

    Returns:
        ``mels`` (n_bands, M) and ``loudness`` (M,). The power in the encoder's bands is mels @ power, divided by the
        mean of loudness @ power over the valid frames. That mean is 1 for a signal of ``level_db``.

    Raises:
        ValueError: The normalization of the feature extractor is not "audioset", or its hop is not 10 ms.
    """
    mel_spectrogram, sample_rate = feature_extractor.power, feature_extractor.sample_rate
    has_hop_of_encoder = mel_spectrogram.hop_length * ENCODER_SAMPLE_RATE == ENCODER_HOP_LENGTH * sample_rate
    if feature_extractor.normalization != "audioset" or not has_hop_of_encoder:
        raise ValueError(
            "features.normalization must be audioset, and features.hop_length must be 10 ms: the encoder's mel bands "
            "are computed from these log-mel spectrograms"
        )
    n_fft = mel_spectrogram.n_fft
    hz = np.arange(n_fft // 2 + 1) * sample_rate / n_fft
    fmin, fmax = feature_extractor.frequency_range_hz
    filters = mel_filters(sample_rate, n_fft, feature_extractor.n_mels, fmin, fmax, feature_extractor.mel_scale)
    emphasis = np.abs(1 - feature_extractor.preemphasis * np.exp(-2j * np.pi * hz / sample_rate)) ** 2
    flat_response = (filters * emphasis).sum(1)  # power in each band of a spectrum of ones, (M,)
    usable = flat_response > flat_response.max() * 1e-6  # the lowest bands may lie between two bins
    centers_hz = (filters[usable] @ hz) / filters[usable].sum(1)
    # Linear interpolation from the power in the M' usable bands to the spectrum, (K, M').
    unit_vectors = np.eye(int(usable.sum()))
    interpolation = np.stack([np.interp(hz, centers_hz, unit) for unit in unit_vectors], 1) / flat_response[usable]
    # Frames have the same duration, so the power grows with the square of the sample rate, and the width of a bin is
    # the inverse of the transform's duration.
    bin_width_ratio = (sample_rate / n_fft) / (ENCODER_SAMPLE_RATE / ENCODER_FRAME_LENGTH)
    scale = (ENCODER_SAMPLE_RATE / sample_rate) ** 2 * bin_width_ratio
    encoder_hz = np.arange(ENCODER_FRAME_LENGTH // 2 + 1) * ENCODER_SAMPLE_RATE / ENCODER_FRAME_LENGTH
    encoder_filters = mel_filters(
        ENCODER_SAMPLE_RATE, ENCODER_FRAME_LENGTH, n_bands, 0.0, ENCODER_SAMPLE_RATE / 2, "slaney"
    )
    encoder_filters = np.stack([np.interp(hz, encoder_hz, row, right=0.0) for row in encoder_filters])  # (n_bands, K)
    mels, loudness = np.zeros((n_bands, feature_extractor.n_mels)), np.zeros(feature_extractor.n_mels)
    mels[:, usable] = scale * encoder_filters @ interpolation
    # Parseval: the squares of a Hann window of 400 samples sum to 150, so the bins 0 to 200 of a frame with mean
    # square s sum to 150 * 200 s.
    power_at_level = 0.375 * ENCODER_FRAME_LENGTH * (ENCODER_FRAME_LENGTH / 2) * 10 ** (level_db / 10)
    loudness[usable] = scale * (hz <= ENCODER_SAMPLE_RATE / 2) @ interpolation / power_at_level
    return torch.tensor(mels, dtype=torch.float32), torch.tensor(loudness, dtype=torch.float32)
