"""The files of a report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ReportPaths:
    """The files of a report.

    Attributes:
        predictions: CSV of the predictions.
        scores: JSON of the scores.
        predictions_enrolled: CSV of the predictions with enrolled speakers.
        scores_enrolled: JSON of the scores with enrolled speakers.
        page: HTML page.
        figures: Folder of the figures.
        metrics: CSV of the metrics of each epoch. It is read, not written; it may be missing.
    """

    predictions: Path
    scores: Path
    predictions_enrolled: Path
    scores_enrolled: Path
    page: Path
    figures: Path
    metrics: Path
