"""Augmentation of training clips. Validation and test clips are never augmented.

The functions on tensors work on whole batches, on the device that trains; each clip has its own random numbers.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from kanjo.audio import Signal
from kanjo.train.config.training import AugmentConfig


def change_speed(signal: Signal, factor: float) -> Signal:
    """Play a signal ``factor`` times as fast, by linear interpolation: (N,) -> (N / factor,). The pitch changes too."""
    n = int(len(signal) / factor)
    return np.asarray(np.interp(np.arange(n) * factor, np.arange(len(signal)), signal), np.float32)


def shift_in_time(signal: Signal, samples: int) -> Signal:
    """Shift a signal to the right, or with negative ``samples`` to the left, and fill with silence: (N,) -> (N,)."""
    shifted = np.zeros_like(signal)
    n_kept = max(0, len(signal) - abs(samples))
    if samples >= 0:
        shifted[len(signal) - n_kept :] = signal[:n_kept]
    else:
        shifted[:n_kept] = signal[len(signal) - n_kept :]
    return shifted


def augment_signal(signal: Tensor, valid: Tensor, augment: AugmentConfig, sample_rate: int) -> Tensor:
    """Apply reverb, background noise, band-pass, telephone codec, gain and white noise.

    The first four are applied to each clip with the probability that ``augment`` gives. The gain is uniform within
    plus and minus ``gain_db``. The white noise has a level of -90 to ``white_noise_range_db`` - 90 dB of full scale
    (RMS). Padding after a clip stays silent, apart from the decay of the reverb.

    Args:
        signal: Samples, (B, N).
        valid: Number of samples before the padding of each clip, (B,).
        augment: Section ``augment`` of the recipe.
        sample_rate: Sample rate in Hz.

    Returns:
        Augmented samples, (B, N).
    """
    b = signal.shape[0]
    mask = torch.arange(signal.shape[1], device=signal.device) < valid.unsqueeze(1)
    for probability, effect in (
        (augment.reverb_prob, lambda x, _: reverberate(x, sample_rate)),
        (augment.background_noise_prob, add_colored_noise),
        (augment.bandpass_prob, lambda x, _: bandpass(x, sample_rate)),
        (augment.telephone_prob, lambda x, _: telephone_codec(x, sample_rate)),
    ):
        if probability and (chosen := torch.rand(b, device=signal.device) < probability).any():
            signal = signal.clone()
            signal[chosen] = effect(signal[chosen], mask[chosen])
    if augment.gain_db:
        gain_db = (2 * torch.rand(b, 1, device=signal.device) - 1) * augment.gain_db
        signal = signal * 10 ** (gain_db / 20)
    if augment.white_noise_range_db:
        level_db = torch.rand(b, 1, device=signal.device) * augment.white_noise_range_db - 90
        signal = signal + 10 ** (level_db / 20) * torch.randn_like(signal) * mask
    return signal


def reverberate(signal: Tensor, sample_rate: int) -> Tensor:
    """Add reverberation: (B, N) -> (B, N).

    The impulse response is the direct sound and a tail of noise that decays by 60 dB in 0.15 to 0.8 s. The direct
    sound is 0 to 15 dB louder than the tail.
    """
    b, n = signal.shape
    length = sample_rate // 2
    t = torch.arange(1, length, device=signal.device) / sample_rate
    decay_s = _random_per_clip(signal, 0.15, 0.8)
    tail = torch.randn(b, length - 1, device=signal.device) * torch.exp(-math.log(1000) * t / decay_s)
    tail_energy = 10 ** (-_random_per_clip(signal, 0, 15) / 10)  # the direct sound has energy 1
    tail = tail * (tail_energy / tail.square().sum(1, keepdim=True)).sqrt()
    response = torch.cat([torch.ones_like(tail_energy), tail], 1) / (1 + tail_energy).sqrt()
    size = next_fast_len(n + length)
    convolved: Tensor = torch.fft.irfft(torch.fft.rfft(signal, size) * torch.fft.rfft(response, size), size)
    return convolved[:, :n]


def add_colored_noise(signal: Tensor, mask: Tensor) -> Tensor:
    """Add noise with a spectrum between white and brown, 3 to 30 dB below the level of the clip.

    Args:
        signal: Samples, (B, N).
        mask: Where the clips are, bool (B, N); the noise is added only there.
    """
    n = signal.shape[1]
    size = next_fast_len(n)
    spectrum = torch.fft.rfft(torch.randn(len(signal), size, device=signal.device))
    bins = torch.arange(1, spectrum.shape[1] + 1, device=signal.device)
    noise = torch.fft.irfft(spectrum * bins ** -_random_per_clip(signal, 0, 1), size)[:, :n] * mask
    power_ratio = signal.square().sum(1, keepdim=True) / noise.square().sum(1, keepdim=True).clamp(min=1e-12)
    noisy: Tensor = signal + noise * (power_ratio * 10 ** (-_random_per_clip(signal, 3, 30) / 10)).sqrt()
    return noisy


def bandpass(
    signal: Tensor, sample_rate: int, low_hz: float | Tensor = 0.0, high_hz: float | Tensor | None = None
) -> Tensor:
    """Remove the frequencies below ``low_hz`` and above ``high_hz``: (B, N) -> (B, N).

    Without ``high_hz``, it is drawn for each clip from 3 to 12 kHz, uniformly on a logarithmic scale.
    """
    n = signal.shape[1]
    size = next_fast_len(n)
    if high_hz is None:
        high_hz = 3000 * 4 ** _random_per_clip(signal, 0, 1)
    spectrum = torch.fft.rfft(signal, size)
    hz = torch.arange(spectrum.shape[1], device=signal.device) * (sample_rate / size)
    filtered: Tensor = torch.fft.irfft(spectrum * ((hz >= low_hz) & (hz <= high_hz)), size)
    return filtered[:, :n]


def telephone_codec(signal: Tensor, sample_rate: int) -> Tensor:
    """Simulate a telephone: 300 to 3400 Hz, and 8 bits with mu-law companding (ITU-T G.711): (B, N) -> (B, N)."""
    narrow = bandpass(signal, sample_rate, 300.0, 3400.0).clamp(-1, 1)
    compressed = torch.log1p(255 * narrow.abs()) / math.log(256)
    return torch.sign(narrow) * torch.expm1(torch.round(compressed * 127) / 127 * math.log(256)) / 255


def next_fast_len(n: int) -> int:
    """Return a length of at least ``n`` with a fast Fourier transform: a power of two, or 3, 5, 9 or 15 times one."""
    best = 1 << (n - 1).bit_length()
    for factor in (3, 5, 9, 15):
        candidate = factor << max(0, -(-n // factor) - 1).bit_length()
        best = min(best, candidate) if candidate >= n else best
    return best


def apply_vtlp(
    features: Tensor, max_warp: float, sample_rate: int, fmin: float = 0.0, fmax: float | None = None
) -> Tensor:
    """Apply vocal tract length perturbation (Jaitly & Hinton 2013): (B, C, M, T) -> (B, C, M, T).

    Frequency f moves to f / a, with a drawn for each clip from 1 - ``max_warp`` to 1 + ``max_warp``. The tempo stays.
    The mel scale is taken to be 1127 ln(1 + f / 700); the difference to other mel scales is smaller than that between
    speakers.

    Args:
        features: Mel spectrograms.
        max_warp: Largest relative change of the frequencies.
        sample_rate: Sample rate in Hz.
        fmin: Lower end of the lowest mel band in Hz.
        fmax: Upper end of the highest mel band in Hz; None: half the sample rate.
    """
    b, _, n_mels, _ = features.shape

    def hz_to_mel(hz: Tensor) -> Tensor:
        return 1127 * torch.log1p(hz / 700)

    low, high = hz_to_mel(torch.tensor([fmin, fmax or sample_rate / 2], device=features.device))
    step = (high - low) / (n_mels + 1)
    centers = low + step * torch.arange(1, n_mels + 1, device=features.device)
    center_hz = 700 * torch.expm1(centers / 1127)
    factor = 1 + _random_per_clip(features, -max_warp, max_warp)
    source = ((hz_to_mel(center_hz * factor) - low) / step - 1).clamp(0, n_mels - 1)  # (B, M), fractional band
    lower = source.floor().long().clamp(max=n_mels - 2)
    weight = (source - lower).reshape(b, 1, n_mels, 1)

    def take_bands(index: Tensor) -> Tensor:
        index = index.reshape(b, 1, n_mels, 1).expand(-1, features.shape[1], -1, features.shape[3])
        return features.gather(2, index)

    warped: Tensor = take_bands(lower) * (1 - weight) + take_bands(lower + 1) * weight
    return warped


def apply_spec_augment(features: Tensor, augment: AugmentConfig) -> Tensor:
    """Set random bands and random periods to zero (SpecAugment; Park et al. 2019): (B, C, M, T) -> (B, C, M, T).

    Zero is the mean of normalized features. The widths of the masks are uniform up to ``augment``'s.
    """
    if not augment.frequency_masks and not augment.time_masks:
        return features
    b, _, n_mels, n_frames = features.shape
    keep = torch.ones(b, 1, n_mels, n_frames, dtype=torch.bool, device=features.device)
    for n_masks, max_width, size, axis in (
        (augment.frequency_masks, augment.frequency_width, n_mels, 2),
        (augment.time_masks, augment.time_width, n_frames, 3),
    ):
        shape = [1, 1, 1, 1]
        shape[axis] = size
        index = torch.arange(size, device=features.device).reshape(shape)
        for _ in range(n_masks):
            width = torch.rand(b, 1, 1, 1, device=features.device) * min(max_width, size)
            start = torch.rand(b, 1, 1, 1, device=features.device) * (size - width)
            keep = keep & ~((index >= start) & (index < start + width))
    return features * keep


class Mixup(NamedTuple):
    """Mixup (Zhang et al. 2018): each clip is mixed with another clip of the batch.

    Attributes:
        weight: Weight of the clip itself; the other one has 1 - ``weight``.
        permutation: Index of the other clip for each clip, (B,).
    """

    weight: float
    permutation: Tensor

    def mix(self, values: Tensor) -> Tensor:
        """Mix values of the clips, such as features or targets: (B, ...) -> (B, ...)."""
        return self.weight * values + (1 - self.weight) * values[self.permutation]


def draw_mixup(n: int, alpha: float, device: torch.device) -> Mixup:
    """Draw a mixup of ``n`` clips, with a weight from Beta(alpha, alpha). With ``alpha`` 0 it changes nothing."""
    if not alpha:
        return Mixup(1.0, torch.arange(n, device=device))
    weight = float(np.random.default_rng(int(torch.randint(2**31, (1,)))).beta(alpha, alpha))
    return Mixup(weight, torch.randperm(n, device=device))


def _random_per_clip(clips: Tensor, low: float, high: float) -> Tensor:
    """Draw a number from a uniform distribution for each clip: (B, 1)."""
    return low + (high - low) * torch.rand(len(clips), 1, device=clips.device)
