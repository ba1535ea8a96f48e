"""Feature extractors, part of the exported graph: normalized log-mel spectrograms, or raw samples."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kanjo.train.features.silence import trim_silence_frames
from kanjo.train.features.stft import MelScale, MelSpectrogram, hz_to_mel, mel_to_hz

Normalization = Literal["none", "max", "utterance", "corpus", "image", "audioset", "whisper"]

#: Input of Whisper: decadic logarithm of the power, floored this far below its maximum, then (x + 4) / 4. The samples
#: are scaled to an RMS of WHISPER_RMS first.
WHISPER_LOG10_RANGE, WHISPER_RMS = 8.0, 0.1
_EPSILON = 1e-7

#: Mean and standard deviation of ImageNet's red, green and blue channels (0 to 1), used to train torchvision's weights.
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class LogMel(nn.Module):
    """Log-mel spectrogram, optionally with deltas, normalized.

    Args:
        sample_rate: Sample rate in Hz.
        n_fft: Frame length in samples.
        hop_length: Hop between frames in samples.
        n_mels: Number of mel bands.
        win_length: Length of the Hann window in samples; None: ``n_fft``.
        fmin: Lower end of the lowest band in Hz.
        fmax: Upper end of the highest band in Hz; None: half the sample rate.
        mel_scale: See :func:`kanjo.train.features.stft.mel_filters`.
        preemphasis: Coefficient of the first-order pre-emphasis filter; 0: no filter.
        top_db: Floor of the spectrogram, in dB below its maximum; None: no floor but ``floor_db``.
        floor_db: Lowest level of the spectrogram in dB.
        with_deltas: Append first and second deltas as channels. They are computed over the valid frames only, with
            replicated edges, so padding does not change them.
        normalization: One of

            - "none";
            - "max": decibels relative to the maximum of each item (``librosa.power_to_db`` with ``ref=np.max``);
            - "utterance": zero mean and unit variance over each item;
            - "corpus": mean and standard deviation of each channel and mel band over the training set, which
              :meth:`set_statistics` stores;
            - "image": each channel scaled to 0 to 1 over the valid frames, then normalized with the mean and standard
              deviation of ImageNet (Zhang et al. 2021);
            - "audioset": (ln(power + 1e-5) + 4.5) / 5, the input of EfficientAT's models, which keeps the loudness;
            - "whisper": the input of Whisper (Radford et al. 2022), after the samples were scaled to an RMS of 0.1 over
              the valid samples. Padding is zero.
        noise_floor_db: With "whisper": add the expected power of white noise, so many dB below the signal, to all mel
            bands; None: add nothing. The features then depend less on background noise.
        trim_db: Remove the frames before the first and after the last frame within this many dB of the loudest frame,
            and move the rest to the start; None: keep all frames.
        mask_padding: Count only the frames before the zeros at the end of a signal as valid. If false, all frames of
            the window are valid, and the padding is silence to the model.

    Shape:
        signal (B, N) -> features (B, C, M, T), number of valid frames int64 (B,). C is 3 with deltas, else 1.
    """

    mean: Tensor
    deviation: Tensor
    noise_floor: Tensor

    def __init__(
        self,
        sample_rate: int,
        n_fft: int,
        hop_length: int,
        n_mels: int,
        *,
        win_length: int | None = None,
        fmin: float = 0.0,
        fmax: float | None = None,
        mel_scale: MelScale = "slaney",
        preemphasis: float = 0.0,
        top_db: float | None = 80.0,
        floor_db: float = -100.0,
        with_deltas: bool = False,
        normalization: Normalization = "corpus",
        noise_floor_db: float | None = None,
        trim_db: float | None = None,
        mask_padding: bool = True,
    ) -> None:
        super().__init__()
        self.power = MelSpectrogram(
            sample_rate, n_fft, hop_length, n_mels, win_length=win_length, fmin=fmin, fmax=fmax, scale=mel_scale
        )
        self.sample_rate, self.n_mels, self.mel_scale = sample_rate, n_mels, mel_scale
        self.frequency_range_hz = (fmin, fmax or sample_rate / 2)
        self.preemphasis, self.top_db, self.floor_db, self.trim_db = preemphasis, top_db, floor_db, trim_db
        self.with_deltas, self.normalization, self.mask_padding = with_deltas, normalization, mask_padding
        self.channels = 3 if with_deltas else 1
        mean, std = torch.zeros(self.channels, n_mels, 1), torch.ones(self.channels, n_mels, 1)
        if normalization == "image":
            mean += torch.tensor(IMAGENET_MEAN[: self.channels]).reshape(-1, 1, 1)
            std *= torch.tensor(IMAGENET_STD[: self.channels]).reshape(-1, 1, 1)
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", std)
        floor = 0.0 if noise_floor_db is None else WHISPER_RMS**2 * 10 ** (-noise_floor_db / 10)
        self.register_buffer("noise_floor", floor * self.power.white_noise_power().unsqueeze(1), persistent=False)

    def n_frames(self, n_samples: int) -> int:
        """Number of frames of a signal of ``n_samples`` samples. Whisper leaves out the last one."""
        return n_samples // self.power.hop_length + (self.normalization != "whisper")

    def n_valid_frames(self, signal: Tensor) -> Tensor:
        """Number of frames of each signal before its padding, or of the window: (B, N) -> int64 (B,), at least 1."""
        if not self.mask_padding:
            return torch.full((signal.shape[0],), self.n_frames(signal.shape[1]), device=signal.device)
        return n_valid_frames(signal, self.power.hop_length)

    @property
    def center_hz(self) -> list[float]:
        """Center frequencies (M,) of the mel bands in Hz."""
        low, high = hz_to_mel(np.asarray(self.frequency_range_hz, float), self.mel_scale)
        mels = np.linspace(low, high, self.n_mels + 2)[1:-1]
        return [float(hz) for hz in mel_to_hz(mels, self.mel_scale)]

    def decibels(self, signal: Tensor) -> Tensor:
        """Compute the log-mel spectrogram in dB, for figures: (B, N) -> (B, M, T).

        It is relative to the maximum of each item with the normalization "max", else to full scale.
        """
        db = power_to_db(self._power_spectrogram(signal), self.top_db, self.floor_db)
        return db - db.amax(dim=(1, 2), keepdim=True) if self.normalization == "max" else db

    def unnormalized(self, signal: Tensor, n_frames: Tensor) -> Tensor:
        """Compute the features without trimming and without normalization by statistics.

        Args:
            signal: Samples, (B, N).
            n_frames: Number of valid frames, (B,).

        Returns:
            Log-mel spectrogram and deltas in dB, (B, C, M, T); with "audioset" the log-mel spectrogram scaled by its
            constants.
        """
        return self._log_mel(self._power_spectrogram(signal), n_frames)

    def forward(self, signal: Tensor) -> tuple[Tensor, Tensor]:
        """Compute features and numbers of valid frames."""
        n_frames, power = self.n_valid_frames(signal), self._power_spectrogram(signal)
        if self.trim_db is not None:
            power, n_frames = trim_silence_frames(power, n_frames, self.trim_db)
        return self._normalize(self._log_mel(power, n_frames)), n_frames

    def set_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Store the mean and the standard deviation of the training set, each (C, M)."""
        self.mean.copy_(mean.unsqueeze(-1))
        self.deviation.copy_(std.clamp(min=1e-3).unsqueeze(-1))

    def _power_spectrogram(self, signal: Tensor) -> Tensor:
        n_frames = self.n_frames(signal.shape[1])
        if self.preemphasis:
            # One zero at the end, so that the filter's last value is the same with and without padding.
            signal = F.pad(signal, (1, 1))
            signal = signal[:, 1:] - self.preemphasis * signal[:, :-1]
        if self.normalization == "whisper":
            signal = signal * (WHISPER_RMS / valid_rms(signal).clamp(min=_EPSILON)).unsqueeze(1)
        return self.power(signal)[..., :n_frames]  # type: ignore[no-any-return]

    def _log_mel(self, power: Tensor, n_frames: Tensor) -> Tensor:
        if self.normalization == "audioset":
            return ((torch.log(power + 1e-5) + 4.5) / 5).unsqueeze(1)
        if self.normalization == "whisper":
            return _whisper_log_mel(power + self.noise_floor, n_frames).unsqueeze(1)
        static = power_to_db(power, self.top_db, self.floor_db)
        if self.with_deltas or self.normalization == "image":
            static = replicate_last_frame(static, n_frames)
        if not self.with_deltas:
            return static.unsqueeze(1)
        delta = replicate_last_frame(deltas(static), n_frames)
        return torch.stack([static, delta, replicate_last_frame(deltas(delta), n_frames)], dim=1)

    def _normalize(self, features: Tensor) -> Tensor:
        if self.normalization == "utterance":
            mean = features.mean(dim=(2, 3), keepdim=True)
            std = (features - mean).square().mean(dim=(2, 3), keepdim=True).sqrt()
            return (features - mean) / (std + 1e-5)
        if self.normalization == "max":
            return features - features.amax(dim=(1, 2, 3), keepdim=True)
        if self.normalization == "image":
            low, high = features.amin(dim=(2, 3), keepdim=True), features.amax(dim=(2, 3), keepdim=True)
            features = (features - low) / (high - low).clamp(min=1e-5)
        if self.normalization in ("corpus", "image"):
            features = (features - self.mean) / self.deviation
        return features


