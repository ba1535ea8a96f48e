"""Predictions: labels and probabilities of a recording, of its windows and of its segments."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from kanjo.file_names import encode_name, escape_text
from kanjo.labels import SILENCE

#: Reasons for the label "unsure" (:attr:`Prediction.unsure_reason`).
TOO_SHORT, SILENT, NO_SPEECH, LOW_CONFIDENCE = "too short", "silent", "no speech", "low confidence"

_TIME_DIGITS, _PROBABILITY_DIGITS, _SCORE_DIGITS = 3, 6, 3


@dataclass(frozen=True)
class Segment:
    """The prediction for a part of a recording.

    Attributes:
        start_s: Start in seconds.
        end_s: End in seconds.
        label: An emotion of the bundle, "unsure" or "silence".
        confidence: Largest probability, 0 to 1.
        probabilities: Probability of each requested emotion; empty for "silence".
        is_final: False for an early result of a stream: the segment of speech goes on, and a later result with the same
            start replaces this one.
    """

    start_s: float
    end_s: float
    label: str
    confidence: float
    probabilities: dict[str, float]
    is_final: bool = True

    def as_dict(self) -> dict[str, Any]:
        """Return a dictionary for JSON; times are rounded to milliseconds, probabilities to six digits.

        The key ``is_final`` occurs only where it is false.
        """
        early = {} if self.is_final else {"is_final": False}
        return {
            "start_s": round(self.start_s, _TIME_DIGITS),
            "end_s": round(self.end_s, _TIME_DIGITS),
            "label": self.label,
            "confidence": round(self.confidence, _PROBABILITY_DIGITS),
            "probabilities": _round_probabilities(self.probabilities),
            **early,
        }


@dataclass(frozen=True)
class TimeSteps:
    """Probabilities over time.

    Attributes:
        edges_s: Start of each step, and end of the last one, in seconds, (T + 1,).
        probabilities: Probabilities of the requested emotions in each step, NaN without speech, (T, E).
    """

    edges_s: npt.NDArray[np.float64]
    probabilities: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Prediction:
    """The prediction for a recording.

    Attributes:
        file: Name of the recording.
        label: An emotion of the bundle; "unsure" for a recording that is silent, too short, without speech, or below
            ``min_confidence``; "" if there is an error.
        confidence: Largest probability, 0 to 1.
        probabilities: Probability of each requested emotion (default: each of the bundle); their sum is 1.
        duration_s: Duration in seconds.
        speech_s: Seconds of speech.
        segments: Consecutive parts from start to end, each with one emotion or "silence".
        windows: The model's predictions for its inputs: overlapping windows, or segments of speech.
        warnings: Reasons why the prediction may be wrong.
        error: Reason why there is no prediction, or "".
        ood_score: Out-of-distribution score; about 2 % of the recordings of new speakers are above 1.
            None if the bundle does not compute it.
        embedding: Output (D,) of the layer before the classifier, the mean over the windows, weighted by seconds of
            speech.
        unsure_reason: Why the label is "unsure": "too short", "silent", "no speech" or "low confidence"; else "".
            The probabilities are equal if it is "too short" or "silent", else they are those of the model.
        time_steps: Probabilities over time, in steps of ``hop_s``; None if the label is unsure for lack of speech.
        window_probabilities: Probabilities (W, E) of all of the bundle's emotions for each window with speech, or None.
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
    ood_score: float | None = None
    unsure_reason: str = ""
    embedding: npt.NDArray[np.float32] | None = field(default=None, repr=False, compare=False)
    window_probabilities: npt.NDArray[np.float32] | None = field(default=None, repr=False, compare=False)
    time_steps: TimeSteps | None = field(default=None, repr=False, compare=False)

    @property
    def has_timeline(self) -> bool:
        """Whether the recording has several windows, or segments with different emotions."""
        return len(self.windows) > 1 or sum(segment.label != SILENCE for segment in self.segments) > 1

    def as_dict(self) -> dict[str, Any]:
        """Return a dictionary for JSON, without the arrays; numbers are rounded as in :meth:`Segment.as_dict`.

        A file name that is not UTF-8 or has control characters is written as by :func:`kanjo.file_names.encode_name`.
        """
        return {
            "file": encode_name(self.file),
            "label": self.label,
            "confidence": round(self.confidence, _PROBABILITY_DIGITS),
            "probabilities": _round_probabilities(self.probabilities),
            "duration_s": round(self.duration_s, _TIME_DIGITS),
            "speech_s": round(self.speech_s, _TIME_DIGITS),
            "segments": [segment.as_dict() for segment in self.segments],
            "windows": [window.as_dict() for window in self.windows],
            "ood_score": None if self.ood_score is None else round(self.ood_score, _SCORE_DIGITS),
            "warnings": [escape_text(warning) for warning in self.warnings],
            "error": escape_text(self.error),
        }


def failed_prediction(file: str, error: str) -> Prediction:
    """Return the prediction of a recording that can't be decoded."""
    return Prediction(file, "", 0.0, {}, error=error)


def _round_probabilities(probabilities: dict[str, float]) -> dict[str, float]:
    return {name: round(p, _PROBABILITY_DIGITS) for name, p in probabilities.items()}
