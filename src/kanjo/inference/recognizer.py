"""Load a bundle, hear recordings, answer. The only way to predict: command line, evaluation and server all come here."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from kanjo import audio
from kanjo.audio import Signal
from kanjo.bundle import DEFAULT, Bundle, Facts, read
from kanjo.errors import AudioError, BundleError, KanjoError
from kanjo.inference import onnx_session
from kanjo.inference.prediction import Prediction, Segment, failed
from kanjo.inference.recording import Hearing, Manner, manner_of
from kanjo.inference.speaker_profiles import Profile, profile_of, takes_speakers
from kanjo.inference.windowing import Window

#: Windows run at once: enough to fill two cores, few enough to stay small in memory.
_BATCH = 8


class Recognizer:
    """A bundle, ready to answer. Safe to use from several threads.

    ``threads``: cores that one run of the network may use (default: all).
    """

    def __init__(self, model: Bundle, threads: int | None = None) -> None:
        self.bundle = model
        # int8 layers scale what they hear by the largest of the whole batch: alone, a window's answer doesn't depend on its company
        self._alone = "int8" in model.facts.quantization
        self._threads = threads or os.cpu_count() or 1
        try:
            self._session = onnx_session.session(model.graph, 1 if self._alone else threads)
        except Exception as error:  # onnxruntime's own exceptions share no base class but this
            raise BundleError(f"{model.graph}: ONNX Runtime can't load it ({str(error).splitlines()[0]})") from error
        names = [node.name for node in self._session.get_outputs()]
        if names[:2] != ["probabilities", "embedding"]:
            raise BundleError(f"{model.graph}: its outputs are {', '.join(names)}; expected probabilities, embedding")
        self._outputs = [name for name in names if name in ("probabilities", "embedding", "distance")]

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
        min_confidence: float | None = None,
        language: str | None = None,
        speaker: Profile | str | Path | None = None,
    ) -> Prediction:
        """The emotion in one recording: a path, or the bytes of a file. Memory stays constant however long it is.

        ``window_s`` (at most the bundle's) and ``hop_s`` change how it is cut; below ``min_confidence`` the answer is "unsure";
        a ``language`` ("ko") that the bundle was not trained on is warned of; ``speaker`` is who speaks: a profile of :meth:`enroll`'s, the
        name of one that is kept, or its file. Raises AudioError for one that can't be heard.
        """
        manner = self.manner(window_s, hop_s, min_confidence, language, speaker)  # before anything is opened
        return self._predict(audio.open_source(path, name), manner)

    def predict_signal(
        self,
        signal: npt.ArrayLike,
        sample_rate: int,
        *,
        name: str = "<signal>",
        window_s: float | None = None,
        hop_s: float | None = None,
        min_confidence: float | None = None,
        language: str | None = None,
        speaker: Profile | str | Path | None = None,
    ) -> Prediction:
        """The emotion in samples you have: (N,) or (N, channels), float at full scale 1.0, or int16.

        Raises AudioError for an empty signal, NaN, or a shape that is no recording.
        """
        source = audio.source_of(signal, sample_rate, name)
        return self._predict(source, self.manner(window_s, hop_s, min_confidence, language, speaker))

    def predict_many(
        self,
        paths: Iterable[str | Path],
        *,
        jobs: int | None = None,
        window_s: float | None = None,
        hop_s: float | None = None,
        min_confidence: float | None = None,
        language: str | None = None,
        speaker: Profile | str | Path | None = None,
    ) -> Iterator[Prediction]:
        """Answers in the order of ``paths``, as they come. One that can't be heard gets a Prediction with its ``error``.

        ``jobs`` threads decode ahead (default: one for each core); the windows of several recordings run together.
        """
        manner = self.manner(window_s, hop_s, min_confidence, language, speaker)
        jobs = jobs or os.cpu_count() or 1
        ahead = 2 * _BATCH + jobs
        inputs = iter(paths)
        with ThreadPoolExecutor(jobs) as pool:
            coming: list[Future[Heard]] = []
            group: list[Heard] = []
            while True:
                while len(coming) < ahead and (path := next(inputs, None)) is not None:
                    coming.append(pool.submit(self.hear, path, manner))
                if not coming:
                    break
                group.append(coming.pop(0).result())
                if sum(len(windows) for _, windows in group) >= _BATCH:
                    yield from self.answers(group)
                    group = []
            yield from self.answers(group)

    def enroll(self, name: str, paths: Iterable[str | Path], *, jobs: int | None = None) -> Profile:
        """What these recordings, of one speaker in whatever emotion, tell of their voice. Raises KanjoError, AudioError."""
        self.enrollable()
        heard = list(self.predict_many(paths, jobs=jobs))
        for item in heard:
            if item.error:
                raise AudioError(f"{item.file}: {item.error}")
        return profile_of(name, self.facts, heard)

    def enrollable(self) -> None:
        """Raises KanjoError for a bundle whose network takes no speaker."""
        takes_speakers(self.facts)

    def manner(
        self,
        window_s: float | None = None,
        hop_s: float | None = None,
        min_confidence: float | None = None,
        language: str | None = None,
        speaker: Profile | str | Path | None = None,
    ) -> Manner:
        """How recordings are to be heard. Raises KanjoError for what this bundle can't do."""
        return manner_of(self.facts, window_s, hop_s, min_confidence, language, speaker)

    def embed_signal(self, signal: Signal) -> npt.NDArray[np.float32]:
        """The network's embedding of one window at the bundle's rate: (N,) -> (D,); shorter is padded, longer cut."""
        window = np.zeros(self.facts.window, np.float32)
        window[: len(signal)] = signal[: self.facts.window]
        return np.asarray(self._session.run(["embedding"], {"signal": window[None]})[0][0])

    def probabilities(self, batch: Signal) -> npt.NDArray[np.float32]:
        """The graph itself: windows (B, W) at the bundle's rate -> probabilities (B, E)."""
        return np.asarray(self._session.run(["probabilities"], {"signal": batch})[0])

    def run(self, work: Sequence[tuple[Hearing, Window]]) -> list[Segment]:
        """Windows through the graph; their answers go to the recordings they belong to, and come back in order."""
        at_once = 1 if self._alone else _BATCH
        parts = [work[start : start + at_once] for start in range(0, len(work), at_once)]
        if not self._alone or self._threads == 1 or len(parts) == 1:
            found = [self._answers(part) for part in parts]
        else:  # side by side, each on one core: a window is too little for several
            with ThreadPoolExecutor(self._threads) as pool:
                found = list(pool.map(self._answers, parts))
        return [
            hearing.take(window, *values)
            for part, answers in zip(parts, found, strict=True)
            for (hearing, window), *values in zip(part, *answers, strict=True)
        ]

    def _answers(self, part: Sequence[tuple[Hearing, Window]]) -> Sequence[npt.NDArray[np.float32]]:
        """The graph's outputs for these windows. Raises KanjoError."""
        batch = np.zeros((len(part), self.facts.window), np.float32)
        for row, (_, window) in enumerate(part):
            batch[row, : window.valid] = window.signal[: window.valid]
        try:
            answers: Sequence[npt.NDArray[np.float32]] = self._session.run(
                self._outputs, {"signal": batch, **self._speakers(part)}
            )
        except Exception as error:  # onnxruntime's own exceptions share no base class but this
            raise KanjoError(f"ONNX Runtime failed: {str(error).splitlines()[0]}") from error
        return answers

    def _speakers(self, part: Sequence[tuple[Hearing, Window]]) -> dict[str, npt.NDArray[np.float32]]:
        """Who speaks in each window, as far as it is known: (B, D + 1)."""
        known = [hearing.manner.speaker for hearing, _ in part]
        if all(vector is None for vector in known):
            return {}
        nobody = np.zeros(self.facts.speaker_size + 1, np.float32)
        return {"speaker": np.stack([nobody if vector is None else vector for vector in known])}

    def _predict(self, source: audio.Source, manner: Manner) -> Prediction:
        with source, ThreadPoolExecutor(1) as helper:
            hearing = Hearing(source.name, source.native_rate, self.facts, manner)
            for batch in _batches(hearing, source, helper):
                self.run([(hearing, window) for window in batch])
        return hearing.answer()

    def hear(
        self, path: str | Path | BinaryIO, manner: Manner, name: str = "", longest_s: float = float("inf")
    ) -> Heard:
        """Decode a recording and cut its windows, for :meth:`answers`; a long one's are run as they come.

        One that can't be heard, or is longer than ``longest_s``, becomes a Prediction with its ``error``.
        """
        name = name or str(path)
        try:
            source = audio.open_source(path, name)
            hearing = Hearing(name, source.native_rate, self.facts, manner, longest_s)
            kept: list[Window] = []
            for batch in _batches(hearing, source, None):
                kept += batch
                if len(kept) > 4 * _BATCH:  # a long recording: run it here, so that memory stays constant
                    self.run([(hearing, window) for window in kept])
                    kept = []
        except AudioError as error:
            return failed(name, str(error).removeprefix(f"{name}: ")), []
        return hearing, kept

    def answers(self, group: Sequence[Heard]) -> Iterator[Prediction]:
        """The answers of several recordings that were heard; their windows run together."""
        self.run([(hearing, window) for hearing, kept in group if isinstance(hearing, Hearing) for window in kept])
        for hearing, _ in group:
            yield hearing.answer() if isinstance(hearing, Hearing) else hearing


#: A recording that was read, with the windows that wait to be run; or the answer that it got none.
Heard = tuple[Hearing | Prediction, list[Window]]


def load(name: str | Path = DEFAULT, threads: int | None = None) -> Recognizer:
    """Open a bundle: one in the box by name, or a folder. Raises BundleError."""
    return Recognizer(read(name), threads)


def _batches(hearing: Hearing, source: audio.Source, helper: ThreadPoolExecutor | None) -> Iterator[list[Window]]:
    """A recording's windows, as many as run at once."""

    def windows() -> Iterator[Window]:
        for block in source.blocks(hearing.facts.sample_rate):
            yield from hearing.feed(block, helper)
        yield from hearing.finish()

    batch: list[Window] = []
    for window in windows():
        batch.append(window)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
    hearing.warnings += source.warnings
