"""The timeline of a recording: probabilities of equal time steps, and segments of one emotion or of silence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from kanjo.inference import segmentation, vad
from kanjo.inference.onnx_session import TIME_STEP_S
from kanjo.inference.prediction import Segment, TimeSteps

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Timeline:
    """The results of a recording's windows or segments of speech, over time.

    Attributes:
        spans: Start and end in seconds of each input of the model, (W, 2).
        rows: Probabilities of each input, (W, E).
        weights: Seconds of speech in each input, (W,).
        time_steps: Probabilities of each 0.25 s of each input, if the inputs are segments of speech; None: they are
            windows, which overlap.
        speech: Start and end of each part of speech in seconds.
        hop_s: Length of a time step in seconds.
        duration_s: Duration of the recording in seconds.
    """

    spans: FloatArray
    rows: FloatArray
    weights: FloatArray
    time_steps: Sequence[npt.NDArray[np.float32] | None] | None
    speech: list[vad.TimeSpan]
    hop_s: float
    duration_s: float

    @cached_property
    def posteriors(self) -> tuple[FloatArray, FloatArray]:
        """Edges of the time steps in seconds, (T + 1,), and their probabilities, (T, E)."""
        spans, rows, weights = self.spans, self.rows, self.weights
        if self.time_steps is not None:
            spans, rows = self._step_spans(self.time_steps)
            weights = np.diff(spans, axis=1)[:, 0]
        return segmentation.time_step_posteriors(spans, rows, weights, self.hop_s, self.duration_s)

    def segments(self, labels: Sequence[str], min_confidence: float) -> tuple[Segment, ...]:
        """Build the segments.

        Args:
            labels: The E emotions.
            min_confidence: Confidence below which the label of a segment is "unsure".
        """
        edges, posteriors = self.posteriors
        if self.time_steps is None:
            return segmentation.build_segments(edges, posteriors, self.speech, labels, min_confidence)
        parts = [(start, end) for start, end in self.spans.tolist()] if self.speech else []
        # Shorter steps repeat the same evidence more often, so that a change of emotion must cost more.
        penalty = segmentation.TRANSITION_PENALTY / self.hop_s
        return segmentation.build_segments(edges, posteriors, parts, labels, min_confidence, self.rows, penalty)

    def speech_probabilities(self) -> TimeSteps:
        """Return the time steps; those with less than half of speech are NaN."""
        edges, posteriors = self.posteriors
        seconds = vad.speech_seconds(self.speech, edges[:-1], edges[1:])
        is_speech = seconds >= 0.5 * np.diff(edges)
        return TimeSteps(edges, np.where(is_speech[:, None], posteriors, np.nan).astype(np.float32))

    def _step_spans(self, time_steps: Sequence[npt.NDArray[np.float32] | None]) -> tuple[FloatArray, FloatArray]:
        """Start and end (K, 2), and probabilities (K, E), of each 0.25 s of all segments of speech."""
        spans, rows = [], []
        for (start, end), steps, row in zip(self.spans, time_steps, self.rows, strict=True):
            values = row[None] if steps is None else np.asarray(steps, np.float64)
            edges = np.minimum(start + TIME_STEP_S * np.arange(len(values) + 1), end)
            spans.append(np.stack([edges[:-1], edges[1:]], 1))
            rows.append(values)
        return np.concatenate(spans), np.concatenate(rows)
