"""Cut a signal into windows of one length, and put the windows' answers back on the time axis.

The rule, for a recording of N samples, windows of W and a hop of H: windows start at 0, H, 2H, ... while they fit;
what is left at the end is covered by one more window that ends where the recording ends. A recording shorter than W is
one window, padded with zeros at its end. Nothing else is ever padded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kanjo.audio import Signal


@dataclass(frozen=True)
class Window:
    """``signal`` float32 (W,), the first ``valid`` samples of it real; it begins at sample ``start``."""

    start: int
    signal: Signal
    valid: int


class Cutter:
    """Windows over a signal that comes in blocks of any size; at most one window and one block are held.

    ``window`` and ``hop`` are samples, ``1 <= hop <= window``. Raises ValueError otherwise.
    """

    def __init__(self, window: int, hop: int) -> None:
        if not 1 <= hop <= window:
            raise ValueError(f"hop {hop} must be between 1 and the window's {window} samples")
        self.window, self.hop = window, hop
        # held[0] is sample `begin`; windows before `start` have been handed out. The last `window` samples stay held, so
        # that the closing window can end where the recording ends.
        self._held, self._begin, self._start = np.zeros(0, np.float32), 0, 0

    def feed(self, block: Signal) -> Iterator[Window]:
        """Take in samples (N,): the windows that they complete."""
        self._held = np.concatenate([self._held, block]) if self._held.size else np.asarray(block, np.float32)
        while self._begin + len(self._held) >= self._start + self.window:
            at = self._start - self._begin
            yield Window(self._start, self._held[at : at + self.window].copy(), self.window)
            self._start += self.hop
        spare = min(self._start - self._begin, len(self._held) - self.window)
        if spare > 0:
            self._held, self._begin = self._held[spare:], self._begin + spare

    def finish(self) -> Iterator[Window]:
        """Nothing more comes: the window, if any, that covers what is left at the end."""
        total = self._begin + len(self._held)
        covered = self._start - self.hop + self.window if self._start else 0
        if total <= covered:
            return
        if total < self.window:
            padded = np.zeros(self.window, np.float32)
            padded[:total] = self._held
            yield Window(0, padded, total)
        else:
            yield Window(total - self.window, self._held[-self.window :].copy(), self.window)


def cut(blocks: Iterable[Signal], window: int, hop: int) -> Iterator[Window]:
    """A whole signal's windows, as :class:`Cutter` makes them of its blocks."""
    cutter = Cutter(window, hop)
    for block in blocks:
        yield from cutter.feed(block)
    yield from cutter.finish()


def pooled(
    probabilities: Sequence[npt.NDArray[np.floating[Any]]] | npt.NDArray[np.floating[Any]],
    weights: Sequence[float] | npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """The whole recording's probabilities (E,), or embedding (D,): the windows' mean, each weighted by its seconds of sound.

    Weights that are all zero count as equal.
    """
    shares = np.asarray(weights, np.float64)
    shares = shares / shares.sum() if shares.sum() > 0 else np.full(len(shares), 1 / len(shares))
    return np.asarray(shares @ np.asarray(probabilities, np.float64))
