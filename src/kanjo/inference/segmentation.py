"""From overlapping windows' answers to a timeline: one segment after the other, each of one emotion or of silence.

The rule, in three steps:

1. Time is cut into moments of one hop. A moment's probabilities are the mean of those of the windows over it, each weighted by how near
   the moment is to its middle (1 there, 0 at its ends) and by the seconds of speech in it.
2. The emotions of the moments are the likeliest sequence where every change costs ``CHANGE`` (nats): Viterbi's path. One moment of
   doubt does not make a segment; a lasting change does.
3. What is spoken (``speech.spans``) is divided where the emotion changes; the rest is "silence". A piece shorter than
   ``SHORTEST_S`` joins the piece before it (the first: the one after it).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from kanjo.inference.prediction import Segment
from kanjo.inference.vad import Span
from kanjo.labels import SILENCE, UNSURE

#: What a change of emotion costs, nats.
CHANGE = 1.0
SHORTEST_S = 0.5
Shares = npt.NDArray[np.float64]


def moments(
    spans: Sequence[Span], rows: Shares, weights: Shares, hop_s: float, duration_s: float
) -> tuple[Shares, Shares]:
    """Windows' answers on the axis of time.

    ``spans``: the W windows' starts and ends, seconds; ``rows`` (W, E); ``weights`` (W,). Returns the moments' edges (T+1,) in seconds
    and their probabilities (T, E); where no window counts, all emotions are equally probable.
    """
    n = max(1, int(np.ceil(duration_s / hop_s - 1e-6)))
    edges = np.minimum(np.arange(n + 1) * hop_s, duration_s)
    middles = (edges[1:] + edges[:-1]) / 2
    total, mass = np.zeros((n, rows.shape[1])), np.zeros(n)
    for (start, end), row, weight in zip(spans, rows, weights, strict=True):
        first, stop = np.searchsorted(middles, [start, end])
        near = 1 - np.abs(middles[first:stop] - (start + end) / 2) / max((end - start) / 2, 1e-9)
        share = weight * np.maximum(near, 1e-3)
        total[first:stop] += share[:, None] * row
        mass[first:stop] += share
    even = np.full(rows.shape[1], 1 / rows.shape[1])
    return edges, np.where(mass[:, None] > 0, total / np.maximum(mass, 1e-12)[:, None], even)


def likeliest(rows: Shares, change: float = CHANGE) -> npt.NDArray[np.intp]:
    """The likeliest sequence of emotions (T,) for probabilities (T, E), where each change costs ``change`` nats (Viterbi)."""
    scores = np.log(np.maximum(rows, 1e-9))
    best = scores[0]
    came: list[npt.NDArray[np.intp]] = []
    stay = np.arange(rows.shape[1])
    for row in scores[1:]:
        top = int(best.argmax())
        moved = best[top] - change > best
        came.append(np.where(moved, top, stay))
        best = np.where(moved, best[top] - change, best) + row
    path = [int(best.argmax())]
    for back in reversed(came):
        path.append(int(back[path[-1]]))
    return np.asarray(path[::-1])


def timeline(
    edges: Shares, rows: Shares, spoken: Sequence[Span], labels: Sequence[str], abstain_below: float
) -> tuple[Segment, ...]:
    """Segments from 0 to the end, for moments' edges (T+1,) and probabilities (T, E), and what is spoken."""
    path = likeliest(rows)
    borders = edges[1:-1][path[1:] != path[:-1]]
    found: list[Segment] = []
    at = 0.0
    for start, end in spoken:
        if start > at:
            found.append(silence(at, start))
        for first, last in _pieces(start, end, borders):
            overlap = np.clip(np.minimum(edges[1:], last) - np.maximum(edges[:-1], first), 0, None)
            shares = overlap @ rows / overlap.sum()
            best = int(shares.argmax())
            confidence = float(shares[best])
            label = labels[best] if confidence >= abstain_below else UNSURE
            found.append(Segment(first, last, label, confidence, dict(zip(labels, shares.tolist(), strict=True))))
        at = end
    if edges[-1] - at > 1e-9:
        found.append(silence(at, float(edges[-1])))
    return tuple(_joined(found))


def silence(start_s: float, end_s: float) -> Segment:
    """Where nobody speaks."""
    return Segment(start_s, end_s, SILENCE, 1.0, {})


def _pieces(start: float, end: float, borders: Shares) -> list[Span]:
    """Speech cut at the borders within it; none is short unless the whole is."""
    inner = [float(border) for border in borders[(borders > start) & (borders < end)]]
    kept: list[float] = []
    for border in inner:
        if border - (kept[-1] if kept else start) >= SHORTEST_S and end - border >= SHORTEST_S:
            kept.append(border)
    return list(zip([start, *kept], [*kept, end], strict=True))


def _joined(found: Sequence[Segment]) -> list[Segment]:
    """Neighbours of one label become one segment, its shares their mean by seconds."""
    out: list[Segment] = []
    for segment in found:
        last = out[-1] if out else None
        if last is None or last.label != segment.label:
            out.append(segment)
            continue
        a, b = last.end_s - last.start_s, segment.end_s - segment.start_s
        shares = {name: (a * p + b * segment.probabilities[name]) / (a + b) for name, p in last.probabilities.items()}
        confidence = (a * last.confidence + b * segment.confidence) / (a + b)
        out[-1] = Segment(last.start_s, segment.end_s, segment.label, confidence, shares)
    return out
