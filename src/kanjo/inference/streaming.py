"""Live prediction: the predictions of the windows while a stream is fed in chunks, and at the end the whole one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from kanjo import audio
from kanjo.errors import AudioError, KanjoError
from kanjo.inference.options import InferenceOptions, resolve_options
from kanjo.inference.prediction import Prediction, Segment
from kanjo.inference.recognizer import Recognizer
from kanjo.inference.recording import RecordingSession

if TYPE_CHECKING:
    from typing_extensions import Unpack  # typing.Unpack needs Python 3.11

    from kanjo.inference.options import InferenceKeywords


class Stream:
    """A live recording, fed in chunks of any length. Not safe to use from several threads.

    The final prediction equals that of ``Recognizer.predict`` for the whole recording, to 1e-5.
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
        audio.check_sample_rate(sample_rate, name)
        metadata = recognizer.metadata
        resolved = resolve_options(InferenceOptions(**options), metadata)
        self._recognizer = recognizer
        self._resampler = audio.Resampler(sample_rate, metadata.sample_rate)
        self._session = RecordingSession(name, sample_rate, metadata, resolved)
        self._n_samples = 0
        self._finished = False

    @property
    def emotions(self) -> tuple[str, ...]:
        """The emotions among which the label is chosen."""
        return self._session.options.emotions

    def feed(self, chunk: npt.ArrayLike) -> list[Segment]:
        """Add samples and return the predictions of the windows that they complete.

        Args:
            chunk: Samples as int16, or as float with full scale 1.0.

        Raises:
            AudioError: The chunk contains NaN or has another shape. It is ignored; the stream can continue.
            KanjoError: The stream has finished.

        Shape:
            - chunk: (N,) or (N, channels)
        """
        if self._finished:
            raise KanjoError(f"{self._session.file}: this stream has finished; create a new Stream")
        samples = audio.to_sample_matrix(chunk, self._session.file)
        mono = np.ascontiguousarray(samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1), np.float32)
        audio.check_finite(mono, self._n_samples, self._session.file)
        self._n_samples += len(mono)
        return self._run_block(self._resampler.feed(mono))

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
            self._run_block(self._resampler.finish())
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

    def _run_block(self, block: audio.Signal) -> list[Segment]:
        if not block.size:
            return []
        return self._recognizer._run_windows([(self._session, window) for window in self._session.feed(block)])
