"""How loud a recording is: measured block by block, asked at the end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kanjo.audio import Signal

#: Below this RMS (after removing a constant offset) a recording counts as silent: 10 dB under the noise of a quiet room
#: recorded with 16 bits.
SILENCE_DBFS = -70.0
#: |sample| at or above this is at full scale; more than this share of them and a recording counts as clipped.
_FULL_SCALE, _CLIPPED_SHARE = 0.999, 0.002


@dataclass
class Levels:
    """Running level of a recording: fed with blocks, asked at the end. Samples are full scale at 1.0."""

    n: int = 0
    peak: float = 0.0
    total: float = 0.0
    squares: float = 0.0
    at_full_scale: int = 0

    def feed(self, block: Signal) -> None:
        """Take in samples (N,)."""
        if not block.size:
            return
        wide = block.astype(np.float64)
        self.n += block.size
        self.total += float(wide.sum())
        self.squares += float(
            np.square(wide, out=wide).sum()
        )  # not np.dot: its threads would take ONNX Runtime's cores
        peak = max(float(block.max()), -float(block.min()))
        self.peak = max(self.peak, peak)
        if peak >= _FULL_SCALE:
            self.at_full_scale += int(np.count_nonzero(np.abs(block) >= _FULL_SCALE))

    @property
    def rms_db(self) -> float:
        """RMS around the mean, dBFS (a full-scale sine is -3.01); -inf for silence."""
        variance = max(self.squares / self.n - (self.total / self.n) ** 2, 0.0) if self.n else 0.0
        return 10 * float(np.log10(variance)) if variance > 0 else float("-inf")

    @property
    def silent(self) -> bool:
        return self.rms_db < SILENCE_DBFS

    @property
    def clipped(self) -> bool:
        return self.n > 0 and self.at_full_scale > max(3, _CLIPPED_SHARE * self.n)