class Waveform(nn.Module):
    """Raw samples, scaled to a root mean square (RMS) of 1 over the valid samples.

    The scaling removes the loudness. Padding does not change it, and silence stays silence.

    Shape:
        signal (B, N) -> features (B, 1, 1, N), number of valid samples int64 (B,).
    """

    channels = n_mels = 1

    def n_frames(self, n_samples: int) -> int:
        """Number of frames of a signal of ``n_samples`` samples: a frame is a sample."""
        return n_samples

    def n_valid_frames(self, signal: Tensor) -> Tensor:
        """Number of samples before the padding of each signal: (B, N) -> int64 (B,), at least 1."""
        return n_valid_frames(signal, 1)

    def forward(self, signal: Tensor) -> tuple[Tensor, Tensor]:
        """Scale the samples and count the valid ones."""
        n_samples, rms = self.n_valid_frames(signal), valid_rms(signal).clamp(min=1e-5)
        return (signal / rms.unsqueeze(1)).reshape(-1, 1, 1, signal.shape[1]), n_samples


def valid_rms(signal: Tensor) -> Tensor:
    """Compute the root mean square of the samples before the padding: (B, N) -> (B,)."""
    return (signal.square().sum(1) / n_valid_frames(signal, 1)).sqrt()


def _whisper_log_mel(power: Tensor, n_frames: Tensor) -> Tensor:
    """Convert power (B, M, T) to Whisper's input; frames after the first ``n_frames`` (B,) are zero."""
    valid = torch.arange(power.shape[2], device=power.device) < n_frames.reshape(-1, 1, 1)
    log_power = torch.log(power.clamp(min=1e-10)) / math.log(10)
    maximum = log_power.masked_fill(~valid, -10.0).amax((1, 2), keepdim=True)
    return (torch.maximum(log_power, maximum - WHISPER_LOG10_RANGE) + 4) / 4 * valid


