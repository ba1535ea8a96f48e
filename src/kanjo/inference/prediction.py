"""What an answer is: a label with its probabilities, for a whole recording, for its windows, and for its segments."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Segment:
    """The answer for a part of a recording, from ``start_s`` to ``end_s``; "silence" has no probabilities."""

    start_s: float
    end_s: float
    label: str
    confidence: float
    probabilities: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """As it goes into JSON: times in milliseconds' precision, shares to six places."""
        return {
            "start_s": round(self.start_s, 3),
            "end_s": round(self.end_s, 3),
            "label": self.label,
            "confidence": round(self.confidence, 6),
            "probabilities": {name: round(p, 6) for name, p in self.probabilities.items()},
        }


@dataclass(frozen=True)
class Prediction:
    """The answer for a recording.

    ``label`` is one of the bundle's emotions, or "unsure" where there is too little to go by; ``confidence`` its probability.
    ``probabilities`` maps every emotion of the bundle to its share (sum 1). ``windows`` are the network's own answers, each for
    what it heard at once; ``segments`` are made of them: one after the other from start to end, each of one emotion or
    "silence". ``speech_s``: seconds in which somebody speaks. ``error`` says why a recording of many got no answer: its label
    is then "". ``distance`` says how unlike the training it sounds (1: as 2 % of new speakers do; None: the bundle can't tell).
    ``embedding`` (D,) is the network's last layer before the emotions, its windows' mean by seconds of speech.
    """

    file: str
    label: str
    confidence: float
    probabilities: dict[str, float]
    duration_s: float = 0.0
    speech_s: float = 0.0
    segments: tuple[Segment, ...] = ()
    windows: tuple[Segment, ...] = ()
    warnings: tuple[str, ...] = ()
    error: str = ""
    distance: float | None = None
    embedding: npt.NDArray[np.float32] | None = field(default=None, repr=False, compare=False)

    def as_dict(self) -> dict[str, Any]:
        """Plain dictionaries and lists, as they go into JSON; times in milliseconds' precision, shares to six places."""
        return {
            "file": self.file,
            "label": self.label,
            "confidence": round(self.confidence, 6),
            "probabilities": {name: round(p, 6) for name, p in self.probabilities.items()},
            "duration_s": round(self.duration_s, 3),
            "speech_s": round(self.speech_s, 3),
            "segments": [segment.as_dict() for segment in self.segments],
            "windows": [window.as_dict() for window in self.windows],
            "distance": None if self.distance is None else round(self.distance, 3),
            "warnings": list(self.warnings),
            "error": self.error,
        }


def failed(file: str, error: str) -> Prediction:
    """The row of a recording that got no answer."""
    return Prediction(file, "", 0.0, {}, error=error)
