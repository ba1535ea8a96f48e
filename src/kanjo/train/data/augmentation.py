"""Changes to training batches, made on the device that trains; never to validation or test clips."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from kanjo.audio import Signal
from kanjo.train.config.schema import AugmentSection


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


def vary_signal(signal: Tensor, valid: Tensor, settings: AugmentSection, sample_rate: int) -> Tensor:
    """Room, background, band, telephone, gain and white noise, drawn for each clip: (B, N), valid (B,) -> (B, N).

    ``reverberation``, ``background``, ``band``, ``codec``: shares of the clips, see below. ``gain_db``: uniform within plus and minus;
    ``noise_db``: noise of -90 to ``noise_db`` - 90 dB of full scale's RMS. Padding behind a clip stays silent (but for a room's decay).
    """
    b = signal.shape[0]
    inside = torch.arange(signal.shape[1], device=signal.device) < valid.unsqueeze(1)
    for share, change in (
        (settings.reverberation, lambda x, _: in_a_room(x, sample_rate)),
        (settings.background, with_background),
        (settings.band, lambda x, _: through_a_band(x, sample_rate)),
        (settings.codec, lambda x, _: over_the_telephone(x, sample_rate)),
    ):
        if share and (chosen := torch.rand(b, device=signal.device) < share).any():
            signal = signal.clone()
            signal[chosen] = change(signal[chosen], inside[chosen])
    if settings.gain_db:
        db = (2 * torch.rand(b, 1, device=signal.device) - 1) * settings.gain_db
        signal = signal * 10 ** (db / 20)
    if settings.noise_db:
        level = 10 ** ((torch.rand(b, 1, device=signal.device) * settings.noise_db - 90) / 20)
        signal = signal + level * torch.randn_like(signal) * inside
    return signal


def in_a_room(signal: Tensor, sample_rate: int) -> Tensor:
    """Reverberation: noise that decays by 60 dB in 0.15 to 0.8 s behind the direct sound, which is 0 to 15 dB louder: (B, N) -> (B, N)."""
    b, n = signal.shape
    length = sample_rate // 2
    t = torch.arange(1, length, device=signal.device) / sample_rate
    decay = _uniform(signal, 0.15, 0.8)
    tail = torch.randn(b, length - 1, device=signal.device) * torch.exp(-math.log(1000) * t / decay)
    share = 10 ** (-_uniform(signal, 0, 15) / 10)  # the tail's energy, the direct sound's being 1
    tail = tail * (share / tail.square().sum(1, keepdim=True)).sqrt()
    response = torch.cat([torch.ones_like(share), tail], 1) / (1 + share).sqrt()
    size = fast_length(n + length)
    heard: Tensor = torch.fft.irfft(torch.fft.rfft(signal, size) * torch.fft.rfft(response, size), size)
    return heard[:, :n]


def with_background(signal: Tensor, inside: Tensor) -> Tensor:
    """Noise between white and brown, 3 to 30 dB below the clip's own level, where the clip is: (B, N), bool (B, N) -> (B, N)."""
    n = signal.shape[1]
    size = fast_length(n)
    spectrum = torch.fft.rfft(torch.randn(len(signal), size, device=signal.device))
    bins = torch.arange(1, spectrum.shape[1] + 1, device=signal.device)
    noise = torch.fft.irfft(spectrum * bins ** -_uniform(signal, 0, 1), size)[:, :n] * inside
    power = signal.square().sum(1, keepdim=True) / noise.square().sum(1, keepdim=True).clamp(min=1e-12)
    noisy: Tensor = signal + noise * (power * 10 ** (-_uniform(signal, 3, 30) / 10)).sqrt()
    return noisy


def through_a_band(
    signal: Tensor, sample_rate: int, low: float | Tensor = 0.0, high: float | Tensor | None = None
) -> Tensor:
    """Nothing below ``low`` and above ``high`` Hz (default: drawn, 3 to 12 kHz, low ones as often as high ones): (B, N) -> (B, N)."""
    n = signal.shape[1]
    size = fast_length(n)
    if high is None:
        high = 3000 * 4 ** _uniform(signal, 0, 1)
    spectrum = torch.fft.rfft(signal, size)
    hz = torch.arange(spectrum.shape[1], device=signal.device) * (sample_rate / size)
    heard: Tensor = torch.fft.irfft(spectrum * ((hz >= low) & (hz <= high)), size)
    return heard[:, :n]


