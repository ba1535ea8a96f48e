"""An LSTM that learnt to tell voices apart, and whose lower layers hear how something is said (Resemblyzer; Wan et al. 2018, arXiv 1710.10467).

The speaker encoder was trained on some 8,400 voices of interviews and audio books (VoxCeleb 1 and 2, LibriSpeech) with the generalised end-to-end loss.
Its last layer keeps who speaks; a linear SVM on the second layer's mean and deviation over time, as they are, tells RAVDESS's validation speakers' emotions
with a UAR of 65 % (75 where each speaker is standardised), on the first's 54, on the third's 55. So two layers are kept, and trained on.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from kanjo.train.frontend import LogMel, mel_filters
from kanjo.train.networks.pooling import AttentiveStatistics, Told, within

#: What the encoder was trained on: 40 mel bands (Slaney's) of power at 16 kHz, frames of 25 ms every 10 ms, an RMS of -30 dB of full scale.
RATE, BANDS, FRAME, HOP, LEVEL_DB = 16000, 40, 400, 160, -30.0
UNITS = 256
_SHORTEST = 1e-9


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


class Ge2e(Told):
    """Log-mels (B, 1, M, T) under "audioset" normalisation, frames heard (B,) -> logits (B, E), embedding (B, 512).

    The log-mels become what the encoder was trained on (:func:`bands_from`), at its level: loudness is gone from what the LSTM hears, and stays in the
    functionals, where these are. ``layers`` of it, mean and deviation over its steps by attention, each standardised; a dense layer. ``freeze``: the
    LSTM stays as it was published. Raises ValueError for a front end whose log-mels can't become the encoder's.
    """

    mels: Tensor
    loudness: Tensor

    def __init__(
        self,
        n_emotions: int,
        input_shape: tuple[int, int, int],
        *,
        frontend: LogMel,
        layers: int = 2,
        freeze: bool = False,
        dropout: float = 0.3,
        speaker: bool = False,
        functionals: bool = False,
    ) -> None:
        super().__init__(2 * UNITS, n_emotions, dropout, speaker, input_shape[1] if functionals else 0)
        mels, loudness = bands_from(frontend)
        self.register_buffer("mels", mels, persistent=False)
        self.register_buffer("loudness", loudness, persistent=False)
        self.lstm = nn.LSTM(BANDS, UNITS, layers, batch_first=True)
        self.lstm.requires_grad_(not freeze)
        self.attention = AttentiveStatistics(UNITS)
        self.norm = Standardised(2 * UNITS)

    def pool(self, features: Tensor, frames: Tensor | None = None) -> Tensor:
        return self.norm(self.summary(features, frames))  # type: ignore[no-any-return]

    def summary(self, features: Tensor, frames: Tensor | None = None) -> Tensor:
        """The steps' mean and deviation as they come: (B, 512)."""
        power = (torch.exp(5 * features[:, 0].float() - 4.5) - 1e-5).clamp(min=0)  # (B, M, T)
        n_steps = power.shape[2]
        heard = torch.full_like(power[:, 0, 0], n_steps, dtype=torch.long) if frames is None else frames.clamp(max=n_steps)
        inside = within(power.transpose(1, 2), heard)  # (B, T, 1)
        level = ((self.loudness @ power) * inside[..., 0]).sum(1) / heard  # (B,)
        bands = (self.mels @ power) / level.clamp(min=_SHORTEST).reshape(-1, 1, 1)
        steps, _ = self.lstm(bands.transpose(1, 2))
        return self.attention(steps, inside)  # type: ignore[no-any-return]


def bands_from(frontend: LogMel) -> tuple[Tensor, Tensor]:
    """What turns a front end's mel power into the encoder's: (40, M), to be divided by the level, which (M,) gives: its mean over frames is 1 at -30 dB.

    The spectrum is taken to run straight between the centres of the front end's bands, its pre-emphasis is undone, and the encoder's bands are summed
    over it. Within 1 dB of librosa's on speech (in the tests). Raises ValueError for a front end that is not "audioset" at 10 ms.
    """
    power, rate = frontend.power, frontend.sample_rate
    if frontend.normalization != "audioset" or power.hop_length * RATE != HOP * rate:
        raise ValueError(
            "the log-mels' normalization must be audioset, and their hop 10 ms: what the speaker encoder hears is made of them"
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
    filters = mel_filters(RATE, FRAME, BANDS, 0.0, RATE / 2, "slaney")
    heard = np.stack([np.interp(hz, wide, row, right=0.0) for row in filters])  # (40, K)
    mels, loudness = np.zeros((BANDS, frontend.n_mels)), np.zeros(frontend.n_mels)
    mels[:, there] = scale * heard @ straight
    # Parseval over a Hann window of 400 samples, whose squares add up to 150: a frame of mean square s has bins 0 to 200 that add up to 150 * 200 s
    frame = 0.375 * FRAME * (FRAME / 2) * 10 ** (LEVEL_DB / 10)
    loudness[there] = scale * (hz <= RATE / 2) @ straight / frame
    return torch.tensor(mels, dtype=torch.float32), torch.tensor(loudness, dtype=torch.float32)
