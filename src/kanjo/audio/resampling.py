"""Resampling with soxr at quality "HQ" (20 bits, the default of SoX), as a whole or in blocks."""

from __future__ import annotations

import numpy as np
import soxr

from kanjo.audio.signals import Signal


class Resampler:
    """Resamples a signal that arrives in blocks of any size."""

    def __init__(self, from_rate: int, to_rate: int) -> None:
        """Set both sample rates in Hz."""
        self._stream = soxr.ResampleStream(from_rate, to_rate, 1, "float32") if from_rate != to_rate else None

    def feed(self, block: Signal) -> Signal:
        """Add samples (N,) and return the resampled samples that are ready, possibly none."""
        return block if self._stream is None else self._stream.resample_chunk(block, last=False)

    def finish(self) -> Signal:
        """Return the remaining samples after the last block."""
        empty = np.zeros(0, np.float32)
        return empty if self._stream is None else self._stream.resample_chunk(empty, last=True)


def resample(signal: Signal, from_rate: int, to_rate: int) -> Signal:
    """Resample samples (N,) from one sample rate (Hz) to another."""
    if from_rate == to_rate:
        return signal
    return np.asarray(soxr.resample(signal, from_rate, to_rate), dtype=np.float32)
