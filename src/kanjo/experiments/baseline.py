"""A baseline on the folds of a recipe: openSMILE functionals and a linear SVM, with the same report as a network."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kanjo import files
from kanjo.evaluation import baselines
from kanjo.evaluation.evaluate import Evaluation, compute_scores
from kanjo.evaluation.reports.run_info import RunInfo
from kanjo.evaluation.reports.run_report import write_run_report
from kanjo.experiments.pipeline import load_data
from kanjo.train.data.audio_cache import get_cache_folder

if TYPE_CHECKING:
    from kanjo.evaluation.evaluate import ScoredUtterance
    from kanjo.experiments.reporter import Reporter
    from kanjo.experiments.run_folder import RunFolder
    from kanjo.train.config.schema import Recipe
    from kanjo.train.data.experiment_data import ExperimentData


@dataclass(frozen=True)
class BaselineResult:
    """The evaluation of a baseline.

    Attributes:
        system: Description of the features and the classifier.
        protocol: Description of the protocol and the folds.
        evaluation: Evaluation of all tested folds together.
    """

    system: str
    protocol: str
    evaluation: Evaluation


def run_baseline(
    feature_set: str,
    recipe: Recipe,
    corpus_root: str | None,
    folder: RunFolder,
    reporter: Reporter,
    *,
    fold: int | None = None,
    speaker_normalization: bool = False,
    jobs: int = 0,
) -> BaselineResult:
    """Train and test a linear SVM on openSMILE functionals, on the corpora, labels and folds of a recipe.

    Args:
        feature_set: A key of ``kanjo.evaluation.baselines.FEATURE_SETS``.
        recipe: The recipe.
        corpus_root: The folder of the corpora.
        folder: The run folder.
        reporter: Receives progress and messages.
        fold: The only fold (from 1). None: all folds, pooled.
        speaker_normalization: Whether the features of each speaker are standardized, test speakers included.
        jobs: Processes that compute features; 0: one per core.
    """
    data = load_data(recipe, corpus_root, reporter, all_folds=fold is None)
    with reporter.progress("computing functionals") as progress:
        cache = get_cache_folder() / "functionals"
        features = baselines.opensmile_features(feature_set, data.utterances, data.paths, cache, jobs, progress)
    if speaker_normalization:
        features = baselines.standardize_by_speaker(features, [row.speaker_key for row in data.utterances])
    folds = [data.fold(fold)] if fold else list(data.folds)
    started = time.monotonic()
    utterances: list[ScoredUtterance] = []
    for test_fold in folds:
        trained = data.for_fold(test_fold).emotions
        scored = replace(test_fold, test=tuple(i for i in test_fold.test if data.utterances[i].emotion in trained))
        fitted = baselines.fit_svm(features, data.utterances, data.labels, data.emotions, scored)
        utterances += fitted.utterances
        uar = compute_scores(data.emotions, fitted.utterances).uar
        reporter.message(
            f"fold {test_fold.index}: C {fitted.c:g}, validation UAR {100 * fitted.validation_uar:.1f} %, UAR {uar}"
        )
    minutes = (time.monotonic() - started) / 60
    system = f"{baselines.FEATURE_SETS[feature_set]} and a linear SVM"
    if speaker_normalization:
        system += ", features standardized per speaker"
    protocol = f"{recipe.split.protocol}, {len(folds)} of {len(data.folds)} folds"
    pooled = Evaluation(data.emotions, tuple(utterances), compute_scores(data.emotions, utterances))
    info = RunInfo(
        protocol=f"{protocol}; {system}",
        leakage=tuple(_describe_leakage(data, [test_fold.index for test_fold in folds])),
        recipe=recipe.text(),
        training=f"{system}, {features.shape[1]} features, {minutes:.1f} minutes.",
        training_minutes=minutes,
    )
    write_run_report(folder.report_paths, f"{feature_set} on {recipe.name}", pooled, info)
    files.write_text(folder.recipe, recipe.text())
    return BaselineResult(system, protocol, pooled)


def _describe_leakage(data: ExperimentData, folds: list[int]) -> list[str]:
    return [
        f"fold {index}: {sentence}"
        for index in folds
        for report in (data.leakage_report(data.fold(index)), data.classes_report(data.fold(index)))
        for sentence in report.describe()
    ]
