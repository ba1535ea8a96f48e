"""Train one fold: load the data, report leakage, fit, export, test, and write the report."""

from __future__ import annotations

import csv
import json
import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from kanjo import bundle as bundles
from kanjo import files
from kanjo.errors import RecipeError
from kanjo.evaluation import metrics
from kanjo.evaluation.predictions_file import write_predictions
from kanjo.evaluation.reports.run_info import RunInfo
from kanjo.evaluation.reports.run_report import (
    summarize,
    write_enrolled_scores,
    write_run_report,
    write_stage1_figures,
)
from kanjo.evaluation.reports.signal_plots import plot_log_mels
from kanjo.experiments.leakage import describe_leakage, split_metadata
from kanjo.experiments.original_model import describe_original, evaluate_original
from kanjo.experiments.reporter import NullReporter, run_log, stage_log
from kanjo.experiments.run_folder import STAGE1, STAGE2
from kanjo.experiments.scoring import TestResult, evaluate_test_fold
from kanjo.train.data.experiment_data import load_experiment_data, write_split
from kanjo.train.distributed import rank_and_size
from kanjo.train.export.bundle import N_VERIFICATION_CLIPS, export_bundle
from kanjo.train.features.log_mel import LogMel
from kanjo.train.features.spectrogram_images import decibel_images
from kanjo.train.fit import fit
from kanjo.train.tasks.two_stage import find_stage1_weights, stage1_minutes, train_stage1

if TYPE_CHECKING:
    from pathlib import Path

    from kanjo.corpora.splits import Fold
    from kanjo.evaluation.reports.rendering import RenderedFigure
    from kanjo.evaluation.reports.run_info import OriginalModel
    from kanjo.experiments.reporter import Reporter
    from kanjo.experiments.run_folder import RunFolder
    from kanjo.train.config.schema import Recipe
    from kanjo.train.data.experiment_data import ExperimentData
    from kanjo.train.fit import TrainedModel
    from kanjo.train.tasks.two_stage import Stage1Result

log = logging.getLogger("kanjo")


@dataclass(frozen=True)
class TrainOptions:
    """How a fold is trained.

    Attributes:
        stage: "stage1" or "stage2" to train one stage of a model with two; "" for all stages.
        resume: Whether the run continues from its last epoch.
        threads: Cores to use; 0: all.
        skip_test: Whether to stop after training, without test and bundle.
        report: Whether the report of a tested fold is written.
        n_verification_clips: The exported graph is compared with PyTorch on this many utterances.
    """

    stage: str = ""
    resume: bool = False
    threads: int = 0
    skip_test: bool = False
    report: bool = True
    n_verification_clips: int = N_VERIFICATION_CLIPS


@dataclass(frozen=True)
class ValidationScores:
    """Validation UARs (0 to 1) of a run without test.

    Attributes:
        uar: UAR after the last epoch.
        best_uar: UAR after the best epoch.
        enrolled: UAR with enrolled speakers; None if the model does not use them.
        minutes: Duration of the training.
    """

    uar: float
    best_uar: float
    enrolled: float | None
    minutes: float


@dataclass(frozen=True)
class FoldResult:
    """What the training of a fold produced. Parts that were not requested are None.

    Attributes:
        folder: The run folder.
        stage1_weights: The weights of the first stage, if only this stage was trained.
        training: Description of the training: best epoch, temperature, duration.
        validation: Validation scores, if the test was skipped.
        test: Evaluation on the test utterances.
        model: The trained model.
    """

    folder: RunFolder
    stage1_weights: Path | None = None
    training: str = ""
    validation: ValidationScores | None = None
    test: TestResult | None = None
    model: TrainedModel | None = None


def train_fold(
    recipe: Recipe, corpus_root: str | None, folder: RunFolder, options: TrainOptions, reporter: Reporter
) -> FoldResult:
    """Train the fold of a recipe, export its bundle, and test the bundle.

    In a distributed run (torchrun), all processes train, and the first one exports, tests and writes the files.

    Args:
        recipe: The resolved recipe.
        corpus_root: The folder of the corpora.
        folder: The run folder.
        options: Which parts are done.
        reporter: Receives progress and messages.

    Raises:
        KanjoError: The data can't be read, or the folder can't be written.
        RecipeError: The recipe can't be trained in this way.
        KeyboardInterrupt: The user pressed Ctrl-C. The run can be resumed.
    """
    rank, n_processes = rank_and_size()
    if n_processes > 1:
        _check_distributed(recipe)
    if rank > 0:
        reporter = NullReporter()
    with run_log(folder.log if rank == 0 else None, reporter):
        data = load_data(recipe, corpus_root, reporter)
        return train_loaded_fold(data, data.fold(recipe.split.fold), folder, options, reporter, rank)


