"""From samples to features, inside the graph: framing, DFT, mel, decibels, deltas, normalisation.

The DFT is taken in three stages (Cooley & Tukey 1965), each a plain product that every runtime does fast. With n_fft =
A B and B = B1 B2, input index n = B n1 + B2 m1 + m2 and output index k = k1 + A (j1 + B1 j2):

    first   Y[k1, n2]      = sum_n1  W_A^(n1 k1)  w[n] x[n]                       n2 = B2 m1 + m2, W_m = exp(-2 pi i / m)
    second  Z[k1, j1, m2]  = sum_m1  W_B1^(m1 j1) W_n^(B2 m1 k1)         Y[k1, B2 m1 + m2]
    third   X[k1 + A (j1 + B1 j2)] = sum_m2  W_B2^(m2 j2) W_n^(m2 (k1 + A j1))  Z[k1, j1, m2]

The first sum is a grouped convolution over the signal written as B channels (n2) of N / B samples: it frames, windows
and transforms at once. The others are one small real matrix for each k1, and for each (k1, j1), with time innermost.
Only k1 = 0 .. A/2 is needed: for real x the other bins mirror these, and the mel matrix, its columns put in the order in
which bins come out, takes each bin from where it is. For n_fft 2048 this is a 28th of the direct transform's arithmetic;
short sums also keep float32's error down (two stages with sums of 64 were 2.5 times further from librosa).
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

Array = npt.NDArray[np.float64]
MelScale = Literal["slaney", "htk", "kaldi"]
Normalization = Literal["none", "utterance", "corpus", "image", "audioset"]

#: Mean and deviation of ImageNet's red, green and blue, at full scale 1: what torchvision's weights were trained on.
IMAGENET_MEAN, IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def hz_to_mel(hz: Array, scale: MelScale) -> Array:
    """Mel of Hz. "htk" and "kaldi": 2595 log10(1 + f/700). "slaney" (Auditory Toolbox): linear below 1 kHz, logarithmic above."""
    if scale != "slaney":
        return np.asarray(2595.0 * np.log10(1.0 + hz / 700.0))
    step, knee = 200.0 / 3, 1000.0
    above = knee / step + np.log(np.maximum(hz, knee) / knee) / (np.log(6.4) / 27.0)
    return np.where(hz < knee, hz / step, above)


def mel_to_hz(mel: Array, scale: MelScale) -> Array:
    """The inverse of :func:`hz_to_mel`."""
    if scale != "slaney":
        return np.asarray(700.0 * (10.0 ** (mel / 2595.0) - 1.0))
    step, knee = 200.0 / 3, 1000.0
    above = knee * np.exp(np.log(6.4) / 27.0 * (np.maximum(mel, knee / step) - knee / step))
    return np.where(mel < knee / step, mel * step, above)


def mel_filters(sample_rate: int, n_fft: int, n_mels: int, fmin: float, fmax: float, scale: MelScale) -> Array:
    """Triangular filters (M, n_fft // 2 + 1): of unit area, as ``librosa.filters.mel`` has them (Slaney's norm).

    "kaldi": of unit height, and triangles over mels, not over Hz (Kaldi's MelBanks, torchaudio.compliance.kaldi).
    """
    low, high = hz_to_mel(np.asarray([fmin, fmax], float), scale)
    edges = np.linspace(low, high, n_mels + 2)
    bins = np.arange(n_fft // 2 + 1) * sample_rate / n_fft
    if scale == "kaldi":
        bins = hz_to_mel(bins, scale)
    else:
        edges = mel_to_hz(edges, scale)
    rising = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    height = np.ones(n_mels) if scale == "kaldi" else 2.0 / (edges[2:] - edges[:-2])
    return np.maximum(0.0, np.minimum(rising, falling)) * height[:, None]


def hann(win_length: int, n_fft: int) -> Array:
    """Periodic Hann window of ``win_length``, centred in ``n_fft`` samples."""
    window = np.zeros(n_fft)
    start = (n_fft - win_length) // 2
    window[start : start + win_length] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(win_length) / win_length)
    return window


def dft_factors(n_fft: int, hop_length: int) -> tuple[int, int, int]:
    """(A, B1, B2), their product n_fft: of those that cost at most a quarter more than the cheapest, the smallest A.

    B1 B2 divides the hop and half the frame, which are steps of the first stage's convolution.
    """
    costs = {}
    for b in (b for b in range(1, n_fft // 2 + 1) if n_fft % b == hop_length % b == (n_fft // 2) % b == 0):
        a, kept = n_fft // b, n_fft // b // 2 + 1
        for b1 in (b1 for b1 in range(1, b + 1) if b % b1 == 0):
            b2 = b // b1
            costs[a, b1, b2] = 2 * kept * (a * b + 2 * b1 * b1 * b2 + 2 * b1 * b2 * b2)
    limit = 1.25 * min(costs.values())
    return min((key for key, cost in costs.items() if cost <= limit), key=lambda key: (key[0], costs[key], -key[1]))


def _real(w: npt.NDArray[np.complex128], outer_first: bool) -> Array:
    """Complex matrices (..., O, I) as real ones on stacked parts, inputs (re, im) x I.

    Outputs O x (re, im) when ``outer_first``, else (re, im) x O.
    """
    parts = np.stack([np.stack([w.real, -w.imag], -2), np.stack([w.imag, w.real], -2)], -4)  # (..., out c, O, in c, I)
    if outer_first:
        parts = parts.swapaxes(-4, -3)
    o, i = w.shape[-2:]
    return np.asarray(parts.reshape(*w.shape[:-2], 2 * o, 2 * i))


class PowerMel(nn.Module):
    """Mel power spectrogram: signal (B, N) -> (B, M, T) with T = 1 + N // hop_length, frames centred, ends zero-padded."""

    first: Tensor
    second: Tensor
    third: Tensor
    mel: Tensor

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
        scale: MelScale = "slaney",
    ) -> None:
        super().__init__()
        self.n_fft, self.hop_length = n_fft, hop_length
        a, b1, b2 = dft_factors(n_fft, hop_length)
        self.b, self.b1, self.b2, self.kept = b1 * b2, b1, b2, a // 2 + 1
        filters = mel_filters(sample_rate, n_fft, n_mels, fmin, fmax or sample_rate / 2, scale)
        k = np.arange(n_fft // 2 + 1)
        source = np.where(k % a < self.kept, k, n_fft - k)  # the bin itself, or the one that mirrors it
        j1, j2 = (source // a) % b1, source // a // b1
        mel = np.zeros((n_mels, self.kept * self.b))
        np.add.at(mel.T, (source % a * b1 + j1) * b2 + j2, filters.T)
        stages = _stages(hann(win_length or n_fft, n_fft), a, b1, b2)
        for name, value in zip(("first", "second", "third", "mel"), (*stages, mel), strict=True):
            self.register_buffer(name, torch.tensor(value, dtype=torch.float32), persistent=False)

    def forward(self, signal: Tensor) -> Tensor:
        frames = 1 + signal.shape[1] // self.hop_length
        signal = F.pad(signal, (0, (-signal.shape[1]) % self.b))
        channels = signal.reshape(signal.shape[0], -1, self.b).transpose(1, 2)  # (B, n2, N / b)
        step, pad = self.hop_length // self.b, self.n_fft // 2 // self.b
        y = F.conv1d(channels, self.first, stride=step, padding=pad, groups=self.b)[:, :, :frames]  # (B, n2 k1 c, T)
        y = y.reshape(-1, self.b, 2 * self.kept, frames).transpose(1, 2)  # (B, k1 c, n2, T)
        y = torch.matmul(self.second, y.reshape(-1, self.kept, 2 * self.b1, self.b2 * frames))  # (B, k1, j1 c, m2 T)
        y = torch.matmul(self.third, y.reshape(-1, self.kept * self.b1, 2 * self.b2, frames))  # (B, k1 j1, c j2, T)
        # re^2 + im^2 as one sum: ONNX Runtime splits and adds four times slower
        power = (y * y).reshape(-1, self.kept * self.b1, 2, self.b2 * frames).sum(2)  # (B, k1 j1, j2 T)
        return torch.matmul(self.mel, power.reshape(-1, self.kept * self.b, frames))


def _stages(window: Array, a: int, b1: int, b2: int) -> tuple[Array, Array, Array]:
    """The three stages' weights: (B k1 c, 1, A), (k1, j1 c, c m1), (k1 j1, c j2, c m2); c is re, im."""
    n_fft, b, kept = len(window), b1 * b2, a // 2 + 1
    k1, j1 = np.arange(kept), np.arange(b1)
    inner = np.exp(-2j * np.pi * np.outer(k1, np.arange(a)) / a)  # (k1, n1)
    framed = window.reshape(a, b).T  # (n2, n1)
    first = np.stack([inner.real, inner.imag], 1)[None] * framed[:, None, None]
    m1 = np.arange(b1)
    second = np.exp(-2j * np.pi * (j1[:, None] * m1 / b1 + b2 * m1 * k1[:, None, None] / n_fft))  # (k1, j1, m1)
    m2, bins = np.arange(b2), (k1[:, None] + a * j1).reshape(-1, 1, 1)
    third = np.exp(-2j * np.pi * (np.arange(b2)[:, None] * m2 / b2 + m2 * bins / n_fft))  # (k1 j1, j2, m2)
    return first.reshape(-1, 1, a), _real(second, outer_first=True), _real(third, outer_first=False)


def decibels(power: Tensor, top_db: float | None) -> Tensor:
    """10 log10(power), floored at -100 dB and, where given, at ``top_db`` below each item's peak (librosa's power_to_db)."""
    db = 10.0 / math.log(10.0) * torch.log(power.clamp(min=1e-10))
    if top_db is not None:
        db = torch.maximum(db, db.amax(dim=(1, 2), keepdim=True) - top_db)
    return db


def deltas(features: Tensor) -> Tensor:
    """Regression slope over 5 frames, edges replicated: (B, M, T) -> (B, M, T) (HTK book 5.9; torchaudio's compute_deltas)."""
    x = torch.cat([features[..., :1], features[..., :1], features, features[..., -1:], features[..., -1:]], dim=2)
    return (2 * (x[..., 4:] - x[..., :-4]) + (x[..., 3:-1] - x[..., 1:-3])) / 10


def heard_frames(signal: Tensor, hop_length: int) -> Tensor:
    """Frames up to the last hop that holds a sample other than zero: (B, N) -> int64 (B,), at least 1.

    What comes after is padding, or as good as.
    """
    padded = F.pad(signal, (0, -signal.shape[1] % hop_length))
    hops = padded.reshape(signal.shape[0], -1, hop_length).abs().amax(2) > 0
    place = torch.arange(1, hops.shape[1] + 1, device=signal.device)
    return torch.amax(hops * place, 1).clamp(min=1)


def all_frames(features: Tensor) -> Tensor:
    """How many frames each item of features (B, ..., T) has heard where none are said to be padding: all, int64 (B,)."""
    return torch.full((features.shape[0],), features.shape[-1], dtype=torch.long, device=features.device)


def held(features: Tensor, frames: Tensor) -> Tensor:
    """Frames from ``frames`` (B,) on replaced by the last before them: (B, M, T) -> (B, M, T)."""
    last = (frames - 1).reshape(-1, 1, 1)
    place = torch.arange(features.shape[2], device=features.device)
    return torch.where(place > last, features.gather(2, last.expand(-1, features.shape[1], 1)), features)


def trimmed(power: Tensor, frames: Tensor, within_db: float) -> tuple[Tensor, Tensor]:
    """Power (B, M, T) from its first to its last loud frame, moved to the start and silence behind, and how many that are (B,).

    A frame is loud within so many dB of the loudest. Of silence, all ``frames`` (B,) stay.
    """
    place = torch.arange(power.shape[2], device=power.device)
    level = power.sum(1)
    peak = level.amax(1, keepdim=True)
    loud = (level >= peak * 10 ** (-within_db / 10)) & (place < frames.unsqueeze(1))
    first = torch.argmax(loud.int(), 1)
    last = torch.amax(loud.int() * place, 1)
    n = last - first + 1
    moved = (place + first.unsqueeze(1)).clamp(max=power.shape[2] - 1)
    kept = power.gather(2, moved.unsqueeze(1).expand(-1, power.shape[1], -1))
    return kept * (place < n.unsqueeze(1)).unsqueeze(1), n


class LogMel(nn.Module):
    """Log-mel spectrogram, with deltas and normalisation: signal (B, N) -> features (B, C, M, T), frames heard (B,).

    C is 1, or 3 with ``deltas``, whose edges are replicated where an utterance ends, not where its padding does.
    ``normalization``: "none"; "utterance" (each item's own mean and deviation); "corpus" (mean and deviation of each channel
    and mel bin over the training set, given by :meth:`fit_statistics`); "image" (each channel scaled to 0 to 1 over the frames
    heard, then ImageNet's mean and deviation; Zhang et al. 2021); "audioset" ((ln(power + 1e-5) + 4.5) / 5, as EfficientAT's networks
    were trained: loudness stays in it). ``trim_db``: frames before the first and behind the last within so many dB of the loudest
    are left out, and what lies between moves to the start: silence around speech changes nothing.
    """

    mean: Tensor
    deviation: Tensor

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
        with_deltas: bool = False,
        normalization: Normalization = "corpus",
        trim_db: float | None = None,
    ) -> None:
        super().__init__()
        self.power = PowerMel(
            sample_rate, n_fft, hop_length, n_mels, win_length=win_length, fmin=fmin, fmax=fmax, scale=mel_scale
        )
        self.preemphasis, self.top_db, self.with_deltas, self.normalization = (
            preemphasis,
            top_db,
            with_deltas,
            normalization,
        )
        self.trim_db, self.sample_rate, self.mel_scale = trim_db, sample_rate, mel_scale
        self.band = (fmin, fmax or sample_rate / 2)
        self.channels = 3 if with_deltas else 1
        self.n_mels = n_mels
        mean, deviation = torch.zeros(self.channels, n_mels, 1), torch.ones(self.channels, n_mels, 1)
        if normalization == "image":
            mean += torch.tensor(IMAGENET_MEAN[: self.channels]).reshape(-1, 1, 1)
            deviation *= torch.tensor(IMAGENET_DEVIATION[: self.channels]).reshape(-1, 1, 1)
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation)

    def n_frames(self, n_samples: int) -> int:
        return 1 + n_samples // self.power.hop_length

    def frames(self, signal: Tensor) -> Tensor:
        """Frames that an utterance without its padding has: (B, N) -> int64 (B,), at least 1."""
        return heard_frames(signal, self.power.hop_length)

    def features(self, signal: Tensor, frames: Tensor) -> Tensor:
        """Before normalisation and trimming: (B, C, M, T), decibels ("audioset": as it is)."""
        return self._of_power(self._power(signal), frames)

    def _power(self, signal: Tensor) -> Tensor:
        n_frames = self.n_frames(signal.shape[1])
        if self.preemphasis:
            # one sample longer, so that a signal ends the same way whether zeros follow it or nothing does
            signal = F.pad(signal, (1, 1))
            signal = signal[:, 1:] - self.preemphasis * signal[:, :-1]
        return self.power(signal)[..., :n_frames]  # type: ignore[no-any-return]

    def _of_power(self, power: Tensor, frames: Tensor) -> Tensor:
        if self.normalization == "audioset":
            return ((torch.log(power + 1e-5) + 4.5) / 5).unsqueeze(1)
        static = decibels(power, self.top_db)
        if self.with_deltas or self.normalization == "image":
            static = held(static, frames)
        if not self.with_deltas:
            return static.unsqueeze(1)
        first = held(deltas(static), frames)
        return torch.stack([static, first, held(deltas(first), frames)], dim=1)

    def forward(self, signal: Tensor) -> tuple[Tensor, Tensor]:
        frames, power = self.frames(signal), self._power(signal)
        if self.trim_db is not None:
            power, frames = trimmed(power, frames, self.trim_db)
        features = self._of_power(power, frames)
        if self.normalization == "utterance":
            mean = features.mean(dim=(2, 3), keepdim=True)
            spread = (features - mean).square().mean(dim=(2, 3), keepdim=True).sqrt()
            return (features - mean) / (spread + 1e-5), frames
        if self.normalization == "image":
            low, high = features.amin(dim=(2, 3), keepdim=True), features.amax(dim=(2, 3), keepdim=True)
            features = (features - low) / (high - low).clamp(min=1e-5)
        if self.normalization in ("corpus", "image"):
            features = (features - self.mean) / self.deviation
        return features, frames

    def fit_statistics(self, mean: Tensor, deviation: Tensor) -> None:
        """Take the training set's mean and deviation, each (C, M)."""
        self.mean.copy_(mean.unsqueeze(-1))
        self.deviation.copy_(deviation.clamp(min=1e-3).unsqueeze(-1))


class Waveform(nn.Module):
    """Raw samples at an RMS of 1 over what is heard: signal (B, N) -> features (B, 1, 1, N), samples heard (B,).

    The front end of networks over samples: loudness is taken away, silence stays silence, and padding makes no difference.
    """

    channels = n_mels = 1

    def n_frames(self, n_samples: int) -> int:
        return n_samples

    def frames(self, signal: Tensor) -> Tensor:
        """Samples that an utterance without its padding has: (B, N) -> int64 (B,), at least 1."""
        return heard_frames(signal, 1)

    def forward(self, signal: Tensor) -> tuple[Tensor, Tensor]:
        frames = self.frames(signal)
        rms = (signal.square().sum(1) / frames).sqrt().clamp(min=1e-5)
        return (signal / rms.unsqueeze(1)).reshape(-1, 1, 1, signal.shape[1]), frames
