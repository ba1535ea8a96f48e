"""Split a signal into windows of equal length, and average the windows' results.

For a recording of N samples, a window length W and a hop length H: windows start at 0, H, 2H, ... as long as they fit
into the recording. If samples remain, one more window ends at the last sample. A recording with N < W is one window,
padded with zeros at its end. There is no other padding.
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
    """One window of a recording.

    Attributes:
        start: Index of the first sample in the recording.
        signal: Samples (W,), padded with zeros.
        valid: Number of samples that are not padding.
    """

    start: int
    signal: Signal
    valid: int


class WindowSplitter:
    """Splits a signal that arrives in blocks of any size. It keeps at most one window and one block in memory."""

    def __init__(self, window_length: int, hop_length: int) -> None:
        """Set the lengths in samples.

        Raises:
            ValueError: ``hop_length`` is not between 1 and ``window_length``.
        """
        if not 1 <= hop_length <= window_length:
            raise ValueError(f"hop_length {hop_length}: expected 1 to {window_length}, the window length in samples")
        self.window_length, self.hop_length = window_length, hop_length
        # The buffer keeps the last window_length samples, because the last window ends at the end of the recording.
        self._buffer = np.zeros(0, np.float32)
        self._buffer_start = 0  # index of the buffer's first sample in the recording
        self._next_start = 0  # index of the next window's first sample in the recording

    def feed(self, block: Signal) -> Iterator[Window]:
        """Add samples (N,) and yield the windows that they complete."""
        block = np.asarray(block, np.float32)
        self._buffer = np.concatenate([self._buffer, block]) if self._buffer.size else block
        while self._buffer_start + len(self._buffer) >= self._next_start + self.window_length:
            start = self._next_start - self._buffer_start
            signal = self._buffer[start : start + self.window_length].copy()
            yield Window(self._next_start, signal, self.window_length)
            self._next_start += self.hop_length
        n_unused = min(self._next_start - self._buffer_start, len(self._buffer) - self.window_length)
        if n_unused > 0:
            self._buffer = self._buffer[n_unused:]
            self._buffer_start += n_unused

    def finish(self) -> Iterator[Window]:
        """Yield the window that covers the remaining samples, if there are any."""
        n_samples = self._buffer_start + len(self._buffer)
        n_covered = self._next_start - self.hop_length + self.window_length if self._next_start else 0
        if n_samples <= n_covered:
            return
        if n_samples < self.window_length:
            padded = np.zeros(self.window_length, np.float32)
            padded[:n_samples] = self._buffer
            yield Window(0, padded, n_samples)
        else:
            signal = self._buffer[-self.window_length :].copy()
            yield Window(n_samples - self.window_length, signal, self.window_length)


def split_windows(blocks: Iterable[Signal], window_length: int, hop_length: int) -> Iterator[Window]:
    """Yield all windows of a signal, given in blocks; see :class:`WindowSplitter`."""
    splitter = WindowSplitter(window_length, hop_length)
    for block in blocks:
        yield from splitter.feed(block)
    yield from splitter.finish()


def weighted_mean(
    rows: Sequence[npt.NDArray[np.floating[Any]]] | npt.NDArray[np.floating[Any]],
    weights: Sequence[float] | npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Average the windows' probabilities, embeddings or scores. If all weights are zero, windows count equally.

    Shape:
        - rows: (W, E) or (W,)
        - weights: (W,)
        - Returns: (E,) or ()
    """
    fractions = np.asarray(weights, np.float64)
    total = fractions.sum()
    fractions = fractions / total if total > 0 else np.full(len(fractions), 1 / len(fractions))
    return np.asarray(fractions @ np.asarray(rows, np.float64))
