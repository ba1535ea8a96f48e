"""Pictures of a search for hyper-parameters: how it went, what mattered, which values did well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kanjo.evaluation.reports.figures import BLUE, GREY, ORANGE, Picture, drawn, figure_of


@dataclass(frozen=True)
class Point:
    """One trial: its values, its best validation UAR (0 to 1), and whether it was let come to its end."""

    number: int
    uar: float
    ended: bool
    values: Mapping[str, Any]


def history(points: Sequence[Point]) -> Picture:
    """Each trial's validation UAR, and the best so far."""
    figure, axes = figure_of(7, 3.6)
    for ended, colour, marker, label in (
        (True, BLUE, "o", "trained to its end"),
        (False, GREY, "x", "cut by Hyperband"),
    ):
        some = [point for point in points if point.ended == ended]
        axes.scatter([p.number for p in some], [100 * p.uar for p in some], color=colour, marker=marker, label=label)
    ordered = sorted(points, key=lambda point: point.number)
    best = np.maximum.accumulate([100 * point.uar if point.ended else -np.inf for point in ordered])
    axes.step(
        [point.number for point in ordered],
        np.where(np.isfinite(best), best, np.nan),
        where="post",
        color=ORANGE,
        label="best so far",
    )
    axes.set_xlabel("trial")
    axes.set_ylabel("best validation UAR, %")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return drawn(figure)


def importance(shares: Mapping[str, float]) -> Picture:
    """How much of the differences between trials each key explains."""
    pairs = sorted(shares.items(), key=lambda pair: pair[1])
    figure, axes = figure_of(7, 1.2 + 0.4 * len(pairs))
    axes.barh([key for key, _ in pairs], [value for _, value in pairs], color=BLUE)
    axes.set_xlabel("importance (PED-ANOVA)")
    return drawn(figure)


def parallel(points: Sequence[Point]) -> Picture:
    """Every trial as a line through its values, the better the darker."""
    keys = list(dict.fromkeys(key for point in points for key in point.values))
    figure, axes = figure_of(max(6.0, 1.6 * len(keys) + 1.5), 4.2)
    scales = {key: _scale([point.values[key] for point in points if key in point.values]) for key in keys}
    low, high = min(p.uar for p in points), max(p.uar for p in points)
    for point in sorted(points, key=lambda p: p.uar):
        share = (point.uar - low) / (high - low) if high > low else 1.0
        heights = [scales[key][0](point.values[key]) if key in point.values else np.nan for key in keys]
        axes.plot(range(len(keys)), heights, color=BLUE, alpha=0.08 + 0.9 * share**2, linewidth=1 + 1.5 * share)
    for place, key in enumerate(keys):
        for height, word in scales[key][1]:
            axes.text(
                place,
                height,
                f" {word}",
                fontsize=8,
                va="center",
                bbox={"facecolor": "white", "alpha": 0.8, "lw": 0, "pad": 0.5},
            )
    axes.set_xticks(range(len(keys)), keys, rotation=20, ha="right", rotation_mode="anchor", fontsize=8)
    axes.set_yticks([])
    axes.set_title(f"validation UAR {100 * low:.1f} % (pale) to {100 * high:.1f} % (dark)", fontsize=10)
    return drawn(figure)


def _scale(values: Sequence[Any]) -> tuple[Any, list[tuple[float, str]]]:
    """Where a value stands on its axis, 0 to 1, and the words along it."""
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    distinct = sorted(set(values)) if numbers else list(dict.fromkeys(str(value) for value in values))
    if not numbers or len(distinct) <= 5:
        places = {value: n / max(1, len(distinct) - 1) for n, value in enumerate(distinct)}
        words = [(place, f"{value:g}" if numbers else str(value)) for value, place in places.items()]
        return (lambda value: places[value if numbers else str(value)]), words
    low, high = float(min(distinct)), float(max(distinct))
    if low > 0 and high / low > 20:  # so wide a range was searched in decades
        return (lambda value: float(np.log(value / low) / np.log(high / low))), [
            (0.0, f"{low:.2g}"),
            (1.0, f"{high:.2g}"),
        ]
    return (lambda value: (value - low) / (high - low)), [(0.0, f"{low:.3g}"), (1.0, f"{high:.3g}")]
