"""Voice activity detection with Silero VAD (MIT license) in ONNX Runtime.

A frame is 512 samples at 16 kHz (32 ms). The size of the blocks does not change the result.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import soxr

from kanjo import files
from kanjo.audio import Signal
from kanjo.bundle import BUILTIN_FOLDER
from kanjo.errors import BundleError
from kanjo.inference.onnx_session import create_session

#: Sample rate of the detector in Hz.
SAMPLE_RATE = 16_000
#: Samples in a frame.
FRAME_LENGTH = 512
FRAME_S = FRAME_LENGTH / SAMPLE_RATE

#: Speech starts in a frame above ONSET and ends in a frame below OFFSET (Silero's defaults: 0.5, and 0.15 less).
ONSET, OFFSET = 0.5, 0.35
#: A part in which no frame has this probability contains no speech, not even a doubtful word: its label is "unsure".
#: Of 6825 clips of real speech (five corpora), one has no such frame; of 819 clips of noise, hum and tones, all.
MIN_SPEECH_PROBABILITY = 0.25
#: Gaps in speech below this many seconds are filled.
MIN_GAP_S = 0.5
#: Speech below this many seconds is dropped as noise.
MIN_SPEECH_S = 0.25
#: Seconds added at both ends, because speech starts and ends softly.
PADDING_S = 0.1
#: Speech before the last so many seconds of a signal does not change when the signal continues.
LOOKAHEAD_S = MIN_GAP_S + MIN_SPEECH_S + PADDING_S + 2 * FRAME_S

_GRAPH = BUILTIN_FOLDER / "silero-vad" / "model.onnx"
_SHA256 = "9ccdacc4719d8aa7e45a77536bfabec45a03ba1f2fad5e241ab4060b24238a85"
#: Samples before each frame that the graph needs.
_CONTEXT = 64
_STATE_SIZE = 128
_FRAMES_PER_RUN = 512

#: Start and end in seconds.
TimeSpan = tuple[float, float]


class VoiceActivityDetector:
    """Computes the probability of speech in each frame of a signal that arrives in blocks."""

    def __init__(self, sample_rate: int) -> None:
        """Set the sample rate of the blocks in Hz.

        Raises:
            BundleError: The detector's graph is missing or changed.
        """
        self._session = _session()
        self._resampler = None
        if sample_rate != SAMPLE_RATE:
            self._resampler = soxr.ResampleStream(sample_rate, SAMPLE_RATE, 1, "float32", quality="LQ")
        self._state = {name: np.zeros((1, 1, _STATE_SIZE), np.float32) for name in "hc"}
        self._buffer = np.zeros(_CONTEXT, np.float32)
        self._probabilities: list[npt.NDArray[np.float32]] = []
        self._n_frames = 0  # of all probabilities; counting them for each window would take long in long streams
        self._n_returned = 0  # frames that new_probabilities has returned

    def feed(self, block: Signal, last: bool = False) -> None:
        """Add samples.

        Args:
            block: Samples (N,) with full scale 1.0.
            last: Whether this is the last block; the last frame is then padded with zeros.
        """
        if self._resampler is not None:
            block = self._resampler.resample_chunk(np.ascontiguousarray(block, np.float32), last=last)
        buffer = np.concatenate([self._buffer, block])
        n_partial = (len(buffer) - _CONTEXT) % FRAME_LENGTH
        if last and n_partial:
            buffer = np.concatenate([buffer, np.zeros(FRAME_LENGTH - n_partial, np.float32)])
        n_frames = (len(buffer) - _CONTEXT) // FRAME_LENGTH
        for start in range(0, n_frames, _FRAMES_PER_RUN):
            stop = min(start + _FRAMES_PER_RUN, n_frames)
            samples = buffer[start * FRAME_LENGTH : stop * FRAME_LENGTH + _CONTEXT]
            frames = np.lib.stride_tricks.sliding_window_view(samples, _CONTEXT + FRAME_LENGTH)[::FRAME_LENGTH]
            probabilities, self._state["h"], self._state["c"] = self._session.run(
                ["speech_probs", "hn", "cn"], {"input": np.ascontiguousarray(frames), **self._state}
            )
            self._probabilities.append(probabilities)
            self._n_frames += len(probabilities)
        self._buffer = buffer[n_frames * FRAME_LENGTH :]

    def contains_speech(self, start_s: float, end_s: float) -> bool:
        """Return whether a part of the signal contains speech, or may contain some.

        This is less strict than :func:`speech_segments`, which finds the parts that certainly are speech.

        Args:
            start_s: Start of the part in seconds.
            end_s: End of the part in seconds.
        """
        first, stop = int(start_s / FRAME_S), int(np.ceil(end_s / FRAME_S))
        block_stop = self._n_frames
        for block in reversed(self._probabilities):
            block_start = block_stop - len(block)
            part = block[max(first - block_start, 0) : max(stop - block_start, 0)]
            if part.size and part.max() >= MIN_SPEECH_PROBABILITY:
                return True
            if block_start <= first:
                break
            block_stop = block_start
        return False

    def new_probabilities(self) -> npt.NDArray[np.float32]:
        """Return the probabilities of the frames that were completed since the last call, shape (F,)."""
        n_missing = self._n_frames - self._n_returned
        self._n_returned = self._n_frames
        parts = [np.zeros(0, np.float32)]
        for block in reversed(self._probabilities):
            if n_missing <= 0:
                break
            parts.append(block[-n_missing:])
            n_missing -= len(block)
        return np.concatenate(parts[::-1])

    @property
    def duration_s(self) -> float:
        """Seconds of the frames so far."""
        return self._n_frames * FRAME_S

    @property
    def last_probability(self) -> float:
        """Probability of speech in the last frame; 0 before the first frame."""
        return float(self._probabilities[-1][-1]) if self._probabilities else 0.0

    @property
    def probabilities(self) -> npt.NDArray[np.float32]:
        """Probability of speech in each frame, shape (F,)."""
        if len(self._probabilities) > 1:
            self._probabilities = [np.concatenate(self._probabilities)]
        return self._probabilities[0] if self._probabilities else np.zeros(0, np.float32)


def speech_segments(probabilities: npt.NDArray[np.float32], duration_s: float) -> list[TimeSpan]:
    """Find the parts of a recording that contain speech.

    A frame between ONSET and OFFSET continues the state of the frame before it. Then short gaps are filled, short
    parts are dropped, and padding is added at both ends.

    Args:
        probabilities: Probability of speech in each frame, shape (F,).
        duration_s: Duration of the recording in seconds.

    Returns:
        Start and end of each part in seconds, sorted, without overlap.
    """
    decided = (probabilities > ONSET) | (probabilities < OFFSET)
    last_decided = np.zeros(0, int)
    if len(decided):
        last_decided = np.maximum.accumulate(np.where(decided, np.arange(len(decided)), 0))
    is_speech = np.concatenate([[False], (probabilities > ONSET)[last_decided], [False]])
    edges = np.flatnonzero(is_speech[1:] != is_speech[:-1]).reshape(-1, 2)
    merged: list[TimeSpan] = []
    for start, end in (edges * FRAME_S).tolist():
        if merged and start - merged[-1][1] < MIN_GAP_S:
            merged[-1] = (merged[-1][0], end)
        else:
            merged.append((start, end))
    padded = [
        (max(start - PADDING_S, 0.0), min(end + PADDING_S, duration_s))
        for start, end in merged
        if end - start >= MIN_SPEECH_S
    ]
    return [(start, end) for start, end in padded if end > start]


def speech_seconds(
    speech: list[TimeSpan], starts: npt.NDArray[np.float64], ends: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Compute the seconds of speech in each window.

    Args:
        speech: Start and end of each part of speech in seconds, sorted.
        starts: Start of each window in seconds.
        ends: End of each window in seconds.

    Shape:
        - starts, ends: (W,)
        - Returns: (W,)
    """
    times = np.asarray(speech, np.float64).reshape(-1)
    if not times.size:
        return np.zeros(len(starts))
    durations = np.zeros(len(times))
    durations[1::2] = times[1::2] - times[::2]
    cumulative = np.cumsum(durations)  # seconds of speech before each time; linear between the times
    return np.asarray(np.interp(ends, times, cumulative)) - np.asarray(np.interp(starts, times, cumulative))


@lru_cache(maxsize=1)
def _session() -> Any:
    """Load the detector's graph once, after a check that it is the one of this version."""
    try:
        digest = files.sha256(_GRAPH)
    except OSError as error:
        raise BundleError(f"can't read {_GRAPH}: {files.os_error_message(error)}; reinstall kanjo") from error
    if digest != _SHA256:
        raise BundleError(f"{_GRAPH}: the file was changed or damaged; reinstall kanjo")
    return create_session(_GRAPH, 1)  # its LSTM runs frame by frame, so a second thread does not help
