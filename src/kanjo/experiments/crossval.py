"""Cross-validation: train all folds of a recipe, pool their predictions, and write one report."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kanjo import files
from kanjo.bundle import read_bundle
from kanjo.errors import KanjoError
from kanjo.evaluation.evaluate import Evaluation, compute_scores
from kanjo.evaluation.predictions_file import read_predictions
from kanjo.evaluation.reports.run_info import RunInfo
from kanjo.evaluation.reports.run_report import write_enrolled_scores, write_run_report
from kanjo.experiments.leakage import describe_all_folds
from kanjo.experiments.original_model import describe_original
from kanjo.experiments.pipeline import describe_protocol, load_data
from kanjo.experiments.run_folder import read_json
from kanjo.experiments.subprocesses import TrainingJob, run_jobs

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from kanjo.evaluation.evaluate import ScoredUtterance
    from kanjo.experiments.reporter import Reporter
    from kanjo.experiments.run_folder import RunFolder
    from kanjo.train.config.schema import Recipe
    from kanjo.train.data.experiment_data import ExperimentData


@dataclass(frozen=True)
class CrossValidationResult:
    """The pooled evaluation of all folds that have been trained.

    Attributes:
        folder: The folder of the cross-validation.
        protocol: Description of the protocol and the folds.
        plain: Evaluation without speaker profiles.
        enrolled: Evaluation with enrolled speakers; None if the model does not use them.
        missing_folds: The folds without predictions, because their training failed.
    """

    folder: RunFolder
    protocol: str
    plain: Evaluation
    enrolled: Evaluation | None
    missing_folds: tuple[int, ...]


def cross_validate(
    recipe: Recipe, corpus_root: str | None, folder: RunFolder, n_parallel: int, reporter: Reporter
) -> CrossValidationResult:
    """Train and test all folds of a recipe, each in a subprocess, and pool their predictions.

    Args:
        recipe: The resolved recipe.
        corpus_root: The folder of the corpora.
        folder: The folder of the cross-validation. Folds that are finished there are not trained again.
        n_parallel: Folds that are trained at the same time; 0: one per core.
        reporter: Receives progress and messages.

    Raises:
        KanjoError: No fold could be trained.
    """
    data = load_data(recipe, corpus_root, reporter, all_folds=True)
    files.write_text(folder.recipe, recipe.text())
    jobs = [
        TrainingJob(
            name=f"fold {fold.index}",
            folder=folder.fold(fold.index),
            recipe=folder.recipe,
            result=folder.fold(fold.index).scores,
            arguments=("--fold", str(fold.index)),
        )
        for fold in data.folds
    ]
    run_jobs(jobs, corpus_root, n_parallel, reporter)
    return pool_folds(folder, data)


def pool_folds(folder: RunFolder, data: ExperimentData) -> CrossValidationResult:
    """Score the predictions of all finished folds together and write the report.

    Raises:
        KanjoError: No fold is finished.
    """
    runs = {fold.index: folder.fold(fold.index) for fold in data.folds}
    finished = [run for run in runs.values() if run.predictions.is_file()]
    if not finished:
        raise KanjoError(f"no fold was finished; see {folder.fold_logs}")
    plain = _pool(data, [run.predictions for run in finished])
    plain = replace(
        plain, excluded_emotions=_excluded_emotions(data, [index for index in runs if runs[index] in finished])
    )
    enrolled_files = [run.predictions_enrolled for run in finished if run.predictions_enrolled.is_file()]
    enrolled = _pool(data, enrolled_files) if enrolled_files else None
    original_files = [run.predictions_original for run in finished if run.predictions_original.is_file()]
    original = None
    if data.recipe.init_from and len(original_files) == len(finished):
        original = describe_original(read_bundle(data.recipe.init_from).metadata, _pool(data, original_files))
    protocol = describe_protocol(data.recipe, f"{len(finished)} of {len(runs)} folds pooled")
    info = RunInfo(
        protocol=protocol,
        leakage=tuple(describe_all_folds(data)),
        recipe=data.recipe.text(),
        training_minutes=sum(_training_minutes(run) for run in finished),
        original=original,
        scores_enrolled=enrolled.scores if enrolled else None,
    )
    if enrolled:
        write_enrolled_scores(folder.report_paths, enrolled)
    write_run_report(folder.report_paths, f"{data.recipe.name}, cross-validation", plain, info)
    missing = tuple(index for index, run in runs.items() if run not in finished)
    return CrossValidationResult(folder, protocol, plain, enrolled, missing)


def _pool(data: ExperimentData, predictions: list[Path]) -> Evaluation:
    """The evaluation of several files of predictions together.

    The model of a fold without training utterances of an emotion does not have this emotion: its probability is 0.
    """
    utterances: list[ScoredUtterance] = []
    for path in predictions:
        labels, of_fold = read_predictions(path)
        for utterance in of_fold:
            by_label = dict(zip(labels, utterance.probabilities, strict=True))
            probabilities = tuple(by_label.get(name, 0.0) for name in data.emotions)
            utterances.append(replace(utterance, probabilities=probabilities))
    return Evaluation(data.emotions, tuple(utterances), compute_scores(data.emotions, utterances))


def _excluded_emotions(data: ExperimentData, folds: Sequence[int]) -> tuple[tuple[str, int], ...]:
    """Emotions that have no training utterance in a fold, with the numbers of their test utterances."""
    counts: Counter[str] = Counter()
    for fold in map(data.fold, folds):
        trained = data.for_fold(fold).emotions
        counts.update(data.utterances[i].emotion for i in fold.test if data.utterances[i].emotion not in trained)
    return tuple(counts.items())


def _training_minutes(run: RunFolder) -> float:
    content = read_json(run.scores)
    return float(content.get("training_minutes") or 0.0)