def train_loaded_fold(
    data: ExperimentData,
    fold: Fold,
    folder: RunFolder,
    options: TrainOptions,
    reporter: Reporter,
    rank: int = 0,
) -> FoldResult:
    """Train, export and test a fold whose data are loaded; see :func:`train_fold`.

    Args:
        data: Utterances, labels, recipe and decoded audio.
        fold: The fold.
        folder: The run folder.
        options: Which parts are done.
        reporter: Receives progress and messages.
        rank: Number of this process in a distributed run.
    """
    leakage = _write_split_and_leakage(data, fold, folder) if rank == 0 else []
    data = data.for_fold(fold)
    stage1_weights = _stage1_weights(data, fold, folder, options, reporter)
    if options.stage == STAGE1:
        return FoldResult(folder, stage1_weights=stage1_weights)
    model = _fit(data, fold, folder, stage1_weights, options, reporter)
    if rank > 0:
        return FoldResult(folder)
    training = describe_training(model)
    if options.skip_test:
        return FoldResult(folder, training=training, validation=_write_validation(model, folder))
    test = _export_and_test(data, fold, leakage, model, folder, options, reporter)
    return FoldResult(folder, training=training, test=test, model=model)


def load_data(
    recipe: Recipe, corpus_root: str | None, reporter: Reporter, *, all_folds: bool = False
) -> ExperimentData:
    """Read the corpora of a recipe, split them into folds, and decode their recordings.

    Before decoding, it is checked that the recipe's fold (``all_folds``: every fold) can be scored.
    """
    with reporter.progress("decoding") as progress:
        return load_experiment_data(recipe, corpus_root, progress, all_folds=all_folds)


def describe_protocol(recipe: Recipe, folds: str) -> str:
    """The split protocol, the folds and the corpora, for reports."""
    return f"{recipe.split.protocol}, {folds}; corpora: {', '.join(corpus.name for corpus in recipe.corpora)}"


def describe_training(model: TrainedModel) -> str:
    """Best epoch, temperature and duration of a training, for reports."""
    uar = f"{100 * model.validation_uar:.1f} %"
    temperature = f"temperature {model.temperature:.2f}"
    if model.ood_temperature:
        largest_factor = model.ood_temperature.max_ratio**model.ood_temperature.exponent
        temperature += f" (up to {largest_factor:.1f} times as high for out-of-distribution recordings)"
    minutes = f"{model.minutes:.1f} minutes of training."
    if model.before_refit:
        return (
            f"Validation UAR {uar} at epoch {model.best_epoch}, {temperature}, {minutes} "
            "The exported model was then trained from the start on training and validation utterances together."
        )
    return f"Best epoch {model.best_epoch} (validation UAR {uar}), {temperature}, {minutes}"


def _check_distributed(recipe: Recipe) -> None:
    """Raise RecipeError for recipes that can't be trained in several processes."""
    if not recipe.model.supports_distributed:
        raise RecipeError(f"{recipe.name} is trained in one process; start it without torchrun")


def _write_split_and_leakage(data: ExperimentData, fold: Fold, folder: RunFolder) -> list[str]:
    """Write recipe and split into the run folder; log and return what training and test share."""
    files.write_text(folder.recipe, data.recipe.text())
    write_split(folder.split, data, fold)
    leakage = describe_leakage(data, fold)
    for sentence in leakage:
        log.info("%s", sentence)
    return leakage


def _stage1_weights(
    data: ExperimentData, fold: Fold, folder: RunFolder, options: TrainOptions, reporter: Reporter
) -> Path | None:
    """Train the first stage, or find its weights if it is finished. None for models with one stage."""
    if data.recipe.stage1 is None and options.stage != STAGE1:
        return None
    if options.stage == STAGE2 or options.resume:
        weights = find_stage1_weights(data, fold, folder.stage1_candidates)
        if weights and (options.stage == STAGE2 or weights.is_relative_to(folder.path)):
            log.info("weights of stage 1: %s", weights)
            return weights
        if options.stage == STAGE2:
            raise RecipeError(
                f"no weights of stage 1 for this recipe and fold in {folder} or the folders beside it; train it first: "
                f"kanjo train {folder} --stage stage1 -o {folder}"
            )
    log.info("stage 1; its log is %s", folder.stage1.log)
    with stage_log(folder.stage1.log):
        result = train_stage1(
            data,
            fold,
            folder.stage1_paths,
            resume=options.resume,
            threads=options.threads,
            progress=reporter.show_training_progress,
        )
    _write_stage1_report(data, result, folder)
    return result.path


