"""Split a signal into speech segments, so that each segment is encoded once and by itself.

Segments start and end where the voice activity detector (kanjo.inference.vad) finds speech; together they are exactly
the parts of :func:`kanjo.inference.vad.speech_segments`. A part that is longer than the model's window is split where
there is least speech. A recording without speech becomes one segment: its beginning, or the part of it that may contain
speech. Files and streams give the same segments, because a decision needs no later samples.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from kanjo.audio import Signal
from kanjo.inference import vad
from kanjo.inference.windowing import Window

#: A long part of speech is split after at least this fraction of the longest segment.
_MIN_FRACTION = 0.5
#: Frames over which the probability of speech is averaged to find the place of a split.
_SMOOTHED_FRAMES = 5
_EPS = 1e-9


class SpeechSplitter:
    """Splits a signal that arrives in blocks into speech segments.

    It keeps the current segment, and the beginning of the recording, in memory: each is at most one window.
    """

    def __init__(self, sample_rate: int, max_length: int) -> None:
        """Set the sample rate in Hz and the longest segment in samples."""
        self.sample_rate, self.max_length = sample_rate, max_length
        self._max_frames = max(1, int((max_length / sample_rate - 2 * vad.PADDING_S) / vad.FRAME_S + _EPS))
        self._head = np.zeros(0, np.float32)  # the first samples, for a recording without speech
        self._head_probabilities: list[float] = []
        self._buffer = np.zeros(0, np.float32)
        self._buffer_start = 0  # index of the buffer's first sample in the recording
        self._n_frames = 0  # frames seen so far
        self._in_speech = False
        self._start: int | None = None  # first frame of the open segment
        self._end = 0  # frame after the last frame of speech in it
        self._probabilities: list[float] = []  # of the frames from the start of the open segment on
        self._is_continued = False  # whether the open segment follows a split
        self._n_segments = 0

    def feed(self, block: Signal, probabilities: npt.NDArray[np.float32]) -> Iterator[Window]:
        """Add samples and yield the segments that are complete.

        Args:
            block: Samples (N,).
            probabilities: Probability of speech in the frames that the detector has completed since the last call.
        """
        block = np.asarray(block, np.float32)
        if len(self._head) < self.max_length:
            self._head = np.concatenate([self._head, block[: self.max_length - len(self._head)]])
        self._buffer = np.concatenate([self._buffer, block]) if self._buffer.size else block
        for probability in probabilities.tolist():
            yield from self._add_frame(probability)
        self._forget_samples()

    def finish(self, probabilities: npt.NDArray[np.float32]) -> Iterator[Window]:
        """Add the last frames, and yield the last segment; without any speech, the only one."""
        yield from self.feed(np.zeros(0, np.float32), probabilities)
        yield from self._close()
        if not self._n_segments and len(self._head):
            yield self._without_speech()

    @property
    def open_segment(self) -> Window | None:
        """The segment that started and is not complete, up to the last sample; None if there is none."""
        if self._start is None:
            return None
        return self._window(self._start_sample(), self._n_samples)

    @property
    def _n_samples(self) -> int:
        return self._buffer_start + len(self._buffer)

    def _add_frame(self, probability: float) -> Iterator[Window]:
        frame = self._n_frames
        self._n_frames += 1
        if len(self._head_probabilities) * vad.FRAME_S * self.sample_rate < self.max_length:
            self._head_probabilities.append(probability)
        if probability > vad.ONSET or probability < vad.OFFSET:
            self._in_speech = probability > vad.ONSET
        if self._start is not None and (frame - self._end) * vad.FRAME_S >= vad.MIN_GAP_S:
            yield from self._close()
        if self._in_speech:
            if self._start is None:
                self._start, self._probabilities, self._is_continued = frame, [], False
            self._end = frame + 1
        if self._start is not None:
            self._probabilities.append(probability)
            if self._end - self._start > self._max_frames:
                yield self._split()

    def _close(self) -> Iterator[Window]:
        """End the open segment; one that is too short to be speech is dropped."""
        if self._start is None:
            return
        start_s, end_s = self._start * vad.FRAME_S, self._end * vad.FRAME_S
        if self._is_continued or end_s - start_s >= vad.MIN_SPEECH_S:
            end = min(round((end_s + vad.PADDING_S) * self.sample_rate), self._n_samples)
            if end > self._start_sample():
                yield self._emit(self._start_sample(), end)
        self._start = None

    def _split(self) -> Window:
        """Split the open segment at the frame with the least speech, and return the first part."""
        start = self._start or 0
        first, stop = int(self._max_frames * _MIN_FRACTION), self._max_frames
        kernel = np.full(_SMOOTHED_FRAMES, 1 / _SMOOTHED_FRAMES)
        smoothed = np.convolve(np.asarray(self._probabilities, np.float64), kernel, "same")
        offset = first + int(smoothed[first:stop].argmin())
        window = self._emit(self._start_sample(), round((start + offset) * vad.FRAME_S * self.sample_rate))
        self._start, self._probabilities = start + offset, self._probabilities[offset:]
        self._is_continued = True
        return window

    def _start_sample(self) -> int:
        """First sample of the open segment."""
        padding_s = 0.0 if self._is_continued else vad.PADDING_S
        return max(0, round(((self._start or 0) * vad.FRAME_S - padding_s) * self.sample_rate))

    def _emit(self, start: int, end: int) -> Window:
        self._n_segments += 1
        return self._window(start, end)

    def _window(self, start: int, end: int) -> Window:
        """Copy the samples from ``start`` to ``end`` out of the buffer."""
        start = max(start, self._buffer_start)
        signal = self._buffer[start - self._buffer_start : end - self._buffer_start][: self.max_length].copy()
        return Window(start, signal, len(signal))

    def _without_speech(self) -> Window:
        """The part of the first samples that may contain speech, or all of them."""
        doubtful = np.flatnonzero(np.asarray(self._head_probabilities) >= vad.MIN_SPEECH_PROBABILITY)
        start, end = 0, len(self._head)
        if len(doubtful):
            start_s, end_s = doubtful[0] * vad.FRAME_S, (doubtful[-1] + 1) * vad.FRAME_S
            if end_s - start_s >= vad.MIN_SPEECH_S:
                start = max(0, round((start_s - vad.PADDING_S) * self.sample_rate))
                end = min(end, round((end_s + vad.PADDING_S) * self.sample_rate))
        signal = self._head[start:end].copy()
        return Window(start, signal, len(signal))

    def _forget_samples(self) -> None:
        """Drop the samples that no segment can need any more."""
        if self._start is not None:
            first_needed = self._start_sample()
        else:  # the next segment starts with the next frame at the earliest
            first_needed = int((self._n_frames * vad.FRAME_S - vad.PADDING_S) * self.sample_rate) - 1
        n_unused = min(first_needed - self._buffer_start, len(self._buffer))
        if n_unused > 0:
            self._buffer = self._buffer[n_unused:]
            self._buffer_start += n_unused


def split_speech(signal: Signal, sample_rate: int, max_length: int) -> list[Window]:
    """Split a whole signal (N,) into speech segments of at most ``max_length`` samples."""
    detector = vad.VoiceActivityDetector(sample_rate)
    detector.feed(signal, last=True)
    splitter = SpeechSplitter(sample_rate, max_length)
    return [*splitter.feed(signal, detector.probabilities), *splitter.finish(np.zeros(0, np.float32))]
