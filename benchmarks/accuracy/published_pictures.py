"""Draw learning curves and confusion matrices of the published models from the JSON files of this folder.

    python benchmarks/accuracy/published_pictures.py

``make.py`` calls it. Each section of the page with a name that begins with "published" gets one picture, with one row
for each experiment: the accuracy of each epoch (training and validation; one line for each fold of a cross-validation,
or for each of two stages), and the confusion matrix of the test utterances.
"""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from experiments import EXPERIMENTS, SECTIONS, Experiment

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FOLDER = Path(__file__).parent
PICTURES = FOLDER.parents[1] / "docs" / "pictures"
_COLORS = {"train": "#0072B2", "validation": "#D55E00"}
_STYLES = {"train": "-", "validation": "--"}
_PARTS = tuple(_COLORS)
_DPI = 80
#: Key of the text of a PNG file that has the hash of what it shows.
SOURCE_KEY = "Source"


def collect_curves(run: Path) -> list[dict[str, list[float]]]:
    """The accuracy of each epoch: one dictionary for a training, one for each fold of a cross-validation."""
    return [read_curves(path) for path in sorted(run.glob("**/metrics.csv")) if "refit" not in path.parts]


def read_curves(path: Path) -> dict[str, list[float]]:
    """The accuracy of each epoch in a ``metrics.csv``."""
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    return {part: [round(float(row[f"{part}_accuracy"]), 4) for row in rows] for part in _PARTS}


def is_published(section: str) -> bool:
    """Whether a section of the page is about the published models."""
    return section.startswith("published")


def draw_published(folder: Path = FOLDER, pictures: Path = PICTURES) -> None:
    """Draw the picture of each section that has been measured."""
    for section in filter(is_published, SECTIONS):
        if measured := read_measured(folder, section):
            metadata = {"Software": "", SOURCE_KEY: hash_measured(measured)}
            draw_section(measured).savefig(pictures / f"{section}.png", dpi=_DPI, metadata=metadata)


def read_measured(folder: Path, section: str) -> list[tuple[Experiment, dict[str, Any]]]:
    """The experiments of a section whose results have curves, which those of earlier versions lack."""
    measured = []
    for experiment in EXPERIMENTS:
        path = folder / f"{experiment.name}.json"
        if experiment.section == section and path.is_file():
            scores = json.loads(path.read_text(encoding="utf-8"))
            if "curves" in scores:
                measured.append((experiment, scores))
    return measured


def hash_measured(measured: list[tuple[Experiment, dict[str, Any]]]) -> str:
    """SHA-256 of what a picture shows; it stands in the text of the PNG file."""
    shown = [[e.system, *(scores[key] for key in ("labels", "confusion_matrix", "curves"))] for e, scores in measured]
    return hashlib.sha256(json.dumps(shown).encode()).hexdigest()


def draw_section(measured: list[tuple[Experiment, dict[str, Any]]]) -> Figure:
    """A figure with a row for each experiment."""
    figure = Figure(figsize=(10.5, 3.7 * len(measured)), layout="constrained")
    rows = figure.subplots(len(measured), 2, squeeze=False, width_ratios=(1.3, 1))
    for (experiment, scores), (left, right) in zip(measured, rows, strict=True):
        draw_curves(left, scores["curves"])
        left.set_title(experiment.system, loc="left", fontsize=10)
        draw_confusion(right, scores["labels"], np.asarray(scores["confusion_matrix"]))
        right.set_title(f"test UAR {100 * scores['uar']['value']:.1f} %, {scores['n']} utterances", fontsize=10)
    return figure


def draw_curves(axes: Axes, curves: list[dict[str, list[float]]]) -> None:
    """Draw the accuracy of each epoch."""
    for n, run in enumerate(curves):
        for part in _PARTS:
            values = 100 * np.asarray(run[part])
            label = "" if n else part
            axes.plot(np.arange(1, len(values) + 1), values, _STYLES[part], color=_COLORS[part], label=label, lw=1.3)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("epoch")
    axes.set_ylabel("accuracy, %")
    axes.set_ylim(0, 102)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)


def draw_confusion(axes: Axes, labels: list[str], counts: np.ndarray[Any, Any]) -> None:
    """Draw a confusion matrix in percent of the true emotion."""
    percent = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
    axes.imshow(percent, cmap="Blues", vmin=0, vmax=100)
    axes.set_xticks(range(len(labels)), labels, rotation=40, ha="right", rotation_mode="anchor", fontsize=8)
    axes.set_yticks(range(len(labels)), labels, fontsize=8)
    axes.set_xlabel("predicted", fontsize=8)
    axes.set_ylabel("true", fontsize=8)
    for (row, column), value in np.ndenumerate(percent):
        color = "white" if value > 55 else "black"
        axes.text(column, row, f"{value:.0f}", ha="center", va="center", color=color, fontsize=8)


if __name__ == "__main__":
    draw_published()
