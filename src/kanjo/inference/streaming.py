"""Live prediction: the predictions of the windows while a stream is fed in chunks, and at the end the whole one."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from kanjo import audio
from kanjo.audio.signals import OPPOSITE_PHASE
from kanjo.errors import AudioError, KanjoError
from kanjo.inference.limits import RecordingLimits
from kanjo.inference.onnx_session import BATCH_SIZE
from kanjo.inference.options import InferenceOptions, resolve_options
from kanjo.inference.prediction import Prediction, Segment
from kanjo.inference.recognizer import Recognizer
from kanjo.inference.recording import RecordingSession

if TYPE_CHECKING:
    from typing_extensions import Unpack  # typing.Unpack needs Python 3.11

    from kanjo.inference.options import InferenceKeywords

#: Seconds of a chunk that are processed at once, so that memory use does not depend on the length of a chunk.
_BLOCK_S = 10


class Stream:
    """A live recording, fed in chunks of any length. Not safe to use from several threads.

    The final prediction equals that of ``Recognizer.predict`` for the whole recording, to 1e-5.

    Attributes:
        sample_rate: Sample rate of the chunks in Hz.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        sample_rate: int,
        *,
        name: str = "<stream>",
        **options: Unpack[InferenceKeywords],
    ) -> None:
        """Start a stream.

        Args:
            recognizer: The recognizer that predicts.
            sample_rate: Sample rate of the chunks in Hz.
            name: Name of the recording in the result and in messages.
            **options: As in :meth:`Recognizer.predict`.

        Raises:
            AudioError: The sample rate is out of range.
            KanjoError: An option is not valid for this bundle.
        """
        self.sample_rate = audio.check_sample_rate(sample_rate, name)
        metadata = recognizer.metadata
        resolved = resolve_options(InferenceOptions(**options), metadata)
        self._recognizer = recognizer
        self._resampler = audio.Resampler(self.sample_rate, metadata.sample_rate)
        self._session = RecordingSession(name, self.sample_rate, metadata, resolved)
        self._n_samples = 0
        self._finished = False

    @property
    def emotions(self) -> tuple[str, ...]:
        """The emotions among which the label is chosen."""
        return self._session.options.emotions

    def _set_limits(self, limits: RecordingLimits) -> None:
        """Set the limits of the stream. :meth:`feed` raises AudioError for a chunk that exceeds them."""
        self._session.limits = limits

    def feed(self, chunk: npt.ArrayLike) -> list[Segment]:
        """Add samples and return the predictions of the windows, or segments of speech, that they complete.

        A segment of speech also gets an early result after 1, 2 and 4 s, with ``is_final`` false.

        Args:
            chunk: Samples as int16, or as float with full scale 1.0.

        Raises:
            AudioError: The chunk contains NaN or has another shape. It is ignored; the stream can continue.
            KanjoError: The stream has finished.

        Shape:
            - chunk: (N,) or (N, channels)
        """
        return [segment for batch in self._feed_batches(chunk) for segment in batch]

    def _feed_batches(self, chunk: npt.ArrayLike) -> Iterator[list[Segment]]:
        """Check a chunk as :meth:`feed`; then add it, and yield the predictions of its windows in small batches.

        The service takes one batch at a time, so that other streams get their turn.
        """
        if self._finished:
            raise KanjoError(f"{self._session.file}: this stream has finished; create a new Stream")
        samples = audio.to_sample_matrix(chunk, self._session.file)
        step = int(_BLOCK_S * self.sample_rate)
        starts = range(0, len(samples), step)
        for start in starts:
            audio.check_samples(samples[start : start + step], self._n_samples + start, self._session.file)
        return self._run_blocks(samples[start : start + step] for start in starts)

    def _run_blocks(self, blocks: Iterator[npt.NDArray[np.floating[Any]]]) -> Iterator[list[Segment]]:
        for block in blocks:
            mono, is_opposite = audio.mix_to_mono(block)
            if is_opposite and OPPOSITE_PHASE not in self._session.warnings:
                self._session.warnings.append(OPPOSITE_PHASE)
            self._n_samples += len(mono)
            yield from self._run_windows(self._resampler.feed(mono))

    def finish(self) -> Prediction:
        """End the stream and return the prediction of the whole recording.

        Raises:
            AudioError: The stream received no samples.
        """
        if not self._n_samples:
            self._finished = True
            raise AudioError(f"{self._session.file}: contains no samples")
        if not self._finished:
            self._finished = True
            for _ in self._run_windows(self._resampler.finish()):
                pass
            self._recognizer._run_windows([(self._session, window) for window in self._session.finish()])
        return self._session.finalize()

    @property
    def speech(self) -> float:
        """Probability of speech in the last 32 ms."""
        return self._session.vad.last_probability

    @property
    def seconds(self) -> float:
        """Duration of the stream so far, in seconds."""
        return self._session.duration_s

    def _run_windows(self, block: audio.Signal) -> Iterator[list[Segment]]:
        """Add a block at the bundle's sample rate; run the windows that it completes in batches."""
        if not block.size:
            return
        windows = self._session.feed(block)
        while batch := list(islice(windows, BATCH_SIZE)):
            yield self._recognizer._run_windows([(self._session, window) for window in batch])
        early = self._session.early_window()
        if early is not None:
            yield [self._recognizer._run_early(self._session, early)]
