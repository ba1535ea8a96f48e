"""What a report shows about a run besides its scores."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from kanjo.evaluation.metrics import Scores
from kanjo.evaluation.reports.rendering import RenderedFigure

_PACKAGES = ("kanjo", "torch", "lightning", "onnxruntime", "numpy", "soundfile", "soxr")


def environment_info() -> dict[str, str]:
    """Versions of the packages and of Python, operating system and processor."""
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        **versions,
        "Python": platform.python_version(),
        "system": platform.system(),
        "processor": _processor_name(),
    }


@dataclass(frozen=True)
class OriginalModel:
    """The bundle that a training started from, evaluated on the test utterances of the run.

    Attributes:
        name: Name of the bundle.
        scores: Its scores.
        note: What the reader must know to compare these scores with those of the run, or "".
    """

    name: str
    scores: Scores
    note: str = ""


@dataclass(frozen=True)
class RunInfo:
    """What a report shows about a run besides its scores.

    Attributes:
        protocol: The split protocol and the corpora, in words.
        leakage: Sentences of the leakage report.
        recipe: The recipe as YAML.
        training: One sentence about the training.
        training_minutes: Duration of the training, or None.
        kept_epoch: The epoch whose weights were kept, from 1; None without training.
        original: The bundle that the training started from; None if it started without one.
        scores_enrolled: Scores with enrolled speakers, or None.
        figures: Further figures by name.
        environment: Versions and hardware.
    """

    protocol: str = ""
    leakage: tuple[str, ...] = ()
    recipe: str = ""
    training: str = ""
    training_minutes: float | None = None
    kept_epoch: int | None = None
    original: OriginalModel | None = None
    scores_enrolled: Scores | None = None
    figures: Mapping[str, RenderedFigure] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=environment_info)


def _processor_name() -> str:
    """The name of the processor and the number of its cores."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n")
        name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), name)
    except OSError:
        pass  # this file exists on Linux only
    return f"{name}, {os.cpu_count()} cores"