def _write_stage1_report(data: ExperimentData, result: Stage1Result, folder: RunFolder) -> None:
    """Draw the confusion matrix of the validation segments, and the learning curves."""
    labels, probabilities = np.asarray(result.labels), np.asarray(result.probabilities)
    scores = metrics.score_predictions(data.emotions, labels, probabilities, result.speakers)
    write_stage1_figures(folder.stage1.path, folder.stage1.metrics, scores, result.best.epoch)


def _fit(
    data: ExperimentData,
    fold: Fold,
    folder: RunFolder,
    stage1_weights: Path | None,
    options: TrainOptions,
    reporter: Reporter,
) -> TrainedModel:
    """Train the model, or the second stage of a model with two."""
    model = fit(
        data,
        fold,
        folder.fit_paths(stage1_weights),
        resume=options.resume,
        threads=options.threads,
        progress=reporter.show_training_progress,
        refit=not options.skip_test,
    )
    if stage1_weights:
        model = replace(model, minutes=model.minutes + stage1_minutes(stage1_weights))
    return model


def _write_validation(model: TrainedModel, folder: RunFolder) -> ValidationScores:
    """Write the validation scores of a run without test."""
    with folder.metrics.open(encoding="utf-8", newline="") as stream:
        last_epoch = list(csv.DictReader(stream))[-1]
    scores = ValidationScores(
        uar=float(last_epoch["validation_uar"]),
        best_uar=model.validation_uar,
        enrolled=model.enrolled.validation_uar if model.enrolled else None,
        minutes=model.minutes,
    )
    files.write_text(folder.validation, json.dumps(vars(scores)) + "\n")
    return scores


def _export_and_test(
    data: ExperimentData,
    fold: Fold,
    leakage: list[str],
    model: TrainedModel,
    folder: RunFolder,
    options: TrainOptions,
    reporter: Reporter,
) -> TestResult:
    """Export the bundle, test the exported bundle, write the report, and write the scores into the bundle."""
    split = split_metadata(data, fold, leakage)
    exported = export_bundle(data, fold, model, folder.bundle, split, n_verification_clips=options.n_verification_clips)
    difference = exported.metadata.export_check["largest_difference"]
    log.info("bundle written; outputs of PyTorch and ONNX Runtime differ by at most %.1e", difference)
    result = evaluate_test_fold(exported, data, fold, options.threads, reporter)
    if not options.report:
        return result
    scores_enrolled = result.enrolled.scores if result.enrolled else None
    info = RunInfo(
        protocol=describe_protocol(data.recipe, fold.name),
        leakage=tuple(leakage),
        recipe=data.recipe.text(),
        training=describe_training(model),
        training_minutes=model.minutes,
        kept_epoch=model.best_epoch,
        original=_test_original(data, fold, folder, options.threads, reporter),
        scores_enrolled=scores_enrolled,
        figures=_plot_test_examples(data, fold, model),
    )
    if result.enrolled:
        write_enrolled_scores(folder.report_paths, result.enrolled)
    write_run_report(folder.report_paths, f"{data.recipe.name}, {fold.name}", result.plain, info)
    bundles.update_metadata(exported.folder, result.metadata)
    for line in summarize(result.plain.scores, scores_enrolled):
        log.debug("test: %s", line)  # only the log file: the command prints these lines on stdout
    return result


def _test_original(
    data: ExperimentData, fold: Fold, folder: RunFolder, threads: int, reporter: Reporter
) -> OriginalModel | None:
    """Evaluate the bundle that the training started from, if any, and write its predictions."""
    if not data.recipe.init_from:
        return None
    source = bundles.read_bundle(data.recipe.init_from)
    test = [i for i in fold.test if data.utterances[i].emotion in data.emotions]
    rows, paths = [data.utterances[i] for i in test], [data.paths[i] for i in test]
    original = evaluate_original(source, data.emotions, rows, paths, threads, reporter)
    if original is None:
        return None
    write_predictions(folder.predictions_original, original.labels, original.utterances)
    return describe_original(source.metadata, original)


def _plot_test_examples(data: ExperimentData, fold: Fold, model: TrainedModel) -> dict[str, RenderedFigure]:
    """The log-mel spectrograms of one test utterance per emotion; empty for models of raw samples."""
    feature_extractor = model.emotion_model.feature_extractor
    if not isinstance(feature_extractor, LogMel):
        return {}
    first_of_emotion = {data.utterances[i].emotion: i for i in reversed(fold.test)}
    examples = {name: first_of_emotion[name] for name in data.emotions if name in first_of_emotion}
    signals = [data.audio_cache.signal(i) for i in examples.values()]
    images = decibel_images(feature_extractor, signals, data.recipe.audio.window)
    hop_s = feature_extractor.power.hop_length / data.recipe.audio.sample_rate
    return {"log_mels": plot_log_mels(images, list(examples), hop_s, feature_extractor.center_hz)}