def power_to_db(power: Tensor, top_db: float | None, floor_db: float = -100.0) -> Tensor:
    """Convert power (B, M, T) to dB, like ``librosa.power_to_db``.

    The floor is ``floor_db`` and, unless ``top_db`` is None, ``top_db`` below the maximum of each item.
    """
    db = 10.0 / math.log(10.0) * torch.log(power.clamp(min=10 ** (floor_db / 10)))
    if top_db is not None:
        db = torch.maximum(db, db.amax(dim=(1, 2), keepdim=True) - top_db)
    return db


def deltas(features: Tensor) -> Tensor:
    """Compute the regression slope over 5 frames with replicated edges: (B, M, T) -> (B, M, T).

    See the HTK book, section 5.9, and ``torchaudio.functional.compute_deltas``.
    """
    x = torch.cat([features[..., :1], features[..., :1], features, features[..., -1:], features[..., -1:]], dim=2)
    return (2 * (x[..., 4:] - x[..., :-4]) + (x[..., 3:-1] - x[..., 1:-3])) / 10


def n_valid_frames(signal: Tensor, hop_length: int) -> Tensor:
    """Count the hops up to the last one with a sample other than zero: (B, N) -> int64 (B,), at least 1.

    Zeros at the end are padding, or silence that has the same effect.
    """
    padded = F.pad(signal, (0, -signal.shape[1] % hop_length))
    not_zero = padded.reshape(signal.shape[0], -1, hop_length).abs().amax(2) > 0
    number = torch.arange(1, not_zero.shape[1] + 1, device=signal.device)
    return torch.amax(not_zero * number, 1).clamp(min=1)


def full_frame_counts(features: Tensor) -> Tensor:
    """Return T for each item of (B, ..., T): the number of valid frames, int64 (B,), if there is no padding."""
    return torch.full((features.shape[0],), features.shape[-1], dtype=torch.long, device=features.device)


def replicate_last_frame(features: Tensor, n_frames: Tensor) -> Tensor:
    """Replace the frames after the first ``n_frames`` (B,) by the last of these: (B, M, T) -> (B, M, T)."""
    last = (n_frames - 1).reshape(-1, 1, 1)
    index = torch.arange(features.shape[2], device=features.device)
    return torch.where(index > last, features.gather(2, last.expand(-1, features.shape[1], 1)), features)
