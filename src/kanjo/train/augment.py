"""Changes to training batches, made on the device that trains; never to validation or test clips."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from kanjo.audio import Signal
from kanjo.train.schema import AugmentSection


def at_speed(signal: Signal, factor: float) -> Signal:
    """Played ``factor`` times as fast (pitch moves along, as on tape), by linear interpolation: (N,) -> (N / factor,)."""
    n = int(len(signal) / factor)
    return np.asarray(np.interp(np.arange(n) * factor, np.arange(len(signal)), signal), np.float32)


def shifted(signal: Signal, samples: int) -> Signal:
    """Moved by so many samples: silence comes in at one end, what leaves at the other is lost: (N,) -> (N,)."""
    moved = np.zeros_like(signal)
    keep = max(0, len(signal) - abs(samples))
    if samples >= 0:
        moved[len(signal) - keep :] = signal[:keep]
    else:
        moved[:keep] = signal[len(signal) - keep :]
    return moved


def vary_signal(signal: Tensor, valid: Tensor, settings: AugmentSection) -> Tensor:
    """Gain and white noise, drawn for each clip: (B, N), valid (B,) -> (B, N). Padding behind a clip stays silent.

    ``gain_db``: uniform within plus and minus; ``noise_db``: noise of -90 to ``noise_db`` - 90 dB of full scale's RMS.
    """
    b = signal.shape[0]
    if settings.gain_db:
        db = (2 * torch.rand(b, 1, device=signal.device) - 1) * settings.gain_db
        signal = signal * 10 ** (db / 20)
    if settings.noise_db:
        level = 10 ** ((torch.rand(b, 1, device=signal.device) * settings.noise_db - 90) / 20)
        inside = torch.arange(signal.shape[1], device=signal.device) < valid.unsqueeze(1)
        signal = signal + level * torch.randn_like(signal) * inside
    return signal


def mask_features(features: Tensor, settings: AugmentSection) -> Tensor:
    """SpecAugment's frequency and time masks (Park et al. 2019, without the warp), drawn for each clip.

    (B, C, M, T) -> (B, C, M, T); what is masked becomes 0, the training set's mean after corpus normalisation.
    """
    b, _, m, t = features.shape
    keep = torch.ones(b, 1, m, t, dtype=torch.bool, device=features.device)
    for n_masks, width, size, axis in (
        (settings.frequency_masks, settings.frequency_width, m, 2),
        (settings.time_masks, settings.time_width, t, 3),
    ):
        shape = [1, 1, 1, 1]
        shape[axis] = size
        place = torch.arange(size, device=features.device).reshape(shape)
        for _ in range(n_masks):
            length = torch.rand(b, 1, 1, 1, device=features.device) * min(width, size)
            start = torch.rand(b, 1, 1, 1, device=features.device) * (size - length)
            keep = keep & ~((place >= start) & (place < start + length))
    return features * keep


def mixup(features: Tensor, frames: Tensor, targets: Tensor, alpha: float) -> tuple[Tensor, Tensor, Tensor]:
    """Blend each clip with another (Zhang et al. 2018): features (B, ...), frames (B,), targets (B, E) -> the same shapes."""
    share = float(np.random.default_rng(int(torch.randint(2**31, (1,)))).beta(alpha, alpha))
    order = torch.randperm(features.shape[0], device=features.device)
    blended = share * features + (1 - share) * features[order]
    return blended, torch.maximum(frames, frames[order]), share * targets + (1 - share) * targets[order]
