"""The input of w2v-BERT: Kaldi's log-mel filter banks, normalized over the utterance, as a module that is exported."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kanjo.train.features.stft import mel_filters
from kanjo.train.models.layers.pooling import frame_mask

_FRAME_LENGTH, _HOP_LENGTH, _N_FFT, _N_MELS, _FMIN_HZ = 400, 160, 512, 80, 20.0
_PREEMPHASIS, _POVEY_EXPONENT = 0.97, 0.85
#: Kaldi's samples are 16-bit integers; its smallest power is the epsilon of float32.
_SCALE, _MIN_POWER = 2.0**15, 1.192092955078125e-07
_VARIANCE_EPSILON = 1e-7


class KaldiFbank(nn.Module):
    """Kaldi's filter banks: frames without mean, pre-emphasis, Povey's window, power spectrum, 80 mel bands, logarithm.

    All steps up to the spectrum are linear, so they are one convolution. Each band has zero mean and unit variance over
    the valid frames.

    Args:
        sample_rate: Sample rate in Hz.

    Shape:
        signal (B, N), number of valid samples (B,) -> (B, T, 80), number of valid frames int64 (B,).
    """

    dft: Tensor
    filters: Tensor

    def __init__(self, sample_rate: int) -> None:
        super().__init__()
        filters = mel_filters(sample_rate, _N_FFT, _N_MELS, _FMIN_HZ, sample_rate / 2, "kaldi")
        self.register_buffer("dft", torch.tensor(_frame_transform(), dtype=torch.float32), persistent=False)
        self.register_buffer("filters", torch.tensor(filters.T, dtype=torch.float32), persistent=False)

    def forward(self, signal: Tensor, n_samples: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the filter banks and the numbers of valid frames."""
        padded = F.pad(signal * _SCALE, (0, _FRAME_LENGTH - _HOP_LENGTH)).unsqueeze(1)
        real, imaginary = F.conv1d(padded, self.dft.unsqueeze(1), stride=_HOP_LENGTH).chunk(2, 1)
        power = (real.square() + imaginary.square()).transpose(1, 2)
        bands = torch.log((power @ self.filters).clamp(min=_MIN_POWER))
        n_frames = torch.clamp(n_samples - _FRAME_LENGTH, min=0) // _HOP_LENGTH + 1
        mask = frame_mask(bands, n_frames)
        n_valid = mask.sum(1, keepdim=True)
        centered = (bands - (bands * mask).sum(1, keepdim=True) / n_valid) * mask
        variance = centered.square().sum(1, keepdim=True) / (n_valid - 1).clamp(min=1)
        return centered * torch.rsqrt(variance + _VARIANCE_EPSILON), n_frames


def _frame_transform() -> npt.NDArray[np.float64]:
    """Compute the matrix from the samples of a frame to its spectrum, real part then imaginary part: (514, 400)."""
    n = np.arange(_FRAME_LENGTH)
    remove_mean = np.eye(_FRAME_LENGTH) - 1 / _FRAME_LENGTH
    preemphasis = np.eye(_FRAME_LENGTH) - _PREEMPHASIS * np.eye(_FRAME_LENGTH, k=-1)
    preemphasis[0, 0] = 1 - _PREEMPHASIS
    window = (0.5 - 0.5 * np.cos(2 * np.pi * n / (_FRAME_LENGTH - 1))) ** _POVEY_EXPONENT
    angles = 2 * np.pi * np.outer(np.arange(_N_FFT // 2 + 1), n) / _N_FFT
    transform: npt.NDArray[np.float64] = np.concatenate([np.cos(angles), -np.sin(angles)])
    return (transform * window) @ preemphasis @ remove_mean
