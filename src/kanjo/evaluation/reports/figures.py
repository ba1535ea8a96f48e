"""Figures of scores, embeddings, runs and corpora."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kanjo.corpora.check import FileCheck
from kanjo.corpora.manifest import Utterance
from kanjo.evaluation.compare import EvaluatedRun
from kanjo.evaluation.metrics import Scores
from kanjo.evaluation.reports.rendering import (
    BLUE,
    GRAY,
    GREEN,
    LINE_STYLES,
    MARKERS,
    ORANGE,
    SERIES_COLORS,
    RenderedFigure,
    count_earlier_uses,
    create_figure,
    render,
    require_matplotlib,
)
from kanjo.palette import OUTLINE_COLOR, emotion_color, text_color

_RELIABILITY_BINS = 10
#: More emotions or speakers than this get no legend, more speakers no names on an axis.
_MAX_LEGEND_ENTRIES = 12
_MAX_SPEAKER_NAMES = 30


def plot_confusion_matrix(scores: Scores, unit: str = "utterances") -> RenderedFigure:
    """Plot the confusion matrix: rows are true, columns predicted emotions; percentages of the row, and counts."""
    require_matplotlib()
    from matplotlib.colors import to_hex

    names = list(scores.labels)
    figure, axes = create_figure(1.2 + 0.85 * len(names), 0.8 + 0.72 * len(names))
    counts = np.asarray(scores.confusion_matrix)
    fractions = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    image = axes.imshow(fractions, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(names)), names, rotation=35, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    for (i, j), fraction in np.ndenumerate(fractions):
        color = text_color(to_hex(image.cmap(image.norm(fraction))))
        axes.text(j, i, f"{100 * fraction:.0f}%\n{counts[i, j]}", ha="center", va="center", color=color, fontsize=8)
    axes.set_title(f"UAR {scores.uar}, {scores.n} {unit}", fontsize=10)
    return render(figure)


def plot_learning_curves(metrics: Path, kept_epoch: int | None = None) -> RenderedFigure:
    """Plot loss, UAR and accuracy of training and validation over the epochs of a ``metrics.csv``.

    Files of earlier versions have no accuracy.

    Args:
        metrics: The metrics of each epoch.
        kept_epoch: The epoch whose weights were kept; it is marked. None marks no epoch.
    """
    with metrics.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    epochs = [int(float(row["epoch"])) for row in rows]
    panels = [("loss", 1, "loss"), ("uar", 100, "UAR, %")]
    if all(row.get("train_accuracy") for row in rows):
        panels.append(("accuracy", 100, "accuracy, %"))
    figure, all_axes = create_figure(4.5 * len(panels), 3.4, n_columns=len(panels))
    for axes, (metric, factor, name) in zip(all_axes, panels, strict=True):
        for part, color, style in (("train", BLUE, "-"), ("validation", ORANGE, "--")):
            values = [factor * float(row[f"{part}_{metric}"]) for row in rows]
            axes.plot(epochs, values, style, color=color, label=part, marker="." if len(epochs) == 1 else "")
            if kept_epoch in epochs:
                axes.plot(kept_epoch, values[epochs.index(kept_epoch)], "o", color=color)
        if kept_epoch in epochs:
            axes.axvline(kept_epoch, color=GRAY, linewidth=1, linestyle=":", label=f"kept: epoch {kept_epoch}")
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_ylabel(name)
        axes.grid(alpha=0.3)
        axes.legend()
    return render(figure)


def plot_uar_by_speaker(scores: Scores) -> RenderedFigure:
    """Plot the UAR of each speaker (sorted) and of each sex as bars, with lines for the pooled UAR and for chance."""
    speakers = sorted(scores.uar_by_speaker.items(), key=lambda item: item[1])
    sexes = list(scores.uar_by_sex.items())
    figure, axes = create_figure(max(4.0, 1.2 + 0.34 * (len(speakers) + len(sexes))), 3.2)
    speaker_positions = list(range(len(speakers)))
    sex_positions = [len(speakers) + 0.5 + n for n in range(len(sexes))]
    axes.bar(speaker_positions, [100 * value for _, value in speakers], color=BLUE)
    axes.bar(sex_positions, [100 * value for _, value in sexes], color=GREEN, hatch="//")
    pooled, chance = 100 * scores.uar.value, 100 * scores.chance_uar
    axes.axhline(pooled, color=ORANGE, linestyle="--", label=f"pooled {pooled:.1f} %")
    axes.axhline(chance, color=GRAY, linestyle=":", label=f"chance {chance:.1f} %")
    names = [name for name, _ in (*speakers, *sexes)]
    positions = [*speaker_positions, *sex_positions]
    axes.set_xticks(positions, names, rotation=60, ha="right", rotation_mode="anchor", fontsize=8)
    axes.set_ylabel("UAR, %")
    axes.legend(fontsize=8)
    return render(figure)


def plot_reliability(confidence: npt.NDArray[np.float64], correct: npt.NDArray[np.bool_], ece: float) -> RenderedFigure:
    """Plot a reliability diagram: the accuracy of the predictions in each bin of confidence.

    Args:
        confidence: Confidence of each prediction (U,).
        correct: Whether each prediction is correct (U,).
        ece: Expected calibration error, for the title.
    """
    figure, (accuracy_axes, count_axes) = create_figure(8, 3.4, n_columns=2)
    n_bins = _RELIABILITY_BINS
    centers = (np.arange(n_bins) + 0.5) / n_bins
    bins = np.minimum((confidence * n_bins).astype(int), n_bins - 1)
    counts = np.bincount(bins, minlength=n_bins)
    used = counts > 0
    accuracy = np.bincount(bins, correct, n_bins)[used] / counts[used]
    accuracy_axes.bar(centers[used], 100 * accuracy, width=0.09, color=BLUE, label="accuracy")
    accuracy_axes.plot([0, 1], [0, 100], color=ORANGE, linestyle="--", label="perfect calibration")
    accuracy_axes.set_xlabel("confidence")
    accuracy_axes.set_ylabel("accuracy, %")
    accuracy_axes.set_title(f"ECE {ece:.3f}", fontsize=10)
    accuracy_axes.legend(fontsize=8)
    count_axes.bar(centers, counts, width=0.09, color=GRAY)
    count_axes.set_xlabel("confidence")
    count_axes.set_ylabel("utterances")
    return render(figure)


def plot_embeddings(
    points: npt.NDArray[np.float64], emotions: Sequence[str], speakers: Sequence[str], method: str
) -> RenderedFigure:
    """Plot embeddings that were projected to two dimensions, colored by emotion and by speaker.

    Args:
        points: Projected embeddings (U, 2).
        emotions: Emotion of each point.
        speakers: Speaker of each point.
        method: How they were projected, for the titles.
    """
    figure, (emotion_axes, speaker_axes) = create_figure(12, 5, n_columns=2)
    emotion_names, speaker_names = sorted(set(emotions)), sorted(set(speakers))
    emotion_colors = {name: emotion_color(name) for name in emotion_names}
    speaker_colors = {name: SERIES_COLORS[n % len(SERIES_COLORS)] for n, name in enumerate(speaker_names)}
    _scatter_by_class(emotion_axes, points, emotions, emotion_colors, f"by emotion ({method})")
    _scatter_by_class(speaker_axes, points, speakers, speaker_colors, f"by speaker ({method})")
    return render(figure)


def _scatter_by_class(
    axes: Any, points: npt.NDArray[np.float64], classes: Sequence[str], colors: Mapping[str, str], title: str
) -> None:
    class_of_point = np.asarray(classes)
    for (name, color), n_before in zip(colors.items(), count_earlier_uses(list(colors.values())), strict=True):
        x, y = points[class_of_point == name].T
        marker = MARKERS[n_before % len(MARKERS)]
        edge = {} if marker == "x" else {"edgecolors": OUTLINE_COLOR, "linewidths": 0.4}
        axes.scatter(x, y, s=14, color=color, marker=marker, label=name, **edge)
    axes.set_title(title, fontsize=10)
    axes.set_xticks([])
    axes.set_yticks([])
    if any(colors) and len(colors) <= _MAX_LEGEND_ENTRIES:  # "" is an unknown speaker
        axes.legend(fontsize=7, markerscale=2)


def plot_comparison(runs: Sequence[EvaluatedRun]) -> RenderedFigure:
    """Plot the test UAR of runs with its interval, and their validation UAR over the epochs."""
    figure, (test_axes, validation_axes) = create_figure(11, max(2.8, 1.4 + 0.5 * len(runs)), n_columns=2)
    for position, run in enumerate(runs):
        color, uar = SERIES_COLORS[position % len(SERIES_COLORS)], run.scores.uar
        test_axes.barh(position, 100 * uar.value, color=color)
        if uar.low is not None and uar.high is not None:
            error = [[100 * (uar.value - uar.low)], [100 * (uar.high - uar.value)]]
            test_axes.errorbar(100 * uar.value, position, xerr=error, color="black", capsize=4)
        value = f"{100 * uar.value:.1f} %"
        test_axes.text(1, position, value, va="center", color=text_color(color), fontweight="bold")
        if run.metrics_by_epoch:
            epochs, uars = run.metrics_by_epoch["epoch"], run.metrics_by_epoch["validation_uar"]
            style = LINE_STYLES[position % len(LINE_STYLES)]
            validation_axes.plot(epochs, [100 * value for value in uars], style, color=color, label=run.name)
    test_axes.set_yticks(range(len(runs)), [run.name for run in runs], fontsize=8)
    test_axes.invert_yaxis()
    test_axes.set_xlabel("test UAR, % (error bars: 95 % interval over speakers)")
    validation_axes.set_xlabel("epoch")
    validation_axes.xaxis.get_major_locator().set_params(integer=True)
    validation_axes.set_ylabel("validation UAR, %")
    validation_axes.grid(alpha=0.3)
    if any(run.metrics_by_epoch for run in runs):
        validation_axes.legend(fontsize=8)
    return render(figure)


def plot_corpus(checks: Sequence[FileCheck], utterances: Sequence[Utterance]) -> RenderedFigure:
    """Plot the durations and the levels of a corpus's recordings, and its utterances by speaker and emotion."""
    figure, (duration_axes, level_axes, count_axes) = create_figure(13, 4.2, n_columns=3)
    duration_axes.hist([check.duration_s for check in checks if not check.problem], bins=40, color=BLUE)
    duration_axes.set_xlabel("duration, s")
    duration_axes.set_ylabel("recordings")
    levels_db = [check.rms_db for check in checks if check.rms_db is not None]
    if levels_db:
        level_axes.hist(levels_db, bins=40, color=ORANGE)
    level_axes.set_xlabel("level (RMS), dBFS")
    speakers = sorted({row.speaker for row in utterances})
    emotions = sorted({row.emotion for row in utterances})
    counts = np.zeros((len(speakers), len(emotions)))
    for row in utterances:
        counts[speakers.index(row.speaker), emotions.index(row.emotion)] += 1
    image = count_axes.imshow(counts, aspect="auto", cmap="Blues", vmin=0, interpolation="nearest")
    count_axes.set_xticks(range(len(emotions)), emotions, rotation=35, ha="right", rotation_mode="anchor")
    if len(speakers) <= _MAX_SPEAKER_NAMES:
        count_axes.set_yticks(range(len(speakers)), [name or "(unknown)" for name in speakers], fontsize=7)
    else:
        count_axes.set_ylabel(f"{len(speakers)} speakers")
    figure.colorbar(image, ax=count_axes, label="utterances")
    return render(figure)
