"""The mean embedding of a recording, in memory that does not depend on its length."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from kanjo.inference.windowing import weighted_mean

FloatArray = npt.NDArray[np.float64]

#: Embeddings that are kept before their weights are needed: those of 17 minutes with a hop of 1 s.
N_PENDING = 1024


class EmbeddingMean:
    """Averages the embeddings of a recording's windows.

    The weights are those of :func:`combine_weights`. Which of them count is only known at the end of the recording, so
    there is a sum for each. The embeddings of short recordings are kept, and averaged by :func:`weighted_mean`.

    Attributes:
        n_accumulated: Windows whose embeddings are in the sums already.
    """

    def __init__(self) -> None:
        self.n_accumulated = 0
        self._pending: list[npt.NDArray[np.float32]] = []
        self._full_length = N_PENDING
        self._sums: FloatArray = np.zeros(())  # (3, D) after the first call of accumulate

    @property
    def is_full(self) -> bool:
        """Whether :meth:`accumulate` should be called."""
        return len(self._pending) >= self._full_length

    def add(self, embedding: npt.NDArray[np.float32]) -> None:
        """Add the embedding (D,) of the next window."""
        self._pending.append(embedding)

    def accumulate(self, speech_s: FloatArray, audible_s: FloatArray) -> None:
        """Add the first pending embeddings to the sums, and forget them.

        Args:
            speech_s: Their seconds of speech.
            audible_s: Their seconds of sound that is not silent.

        Shape:
            - speech_s, audible_s: (W,)
        """
        n_windows = len(speech_s)
        if n_windows:
            weights = np.stack([speech_s, audible_s, np.ones(n_windows)])
            self._sums = self._sums + weights @ np.asarray(self._pending[:n_windows], np.float64)
            self.n_accumulated += n_windows
            del self._pending[:n_windows]
        self._full_length = len(self._pending) + N_PENDING

    def mean(self, speech_s: FloatArray, audible_s: FloatArray) -> npt.NDArray[np.float32]:
        """Return the mean of all windows.

        Args:
            speech_s: Seconds of speech of all windows, those in the sums too.
            audible_s: Their seconds of sound that is not silent.

        Shape:
            - speech_s, audible_s: (W,)
            - Returns: (D,)
        """
        if not self.n_accumulated:
            return np.asarray(weighted_mean(self._pending, combine_weights(speech_s, audible_s)), np.float32)
        self.accumulate(speech_s[self.n_accumulated :], audible_s[self.n_accumulated :])
        totals = np.asarray([speech_s.sum(), audible_s.sum(), len(speech_s)])
        kind = int(np.flatnonzero(totals > 0)[0])
        return np.asarray(self._sums[kind] / totals[kind], np.float32)


def combine_weights(speech_s: FloatArray, audible_s: FloatArray) -> FloatArray:
    """Return the weights (W,) of windows: their seconds of speech; without any speech, of sound that is not silent."""
    return speech_s if speech_s.any() else audible_s
