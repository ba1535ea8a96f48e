"""One recording on its way to an answer: fed with blocks, it cuts windows, takes their answers in, and answers for the whole.

A file and a live stream go the same way, so that both get the same answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kanjo.audio import Signal
from kanjo.audio.levels import Levels
from kanjo.bundle import Facts
from kanjo.errors import AudioError, KanjoError
from kanjo.inference import segmentation, vad, windowing
from kanjo.inference.prediction import Prediction, Segment
from kanjo.inference.speaker_profiles import Profile, vector_of
from kanjo.inference.windowing import Window
from kanjo.labels import UNSURE

#: Below this there is no telling: an answer says so instead of guessing.
SHORTEST_S = 0.3


@dataclass(frozen=True)
class Manner:
    """How recordings are heard: what is cut, in samples at the bundle's rate, and from which confidence on an emotion is named.

    ``speaker``: who speaks, as the graph takes it: (D + 1,).
    """

    window: int
    hop: int
    abstain_below: float
    language: str = ""
    speaker: npt.NDArray[np.float32] | None = field(default=None, compare=False)


def manner_of(
    facts: Facts,
    window_s: float | None = None,
    hop_s: float | None = None,
    min_confidence: float | None = None,
    language: str | None = None,
    speaker: Profile | str | Path | None = None,
) -> Manner:
    """What is asked for, where nothing is the bundle's own. Raises KanjoError for what the bundle can't do."""
    seconds = facts.window_s if window_s is None else window_s
    if not SHORTEST_S <= seconds <= facts.window_s:
        raise KanjoError(
            f"window of {seconds} s: expected {SHORTEST_S} to {facts.window_s} s, which is what this bundle hears at once"
        )
    hop = (facts.hop_s if window_s is None else seconds / 2) if hop_s is None else hop_s
    if not 0.01 <= hop <= seconds:
        raise KanjoError(f"hop of {hop} s: expected 0.01 s up to the window's {seconds} s")
    least = facts.abstain_below if min_confidence is None else min_confidence
    if not 0 <= least <= 1:
        raise KanjoError(f"min_confidence of {least}: expected 0 to 1")
    rate = facts.sample_rate
    return Manner(round(seconds * rate), round(hop * rate), least, language or "", vector_of(speaker, facts))


class Hearing:
    """A recording being heard, in the bundle's rate. ``warnings`` may be added to until :meth:`answer` is asked for."""

    def __init__(
        self, file: str, native_rate: int, facts: Facts, manner: Manner, longest_s: float = float("inf")
    ) -> None:
        self.longest_s = longest_s
        self.file, self.facts, self.manner = file, facts, manner
        self.warnings = [
            *_of_rate(native_rate, facts.least_rate or facts.sample_rate),
            *_of_language(manner.language, facts),
        ]
        self.levels = Levels()
        self.meter = vad.Meter(facts.sample_rate)
        self._cutter = windowing.Cutter(manner.window, manner.hop)
        self._rows: list[npt.NDArray[np.float32]] = []
        self._embeddings: list[npt.NDArray[np.float32]] = []
        self._spans: list[tuple[int, int]] = []
        self._distances: list[float] = []
        self._loud: list[bool] = []
        self._windows: list[Segment] = []
        self._metering: Future[None] | None = None

    def feed(self, block: Signal, helper: Executor | None = None) -> Iterator[Window]:
        """Take in samples (N,): the windows they complete. ``helper`` looks for speech meanwhile.

        Raises AudioError once it is longer than ``longest_s``.
        """
        self.levels.feed(block)
        if self.levels.n > self.longest_s * self.facts.sample_rate:
            raise AudioError(f"{self.file}: longer than {self.longest_s:g} s, which is the limit here")
        self._listen(block, False, helper)
        yield from self._cutter.feed(block)

    def finish(self) -> Iterator[Window]:
        """Nothing more comes: the last window, if there is one."""
        self._listen(np.zeros(0, np.float32), True, None)
        yield from self._cutter.finish()

    def _listen(self, block: Signal, last: bool, helper: Executor | None) -> None:
        if self._metering is not None:
            self._metering.result()
            self._metering = None
        if helper is None:
            self.meter.feed(block, last)
        else:
            self._metering = helper.submit(self.meter.feed, block, last)

    def take(
        self,
        window: Window,
        row: npt.NDArray[np.float32],
        embedding: npt.NDArray[np.float32],
        distance: np.float32 | None = None,
    ) -> Segment:
        """A window's probabilities (E,), embedding (D,) and distance, as the network gave them; in the windows' order."""
        levels = Levels()
        levels.feed(window.signal[: window.valid])
        self._loud.append(not levels.silent)
        self._rows.append(row)
        self._embeddings.append(embedding)
        if distance is not None:
            self._distances.append(float(distance))
        self._spans.append((window.start, window.start + window.valid))
        # a recording that is too short has one window, which comes at its end: what is known of its length now stays so
        short = self.levels.n < SHORTEST_S * self.facts.sample_rate
        unsure = levels.silent or short
        named = self._named(self._even if unsure else np.asarray(row, np.float64), unsure)
        rate = self.facts.sample_rate
        self._windows.append(Segment(window.start / rate, (window.start + window.valid) / rate, *named))
        return self._windows[-1]

    def answer(self) -> Prediction:
        """The answer for all that was heard."""
        rate = self.facts.sample_rate
        duration = self.levels.n / rate
        spoken = vad.spans(self.meter.probabilities, duration)
        spoken_s = sum(end - start for start, end in spoken)
        starts, ends = (np.asarray(self._spans, np.float64).reshape(-1, 2) / rate).T
        loud = np.asarray(self._loud, bool)
        heard = vad.seconds(spoken, starts, ends) * loud  # seconds of speech in each window
        weights = heard if heard.any() else (ends - starts) * loud
        distance = float(windowing.pooled(np.asarray(self._distances), weights)) if self._distances else None
        warnings, unsure = self._judged(duration, spoken_s, bool(loud.any()), distance)
        rows = np.stack([*self._rows]).astype(np.float64) if self._rows else self._even[None]
        whole = windowing.pooled(rows, weights) if not unsure else self._even
        label, confidence, shares = self._named(whole, unsure)
        parts: tuple[Segment, ...] = (segmentation.silence(0.0, duration),)
        if not unsure:
            edges, found = segmentation.moments(
                list(zip(starts, ends, strict=True)), rows, weights, self.manner.hop / rate, duration
            )
            parts = segmentation.timeline(edges, found, spoken, self.facts.labels, self.manner.abstain_below)
        embedding = np.asarray(windowing.pooled(self._embeddings, weights), np.float32) if self._embeddings else None
        return Prediction(
            self.file,
            label,
            confidence,
            shares,
            duration,
            spoken_s,
            parts,
            tuple(self._windows),
            tuple(warnings),
            distance=distance,
            embedding=embedding,
        )

    def _judged(self, duration: float, spoken_s: float, loud: bool, distance: float | None) -> tuple[list[str], bool]:
        """Warnings, and whether there is nothing to go by."""
        if duration < SHORTEST_S:
            return [*self.warnings, f"too short to tell: {duration:.3f} s, expected at least {SHORTEST_S} s"], True
        if not loud:
            return [*self.warnings, f"silent: level {self.levels.rms_db:.0f} dBFS"], True
        warnings = list(self.warnings)
        if self.levels.clipped:
            share = 100 * self.levels.at_full_scale / self.levels.n
            warnings.append(f"clipped: {share:.1f} % of the samples are at full scale")
        if not spoken_s:
            warnings.append("no speech heard (music, noise, or too faint?): the answer is a guess")
        elif distance is not None and distance > 1:
            warnings.append(
                f"unlike what the bundle was trained on (distance {distance:.1f}, expected under 1): the answer may be wrong"
            )
        return warnings, False

    @property
    def _even(self) -> npt.NDArray[np.float64]:
        return np.full(len(self.facts.labels), 1 / len(self.facts.labels))

    def _named(self, row: npt.NDArray[np.float64], unsure: bool) -> tuple[str, float, dict[str, float]]:
        shares = dict(zip(self.facts.labels, row.tolist(), strict=True))
        best = int(row.argmax())
        confidence = float(row[best])
        return (
            (UNSURE if unsure or confidence < self.manner.abstain_below else self.facts.labels[best]),
            confidence,
            shares,
        )


def _of_rate(native: int, expected: int) -> list[str]:
    if native >= expected:
        return []
    if native * 2 <= expected:
        return [f"recorded at {native} Hz: the bundle expects sound up to {expected // 2} Hz, half of it is missing"]
    return [f"recorded at {native} Hz, below the bundle's {expected} Hz"]


def _of_language(language: str, facts: Facts) -> list[str]:
    known = {word for corpus in facts.corpora for word in corpus["language"].replace(",", " ").split()}
    if not language or not known or language.split("-")[0].lower() in known:
        return []
    return [f"language {language}: the bundle was trained on {', '.join(sorted(known))} only"]
