"""Emotion as it is spoken: feed a stream chunk by chunk, get the windows' answers as they come, and at the end the whole one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from kanjo import audio
from kanjo.errors import AudioError, KanjoError
from kanjo.inference.prediction import Prediction, Segment
from kanjo.inference.recognizer import Recognizer
from kanjo.inference.recording import Hearing
from kanjo.inference.speaker_profiles import Profile


class Stream:
    """A recording that is still going on. What it answers is what ``Recognizer.predict`` says of the whole, to 1e-5.

    ``sample_rate`` Hz is the chunks'; they may be of any length. Not for several threads at once. The other arguments are those of
    ``Recognizer.predict``; raises KanjoError as it does.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        sample_rate: int,
        *,
        name: str = "<stream>",
        window_s: float | None = None,
        hop_s: float | None = None,
        min_confidence: float | None = None,
        language: str | None = None,
        speaker: Profile | str | Path | None = None,
    ) -> None:
        audio.check_rate(sample_rate, name)
        facts = recognizer.facts
        self._recognizer = recognizer
        self._resampler = audio.Resampler(sample_rate, facts.sample_rate)
        manner = recognizer.manner(window_s, hop_s, min_confidence, language, speaker)
        self._hearing = Hearing(name, sample_rate, facts, manner)
        self._fed = 0
        self._done = False

    def feed(self, chunk: npt.ArrayLike) -> list[Segment]:
        """Take in samples (N,) or (N, channels), float at full scale 1.0 or int16: the windows' answers that they complete.

        Raises AudioError for NaN or a shape that is no sound: the stream stays as it was, and the next chunk may come.
        """
        if self._done:
            raise KanjoError(f"{self._hearing.file}: fed after its end; begin a new Stream")
        samples = audio.samples_of(chunk, self._hearing.file)
        mono = np.ascontiguousarray(samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1), np.float32)
        finite = np.isfinite(mono)
        if not finite.all():
            at = self._fed + int(np.argmin(finite))
            raise AudioError(
                f"{self._hearing.file}: sample {at} is not a number (NaN or infinite); expected finite samples"
            )
        self._fed += len(mono)
        return self._heard(self._resampler.feed(mono))

    def finish(self) -> Prediction:
        """Nothing more comes: the answer for the whole. Raises AudioError where nothing was fed."""
        if not self._done:
            self._done = True
            if self._fed:
                self._heard(self._resampler.finish())
                self._recognizer.run([(self._hearing, window) for window in self._hearing.finish()])
        if not self._fed:
            raise AudioError(f"{self._hearing.file}: no samples in it (0 frames)")
        return self._hearing.answer()

    @property
    def speech(self) -> float:
        """How probable it is that somebody is speaking right now, 0 to 1 (the last 32 ms)."""
        return self._hearing.meter.latest

    @property
    def seconds(self) -> float:
        """How much was heard so far."""
        return self._hearing.levels.n / self._recognizer.facts.sample_rate

    def _heard(self, block: audio.Signal) -> list[Segment]:
        if not block.size:
            return []
        return self._recognizer.run([(self._hearing, window) for window in self._hearing.feed(block)])
