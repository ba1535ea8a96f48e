"""Signals: arrays of float32 samples with full scale 1.0, and the checks that every input passes."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from kanjo.errors import AudioError

#: Mono samples (N,) with full scale 1.0.
Signal = npt.NDArray[np.float32]

#: Samples (N, channels) with full scale 1.0.
SampleMatrix = npt.NDArray[Any]
#: Type of decoded samples: float32 represents up to 24 bits exactly.
SampleType = Literal["float32", "float64"]

#: Range of sample rates in Hz that are accepted.
MIN_RATE, MAX_RATE = 4_000, 768_000
#: Channels cancel each other if their mean has less than this fraction of their power, and they are not silent.
_CANCELLED, _MIN_POWER = 0.01, 1e-7
#: Warning about a recording whose channels cancel each other.
OPPOSITE_PHASE = "the channels have opposite phase and cancel each other; only the louder channel is used"

#: Float samples beyond this (36 dB above full scale) are at another scale.
MAX_FLOAT_PEAK = 64.0
#: Full scale of 16-bit integers.
_INT16_SCALE = 32768.0
#: An array with more columns than rows, and more than this, has the shape (channels, N), with at most so many channels.
_MAX_SHORT_CHANNELS = 8


def to_sample_matrix(signal: npt.ArrayLike, name: str) -> npt.NDArray[np.floating[Any]]:
    """Convert samples to a matrix of floats.

    Args:
        signal: Samples as int16, or as float with full scale 1.0: an array, a tensor of PyTorch, or a list.
        name: Name of the recording in messages.

    Raises:
        AudioError: The array has another type or shape.

    Shape:
        - signal: (N,), (N, channels) or (channels, N) with at most 8 channels
        - Returns: (N, channels)
    """
    samples = _to_array(signal, name)
    if samples.dtype.kind == "i" and samples.dtype.itemsize == 2:
        samples = samples.astype(np.float32) / 32768
    if samples.ndim == 1:
        samples = samples[:, None]
    if samples.ndim != 2 or not np.issubdtype(samples.dtype, np.floating):
        raise AudioError(
            f"{name}: array of shape {samples.shape} and type {samples.dtype}; "
            "expected float or int16 samples (N,) or (N, channels)"
        )
    if samples.shape[1] > max(_MAX_SHORT_CHANNELS, samples.shape[0]):
        if samples.shape[0] > _MAX_SHORT_CHANNELS:
            raise AudioError(
                f"{name}: shape {samples.shape} is {samples.shape[0]} rows of {samples.shape[1]} samples; expected one "
                "recording (N,), (N, channels) or (channels, N). Pass the recordings of a batch one by one"
            )
        samples = samples.T
    return samples


def to_window_batch(batch: npt.ArrayLike, name: str) -> npt.NDArray[np.float32]:
    """Convert windows to a matrix of float32.

    Args:
        batch: Samples as int16, or as float with full scale 1.0.
        name: Name of the batch in messages.

    Raises:
        AudioError: The array is empty, contains NaN, or has another type or shape.

    Shape:
        - batch: (B, N)
        - Returns: (B, N)
    """
    windows = _to_array(batch, name)
    if windows.dtype.kind == "i" and windows.dtype.itemsize == 2:
        windows = windows.astype(np.float32) / 32768
    if windows.ndim != 2 or not windows.size or not np.issubdtype(windows.dtype, np.floating):
        raise AudioError(
            f"{name}: array of shape {windows.shape} and type {windows.dtype}; expected float or int16 windows (B, N)"
        )
    check_samples(windows, 0, name)
    return np.ascontiguousarray(windows, np.float32)


def _to_array(signal: npt.ArrayLike, name: str) -> npt.NDArray[Any]:
    """Convert an array, a list or a tensor on any device to an array."""
    tensor: Any = signal
    try:
        if hasattr(tensor, "detach") and hasattr(tensor, "cpu"):
            tensor = tensor.detach().cpu()
            if tensor.is_floating_point() and tensor.element_size() < 4:  # numpy has no bfloat16
                tensor = tensor.float()
        return np.asarray(tensor)
    except Exception as error:
        message = (str(error).splitlines() or [type(error).__name__])[0]
        raise AudioError(
            f"{name}: {type(signal).__name__} can't be converted to an array ({message}); "
            "expected float or int16 samples (N,) or (N, channels)"
        ) from error


def detect_int16_scale(peak: float) -> tuple[float, list[str]]:
    """Recognize float samples from -32768 to 32767, which some programs write instead of -1 to 1.

    Args:
        peak: Largest magnitude of the samples.

    Returns:
        The factor for the samples, 1 for samples of the usual scale, and the warnings about it.
    """
    if not MAX_FLOAT_PEAK < peak <= _INT16_SCALE:
        return 1.0, []
    return 1 / _INT16_SCALE, [
        f"float samples up to {peak:.0f}, the scale of 16-bit integers; they were divided by {_INT16_SCALE:.0f}. "
        "Expected -1 to 1"
    ]


def check_samples(signal: npt.NDArray[np.floating[Any]], offset: int, name: str) -> None:
    """Check that samples are finite, and not at the scale of integers.

    Args:
        signal: Samples (N,) or (N, channels).
        offset: Position of the first of these samples in the recording.
        name: Name of the recording in messages.

    Raises:
        AudioError: A sample is NaN, infinite, or over 36 dB above full scale.
    """
    if not signal.size or max(float(signal.max()), -float(signal.min())) <= MAX_FLOAT_PEAK:
        return
    wrong = ~(np.abs(signal) <= MAX_FLOAT_PEAK)
    index = np.unravel_index(int(np.argmax(wrong)), signal.shape)
    position, value = offset + int(index[0]), float(signal[index])
    if not np.isfinite(value):
        raise AudioError(f"{name}: sample {position} is not a number (NaN or infinite); expected finite samples")
    raise AudioError(
        f"{name}: sample {position} is {value:.0f}; expected float samples from -1 to 1. Divide samples at the scale "
        "of 16-bit integers by 32768"
    )


def check_sample_rate(sample_rate: float, name: str) -> int:
    """Return a sample rate as an integer.

    Raises:
        AudioError: It is not a whole number of Hz between MIN_RATE and MAX_RATE.
    """
    number: Any = sample_rate
    try:
        rate = int(number) if not isinstance(number, bool | str | bytes) and int(number) == number else None
    except (TypeError, ValueError, OverflowError):
        rate = None
    if rate is None:
        raise AudioError(f"{name}: sample rate {sample_rate!r}; expected a whole number of Hz, such as 16000")
    if not MIN_RATE <= rate <= MAX_RATE:
        raise AudioError(f"{name}: sample rate of {rate} Hz; expected {MIN_RATE} to {MAX_RATE} Hz")
    return rate


def mix_to_mono(samples: npt.NDArray[np.floating[Any]]) -> tuple[Signal, bool]:
    """Average the channels of samples, or take the loudest channel if the channels cancel each other.

    Args:
        samples: Samples (N, channels).

    Returns:
        Samples (N,), and whether the channels have opposite phase.
    """
    if samples.shape[1] == 1:
        return np.ascontiguousarray(samples[:, 0], np.float32), False
    mono = np.ascontiguousarray(samples.mean(axis=1), np.float32)
    if not samples.size:
        return mono, False
    power = np.square(samples).mean(axis=0, dtype=np.float64)
    if power.mean() > _MIN_POWER and float(np.square(mono).mean(dtype=np.float64)) < _CANCELLED * power.mean():
        return np.ascontiguousarray(samples[:, int(power.argmax())], np.float32), True
    return mono, False


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
