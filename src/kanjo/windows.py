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


def cut(blocks: Iterable[Signal], window: int, hop: int) -> Iterator[Window]:
    """Windows over a signal that comes in blocks of any size; at most one window and one block are held.

    ``window`` and ``hop`` are samples, ``1 <= hop <= window``. Raises ValueError otherwise.
    """
    if not 1 <= hop <= window:
        raise ValueError(f"hop {hop} must be between 1 and the window's {window} samples")
    # held[0] is sample `begin`; windows before `start` have been handed out. The last `window` samples stay held, so
    # that the closing window can end where the recording ends.
    held, begin, start = np.zeros(0, np.float32), 0, 0
    for block in blocks:
        held = np.concatenate([held, block]) if held.size else np.asarray(block, np.float32)
        while begin + len(held) >= start + window:
            yield Window(start, held[start - begin : start - begin + window].copy(), window)
            start += hop
        spare = min(start - begin, len(held) - window)
        if spare > 0:
            held, begin = held[spare:], begin + spare
    total = begin + len(held)
    covered = start - hop + window if start else 0
    if total <= covered:
        return
    if total < window:
        padded = np.zeros(window, np.float32)
        padded[:total] = held
        yield Window(0, padded, total)
    else:
        yield Window(total - window, held[-window:].copy(), window)


def pooled(probabilities: Sequence[npt.NDArray[np.floating[Any]]], weights: Sequence[float]) -> npt.NDArray[np.float64]:
    """The whole recording's probabilities (E,), or embedding (D,): the windows' mean, each weighted by its seconds of sound.

    Weights that are all zero count as equal.
    """
    shares = np.asarray(weights, np.float64)
    shares = shares / shares.sum() if shares.sum() > 0 else np.full(len(shares), 1 / len(shares))
    return np.asarray(shares @ np.asarray(probabilities, np.float64))
