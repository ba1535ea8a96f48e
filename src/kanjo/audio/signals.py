"""Signals: arrays of float32 samples with full scale 1.0, and the checks that every input passes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from kanjo.errors import AudioError

#: Mono samples (N,) with full scale 1.0.
Signal = npt.NDArray[np.float32]

#: Range of sample rates in Hz that are accepted.
MIN_RATE, MAX_RATE = 4_000, 768_000
#: An array with more columns than rows, and more than this, has the shape (channels, N) by mistake.
_MAX_SHORT_CHANNELS = 8


def to_sample_matrix(signal: npt.ArrayLike, name: str) -> npt.NDArray[np.floating[Any]]:
    """Convert samples to a matrix of floats.

    Args:
        signal: Samples as int16, or as float with full scale 1.0.
        name: Name of the recording in messages.

    Raises:
        AudioError: The array has another type or shape, such as (channels, N).

    Shape:
        - signal: (N,) or (N, channels)
        - Returns: (N, channels)
    """
    samples = np.asarray(signal)
    if samples.dtype == np.int16:
        samples = samples.astype(np.float32) / 32768
    if samples.ndim == 1:
        samples = samples[:, None]
    if samples.ndim != 2 or not np.issubdtype(samples.dtype, np.floating):
        raise AudioError(
            f"{name}: array of shape {np.shape(signal)} and type {samples.dtype}; "
            "expected float or int16 samples (N,) or (N, channels)"
        )
    if samples.shape[1] > max(_MAX_SHORT_CHANNELS, samples.shape[0]):
        raise AudioError(
            f"{name}: shape {np.shape(signal)} is {samples.shape[1]} channels of {samples.shape[0]} samples; expected "
            "(N,) or (N, channels). Transpose an array of shape (channels, N)"
        )
    return samples


def check_finite(signal: Signal, offset: int, name: str) -> None:
    """Check that samples are neither NaN nor infinite.

    Args:
        signal: Samples (N,).
        offset: Position of the first of these samples in the recording.
        name: Name of the recording in messages.

    Raises:
        AudioError: A sample is NaN or infinite.
    """
    finite = np.isfinite(signal)
    if not finite.all():
        position = offset + int(np.argmin(finite))
        raise AudioError(f"{name}: sample {position} is not a number (NaN or infinite); expected finite samples")


def check_sample_rate(sample_rate: int, name: str) -> None:
    """Raise AudioError for a sample rate (Hz) below MIN_RATE or above MAX_RATE."""
    if not MIN_RATE <= sample_rate <= MAX_RATE:
        raise AudioError(f"{name}: sample rate of {sample_rate} Hz; expected {MIN_RATE} to {MAX_RATE} Hz")


def slice_signal(signal: Signal, rate: int, start_s: float | None, end_s: float | None, name: str) -> Signal:
    """Return the part of a signal between two times.

    Args:
        signal: Samples (N,).
        rate: Sample rate in Hz.
        start_s: Start in seconds, or None for the beginning.
        end_s: End in seconds, or None for the end.
        name: Name of the recording in messages.

    Raises:
        AudioError: The part is empty, a time is NaN or infinite, or the part lies outside the signal by over 10 ms.
    """
    if start_s is None and end_s is None:
        return signal
    start_s, end_s = start_s or 0.0, len(signal) / rate if end_s is None else end_s
    start, end = (round(value * rate) if math.isfinite(value) else -1 for value in (start_s, end_s))
    if not 0 <= start < end <= len(signal) + rate // 100:
        duration_s = len(signal) / rate
        raise AudioError(f"{name}: part from {start_s} s to {end_s} s; expected a part within 0 to {duration_s:.2f} s")
    return signal[start:end]


def peak_normalize(signal: Signal, peak: float = 1.0) -> Signal:
    """Scale a signal so that its largest magnitude is ``peak``, as ``librosa.util.normalize``. Silence is unchanged."""
    largest = float(np.abs(signal).max(initial=0.0))
    return signal if largest <= np.finfo(np.float32).tiny else (signal * (peak / largest)).astype(np.float32)
