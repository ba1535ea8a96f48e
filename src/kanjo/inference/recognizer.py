"""The recognizer: predicts the emotion in recordings with one bundle.

Command line, evaluation and server all predict with this class.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from kanjo import audio
from kanjo.bundle import DEFAULT_BUNDLE, Bundle, BundleMetadata, read_bundle
from kanjo.errors import AudioError, KanjoError
from kanjo.inference.adaptation import AdaptationProfile, build_adaptation, choose_clips
from kanjo.inference.limits import PredictionCancelledError, RecordingLimits, TooManyWindowsError
from kanjo.inference.onnx_session import BATCH_SIZE, BundleGraph
from kanjo.inference.options import InferenceOptions, ResolvedOptions, resolve_options
from kanjo.inference.prediction import Prediction, Segment, failed_prediction
from kanjo.inference.recording import PreparedRecording, RecordingSession
from kanjo.inference.speaker_profiles import SpeakerProfile, build_profile, require_speaker_input
from kanjo.inference.windowing import Window

if TYPE_CHECKING:
    from typing_extensions import Unpack  # typing.Unpack needs Python 3.11

    from kanjo.inference.options import InferenceKeywords


class Recognizer:
    """Predicts the emotion in recordings with one bundle. Safe to use from several threads.

    Example:
        >>> import kanjo
        >>> recognizer = kanjo.load()
        >>> recognizer.predict("clip.wav", language="en").label  # doctest: +SKIP
        'happiness'
    """

    def __init__(self, model: Bundle, threads: int | None = None, device: str = "auto") -> None:
        """Load the graph of a bundle.

        Args:
            model: The bundle.
            threads: Threads of one run of the graph (default: one for each core).
            device: "cpu", "cuda", or "auto": the GPU if ONNX Runtime can use one.

        Raises:
            BundleError: ONNX Runtime can't load the graph.
            KanjoError: ONNX Runtime can't use the device.
        """
        self.bundle = model
        self._graph = BundleGraph(model, threads, device)

    @property
    def device(self) -> str:
        """The device that the graph runs on, "cpu" or "cuda"."""
        return self._graph.device

    @property
    def metadata(self) -> BundleMetadata:
        """Metadata of the bundle."""
        return self.bundle.metadata

    @property
    def labels(self) -> tuple[str, ...]:
        """Emotions of the bundle, in the order of its probabilities."""
        return self.bundle.metadata.labels

    def predict(
        self, path: audio.AudioSource, *, name: str | None = None, **options: Unpack[InferenceKeywords]
    ) -> Prediction:
        """Predict the emotion in one recording. Memory use does not depend on its length.

        Args:
            path: Path of an audio file, or its content as bytes or as a binary stream.
            name: Name of the recording in the result and in messages (default: the path).
            **options: ``window_s``, ``hop_s``, ``min_confidence``, ``language``, ``speaker``, ``emotions`` and
                ``adaptation``, see :class:`~kanjo.inference.options.InferenceOptions`.

        Raises:
            AudioError: The recording can't be decoded.
            KanjoError: An option is not valid for this bundle.
        """
        resolved = resolve_options(InferenceOptions(**options), self.metadata)  # before the file is opened
        return self._predict(audio.open_audio(path, name), resolved)

    def predict_signal(
        self, signal: npt.ArrayLike, sample_rate: float, *, name: str = "<signal>", **options: Unpack[InferenceKeywords]
    ) -> Prediction:
        """Predict the emotion in samples.

        Args:
            signal: Samples as int16, or as float with full scale 1.0: an array, a tensor of PyTorch, or a list. Float
                samples from -32768 to 32767 are divided by 32768, with a warning.
            sample_rate: Sample rate in Hz.
            name: Name of the recording in the result and in messages.
            **options: As in :meth:`predict`.

        Raises:
            AudioError: The signal is empty, contains NaN, or has another type or shape.
            KanjoError: An option is not valid for this bundle.

        Shape:
            - signal: (N,), (N, channels) or (channels, N) with at most 8 channels
        """
        reader = audio.open_signal(signal, sample_rate, name)
        return self._predict(reader, resolve_options(InferenceOptions(**options), self.metadata))

    def predict_many(
        self, paths: Iterable[str | Path], *, jobs: int | None = None, **options: Unpack[InferenceKeywords]
    ) -> Iterator[Prediction]:
        """Predict the emotion in many recordings. Windows of several recordings run in one batch.

        Args:
            paths: Paths of audio files.
            jobs: Threads that decode files (default: one for each core).
            **options: As in :meth:`predict`.

        Yields:
            Predictions in the order of ``paths``. A recording that can't be decoded gets a prediction with ``error``.

        Raises:
            KanjoError: An option is not valid for this bundle.
        """
        resolved = resolve_options(InferenceOptions(**options), self.metadata)
        jobs = jobs or os.cpu_count() or 1
        max_queued = 2 * BATCH_SIZE + jobs
        remaining = _iterate_paths(paths)
        with ThreadPoolExecutor(jobs) as pool:
            queued: list[Future[PreparedRecording]] = []
            group: list[PreparedRecording] = []
            while True:
                new_paths = islice(remaining, max_queued - len(queued))
                queued += [pool.submit(self._prepare, path, resolved) for path in new_paths]
                if not queued:
                    break
                group.append(queued.pop(0).result())
                if sum(len(recording.pending) for recording in group) >= BATCH_SIZE:
                    yield from self._predict_batch(group)
                    group = []
            yield from self._predict_batch(group)

    def enroll(self, name: str, paths: Iterable[str | Path], *, jobs: int | None = None) -> SpeakerProfile:
        """Build the profile of a speaker from a few of their recordings, which need no labels.

        Args:
            name: Name of the speaker.
            paths: Paths of audio files of this speaker.
            jobs: Threads that decode files (default: one for each core).

        Raises:
            AudioError: A recording can't be decoded.
            KanjoError: The bundle does not support speaker profiles, or no recording contains speech.
        """
        self.check_enrollment()
        predictions = list(self.predict_many(paths, jobs=jobs))
        for prediction in predictions:
            if prediction.error:
                raise AudioError(f"{prediction.file}: {prediction.error}")
        return build_profile(name, self.metadata, predictions)

    def check_enrollment(self) -> None:
        """Raise KanjoError if the bundle does not support speaker profiles."""
        require_speaker_input(self.metadata)

    def adapt(
        self, paths: Iterable[str | Path], *, jobs: int | None = None, **options: Unpack[InferenceKeywords]
    ) -> AdaptationProfile:
        """Build the adaptation profile of a source from unlabeled recordings of it, see kanjo.inference.adaptation.

        Args:
            paths: Paths of at least 20 audio files. Those that fail or contain no speech do not count; of more than
                200 files, 200 are used.
            jobs: Threads that decode files (default: one for each core).
            **options: As in :meth:`predict`, without ``speaker`` and ``adaptation``. The profile is for predictions
                among the same ``emotions``.

        Raises:
            KanjoError: There are too few recordings with speech, or an option is not valid.
        """
        resolved = resolve_options(InferenceOptions(**options), self.metadata)
        if resolved.speaker is not None or resolved.bias is not None:
            raise KanjoError("an adaptation profile is made without another profile: leave out speaker and adaptation")
        predictions = self.predict_many(choose_clips(_iterate_paths(paths)), jobs=jobs, **options)
        return build_adaptation(self.metadata, predictions, resolved.emotions)

    def embed_signal(self, signal: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Compute the embedding of one window at the bundle's sample rate.

        A shorter signal is padded with zeros, a longer one is cut.

        Raises:
            AudioError: The signal is empty, contains NaN, or has another type or shape.

        Shape:
            - signal: (N,), (N, channels) or (channels, N)
            - Returns: (D,)
        """
        signal = audio.open_signal(signal, self.metadata.sample_rate, "<signal>").signal()
        length = self.metadata.window_length
        if self.metadata.uses_speech_segments:
            length = min(length, len(signal))
        window = np.zeros(length, np.float32)
        window[: len(signal)] = signal[:length]
        return np.asarray(self._graph.run(["embedding"], window[None])[0][0])

    def probabilities(self, batch: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Compute the probabilities of windows at the bundle's sample rate.

        The windows run in one batch; those of an int8 bundle run one by one, because int8 layers scale their input by
        the maximum of the batch.

        Args:
            batch: Samples as int16, or as float with full scale 1.0.

        Raises:
            AudioError: The batch is empty, contains NaN, or has another type or shape.

        Shape:
            - batch: (B, N)
            - Returns: (B, E)
        """
        windows = audio.to_window_batch(batch, "<batch>")
        return np.asarray(self._graph.run(["probabilities"], windows)[0])

    def _run_windows(self, work: Sequence[tuple[RecordingSession, Window]]) -> list[Segment]:
        """Run windows through the graph, add each result to its recording, and return the windows' predictions."""
        windows = [window for _, window in work]
        outputs = self._graph.run_windows(windows, [session.options.speaker for session, _ in work])
        return [
            session.add_window_result(window, output) for (session, window), output in zip(work, outputs, strict=True)
        ]

    def _run_early(self, session: RecordingSession, window: Window) -> Segment:
        """Predict an unfinished segment of speech. The result is not added to its recording."""
        return session.early_prediction(window, self._graph.run_windows([window], [session.options.speaker])[0])

    def _predict(self, reader: audio.AudioReader, options: ResolvedOptions) -> Prediction:
        """Predict one recording; voice activity detection runs in a second thread."""
        with reader, ThreadPoolExecutor(1) as executor:
            session = RecordingSession(reader.name, reader.native_rate, self.metadata, options)
            for batch in session.read(reader, BATCH_SIZE, executor):
                self._run_windows([(session, window) for window in batch])
        return session.finalize()

    def _prepare(
        self,
        path: audio.AudioSource,
        options: ResolvedOptions,
        name: str = "",
        limits: RecordingLimits | None = None,
    ) -> PreparedRecording:
        """Decode a recording and split it into windows for :meth:`_predict_batch`.

        The windows of a long recording run here, so that memory use does not depend on its length. A recording that
        can't be decoded, or is too long, becomes a prediction with its ``error``.

        Raises:
            TooManyWindowsError: The recording has more windows than the limit.
            PredictionCancelledError: The prediction was cancelled.
        """
        name = name or audio.source_name(path)
        limits = limits or RecordingLimits()
        pending: list[Window] = []
        try:
            with audio.open_audio(path, name, limits.decoding_limits()) as reader:
                session = RecordingSession(name, reader.native_rate, self.metadata, options, limits)
                for batch in session.read(reader, BATCH_SIZE):
                    pending += batch
                    if len(pending) > 4 * BATCH_SIZE:
                        for start in range(0, len(pending), BATCH_SIZE):
                            limits.check_cancelled()
                            self._run_windows([(session, window) for window in pending[start : start + BATCH_SIZE]])
                        pending = []
        except audio.DecodingCancelledError as error:
            raise PredictionCancelledError(str(error)) from error
        except TooManyWindowsError:
            raise
        except AudioError as error:
            failure = failed_prediction(name, str(error).removeprefix(f"{name}: "))
            return PreparedRecording(failure=failure)
        return PreparedRecording(session, tuple(pending))

    def _predict_batch(self, group: Sequence[PreparedRecording]) -> Iterator[Prediction]:
        """Predict several prepared recordings; their windows run together."""
        self._run_windows([item for recording in group for item in recording.pending])
        for recording in group:
            yield recording.finalize()


def _iterate_paths(paths: Iterable[str | Path]) -> Iterator[str | Path]:
    """Iterate over paths.

    Raises:
        KanjoError: ``paths`` is one path, or nothing that can be iterated.
    """
    if isinstance(paths, str | bytes | os.PathLike) or not isinstance(paths, Iterable):
        raise KanjoError(f"{type(paths).__name__} {str(paths)[:80]!r}: expected a list of paths")
    return iter(paths)


def load(name: str | Path = DEFAULT_BUNDLE, threads: int | None = None, device: str = "auto") -> Recognizer:
    """Load a bundle.

    Args:
        name: Name of a built-in bundle, or a bundle folder or run folder.
        threads: Threads of one run of the graph (default: one for each core).
        device: "cpu", "cuda", or "auto": the GPU if ONNX Runtime can use one.

    Raises:
        BundleError: There is no such bundle, or it is damaged.
        KanjoError: ONNX Runtime can't use the device.
    """
    return Recognizer(read_bundle(name), threads, device)
