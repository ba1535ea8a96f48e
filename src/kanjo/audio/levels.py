"""Level of a recording, measured block by block."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kanjo.audio.signals import Signal

#: A recording with a lower RMS (after the mean is removed) is silent. The noise of a quiet room in a 16-bit recording
#: is about 10 dB louder.
SILENCE_DBFS = -70.0
#: A sample with at least this magnitude is at full scale.
FULL_SCALE = 0.999
#: A recording with a larger fraction of samples at full scale is clipped.
CLIPPED_FRACTION = 0.002


@dataclass
class LevelMeter:
    """Running level of a signal with full scale 1.0.

    Attributes:
        n_samples: Number of samples so far.
        peak: Largest magnitude so far.
        sum: Sum of the samples.
        sum_of_squares: Sum of the squared samples.
        n_full_scale: Number of samples at full scale.
    """

    n_samples: int = 0
    peak: float = 0.0
    sum: float = 0.0
    sum_of_squares: float = 0.0
    n_full_scale: int = 0

    def feed(self, block: Signal) -> None:
        """Add samples (N,)."""
        if not block.size:
            return
        wide = block.astype(np.float64)
        self.n_samples += block.size
        self.sum += float(wide.sum())
        # not np.dot: its threads would compete with those of ONNX Runtime
        self.sum_of_squares += float(np.square(wide, out=wide).sum())
        peak = max(float(block.max()), -float(block.min()))
        self.peak = max(self.peak, peak)
        if peak >= FULL_SCALE:
            self.n_full_scale += int(np.count_nonzero(np.abs(block) >= FULL_SCALE))

    @property
    def rms_db(self) -> float:
        """RMS after the mean is removed, in dBFS (-3.01 for a full-scale sine, -inf for digital silence)."""
        if not self.n_samples:
            return float("-inf")
        variance = max(self.sum_of_squares / self.n_samples - (self.sum / self.n_samples) ** 2, 0.0)
        return 10 * float(np.log10(variance)) if variance > 0 else float("-inf")

    @property
    def is_silent(self) -> bool:
        """Whether the level is below SILENCE_DBFS."""
        return self.rms_db < SILENCE_DBFS

    @property
    def is_clipped(self) -> bool:
        """Whether more than CLIPPED_FRACTION of the samples, and more than three, are at full scale."""
        return self.n_full_scale > max(3, CLIPPED_FRACTION * self.n_samples)
