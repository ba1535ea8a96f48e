"""Networks whose trunk is the lower layers of a speech encoder: what it was trained on, out of a front end's log-mels, and its steps pooled.

An encoder hears mel bands at 16 kHz, at one level. They are made of the log-mels that other networks hear, inside the graph.
"""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import torch
from torch import Tensor, nn

from kanjo.train.features.log_mel import LogMel, all_frames, mel_filters
from kanjo.train.models.layers.pooling import AttentiveStatistics, Told, within

#: Slaney's mel bands of power at 16 kHz, periodic Hann frames of 25 ms every 10 ms.
RATE, FRAME, HOP = 16000, 400, 160
_SHORTEST = 1e-9
#: What the logarithm of silence is off by, and more.
_ROUNDING = 1e-7


class Bands(nn.Module):
    """Log-mels (B, 1, M, T) under "audioset" normalisation, frames heard (B,) -> power in ``n`` mel bands (B, n, T), which frames are heard (B, T, 1).

    The frames heard have an RMS of ``level_db`` of full scale: loudness is gone. Raises ValueError for a front end whose log-mels can't become these.
    """

    mels: Tensor
    loudness: Tensor

    def __init__(self, frontend: LogMel, n: int, level_db: float) -> None:
        super().__init__()
        mels, loudness = bands_from(frontend, n, level_db)
        self.register_buffer("mels", mels, persistent=False)
        self.register_buffer("loudness", loudness, persistent=False)

    def forward(self, features: Tensor, frames: Tensor | None = None) -> tuple[Tensor, Tensor]:
        power = (torch.exp(5 * features[:, 0].float() - 4.5) - 1e-5).clamp(min=_ROUNDING)  # (B, M, T)
        heard = all_frames(power) if frames is None else frames.clamp(max=power.shape[2])
        inside = within(power.transpose(1, 2), heard)  # (B, T, 1)
        level = ((self.loudness @ power) * inside[..., 0]).sum(1) / heard  # (B,)
        return (self.mels @ power) / level.clamp(min=_SHORTEST).reshape(-1, 1, 1), inside


class Standardised(nn.Module):
    """In the training set's deviations from its mean, as these were before training: (B, D) -> (B, D)."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("deviation", torch.ones(size))

    def fit_statistics(self, mean: Tensor, deviation: Tensor) -> None:
        """Take the training set's mean and deviation, each (D,)."""
        self.mean.copy_(mean)
        self.deviation.copy_(deviation.clamp(min=float(deviation.median()) / 10 + _SHORTEST))

    def forward(self, found: Tensor) -> Tensor:
        return (found - self.mean) / self.deviation


class Encoder(Told):
    """Log-mels (B, 1, M, T) under "audioset" normalisation, frames heard (B,) -> logits (B, E), embedding (B, 2 S).

    The log-mels become what the encoder was trained on (:class:`Bands`: ``bands``, ``level_db``): loudness is gone from what it hears.
    Mean and deviation over its steps of ``size`` by attention, each standardised; a dense layer.
    Raises ValueError for a front end whose log-mels can't become the encoder's.
    """

    def __init__(
        self,
        n_emotions: int,
        input_shape: tuple[int, int, int],
        size: int,
        *,
        frontend: LogMel,
        bands: int,
        level_db: float,
        dropout: float,
        speaker: bool,
    ) -> None:
        super().__init__(2 * size, n_emotions, dropout, speaker)
        self.bands = Bands(frontend, bands, level_db)
        self.attention = AttentiveStatistics(size)
        self.norm = Standardised(2 * size)

    @abstractmethod
    def encode(self, power: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
        """Power in bands (B, n, T), which frames are heard (B, T, 1) -> steps (B, S, D), which of these are heard (B, S, 1)."""

    def embedded(self, summary: Tensor) -> Tensor:
        """Summaries (B, 2 S) as they come -> (B, 2 S)."""
        return self.norm(summary)  # type: ignore[no-any-return]

    def embed(self, features: Tensor, frames: Tensor | None = None) -> Tensor:
        return self.embedded(self.summary(features, frames))

    def summary(self, features: Tensor, frames: Tensor | None = None) -> Tensor:
        """The steps' mean and deviation as they come: (B, 2 S)."""
        return self.attention(*self.encode(*self.bands(features, frames)))  # type: ignore[no-any-return]


def bands_from(frontend: LogMel, n: int, level_db: float) -> tuple[Tensor, Tensor]:
    """What turns a front end's mel power into ``n`` bands': (n, M), to be divided by the level, which (M,) gives: its mean over frames is 1 at ``level_db``.

    The spectrum is taken to run straight between the centres of the front end's bands, its pre-emphasis is undone, and the encoder's bands are summed
    over it. Within 1 dB of librosa's 40 bands on speech, 1.6 of its 80 (in the tests). Raises ValueError for a front end that is not "audioset" at 10 ms.
    """
    power, rate = frontend.power, frontend.sample_rate
    if frontend.normalization != "audioset" or power.hop_length * RATE != HOP * rate:
        raise ValueError(
            "the log-mels' normalization must be audioset, and their hop 10 ms: what the encoder hears is made of them"
        )
    hz = np.arange(power.n_fft // 2 + 1) * rate / power.n_fft
    fmin, fmax = frontend.band
    own = mel_filters(rate, power.n_fft, frontend.n_mels, fmin, fmax, frontend.mel_scale)  # (M, K)
    emphasis = np.abs(1 - frontend.preemphasis * np.exp(-2j * np.pi * hz / rate)) ** 2
    weight = (own * emphasis).sum(1)  # what a flat spectrum of 1 comes to in each band
    there = weight > weight.max() * 1e-6  # the lowest bands may lie between two bins of the transform
    centres = (own[there] @ hz) / own[there].sum(1)
    straight = np.stack([np.interp(hz, centres, row) for row in np.eye(int(there.sum()))], 1) / weight[there]  # (K, M')
    wide = np.arange(FRAME // 2 + 1) * RATE / FRAME
    # frames are equally long, so power is as the square of the rate, and a bin as wide as the transform is short
    scale = (RATE / rate) ** 2 * (rate / power.n_fft) / (RATE / FRAME)
    filters = mel_filters(RATE, FRAME, n, 0.0, RATE / 2, "slaney")
    heard = np.stack([np.interp(hz, wide, row, right=0.0) for row in filters])  # (n, K)
    mels, loudness = np.zeros((n, frontend.n_mels)), np.zeros(frontend.n_mels)
    mels[:, there] = scale * heard @ straight
    # Parseval over a Hann window of 400 samples, whose squares add up to 150: a frame of mean square s has bins 0 to 200 that add up to 150 * 200 s
    frame = 0.375 * FRAME * (FRAME / 2) * 10 ** (level_db / 10)
    loudness[there] = scale * (hz <= RATE / 2) @ straight / frame
    return torch.tensor(mels, dtype=torch.float32), torch.tensor(loudness, dtype=torch.float32)
