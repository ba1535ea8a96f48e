"""Who speaks when: voice activity detection by Silero VAD (MIT), in ONNX Runtime.

A frame is 32 ms (512 samples at 16 kHz). Fed in pieces of any size, a meter says the same as fed all at once.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import soxr

from kanjo import files
from kanjo.audio import Signal
from kanjo.bundle import BUNDLES
from kanjo.errors import BundleError
from kanjo.inference import onnx_session

RATE, FRAME, _CONTEXT = 16_000, 512, 64
FRAME_S = FRAME / RATE
#: Speech begins in a frame above ``ON`` and ends below ``OFF`` (Silero's own 0.5, and 0.15 less).
ON, OFF = 0.5, 0.35
#: Shorter speech is taken for a noise; a shorter gap belongs to the sentence; and what is spoken begins and ends softly.
SHORTEST_S, GAP_S, PAD_S = 0.25, 0.5, 0.1

_GRAPH = BUNDLES / "silero-vad" / "model.onnx"
_SHA256 = "9ccdacc4719d8aa7e45a77536bfabec45a03ba1f2fad5e241ab4060b24238a85"
_AT_ONCE = 512

Span = tuple[float, float]


class Meter:
    """How probable speech is, frame by frame, in a signal that comes in blocks at ``sample_rate`` Hz."""

    def __init__(self, sample_rate: int) -> None:
        self._session = _session()
        self._resampler = (
            soxr.ResampleStream(sample_rate, RATE, 1, "float32", quality="LQ") if sample_rate != RATE else None
        )
        self._state = {name: np.zeros((1, 1, 128), np.float32) for name in "hc"}
        self._held = np.zeros(_CONTEXT, np.float32)
        self._frames: list[npt.NDArray[np.float32]] = []

    def feed(self, block: Signal, last: bool = False) -> None:
        """Take in samples (N,), full scale at 1.0. ``last``: nothing more comes; what is left is padded to a frame."""
        if self._resampler is not None:
            block = self._resampler.resample_chunk(np.ascontiguousarray(block, np.float32), last=last)
        held = np.concatenate([self._held, block])
        spare = (len(held) - _CONTEXT) % FRAME
        if last and spare:
            held, spare = np.concatenate([held, np.zeros(FRAME - spare, np.float32)]), 0
        n = (len(held) - _CONTEXT) // FRAME
        for start in range(0, n, _AT_ONCE):
            stop = min(start + _AT_ONCE, n)
            part = held[start * FRAME : stop * FRAME + _CONTEXT]
            rows = np.lib.stride_tricks.sliding_window_view(part, _CONTEXT + FRAME)[::FRAME]
            found, self._state["h"], self._state["c"] = self._session.run(
                ["speech_probs", "hn", "cn"], {"input": np.ascontiguousarray(rows), **self._state}
            )
            self._frames.append(found)
        self._held = held[n * FRAME :]

    @property
    def latest(self) -> float:
        """The last frame's probability; 0 before the first."""
        return float(self._frames[-1][-1]) if self._frames else 0.0

    @property
    def probabilities(self) -> npt.NDArray[np.float32]:
        """(F,): each frame's."""
        if len(self._frames) > 1:
            self._frames = [np.concatenate(self._frames)]
        return self._frames[0] if self._frames else np.zeros(0, np.float32)


def spans(probabilities: npt.NDArray[np.float32], duration_s: float) -> list[Span]:
    """From frames' probabilities (F,) to where somebody speaks: (start, end) in seconds, in order, apart from each other.

    Speech begins above 0.5 and ends below 0.35; gaps under 0.5 s are filled, then what is shorter than 0.25 s is dropped, then
    0.1 s is added at either end, within the recording's ``duration_s``.
    """
    decided = (probabilities > ON) | (probabilities < OFF)
    last_decided = (
        np.maximum.accumulate(np.where(decided, np.arange(len(decided)), 0)) if len(decided) else np.zeros(0, int)
    )
    speech = np.concatenate([[False], (probabilities > ON)[last_decided], [False]])
    edges = np.flatnonzero(speech[1:] != speech[:-1]).reshape(-1, 2)
    joined: list[Span] = []
    for start, end in (edges * FRAME_S).tolist():
        if joined and start - joined[-1][1] < GAP_S:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    kept = (
        (max(start - PAD_S, 0.0), min(end + PAD_S, duration_s)) for start, end in joined if end - start >= SHORTEST_S
    )
    return [(start, end) for start, end in kept if end > start]


def seconds(
    found: list[Span], starts: npt.NDArray[np.float64], ends: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Seconds of ``found`` speech between each of ``starts`` and ``ends`` (W,) -> (W,)."""
    moments = np.asarray(found, np.float64).reshape(-1)
    if not moments.size:
        return np.zeros(len(starts))
    spoken = np.zeros(len(moments))
    spoken[1::2] = moments[1::2] - moments[::2]
    until = np.cumsum(spoken)  # speech up to each moment: it grows within spans and stands still between them
    return np.asarray(np.interp(ends, moments, until)) - np.asarray(np.interp(starts, moments, until))


@lru_cache(maxsize=1)
def _session() -> Any:
    try:
        if files.sha256(_GRAPH) != _SHA256:
            raise BundleError(f"{_GRAPH}: not the file that kanjo came with; install kanjo anew")
    except OSError as error:
        raise BundleError(f"can't read {_GRAPH}: {files.reason(error)}; install kanjo anew") from error
    return onnx_session.session(_GRAPH, 1)  # its LSTM goes frame by frame: a second thread would only wait