def over_the_telephone(signal: Tensor, sample_rate: int) -> Tensor:
    """300 to 3400 Hz, and 8 bits of G.711's mu-law: (B, N) -> (B, N)."""
    narrow = through_a_band(signal, sample_rate, 300.0, 3400.0).clamp(-1, 1)
    pressed = torch.log1p(255 * narrow.abs()) / math.log(256)
    return torch.sign(narrow) * torch.expm1(torch.round(pressed * 127) / 127 * math.log(256)) / 255


def fast_length(n: int) -> int:
    """The next length whose Fourier transform is quick: 2, 3 or 5 times a power of two and more of them."""
    best = 1 << (n - 1).bit_length()
    for factor in (3, 5, 9, 15):
        candidate = factor << max(0, -(-n // factor) - 1).bit_length()
        best = min(best, candidate) if candidate >= n else best
    return best


def _uniform(like: Tensor, low: float, high: float) -> Tensor:
    """One number for each clip: (B, 1)."""
    return low + (high - low) * torch.rand(len(like), 1, device=like.device)


def warp_frequencies(
    features: Tensor, most: float, sample_rate: int, fmin: float = 0.0, fmax: float | None = None
) -> Tensor:
    """Vocal tract length perturbation (Jaitly & Hinton 2013), drawn for each clip: (B, C, M, T) -> (B, C, M, T), M mels from ``fmin`` to ``fmax`` Hz.

    What was at f Hz comes to be at f / a, a from 1 - ``most`` to 1 + ``most``; tempo stays. On the mel scale 1127 ln(1 + f / 700), whichever was used:
    they differ by less than clips do.
    """
    b, _, m, _ = features.shape

    def mel(hz: Tensor) -> Tensor:
        return 1127 * torch.log1p(hz / 700)

    low, high = mel(torch.tensor([fmin, fmax or sample_rate / 2], device=features.device))
    step = (high - low) / (m + 1)
    centres = low + step * torch.arange(1, m + 1, device=features.device)
    hz = 700 * torch.expm1(centres / 1127)
    factor = 1 + _uniform(features, -most, most)
    place = ((mel(hz * factor) - low) / step - 1).clamp(0, m - 1)  # (B, M)
    below = place.floor().long().clamp(max=m - 2)
    share = (place - below).reshape(b, 1, m, 1)

    def rows(index: Tensor) -> Tensor:
        return features.gather(2, index.reshape(b, 1, m, 1).expand(-1, features.shape[1], -1, features.shape[3]))

    warped: Tensor = rows(below) * (1 - share) + rows(below + 1) * share
    return warped


def mask_features(features: Tensor, settings: AugmentSection) -> Tensor:
    """SpecAugment's frequency and time masks (Park et al. 2019, without the warp), drawn for each clip.

    (B, C, M, T) -> (B, C, M, T); what is masked becomes 0, the training set's mean after corpus normalisation.
    """
    if not settings.frequency_masks and not settings.time_masks:
        return features
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


class Blend(NamedTuple):
    """Mixup (Zhang et al. 2018): ``share`` of each clip, the rest of the one that stands at its place in ``order`` (B,)."""

    share: float
    order: Tensor

    def of(self, values: Tensor) -> Tensor:
        """Blended: (B, ...) -> (B, ...)."""
        return self.share * values + (1 - self.share) * values[self.order]


def blend(n: int, alpha: float, device: torch.device) -> Blend:
    """A blend of ``n`` clips, its share drawn from Beta(alpha, alpha); of each with itself for ``alpha`` 0."""
    if not alpha:
        return Blend(1.0, torch.arange(n, device=device))
    share = float(np.random.default_rng(int(torch.randint(2**31, (1,)))).beta(alpha, alpha))
    return Blend(share, torch.randperm(n, device=device))
