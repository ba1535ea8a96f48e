"""Load a bundle, hear recordings, answer. The only way to predict: command line, evaluation and server all come here."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from kanjo import audio, windows
from kanjo.audio import Levels, Signal
from kanjo.bundle import DEFAULT, Bundle, Facts, read
from kanjo.errors import AudioError, BundleError, KanjoError
from kanjo.labels import UNSURE

#: Below this there is no telling: an answer says so instead of guessing.
SHORTEST_S = 0.3
#: Windows run at once: enough to fill two cores, few enough to stay small in memory.
_BATCH = 8
Probabilities = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Segment:
    """The answer for one window of a recording, from ``start_s`` to ``end_s``."""

    start_s: float
    end_s: float
    label: str
    confidence: float
    probabilities: dict[str, float]


@dataclass(frozen=True)
class Prediction:
    """The answer for a recording.

    ``label`` is one of the bundle's emotions, or "unsure" where there is too little to go by; ``confidence`` its probability.
    ``probabilities`` maps every emotion of the bundle to its share (sum 1). ``error`` says why a recording of many got no
    answer: its label is then "". ``embedding`` (D,) is the network's last layer before the emotions, its windows' mean by seconds of sound.
    """

    file: str
    label: str
    confidence: float
    probabilities: dict[str, float]
    duration_s: float = 0.0
    segments: tuple[Segment, ...] = ()
    warnings: tuple[str, ...] = ()
    error: str = ""
    embedding: npt.NDArray[np.float32] | None = field(default=None, repr=False, compare=False)

    def as_dict(self) -> dict[str, Any]:
        """Plain dictionaries and lists, as they go into JSON; times in milliseconds' precision, shares to six places."""
        return {
            "file": self.file,
            "label": self.label,
            "confidence": round(self.confidence, 6),
            "probabilities": {name: round(p, 6) for name, p in self.probabilities.items()},
            "duration_s": round(self.duration_s, 3),
            "segments": [
                {
                    "start_s": round(segment.start_s, 3),
                    "end_s": round(segment.end_s, 3),
                    "label": segment.label,
                    "confidence": round(segment.confidence, 6),
                    "probabilities": {name: round(p, 6) for name, p in segment.probabilities.items()},
                }
                for segment in self.segments
            ],
            "warnings": list(self.warnings),
            "error": self.error,
        }


@dataclass
class _Heard:
    """A recording's windows (with their level) on the way to the network."""

    file: str
    windows: list[windows.Window] = field(default_factory=list)
    loud: list[bool] = field(default_factory=list)
    levels: Levels = field(default_factory=Levels)
    warnings: list[str] = field(default_factory=list)
    rows: list[npt.NDArray[np.float32]] = field(default_factory=list)
    embeddings: list[npt.NDArray[np.float32]] = field(default_factory=list)
    spans: list[tuple[int, int]] = field(default_factory=list)
    error: str = ""


