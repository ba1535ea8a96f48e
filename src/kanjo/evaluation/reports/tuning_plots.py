"""Figures of a hyper-parameter search: its course, the importance of each key, the values of each trial."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kanjo.evaluation.reports.rendering import BLUE, GRAY, ORANGE, RenderedFigure, create_figure, render

#: With at most this many distinct values, an axis shows each value.
_MAX_AXIS_LABELS = 5
#: A range with a larger ratio is shown on a logarithmic axis.
_MAX_LINEAR_RATIO = 20


@dataclass(frozen=True)
class TrialPoint:
    """One trial of a search.

    Attributes:
        number: Number of the trial.
        score: Its best validation score, 0 to 1.
        completed: Whether it was trained to the end (False: Hyperband pruned it).
        values: Its values by recipe key.
    """

    number: int
    score: float
    completed: bool
    values: Mapping[str, Any]


@dataclass(frozen=True)
class _Axis:
    """An axis of the parallel-coordinates figure.

    Attributes:
        position: Position of a value on the axis, 0 to 1.
        ticks: Positions and texts of the labels.
    """

    position: Callable[[Any], float]
    ticks: list[tuple[float, str]]


def plot_history(trials: Sequence[TrialPoint], metric: str = "UAR") -> RenderedFigure:
    """Plot the validation score of each trial, and the best score so far; ``metric`` is its name."""
    figure, axes = create_figure(7, 3.6)
    for completed, color, marker, label in (
        (True, BLUE, "o", "trained to the end"),
        (False, GRAY, "x", "pruned by Hyperband"),
    ):
        group = [trial for trial in trials if trial.completed == completed]
        numbers, scores = [trial.number for trial in group], [100 * trial.score for trial in group]
        axes.scatter(numbers, scores, color=color, marker=marker, label=label)
    ordered = sorted(trials, key=lambda trial: trial.number)
    best = np.maximum.accumulate([100 * trial.score if trial.completed else -np.inf for trial in ordered])
    best = np.where(np.isfinite(best), best, np.nan)
    axes.step([trial.number for trial in ordered], best, where="post", color=ORANGE, label="best so far")
    axes.set_xlabel("trial")
    axes.set_ylabel(f"best validation {metric}, %")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return render(figure)


def plot_importance(importance: Mapping[str, float]) -> RenderedFigure:
    """Plot which fraction of the differences between trials each key explains."""
    items = sorted(importance.items(), key=lambda item: item[1])
    figure, axes = create_figure(7, 1.2 + 0.4 * len(items))
    axes.barh([key for key, _ in items], [value for _, value in items], color=BLUE)
    axes.set_xlabel("importance (PED-ANOVA)")
    return render(figure)


def plot_parallel_coordinates(trials: Sequence[TrialPoint], metric: str = "UAR") -> RenderedFigure:
    """Plot each trial as a line through its values; trials with a better ``metric`` are darker."""
    keys = list(dict.fromkeys(key for trial in trials for key in trial.values))
    figure, axes = create_figure(max(6.0, 1.6 * len(keys) + 1.5), 4.2)
    value_axes = {key: _build_axis([trial.values[key] for trial in trials if key in trial.values]) for key in keys}
    lowest, highest = min(trial.score for trial in trials), max(trial.score for trial in trials)
    for trial in sorted(trials, key=lambda trial: trial.score):
        rank = (trial.score - lowest) / (highest - lowest) if highest > lowest else 1.0
        heights = [value_axes[key].position(trial.values[key]) if key in trial.values else np.nan for key in keys]
        axes.plot(range(len(keys)), heights, color=BLUE, alpha=0.08 + 0.9 * rank**2, linewidth=1 + 1.5 * rank)
    box = {"facecolor": "white", "alpha": 0.8, "lw": 0, "pad": 0.5}
    for x, key in enumerate(keys):
        for y, text in value_axes[key].ticks:
            axes.text(x, y, f" {text}", fontsize=8, va="center", bbox=box)
    axes.set_xticks(range(len(keys)), keys, rotation=20, ha="right", rotation_mode="anchor", fontsize=8)
    axes.set_yticks([])
    axes.set_title(f"validation {metric} {100 * lowest:.1f} % (pale) to {100 * highest:.1f} % (dark)", fontsize=10)
    return render(figure)


def _build_axis(values: Sequence[Any]) -> _Axis:
    """A categorical, logarithmic or linear axis, whichever suits the values."""
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return _categorical_axis(list(dict.fromkeys(str(value) for value in values)), str)
    distinct = sorted(set(values))
    if len(distinct) <= _MAX_AXIS_LABELS:
        return _categorical_axis(distinct, lambda value: value)
    low, high = float(distinct[0]), float(distinct[-1])
    if low > 0 and high / low > _MAX_LINEAR_RATIO:
        log_range = np.log(high / low)
        return _Axis(lambda value: float(np.log(value / low) / log_range), [(0.0, f"{low:.2g}"), (1.0, f"{high:.2g}")])
    return _Axis(lambda value: (value - low) / (high - low), [(0.0, f"{low:.3g}"), (1.0, f"{high:.3g}")])


def _categorical_axis(categories: Sequence[Any], category: Callable[[Any], Any]) -> _Axis:
    """An axis with equal distances; ``category`` turns a value into one of the categories."""
    positions = {item: n / max(1, len(categories) - 1) for n, item in enumerate(categories)}
    ticks = [(height, item if isinstance(item, str) else f"{item:g}") for item, height in positions.items()]
    return _Axis(lambda value: positions[category(value)], ticks)
