"""One recording during inference: from blocks of samples to windows, and from the windows' results to a prediction.

A window is a part of equal length, or a segment of speech (kanjo.inference.speech_splitter): what the bundle takes.

Files and live streams use the same class and therefore get the same prediction.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from kanjo.audio import AudioReader, Signal
from kanjo.audio.levels import SILENCE_DBFS, LevelMeter
from kanjo.bundle import BundleMetadata
from kanjo.errors import KanjoError
from kanjo.inference import segmentation, vad, windowing
from kanjo.inference.embedding_mean import EmbeddingMean, combine_weights
from kanjo.inference.limits import RecordingLimits
from kanjo.inference.onnx_session import WindowOutput
from kanjo.inference.options import MIN_DURATION_S, ResolvedOptions
from kanjo.inference.prediction import LOW_CONFIDENCE, NO_SPEECH, SILENT, TOO_SHORT, Prediction, Segment
from kanjo.inference.speech_splitter import SpeechSplitter
from kanjo.inference.timeline import Timeline
from kanjo.inference.windowing import Window
from kanjo.labels import UNSURE

#: Seconds of an unfinished segment of speech after which a stream gets an early result.
EARLY_RESULTS_S = (1.0, 2.0, 4.0)
#: OOD score above which a warning is added: 2 % of the recordings of new speakers of the training corpora exceed it.
OOD_WARNING_THRESHOLD = 1.0
_NO_EMBEDDING = np.zeros(0, np.float32)


class RecordingSession:
    """Collects everything about one recording at the bundle's sample rate.

    Call :meth:`feed` for each block, then :meth:`finish`; pass the result of each window that they yield to
    :meth:`add_window_result`, in order; then call :meth:`finalize`.

    Attributes:
        file: Name of the recording.
        metadata: Metadata of the bundle.
        options: Options of the prediction.
        warnings: Warnings so far. Callers may append to it before :meth:`finalize`.
        levels: Level of the recording so far.
        vad: Voice activity detector of the recording.
    """

    def __init__(
        self,
        file: str,
        native_rate: int,
        metadata: BundleMetadata,
        options: ResolvedOptions,
        limits: RecordingLimits | None = None,
    ) -> None:
        """Prepare for the first block.

        Args:
            file: Name of the recording.
            native_rate: Sample rate of the recording before resampling, in Hz.
            metadata: Metadata of the bundle.
            options: Options of the prediction.
            limits: Limits of the recording (default: none).
        """
        self.file, self.metadata, self.options = file, metadata, options
        self.limits = limits or RecordingLimits()
        self.warnings = [
            *_sample_rate_warnings(native_rate, metadata.min_source_rate or metadata.sample_rate),
            *_language_warnings(options.language, metadata),
        ]
        self.levels = LevelMeter()
        self.vad = vad.VoiceActivityDetector(metadata.sample_rate)
        self._vad_future: Future[None] | None = None
        self._window_splitter = windowing.WindowSplitter(options.window_length, options.hop_length)
        self._speech_splitter = None
        if options.speech_segments:
            self._speech_splitter = SpeechSplitter(metadata.sample_rate, options.window_length)
        self._unsplit_block = np.zeros(0, np.float32)  # waits for its voice activity detection
        self._early_result: tuple[int, float] = (-1, 0.0)  # start of the last one in samples, and its length in seconds
        self._outputs: list[WindowOutput] = []  # without the embeddings
        self._embeddings = EmbeddingMean()
        self._bundle_probabilities: list[npt.NDArray[np.float32]] = []
        self._spans: list[tuple[int, int]] = []
        self._audible: list[bool] = []

    @property
    def duration_s(self) -> float:
        """Seconds fed so far."""
        return self.levels.n_samples / self.metadata.sample_rate

    def read(self, reader: AudioReader, batch_size: int, executor: Executor | None = None) -> Iterator[list[Window]]:
        """Decode a whole recording and yield its windows in batches.

        Args:
            reader: The opened recording.
            batch_size: Windows in a batch; the last batch may have fewer.
            executor: Runs voice activity detection, if given.

        Raises:
            AudioError: The recording can't be decoded, or exceeds a limit.
            PredictionCancelledError: The prediction was cancelled.
        """
        rate = self.metadata.sample_rate
        if reader.duration_s is not None:  # before anything is decoded
            self.limits.check_size(reader.duration_s * rate, rate, self.options, self.file)
        batch: list[Window] = []
        for window in self._read_windows(reader, executor):
            batch.append(window)
            if len(batch) == batch_size:
                yield batch
                batch = []
        if batch:
            yield batch
        self.warnings += reader.warnings

    def _read_windows(self, reader: AudioReader, executor: Executor | None) -> Iterator[Window]:
        for block in reader.blocks(self.metadata.sample_rate):
            self.limits.check_cancelled(self.duration_s)
            yield from self.feed(block, executor)
        yield from self.finish()

    def feed(self, block: Signal, executor: Executor | None = None) -> Iterator[Window]:
        """Add a block of samples and yield the windows that it completes.

        Args:
            block: Samples (N,) at the bundle's sample rate.
            executor: Runs voice activity detection, if given.

        Raises:
            AudioError: The recording exceeds a limit.
        """
        n_samples = self.levels.n_samples + len(block)
        self.limits.check_size(n_samples, self.metadata.sample_rate, self.options, self.file)
        self.levels.feed(block)
        if self._speech_splitter is None:
            self._run_vad(block, False, executor)
            yield from self._window_splitter.feed(block)
            return
        if executor is None:
            self._run_vad(block, False, None)
        else:  # split the previous block while speech is detected in this one
            self._wait_for_vad()
            block, self._unsplit_block = self._unsplit_block, block
        probabilities = self.vad.new_probabilities()
        if executor is not None:
            self._run_vad(self._unsplit_block, False, executor)
        yield from self._speech_splitter.feed(block, probabilities)

    def finish(self) -> Iterator[Window]:
        """End the recording and yield the last window, if there is one."""
        self._run_vad(np.zeros(0, np.float32), True, None)
        if self._speech_splitter is None:
            yield from self._window_splitter.finish()
            return
        probabilities = self.vad.new_probabilities()
        yield from self._speech_splitter.feed(self._unsplit_block, probabilities)
        yield from self._speech_splitter.finish(np.zeros(0, np.float32))

    def early_window(self) -> Window | None:
        """Return the unfinished segment of speech if a result for it is due: after 1, 2 and 4 s; else None."""
        window = self._speech_splitter.open_segment if self._speech_splitter else None
        if window is None:
            return None
        last_start, last_s = self._early_result
        due_s = next((s for s in EARLY_RESULTS_S if window.start != last_start or s > last_s), None)
        if due_s is None or window.valid < due_s * self.metadata.sample_rate:
            return None
        self._early_result = (window.start, window.valid / self.metadata.sample_rate)
        return window

    def early_prediction(self, window: Window, output: WindowOutput) -> Segment:
        """Return the prediction for an unfinished segment of speech. It does not change the recording's prediction."""
        probabilities = self.options.final_probabilities(output.probabilities)
        start_s, end_s = (sample / self.metadata.sample_rate for sample in (window.start, window.start + window.valid))
        return Segment(start_s, end_s, *self._decide_label(probabilities.astype(np.float64), False), is_final=False)

    def _run_vad(self, block: Signal, last: bool, executor: Executor | None) -> None:
        """Wait for the previous block's voice activity detection, then start this block's."""
        self._wait_for_vad()
        if executor is None:
            self.vad.feed(block, last)
        else:
            self._vad_future = executor.submit(self.vad.feed, block, last)

    def _wait_for_vad(self) -> None:
        if self._vad_future is not None:
            self._vad_future.result()
            self._vad_future = None

    def add_window_result(self, window: Window, output: WindowOutput) -> Segment:
        """Add the graph's output for a window and return the prediction of this window.

        Results must be added in the order of the windows.
        """
        self._bundle_probabilities.append(output.probabilities)
        probabilities = self.options.final_probabilities(output.probabilities)
        time_steps = output.time_steps
        if time_steps is not None:
            time_steps = self.options.final_probabilities(time_steps)
        self._embeddings.add(output.embedding)
        output = replace(output, probabilities=probabilities, time_steps=time_steps, embedding=_NO_EMBEDDING)
        levels = LevelMeter()
        levels.feed(window.signal[: window.valid])
        self._audible.append(not levels.is_silent)
        self._outputs.append(output)
        self._spans.append((window.start, window.start + window.valid))
        self._wait_for_vad()
        if self._embeddings.is_full:
            self._accumulate_embeddings()
        return self._window_prediction(len(self._spans) - 1)

    def _window_prediction(self, index: int) -> Segment:
        """Return the prediction of one window. Without speech it is "unsure"."""
        start_s, end_s = (position / self.metadata.sample_rate for position in self._spans[index])
        # A recording that is too short has one window. It comes at the end, when the whole duration is known.
        too_short = self.levels.n_samples < MIN_DURATION_S * self.metadata.sample_rate
        unusable = too_short or not self._audible[index]
        row = self._uniform if unusable else np.asarray(self._outputs[index].probabilities, np.float64)
        unsure = unusable or not self.vad.contains_speech(start_s, end_s)
        return Segment(start_s, end_s, *self._decide_label(row, unsure))

    def finalize(self) -> Prediction:
        """Return the prediction for the whole recording."""
        duration_s = self.duration_s
        speech = vad.speech_segments(self.vad.probabilities, duration_s)
        speech_s = sum(end - start for start, end in speech)
        spans = np.asarray(self._spans, np.float64).reshape(-1, 2) / self.metadata.sample_rate
        speech_weights, audible_weights = self._window_weights(speech, spans)
        weights = combine_weights(speech_weights, audible_weights)
        ood_scores = [output.ood_score for output in self._outputs if output.ood_score is not None]
        ood_score = float(windowing.weighted_mean(np.asarray(ood_scores), weights)) if ood_scores else None
        warnings, unsure_reason = self._quality_warnings(speech_s, ood_score)
        unusable = unsure_reason in (TOO_SHORT, SILENT)
        rows = self._uniform[None]
        if self._outputs:
            rows = np.stack([output.probabilities for output in self._outputs]).astype(np.float64)
        mean = self._uniform if unusable else windowing.weighted_mean(rows, weights)
        label, confidence, probabilities = self._decide_label(mean, bool(unsure_reason))
        segments: tuple[Segment, ...] = (segmentation.silence_segment(0.0, duration_s),)
        time_steps = None
        if not unsure_reason:
            steps = [output.time_steps for output in self._outputs] if self.options.speech_segments else None
            hop_s = self.options.hop_length / self.metadata.sample_rate
            timeline = Timeline(spans, rows, weights, steps, speech, hop_s, duration_s)
            segments = timeline.segments(self.options.emotions, self.options.min_confidence)
            time_steps = timeline.speech_probabilities()
        embedding = window_probabilities = None
        if self._outputs:
            embedding = self._embeddings.mean(speech_weights, audible_weights)
            window_probabilities = np.stack(self._bundle_probabilities)[weights > 0]
        return Prediction(
            file=self.file,
            label=label,
            confidence=confidence,
            probabilities=probabilities,
            duration_s=duration_s,
            speech_s=speech_s,
            segments=segments,
            windows=tuple(map(self._window_prediction, range(len(self._spans)))),
            warnings=tuple(warnings),
            ood_score=ood_score,
            embedding=embedding,
            window_probabilities=window_probabilities,
            time_steps=time_steps,
            unsure_reason=unsure_reason or (LOW_CONFIDENCE if label == UNSURE else ""),
        )

    def _accumulate_embeddings(self) -> None:
        """Weight the embeddings of windows whose speech can't change any more, so that they need not be kept."""
        end_s = self.vad.duration_s - vad.LOOKAHEAD_S
        spans = np.asarray(self._spans, np.float64)[self._embeddings.n_accumulated :] / self.metadata.sample_rate
        spans = spans[: np.searchsorted(spans[:, 1], end_s)]
        speech = vad.speech_segments(self.vad.probabilities, self.duration_s)
        self._embeddings.accumulate(*self._window_weights(speech, spans, self._embeddings.n_accumulated))

    def _window_weights(
        self, speech: list[vad.TimeSpan], spans: npt.NDArray[np.float64], first: int = 0
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return the seconds of speech of windows (W,), and their lengths; both are 0 for silent windows."""
        starts, ends = spans.T
        audible = np.asarray(self._audible[first : first + len(spans)], bool)
        seconds = np.where(audible, vad.speech_seconds(speech, starts, ends), 0.0)
        return seconds, np.where(audible, ends - starts, 0.0)

    def _quality_warnings(self, speech_s: float, ood_score: float | None) -> tuple[list[str], str]:
        """Return all warnings, and why the recording can't have a label, or ""."""
        duration_s = self.duration_s
        if duration_s < MIN_DURATION_S:
            return [*self.warnings, f"too short: {duration_s:.3f} s; expected at least {MIN_DURATION_S} s"], TOO_SHORT
        if not any(self._audible):
            level = f"silent: the level is {self.levels.rms_db:.0f} dBFS; expected at least {SILENCE_DBFS:.0f} dBFS"
            return [*self.warnings, level], SILENT
        warnings = list(self.warnings)
        if self.levels.is_clipped:
            percent = 100 * self.levels.n_full_scale / self.levels.n_samples
            warnings.append(f"clipped: {percent:.1f} % of the samples are at full scale")
        if not self.vad.contains_speech(0.0, duration_s):
            return [*warnings, "no speech detected (music or noise?), so the label is unsure"], NO_SPEECH
        if not speech_s:
            warnings.append("no speech detected (music, noise, or very quiet speech?); the prediction is not reliable")
        elif ood_score is not None and ood_score > OOD_WARNING_THRESHOLD:
            shown = f"{ood_score:.1f}"
            if float(shown) <= OOD_WARNING_THRESHOLD:
                shown = f"{ood_score:.2f}"
            warnings.append(
                f"the recording differs from the training data (ood_score {shown}, "
                f"expected at most {OOD_WARNING_THRESHOLD:g}); the prediction may be wrong"
            )
        return warnings, ""

    @property
    def _uniform(self) -> npt.NDArray[np.float64]:
        """Equal probabilities (E,)."""
        n_labels = len(self.options.emotions)
        return np.full(n_labels, 1 / n_labels)

    def _decide_label(self, row: npt.NDArray[np.float64], unsure: bool) -> tuple[str, float, dict[str, float]]:
        """Return label, confidence and the probability of each emotion for probabilities (E,)."""
        labels = self.options.emotions
        best = int(row.argmax())
        confidence = float(row[best])
        label = UNSURE if unsure or confidence < self.options.min_confidence else labels[best]
        return label, confidence, dict(zip(labels, row.tolist(), strict=True))


@dataclass(frozen=True)
class PreparedRecording:
    """A decoded recording with the windows that still have to run, or the failure of a recording.

    Attributes:
        session: The recording, or None if it can't be decoded.
        windows: Windows whose results the session does not have yet.
        failure: The prediction with the error, if the recording can't be decoded.
    """

    session: RecordingSession | None = None
    windows: tuple[Window, ...] = ()
    failure: Prediction | None = None

    @property
    def pending(self) -> list[tuple[RecordingSession, Window]]:
        """The windows that still have to run, each with its recording."""
        return [] if self.session is None else [(self.session, window) for window in self.windows]

    def finalize(self) -> Prediction:
        """Return the prediction, after all pending windows have run.

        Raises:
            KanjoError: There is neither a session nor a failure.
        """
        if self.session is not None:
            return self.session.finalize()
        if self.failure is None:
            raise KanjoError("a prepared recording needs a session or a failure")
        return self.failure


def _sample_rate_warnings(native_rate: int, expected_rate: int) -> list[str]:
    """Warn about a recording whose sample rate is lower than that of the training data."""
    if native_rate >= expected_rate:
        return []
    if native_rate * 2 <= expected_rate:
        return [
            f"recorded at {native_rate} Hz: at least half of the frequencies up to {expected_rate // 2} Hz, "
            "which the bundle uses, are missing"
        ]
    return [f"recorded at {native_rate} Hz; expected at least {expected_rate} Hz"]


def _language_warnings(language: str, metadata: BundleMetadata) -> list[str]:
    """Warn about a language that is not in the training data."""
    trained = {word for corpus in metadata.corpora for word in corpus["language"].replace(",", " ").split()}
    if not language or not trained or language.split("-")[0].lower() in trained:
        return []
    return [f"language {language}: the bundle was trained on {', '.join(sorted(trained))} only"]
