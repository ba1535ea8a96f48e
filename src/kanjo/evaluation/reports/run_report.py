"""Write the results of a run: predictions, scores, figures and the report page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kanjo import files
from kanjo.evaluation.evaluate import Evaluation, scores_by_corpus
from kanjo.evaluation.metrics import Scores
from kanjo.evaluation.predictions_file import write_predictions
from kanjo.evaluation.reports import figures
from kanjo.evaluation.reports.embedding_projection import draw_embeddings
from kanjo.evaluation.reports.html import render_run_page
from kanjo.evaluation.reports.paths import ReportPaths
from kanjo.evaluation.reports.rendering import RenderedFigure, write_figures
from kanjo.evaluation.reports.run_info import RunInfo

#: Headline of the scores with enrolled speakers.
ENROLLED_DESCRIPTION = "with enrollment (each speaker enrolled with half of their clips, without labels)"

#: Beginning of the line with the recalls in :func:`summarize`.
RECALL = "recall:"


def write_run_report(paths: ReportPaths, title: str, evaluation: Evaluation, info: RunInfo) -> None:
    """Write predictions, scores, figures and the report page of a run.

    Args:
        paths: Where the files are written.
        title: The heading of the page.
        evaluation: Predictions and scores of the test utterances.
        info: What else is known about the run.

    Raises:
        KanjoError: A file can't be written, or a package of the extra ``evaluation`` is not installed.
    """
    write_predictions(paths.predictions, evaluation.labels, evaluation.utterances)
    _write_json(paths.scores, scores_content(evaluation, info))
    drawn = draw_figures(evaluation, paths.metrics, info.kept_epoch) | dict(info.figures)
    write_figures(paths.figures, drawn)
    files.write_text(paths.page, render_run_page(title, evaluation, info, drawn))


def write_enrolled_scores(paths: ReportPaths, evaluation: Evaluation) -> None:
    """Write predictions and scores with enrolled speakers. Raises KanjoError."""
    write_predictions(paths.predictions_enrolled, evaluation.labels, evaluation.utterances)
    _write_json(paths.scores_enrolled, evaluation.scores.as_dict())


def write_stage1_figures(folder: Path, metrics: Path, scores: Scores, kept_epoch: int) -> None:
    """Draw the confusion matrix of the validation segments and the learning curves of a first training stage.

    Args:
        folder: Where the figures are written.
        metrics: CSV of the metrics of each epoch.
        scores: Scores of the validation segments.
        kept_epoch: The epoch whose weights were kept.
    """
    drawn = {
        "confusion_matrix": figures.plot_confusion_matrix(scores, "validation segments"),
        "learning_curves": figures.plot_learning_curves(metrics, kept_epoch),
    }
    write_figures(folder, drawn)


def scores_content(evaluation: Evaluation, info: RunInfo) -> dict[str, Any]:
    """The content of ``scores.json``."""
    by_corpus = scores_by_corpus(evaluation.labels, evaluation.utterances)
    return {
        **evaluation.scores.as_dict(),
        "protocol": info.protocol,
        "leakage": list(info.leakage),
        "failures": [{"file": path, "error": error} for path, error in evaluation.failures],
        "excluded_emotions": dict(evaluation.excluded_emotions),
        "scores_by_corpus": {name: scores.as_dict() for name, scores in by_corpus.items()},
        "training_minutes": info.training_minutes,
        "kept_epoch": info.kept_epoch,
        "original": info.original and {"name": info.original.name, **info.original.scores.as_dict()},
    }


def draw_figures(evaluation: Evaluation, metrics: Path, kept_epoch: int | None = None) -> dict[str, RenderedFigure]:
    """Draw the figures of a run by name; learning curves only if the file ``metrics`` exists."""
    scores, utterances = evaluation.scores, evaluation.utterances
    drawn = {"confusion_matrix": figures.plot_confusion_matrix(scores)}
    if metrics.is_file():
        drawn["learning_curves"] = figures.plot_learning_curves(metrics, kept_epoch)
    if scores.uar_by_speaker:
        drawn["speakers"] = figures.plot_uar_by_speaker(scores)
    confidence = np.asarray([max(utterance.probabilities) for utterance in utterances])
    correct = np.asarray([utterance.predicted == utterance.emotion for utterance in utterances])
    drawn["reliability"] = figures.plot_reliability(confidence, correct, scores.ece)
    embeddings = draw_embeddings(utterances)
    if embeddings is not None:
        drawn["embeddings"] = embeddings
    return drawn


def summarize(scores: Scores, scores_enrolled: Scores | None = None) -> list[str]:
    """The scores as a few lines of text, followed by those with enrolled speakers."""
    recalls = ", ".join(f"{name} {100 * value:.0f} %" for name, value in scores.recalls.items() if value is not None)
    lines = [
        f"UAR {scores.uar}   accuracy {scores.accuracy}   macro-F1 {scores.macro_f1}   ECE {scores.ece:.3f}   "
        f"({scores.n} utterances)",
        *filter(None, [scores.describe_missing_labels()]),
        f"{RECALL} {recalls}",
    ]
    if scores.uar_by_sex:
        by_sex = ", ".join(f"{name} {100 * value:.1f} %" for name, value in scores.uar_by_sex.items())
        lines.append(f"UAR by sex: {by_sex}")
    if scores_enrolled:
        lines += [ENROLLED_DESCRIPTION, *summarize(scores_enrolled)]
    return lines


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    files.write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