class Recognizer:
    """A bundle, ready to answer. Safe to use from several threads.

    ``threads``: cores that one run of the network may use (default: all).
    """

    def __init__(self, model: Bundle, threads: int | None = None) -> None:
        import onnxruntime  # a fifth of a second: only when it is needed

        self.bundle = model
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or os.cpu_count() or 1
        options.enable_mem_pattern = False  # plans for one batch size; ours vary, and without it memory is a fifth less
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(str(model.graph), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own exceptions share no base class but this
            raise BundleError(f"{model.graph}: ONNX Runtime can't load it ({str(error).splitlines()[0]})") from error
        names = [node.name for node in self._session.get_outputs()]
        if names[:2] != ["probabilities", "embedding"]:
            raise BundleError(f"{model.graph}: its outputs are {', '.join(names)}; expected probabilities, embedding")

    @property
    def facts(self) -> Facts:
        return self.bundle.facts

    @property
    def labels(self) -> tuple[str, ...]:
        return self.bundle.facts.labels

    def predict(
        self,
        path: str | Path | bytes | BinaryIO,
        *,
        name: str | None = None,
        window_s: float | None = None,
        hop_s: float | None = None,
    ) -> Prediction:
        """The emotion in one recording: a path, or the bytes of a file. Memory stays constant however long it is.

        ``window_s`` (at most the bundle's) and ``hop_s`` change how it is cut. Raises AudioError for one that can't be heard.
        """
        return self._predict(audio.open_source(path, name), window_s, hop_s)

    def predict_signal(
        self,
        signal: npt.ArrayLike,
        sample_rate: int,
        *,
        name: str = "<signal>",
        window_s: float | None = None,
        hop_s: float | None = None,
    ) -> Prediction:
        """The emotion in samples you have: (N,) or (N, channels), float at full scale 1.0, or int16.

        Raises AudioError for an empty signal, NaN, or a shape that is no recording.
        """
        return self._predict(_source_of(signal, sample_rate, name), window_s, hop_s)

    def predict_many(
        self,
        paths: Iterable[str | Path],
        *,
        jobs: int | None = None,
        window_s: float | None = None,
        hop_s: float | None = None,
    ) -> Iterator[Prediction]:
        """Answers in the order of ``paths``, as they come. One that can't be heard gets a Prediction with its ``error``.

        ``jobs`` threads decode ahead (default: one for each core); the windows of several recordings run together.
        """
        jobs = jobs or os.cpu_count() or 1
        ahead = 2 * _BATCH + jobs
        inputs = iter(paths)
        with ThreadPoolExecutor(jobs) as pool:
            waiting: list[Future[_Heard]] = []
            group: list[_Heard] = []
            while True:
                while len(waiting) < ahead and (path := next(inputs, None)) is not None:
                    waiting.append(pool.submit(self._hear, path, window_s, hop_s))
                if not waiting:
                    break
                group.append(waiting.pop(0).result())
                if sum(len(heard.windows) for heard in group) >= _BATCH:
                    yield from self._answers(group)
                    group = []
            yield from self._answers(group)

    def embed_signal(self, signal: Signal) -> npt.NDArray[np.float32]:
        """The network's embedding of one window at the bundle's rate: (N,) -> (D,); shorter is padded, longer cut."""
        window = np.zeros(self.facts.window, np.float32)
        window[: len(signal)] = signal[: self.facts.window]
        return np.asarray(self._session.run(["embedding"], {"signal": window[None]})[0][0])

    def probabilities(self, batch: Signal) -> npt.NDArray[np.float32]:
        """The graph itself: windows (B, W) at the bundle's rate -> probabilities (B, E)."""
        return np.asarray(self._session.run(["probabilities"], {"signal": batch})[0])

    def _predict(self, source: audio.Source, window_s: float | None, hop_s: float | None) -> Prediction:
        heard = _Heard(source.name)
        with source:  # closed too where the window that is asked for doesn't fit
            for batch in self._batches(source, heard, window_s, hop_s):
                self._run([(heard, window) for window in batch])
        return self._answer(heard)

    def _hear(self, path: str | Path, window_s: float | None, hop_s: float | None) -> _Heard:
        heard = _Heard(str(path))
        try:
            source = audio.open_source(path, str(path))
            for batch in self._batches(source, heard, window_s, hop_s):
                heard.windows += batch
                if len(heard.windows) > 4 * _BATCH:  # a long recording: run it here, so that memory stays constant
                    pending, heard.windows = heard.windows, []
                    self._run([(heard, window) for window in pending])
        except AudioError as error:
            heard.windows.clear()
            heard.error = str(error).removeprefix(f"{path}: ")
        return heard

    def _batches(
        self, source: audio.Source, heard: _Heard, window_s: float | None, hop_s: float | None
    ) -> Iterator[list[windows.Window]]:
        facts = self.facts
        size, hop = _cutting(facts, window_s, hop_s)
        if source.native_rate < facts.sample_rate:
            heard.warnings.append(
                f"recorded at {source.native_rate} Hz: the bundle expects sound up to {facts.sample_rate // 2} Hz, half of it is missing"
                if source.native_rate * 2 <= facts.sample_rate
                else f"recorded at {source.native_rate} Hz, below the bundle's {facts.sample_rate} Hz"
            )

        def measured() -> Iterator[Signal]:
            for block in source.blocks(facts.sample_rate):
                heard.levels.feed(block)
                yield block

        batch: list[windows.Window] = []
        for window in windows.cut(measured(), size, hop):
            batch.append(window)
            if len(batch) == _BATCH:
                yield batch
                batch = []
        if batch:
            yield batch
        heard.warnings += source.warnings

    def _run(self, work: Sequence[tuple[_Heard, windows.Window]]) -> None:
        """Windows through the graph; their answers go to the recordings they belong to."""
        size = self.facts.window
        for start in range(0, len(work), _BATCH):
            part = work[start : start + _BATCH]
            batch = np.zeros((len(part), size), np.float32)
            for row, (_, window) in enumerate(part):
                batch[row, : window.valid] = window.signal[: window.valid]
            try:
                answers, embeddings = self._session.run(["probabilities", "embedding"], {"signal": batch})
            except Exception as error:  # onnxruntime's own exceptions share no base class but this
                raise KanjoError(f"ONNX Runtime failed: {str(error).splitlines()[0]}") from error
            for (heard, window), row, embedding in zip(part, answers, embeddings, strict=True):
                levels = Levels()
                levels.feed(window.signal[: window.valid])
                heard.loud.append(not levels.silent)
                heard.rows.append(row)
                heard.embeddings.append(embedding)
                heard.spans.append((window.start, window.start + window.valid))

    def _answers(self, group: list[_Heard]) -> Iterator[Prediction]:
        self._run([(heard, window) for heard in group for window in heard.windows])
        for heard in group:
            yield _failed(heard.file, heard.error) if heard.error else self._answer(heard)

    def _answer(self, heard: _Heard) -> Prediction:
        rate = self.facts.sample_rate
        even = np.full(len(self.labels), 1 / len(self.labels))
        rows = [np.asarray(row, np.float64) if loud else even for row, loud in zip(heard.rows, heard.loud, strict=True)]
        duration = heard.levels.n / rate
        warnings = list(heard.warnings)
        weights = [(end - start) * loud for (start, end), loud in zip(heard.spans, heard.loud, strict=True)]
        whole = windows.pooled(rows, weights) if rows else even
        unsure = True
        if duration < SHORTEST_S:
            warnings.append(f"too short to tell: {duration:.3f} s, expected at least {SHORTEST_S} s")
        elif not any(heard.loud):
            warnings.append(f"silent: level {heard.levels.rms_db:.0f} dBFS")
        else:
            unsure = False
            if heard.levels.clipped:
                share = 100 * heard.levels.at_full_scale / heard.levels.n
                warnings.append(f"clipped: {share:.1f} % of the samples are at full scale")
        if unsure:
            whole = even
        segments = tuple(
            Segment(start / rate, end / rate, *self._named(even if unsure else row, unsure or not loud))
            for (start, end), row, loud in zip(heard.spans, rows, heard.loud, strict=True)
        )
        label, confidence, shares = self._named(whole, unsure)
        embedding = np.asarray(windows.pooled(heard.embeddings, weights), np.float32) if heard.embeddings else None
        return Prediction(heard.file, label, confidence, shares, duration, segments, tuple(warnings), embedding=embedding)

    def _named(self, row: Probabilities, unsure: bool) -> tuple[str, float, dict[str, float]]:
        shares = {name: float(p) for name, p in zip(self.labels, row, strict=True)}
        best = int(row.argmax())
        confidence = float(row[best])
        return (UNSURE if unsure or confidence < self.facts.abstain_below else self.labels[best]), confidence, shares


def load(name: str | Path = DEFAULT, threads: int | None = None) -> Recognizer:
    """Open a bundle: one in the box by name, or a folder. Raises BundleError."""
    return Recognizer(read(name), threads)


def _failed(file: str, error: str) -> Prediction:
    return Prediction(file, "", 0.0, {}, error=error)


def _cutting(facts: Facts, window_s: float | None, hop_s: float | None) -> tuple[int, int]:
    seconds = facts.window_s if window_s is None else window_s
    if not SHORTEST_S <= seconds <= facts.window_s:
        raise KanjoError(
            f"window of {seconds} s: expected {SHORTEST_S} to {facts.window_s} s, which is what this bundle hears at once"
        )
    hop = (facts.hop_s if window_s is None else seconds / 2) if hop_s is None else hop_s
    if not 0.01 <= hop <= seconds:
        raise KanjoError(f"hop of {hop} s: expected 0.01 s up to the window's {seconds} s")
    return round(seconds * facts.sample_rate), round(hop * facts.sample_rate)


def _source_of(signal: npt.ArrayLike, sample_rate: int, name: str) -> audio.Source:
    samples = np.asarray(signal)
    if samples.dtype == np.int16:
        samples = samples.astype(np.float32) / 32768
    if samples.ndim == 1:
        samples = samples[:, None]
    if samples.ndim != 2 or not np.issubdtype(samples.dtype, np.floating):
        raise AudioError(
            f"{name}: shape {np.shape(signal)} of {samples.dtype}; expected float or int16 samples (N,) or (N, channels)"
        )
    if not audio.MIN_RATE <= sample_rate <= audio.MAX_RATE:
        raise AudioError(f"{name}: {sample_rate} Hz; expected {audio.MIN_RATE} to {audio.MAX_RATE} Hz")
    if not samples.size:
        raise AudioError(f"{name}: no samples in it (shape {np.shape(signal)})")
    step = 10 * sample_rate
    chunks = (samples[at : at + step].astype(np.float32) for at in range(0, len(samples), step))
    return audio.Source(name, sample_rate, samples.shape[1], len(samples), chunks)
