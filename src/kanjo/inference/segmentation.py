"""Segmentation: from the probabilities of overlapping windows to segments of one emotion or of silence.

1. Time is divided into steps of one hop. The probabilities of a step are the weighted mean of the windows over it. The
   weight of a window is proportional to its seconds of speech, and falls linearly from its center to its ends.
2. The Viterbi algorithm decodes the emotions of the steps. Each change of emotion costs ``TRANSITION_PENALTY``, so a
   single step of another emotion does not start a segment.
3. Speech (from voice activity detection) is divided where the emotion changes; the rest is silence. A change that would
   leave a part shorter than ``MIN_SEGMENT_S`` is ignored.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from kanjo.inference.prediction import Segment
from kanjo.inference.vad import TimeSpan
from kanjo.labels import SILENCE, UNSURE

#: Cost of a change of emotion, in nats.
TRANSITION_PENALTY = 1.0
#: Shortest part of speech, in seconds, that a change of emotion may leave.
MIN_SEGMENT_S = 0.5

_MIN_WEIGHT = 1e-3
_EPS = 1e-9

FloatArray = npt.NDArray[np.float64]


def time_step_posteriors(
    spans: npt.ArrayLike, rows: FloatArray, weights: FloatArray, hop_s: float, duration_s: float
) -> tuple[FloatArray, FloatArray]:
    """Compute the probabilities of each time step from those of the windows.

    Args:
        spans: Start and end of each window in seconds.
        rows: Probabilities of each window.
        weights: Seconds of speech in each window.
        hop_s: Length of a time step in seconds.
        duration_s: Duration of the recording in seconds.

    Returns:
        The edges of the time steps in seconds, and their probabilities. Steps without weight get equal probabilities.

    Shape:
        - spans: (W, 2)
        - rows: (W, E)
        - weights: (W,)
        - Returns: (T + 1,), (T, E)
    """
    n_steps = max(1, int(np.ceil(duration_s / hop_s - 1e-6)))
    edges = np.minimum(np.arange(n_steps + 1) * hop_s, duration_s)
    centers = (edges[1:] + edges[:-1]) / 2
    weighted_sum, weight_sum = np.zeros((n_steps, rows.shape[1])), np.zeros(n_steps)
    for (start, end), row, weight in zip(np.asarray(spans, np.float64), rows, weights, strict=True):
        first, stop = np.searchsorted(centers, [start, end])
        half_length = max((end - start) / 2, _EPS)
        triangle = 1 - np.abs(centers[first:stop] - (start + end) / 2) / half_length
        step_weights = weight * np.maximum(triangle, _MIN_WEIGHT)
        weighted_sum[first:stop] += step_weights[:, None] * row
        weight_sum[first:stop] += step_weights
    uniform = np.full(rows.shape[1], 1 / rows.shape[1])
    mean = weighted_sum / np.maximum(weight_sum, 1e-12)[:, None]
    return edges, np.where(weight_sum[:, None] > 0, mean, uniform)


def viterbi_decode(rows: FloatArray, transition_penalty: float = TRANSITION_PENALTY) -> npt.NDArray[np.intp]:
    """Find the most probable sequence of emotions.

    Args:
        rows: Probabilities of each time step.
        transition_penalty: Cost of each change of emotion, in nats.

    Shape:
        - rows: (T, E)
        - Returns: (T,)
    """
    log_probabilities = np.log(np.maximum(rows, 1e-9))
    scores = log_probabilities[0]
    back_pointers: list[npt.NDArray[np.intp]] = []
    same_label = np.arange(rows.shape[1])
    for row in log_probabilities[1:]:
        best = int(scores.argmax())
        changed = scores[best] - transition_penalty > scores
        back_pointers.append(np.where(changed, best, same_label))
        scores = np.where(changed, scores[best] - transition_penalty, scores) + row
    path = [int(scores.argmax())]
    for pointers in reversed(back_pointers):
        path.append(int(pointers[path[-1]]))
    return np.asarray(path[::-1])


def build_segments(
    edges: FloatArray,
    rows: FloatArray,
    speech: Sequence[TimeSpan],
    labels: Sequence[str],
    min_confidence: float,
    speech_rows: FloatArray | None = None,
    transition_penalty: float = TRANSITION_PENALTY,
) -> tuple[Segment, ...]:
    """Build the segments of a recording from its time steps and its speech.

    Args:
        edges: Edges of the time steps in seconds.
        rows: Probabilities of each time step.
        speech: Start and end of each part of speech in seconds, sorted.
        labels: The E emotions.
        min_confidence: Confidence below which the label of a segment is "unsure".
        speech_rows: Probabilities of each part of speech as a whole; they are used for parts without a change of
            emotion. None: the mean of the part's time steps.
        transition_penalty: Cost of each change of emotion, in nats.

    Returns:
        Consecutive segments from 0 to the end of the recording.

    Shape:
        - edges: (T + 1,)
        - rows: (T, E)
        - speech_rows: (P, E)
    """
    path = viterbi_decode(rows, transition_penalty)
    changes = edges[1:-1][path[1:] != path[:-1]]
    segments: list[Segment] = []
    position = 0.0
    for index, (start, end) in enumerate(speech):
        if start - position > _EPS:
            segments.append(silence_segment(position, start))
        parts = _split_at_changes(start, end, changes)
        for part_start, part_end in parts:
            if speech_rows is not None and len(parts) == 1:
                mean = speech_rows[index]
            else:
                overlap = np.clip(np.minimum(edges[1:], part_end) - np.maximum(edges[:-1], part_start), 0, None)
                mean = overlap @ rows / overlap.sum()
            best = int(mean.argmax())
            confidence = float(mean[best])
            label = labels[best] if confidence >= min_confidence else UNSURE
            probabilities = dict(zip(labels, mean.tolist(), strict=True))
            segments.append(Segment(part_start, part_end, label, confidence, probabilities))
        position = end
    if edges[-1] - position > _EPS:
        segments.append(silence_segment(position, float(edges[-1])))
    return tuple(_merge_equal_neighbors(segments))


def silence_segment(start_s: float, end_s: float) -> Segment:
    """Return a segment without speech."""
    return Segment(start_s, end_s, SILENCE, 1.0, {})


def _split_at_changes(start: float, end: float, changes: FloatArray) -> list[TimeSpan]:
    """Split speech at changes of emotion that leave parts of at least MIN_SEGMENT_S."""
    kept: list[float] = []
    for change in changes[(changes > start) & (changes < end)].tolist():
        previous = kept[-1] if kept else start
        if change - previous >= MIN_SEGMENT_S and end - change >= MIN_SEGMENT_S:
            kept.append(change)
    return list(zip([start, *kept], [*kept, end], strict=True))


def _merge_equal_neighbors(segments: Sequence[Segment]) -> list[Segment]:
    """Merge neighbors with the same label; probabilities are averaged, weighted by duration."""
    merged: list[Segment] = []
    for segment in segments:
        previous = merged[-1] if merged else None
        if previous is None or previous.label != segment.label:
            merged.append(segment)
            continue
        a, b = previous.end_s - previous.start_s, segment.end_s - segment.start_s
        probabilities = {
            name: (a * p + b * segment.probabilities[name]) / (a + b) for name, p in previous.probabilities.items()
        }
        confidence = (a * previous.confidence + b * segment.confidence) / (a + b)
        merged[-1] = Segment(previous.start_s, segment.end_s, segment.label, confidence, probabilities)
    return merged
