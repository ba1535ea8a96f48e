"""Pictures of scores, as PNG. Needs matplotlib (extra ``train``)."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kanjo.corpora.check import Heard
from kanjo.corpora.manifest import Utterance
from kanjo.errors import KanjoError
from kanjo.evaluation.compare import Run
from kanjo.evaluation.metrics import Scores

#: Okabe & Ito's colours, which the colour-blind tell apart.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#888888"
CYCLE = (BLUE, ORANGE, GREEN, "#CC79A7", "#56B4E9", "#E69F00", "#000000")
STYLES = ("-", "--", "-.", ":")


def confusion(scores: Scores, what: str = "utterances") -> bytes:
    """The confusion matrix: rows truth, columns answer, each row in per cent with its counts."""
    figure, axes = figure_of(1.2 + 0.85 * len(scores.labels), 0.8 + 0.72 * len(scores.labels))
    counts = np.asarray(scores.confusion)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    names = list(scores.labels)
    axes.set_xticks(range(len(names)), names, rotation=35, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("answered")
    axes.set_ylabel("truth")
    for i, row in enumerate(shares):
        for j, share in enumerate(row):
            colour = "white" if share > 0.5 else "black"
            axes.text(j, i, f"{100 * share:.0f}%\n{counts[i, j]}", ha="center", va="center", color=colour, fontsize=8)
    axes.set_title(f"UAR {scores.uar}, {scores.n} {what}", fontsize=10)
    return drawn(figure)


def learning_curves(metrics: Path) -> bytes:
    """Loss and UAR of train and validation over the epochs of a ``metrics.csv``."""
    with metrics.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    epochs = [int(float(row["epoch"])) for row in rows]
    figure, (left, right) = figure_of(9, 3.4, columns=2)
    for axes, what, scale in ((left, "loss", 1), (right, "uar", 100)):
        for side, colour, style in (("train", BLUE, "-"), ("validation", ORANGE, "--")):
            axes.plot(epochs, [scale * float(row[f"{side}_{what}"]) for row in rows], style, color=colour, label=side)
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.3)
        axes.legend()
    left.set_ylabel("loss")
    right.set_ylabel("UAR, %")
    best = int(np.argmax([float(row["validation_uar"]) for row in rows]))
    right.axvline(epochs[best], color=GREY, linewidth=1, linestyle=":")
    return drawn(figure)


def speakers(scores: Scores) -> bytes:
    """UAR of each test speaker, sorted, with the pooled UAR as a line."""
    pairs = sorted(scores.speakers.items(), key=lambda pair: pair[1])
    figure, axes = figure_of(max(4.0, 1.2 + 0.34 * len(pairs)), 3.2)
    axes.bar(range(len(pairs)), [100 * value for _, value in pairs], color=BLUE)
    axes.axhline(100 * scores.uar.value, color=ORANGE, linestyle="--", label=f"pooled {100 * scores.uar.value:.1f} %")
    axes.axhline(100 / len(scores.labels), color=GREY, linestyle=":", label=f"chance {100 / len(scores.labels):.1f} %")
    axes.set_xticks(range(len(pairs)), [name for name, _ in pairs], rotation=60, ha="right", rotation_mode="anchor", fontsize=8)
    axes.set_ylabel("UAR, %")
    axes.legend(fontsize=8)
    return drawn(figure)


def comparison(runs: Sequence[Run]) -> bytes:
    """UAR of several runs with their intervals, and the validation UAR of each over its epochs."""
    figure, (left, right) = figure_of(11, max(2.8, 1.4 + 0.5 * len(runs)), columns=2)
    for place, run in enumerate(runs):
        colour, uar = CYCLE[place % len(CYCLE)], run.scores.uar
        left.barh(place, 100 * uar.value, color=colour)
        if uar.low is not None and uar.high is not None:
            left.errorbar(
                100 * uar.value,
                place,
                xerr=[[100 * (uar.value - uar.low)], [100 * (uar.high - uar.value)]],
                color="black",
                capsize=4,
            )
        left.text(1, place, f"{100 * uar.value:.1f} %", va="center", color="white", fontweight="bold")
        if run.curves:
            style = STYLES[place % len(STYLES)]
            right.plot(
                run.curves["epoch"], [100 * value for value in run.curves["validation_uar"]], style, color=colour, label=run.name
            )
    left.set_yticks(range(len(runs)), [run.name for run in runs], fontsize=8)
    left.invert_yaxis()
    left.set_xlabel("test UAR, % (bars: 95 % over speakers)")
    right.set_xlabel("epoch")
    right.set_ylabel("validation UAR, %")
    right.grid(alpha=0.3)
    if any(run.curves for run in runs):
        right.legend(fontsize=8)
    return drawn(figure)


def corpus(heard: Sequence[Heard], utterances: Sequence[Utterance]) -> bytes:
    """What a corpus is like: how long its recordings are, how loud, and which speaker says how much in which emotion."""
    figure, (lengths, levels, table) = figure_of(13, 4.2, columns=3)
    lengths.hist([item.seconds for item in heard if not item.problem], bins=40, color=BLUE)
    lengths.set_xlabel("length, s")
    lengths.set_ylabel("recordings")
    loud = [item.level_db for item in heard if item.level_db is not None]
    if loud:
        levels.hist(loud, bins=40, color=ORANGE)
    levels.set_xlabel("level (RMS), dBFS")
    speakers = sorted({row.speaker for row in utterances})
    emotions = sorted({row.emotion for row in utterances})
    counts = np.zeros((len(speakers), len(emotions)))
    for row in utterances:
        counts[speakers.index(row.speaker), emotions.index(row.emotion)] += 1
    picture = table.imshow(counts, aspect="auto", cmap="Blues", vmin=0, interpolation="nearest")
    table.set_xticks(range(len(emotions)), emotions, rotation=35, ha="right", rotation_mode="anchor")
    if len(speakers) <= 30:
        table.set_yticks(range(len(speakers)), [name or "(unknown)" for name in speakers], fontsize=7)
    else:
        table.set_ylabel(f"{len(speakers)} speakers")
    figure.colorbar(picture, ax=table, label="utterances")
    return drawn(figure)


def require() -> None:
    """Raise KanjoError where pictures can't be drawn, before hours go into what they would show."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise KanjoError("pictures need matplotlib: pip install 'kanjo[train]'") from error


def figure_of(width: float, height: float, columns: int = 1) -> Any:
    """A figure of so many inches and its axes. Raises KanjoError where matplotlib is not there."""
    require()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(1, columns)


def drawn(figure: Any) -> bytes:
    """The figure as PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
