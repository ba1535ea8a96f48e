"""Mel spectrogram of a signal: mel scales, mel filters, and a fast short-time Fourier transform (STFT).

The discrete Fourier transform (DFT) is computed in three stages (Cooley & Tukey 1965). Each stage is a plain matrix
product or convolution, which every runtime computes fast. With n_fft = A B and B = B1 B2, the input index is
n = B n1 + B2 m1 + m2, the output index is k = k1 + A (j1 + B1 j2), and W_m = exp(-2 pi i / m)::

    first   Y[k1, n2]      = sum_n1  W_A^(n1 k1)  w[n] x[n]                       n2 = B2 m1 + m2
    second  Z[k1, j1, m2]  = sum_m1  W_B1^(m1 j1) W_n^(B2 m1 k1)         Y[k1, B2 m1 + m2]
    third   X[k1 + A (j1 + B1 j2)] = sum_m2  W_B2^(m2 j2) W_n^(m2 (k1 + A j1))  Z[k1, j1, m2]

The first sum is a grouped convolution over the signal, written as B channels (n2) of N / B samples: it frames, windows
and transforms at once. The second and third stage are one small real matrix for each k1, and for each (k1, j1), with
time as the innermost dimension. Only k1 = 0 to A/2 is needed: the spectrum of a real signal is symmetric. The columns
of the mel matrix are permuted to the order of the computed bins, and bins that are not computed use their mirror
image. For n_fft 2048 this needs 1/28 of the operations of the direct transform. Short sums also keep the rounding
error of float32 small: two stages with sums of 64 had 2.5 times the difference from librosa.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

Array = npt.NDArray[np.float64]
MelScale = Literal["slaney", "htk", "kaldi"]


def hz_to_mel(hz: Array, scale: MelScale) -> Array:
    """Convert Hz to mel.

    Scales "htk" and "kaldi" are 2595 log10(1 + f / 700). Scale "slaney" (Slaney's Auditory Toolbox) is linear below
    1 kHz and logarithmic above.
    """
    if scale != "slaney":
        return np.asarray(2595.0 * np.log10(1.0 + hz / 700.0))
    hz_per_mel, knee_hz = 200.0 / 3, 1000.0
    logarithmic = knee_hz / hz_per_mel + np.log(np.maximum(hz, knee_hz) / knee_hz) / (np.log(6.4) / 27.0)
    return np.where(hz < knee_hz, hz / hz_per_mel, logarithmic)


def mel_to_hz(mel: Array, scale: MelScale) -> Array:
    """Convert mel to Hz, the inverse of :func:`hz_to_mel`."""
    if scale != "slaney":
        return np.asarray(700.0 * (10.0 ** (mel / 2595.0) - 1.0))
    hz_per_mel, knee_hz = 200.0 / 3, 1000.0
    knee = knee_hz / hz_per_mel
    logarithmic = knee_hz * np.exp(np.log(6.4) / 27.0 * (np.maximum(mel, knee) - knee))
    return np.where(mel < knee, mel * hz_per_mel, logarithmic)


def mel_filters(sample_rate: int, n_fft: int, n_mels: int, fmin: float, fmax: float, scale: MelScale) -> Array:
    """Compute triangular mel filters.

    With scales "slaney" and "htk" the filters have unit area, like those of ``librosa.filters.mel`` (Slaney's
    normalization). With "kaldi" they have unit height and are triangles over mel, not over Hz (Kaldi's MelBanks,
    ``torchaudio.compliance.kaldi``).

    Returns:
        Filters of shape (M, n_fft // 2 + 1).
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


def hann_window(win_length: int, n_fft: int) -> Array:
    """Compute a periodic Hann window of ``win_length`` samples, centered in a frame of ``n_fft`` samples."""
    window = np.zeros(n_fft)
    start = (n_fft - win_length) // 2
    window[start : start + win_length] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(win_length) / win_length)
    return window


def dft_factors(n_fft: int, hop_length: int) -> tuple[int, int, int]:
    """Choose the factors (A, B1, B2) of ``n_fft`` for the three stages of the DFT.

    Of the factors that cost at most 25 % more operations than the cheapest ones, those with the smallest A are chosen.
    B1 B2 divides the hop and half the frame, because it is the stride unit of the first stage's convolution.
    """
    costs = {}
    for b in range(1, n_fft // 2 + 1):
        if n_fft % b or hop_length % b or (n_fft // 2) % b:
            continue
        a, n_k1 = n_fft // b, n_fft // b // 2 + 1
        for b1 in range(1, b + 1):
            if b % b1 == 0:
                b2 = b // b1
                costs[a, b1, b2] = 2 * n_k1 * (a * b + 2 * b1 * b1 * b2 + 2 * b1 * b2 * b2)
    limit = 1.25 * min(costs.values())
    affordable = [factors for factors, cost in costs.items() if cost <= limit]
    return min(affordable, key=lambda factors: (factors[0], costs[factors], -factors[1]))


class MelSpectrogram(nn.Module):
    """Mel power spectrogram with centered frames; the signal is zero-padded at both ends.

    Args:
        sample_rate: Sample rate in Hz.
        n_fft: Frame length in samples.
        hop_length: Hop between frames in samples.
        n_mels: Number of mel bands.
        win_length: Length of the Hann window in samples; None: ``n_fft``.
        fmin: Lower end of the lowest band in Hz.
        fmax: Upper end of the highest band in Hz; None: half the sample rate.
        scale: Mel scale and shape of the filters, see :func:`mel_filters`.

    Shape:
        signal (B, N) -> power (B, M, T) with T = 1 + N // hop_length.
    """

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
        self.b, self.b1, self.b2, self.n_k1 = b1 * b2, b1, b2, a // 2 + 1
        filters = mel_filters(sample_rate, n_fft, n_mels, fmin, fmax or sample_rate / 2, scale)
        k = np.arange(n_fft // 2 + 1)
        computed = np.where(k % a < self.n_k1, k, n_fft - k)  # the bin itself, or its mirror image
        j1, j2 = (computed // a) % b1, computed // a // b1
        mel = np.zeros((n_mels, self.n_k1 * self.b))
        np.add.at(mel.T, (computed % a * b1 + j1) * b2 + j2, filters.T)
        window = hann_window(win_length or n_fft, n_fft)
        self._white_noise_power = filters.sum(1) * np.square(window).sum()
        first, second, third = _dft_stages(window, a, b1, b2)
        for name, value in (("first", first), ("second", second), ("third", third), ("mel", mel)):
            self.register_buffer(name, torch.tensor(value, dtype=torch.float32), persistent=False)

    def white_noise_power(self) -> Tensor:
        """Expected power of white noise of variance 1 in each mel band: (M,)."""
        return torch.tensor(self._white_noise_power, dtype=torch.float32)

    def forward(self, signal: Tensor) -> Tensor:
        """Compute the mel power spectrogram."""
        n_frames = 1 + signal.shape[1] // self.hop_length
        signal = F.pad(signal, (0, (-signal.shape[1]) % self.b))
        channels = signal.reshape(signal.shape[0], -1, self.b).transpose(1, 2)  # (B, n2, N / b)
        stride, padding = self.hop_length // self.b, self.n_fft // 2 // self.b
        y = F.conv1d(channels, self.first, stride=stride, padding=padding, groups=self.b)
        y = y[:, :, :n_frames]  # (B, n2 k1 c, T)
        y = y.reshape(-1, self.b, 2 * self.n_k1, n_frames).transpose(1, 2)  # (B, k1 c, n2, T)
        y = torch.matmul(self.second, y.reshape(-1, self.n_k1, 2 * self.b1, self.b2 * n_frames))  # (B, k1, j1 c, m2 T)
        y = torch.matmul(self.third, y.reshape(-1, self.n_k1 * self.b1, 2 * self.b2, n_frames))  # (B, k1 j1, c j2, T)
        # re^2 + im^2 as one sum: slicing and adding takes ONNX Runtime four times longer.
        power = (y * y).reshape(-1, self.n_k1 * self.b1, 2, self.b2 * n_frames).sum(2)  # (B, k1 j1, j2 T)
        return torch.matmul(self.mel, power.reshape(-1, self.n_k1 * self.b, n_frames))


def _dft_stages(window: Array, a: int, b1: int, b2: int) -> tuple[Array, Array, Array]:
    """Compute the weights of the three stages, in the notation of the module docstring.

    Returns:
        Weights of shapes (B k1 c, 1, A), (k1, j1 c, c m1) and (k1 j1, c j2, c m2), where c is (real, imaginary).
    """
    n_fft, b, n_k1 = len(window), b1 * b2, a // 2 + 1
    k1, j1 = np.arange(n_k1), np.arange(b1)
    dft_a = np.exp(-2j * np.pi * np.outer(k1, np.arange(a)) / a)  # (k1, n1)
    windows = window.reshape(a, b).T  # (n2, n1)
    first = np.stack([dft_a.real, dft_a.imag], 1)[None] * windows[:, None, None]
    m1 = np.arange(b1)
    second = np.exp(-2j * np.pi * (j1[:, None] * m1 / b1 + b2 * m1 * k1[:, None, None] / n_fft))  # (k1, j1, m1)
    m2, bins = np.arange(b2), (k1[:, None] + a * j1).reshape(-1, 1, 1)
    third = np.exp(-2j * np.pi * (np.arange(b2)[:, None] * m2 / b2 + m2 * bins / n_fft))  # (k1 j1, j2, m2)
    return (
        first.reshape(-1, 1, a),
        _as_real_matrices(second, outputs_first=True),
        _as_real_matrices(third, outputs_first=False),
    )


def _as_real_matrices(weights: npt.NDArray[np.complex128], outputs_first: bool) -> Array:
    """Write complex matrices (..., O, I) as real matrices over stacked (real, imaginary) parts.

    The columns are (re, im) x I. The rows are O x (re, im) if ``outputs_first``, else (re, im) x O.
    """
    real_rows = np.stack([weights.real, -weights.imag], -2)
    imaginary_rows = np.stack([weights.imag, weights.real], -2)
    parts = np.stack([real_rows, imaginary_rows], -4)  # (..., output c, O, input c, I)
    if outputs_first:
        parts = parts.swapaxes(-4, -3)
    n_outputs, n_inputs = weights.shape[-2:]
    return np.asarray(parts.reshape(*weights.shape[:-2], 2 * n_outputs, 2 * n_inputs))
