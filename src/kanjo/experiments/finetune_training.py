"""The training of ``kanjo finetune``: folds or one split, the bundle, and the comparison with the original model."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from statistics import median_low
from typing import TYPE_CHECKING

import numpy as np

from kanjo import bundle as bundles
from kanjo import files
from kanjo.corpora.splits import Fold
from kanjo.errors import CorpusError
from kanjo.evaluation.evaluate import scores_by_corpus
from kanjo.evaluation.metrics import unweighted_average_recall
from kanjo.evaluation.predictions_file import read_predictions, write_predictions
from kanjo.experiments.crossval import pool_folds
from kanjo.experiments.finetune_result import (
    Comparison,
    FinetuneResult,
    compare_models,
    remove_intermediate_files,
    write_result,
)
from kanjo.experiments.leakage import describe_all_folds, split_metadata
from kanjo.experiments.original_model import describe_training_overlap, evaluate_original
from kanjo.experiments.pipeline import TrainOptions, train_loaded_fold
from kanjo.experiments.recipes import resolve_recipe, without_pretrained_weights
from kanjo.experiments.reporter import NullReporter, run_log
from kanjo.experiments.run_folder import read_json
from kanjo.train.calibration.temperature import fit_temperature_to_arrays
from kanjo.train.cost_estimate import estimate_cost
from kanjo.train.data.audio_cache import AudioSlice, build_audio_cache
from kanjo.train.data.embedding_cache import compute_embeddings
from kanjo.train.data.experiment_data import ExperimentData, name_parts, split_to_csv
from kanjo.train.export.bundle import N_VERIFICATION_CLIPS, export_bundle
from kanjo.train.fit import EnrolledResult, TrainedModel, refit_on_both
from kanjo.train.hardware import set_threads
from kanjo.train.warm_start import load_bundle_model

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kanjo.evaluation.evaluate import ScoredUtterance
    from kanjo.experiments.crossval import CrossValidationResult
    from kanjo.experiments.finetune import FinetuneOptions
    from kanjo.experiments.finetune_plan import FinetunePlan
    from kanjo.experiments.pipeline import FoldResult
    from kanjo.experiments.reporter import Reporter
    from kanjo.experiments.run_folder import RunFolder
    from kanjo.train.config.schema import Recipe

_NOTE = "the bundle was trained on all clips; its scores are those of {} folds, on clips that were not in training"
#: Probabilities in files have six decimals; smaller ones count as this.
_MIN_PROBABILITY = 1e-6
#: The bundle of a fold is removed after its test.
_N_VERIFICATION_CLIPS_OF_FOLD = 20


def train_plan(
    plan: FinetunePlan,
    recipe: Recipe,
    folder: RunFolder,
    options: FinetuneOptions,
    reporter: Reporter,
    started: float,
) -> FinetuneResult:
    """Train, test and compare; write the run folder, at last its result.

    Args:
        plan: The recordings and their split.
        recipe: The recipe.
        folder: The run folder.
        options: How the model is trained.
        reporter: Receives progress and messages.
        started: When the run started (``time.monotonic``).
    """
    recipe = resolve_recipe(recipe, folder, options.resume, reporter)
    split = _split_text(plan)
    _check_same_split(folder, split)
    if options.threads:
        set_threads(options.threads)
    data = _load_data(plan, recipe, options.threads, reporter)
    files.write_text(folder.recipe, recipe.text())
    files.write_text(folder.split, split)
    with run_log(folder.log, reporter if options.from_scratch else NullReporter()):
        _compute_embeddings(data, reporter)
        if plan.cross_validates:
            _run_folds(data, folder, options, reporter)
            pooled = pool_folds(folder, data)
            reporter.log("training on all clips")
            _train_on_all_clips(data, folder, pooled, options, reporter)
        else:
            _run_fold(data, data.folds[0], folder, options, reporter)
    result = FinetuneResult(
        folder=folder.path,
        bundle=folder.bundle,
        classes=plan.classes,
        speaker_independent=plan.speaker_independent,
        n_folds=len(plan.folds),
        comparison=_compare(data, folder, plan.cross_validates),
        minutes=(time.monotonic() - started) / 60,
    )
    write_result(folder.finetuning, result)
    remove_intermediate_files(folder, result.n_folds)
    return result


def estimate_training_minutes(plan: FinetunePlan, recipe: Recipe, threads: int, reporter: Reporter) -> float:
    """Estimate the duration of one training by measuring a few steps."""
    data = _load_data(plan, without_pretrained_weights(recipe), threads, reporter)
    return estimate_cost(data, data.folds[0], threads).minutes


def _load_data(plan: FinetunePlan, recipe: Recipe, threads: int, reporter: Reporter) -> ExperimentData:
    """Decode the recordings of a plan into the audio cache."""
    rows, paths, classes = plan.data.rows, plan.data.paths, plan.classes
    slices = [AudioSlice(path, row.start_s, row.end_s) for row, path in zip(rows, paths, strict=True)]
    with reporter.progress("decoding") as progress:
        audio_cache = build_audio_cache(slices, recipe.audio.sample_rate, progress=progress, jobs=threads)
    return ExperimentData(
        recipe=recipe,
        utterances=rows,
        paths=paths,
        emotions=classes,
        labels=tuple(classes.index(row.emotion) for row in rows),
        folds=plan.folds,
        audio_cache=audio_cache,
    )


def _compute_embeddings(data: ExperimentData, reporter: Reporter) -> None:
    """Compute the embeddings of all clips and their augmented copies, which all folds share."""
    if not data.recipe.model.frozen_encoder:
        return
    emotion_model = data.recipe.model.create_task(data, data.folds[0]).build_model()
    with reporter.progress("embeddings") as progress:
        compute_embeddings(emotion_model, data, progress=progress)


def _run_folds(data: ExperimentData, folder: RunFolder, options: FinetuneOptions, reporter: Reporter) -> None:
    """Train and test all folds that are not finished."""
    with reporter.progress("folds") as progress:
        for n_done, fold in enumerate(data.folds):
            progress(n_done, len(data.folds))
            run = folder.fold(fold.index)
            if not run.fold_temperatures.is_file():
                _run_fold(data, fold, run, options, reporter, _N_VERIFICATION_CLIPS_OF_FOLD)
            _, utterances = read_predictions(run.predictions)
            uar = unweighted_average_recall([u.emotion for u in utterances], [u.predicted for u in utterances])
            reporter.log(f"fold {fold.index} of {len(data.folds)}: UAR {100 * uar:.1f} %")


def _run_fold(
    data: ExperimentData,
    fold: Fold,
    run: RunFolder,
    options: FinetuneOptions,
    reporter: Reporter,
    n_verification_clips: int = N_VERIFICATION_CLIPS,
) -> FoldResult:
    """Train and test one fold, and test the original model on the same clips."""
    train_options = TrainOptions(
        resume=options.resume, threads=options.threads, n_verification_clips=n_verification_clips
    )
    result = train_loaded_fold(data, fold, run, train_options, reporter)
    if not data.recipe.init_from:
        source = bundles.read_bundle(bundles.DEFAULT_BUNDLE)
        rows, paths = [data.utterances[i] for i in fold.test], [data.paths[i] for i in fold.test]
        original = evaluate_original(source, data.emotions, rows, paths, options.threads, reporter)
        if original:
            write_predictions(run.predictions_original, original.labels, original.utterances)
    if result.model:
        enrolled = result.model.enrolled
        content = {
            "temperature": result.model.temperature,
            "temperature_enrolled": enrolled.temperature if enrolled else None,
            "best_epoch": result.model.best_epoch,
        }
        files.write_text(run.fold_temperatures, json.dumps(content) + "\n")
    return result


def _train_on_all_clips(
    data: ExperimentData,
    folder: RunFolder,
    pooled: CrossValidationResult,
    options: FinetuneOptions,
    reporter: Reporter,
) -> None:
    """Train on all clips, calibrate on the test clips of the folds, and write the bundle with the scores of the folds.

    The threshold of the out-of-distribution score is that of the first fold's validation and test clips.
    """
    runs = [folder.fold(fold.index) for fold in data.folds]
    settings = [read_json(run.fold_temperatures) for run in runs]
    pairs = [(run.predictions, s["temperature"]) for run, s in zip(runs, settings, strict=True)]
    temperature = _fit_pooled_temperature(pairs)
    enrolled = None
    if all(s["temperature_enrolled"] for s in settings):
        pairs = [(run.predictions_enrolled, s["temperature_enrolled"]) for run, s in zip(runs, settings, strict=True)]
        enrolled = EnrolledResult(_fit_pooled_temperature(pairs), float("nan"))
    first = data.folds[0]
    every = Fold(first.index, "all clips", first.train, tuple(sorted((*first.validation, *first.test))), ())
    model_of_first_fold = load_bundle_model(bundles.read_bundle(runs[0].bundle))
    best_epoch = median_low(s["best_epoch"] for s in settings)
    trained = refit_on_both(
        TrainedModel(model_of_first_fold, temperature, best_epoch, float("nan"), 0.0, enrolled),
        data,
        every,
        folder.fit_paths(),
        keeps_last_epoch=data.recipe.model.create_task(data, every).keeps_last_epoch,
        resume=options.resume,
        progress=reporter.show_training_progress,
    )
    split = split_metadata(data, every, describe_all_folds(data)) | {"note": _NOTE.format(len(runs))}
    exported = export_bundle(data, every, trained, folder.bundle, split)
    by_corpus = scores_by_corpus(pooled.plain.labels, pooled.plain.utterances)
    metadata = replace(
        exported.metadata,
        scores=pooled.plain.scores.as_dict(),
        scores_enrolled=pooled.enrolled.scores.as_dict() if pooled.enrolled else None,
        scores_by_corpus={name: scores.as_dict() for name, scores in by_corpus.items()},
    )
    bundles.update_metadata(exported.folder, metadata)


def _fit_pooled_temperature(predictions: Sequence[tuple[Path, float]]) -> float:
    """Fit the temperature to the predictions of several folds.

    Args:
        predictions: File of predictions and temperature of each fold.
    """
    logits, labels, speakers = [], [], []
    for path, temperature in predictions:
        names, utterances = read_predictions(path)
        probabilities = np.asarray([utterance.probabilities for utterance in utterances])
        logits.append(temperature * np.log(np.maximum(probabilities, _MIN_PROBABILITY)))
        labels += [names.index(utterance.emotion) for utterance in utterances]
        speakers += [utterance.speaker for utterance in utterances]
    number = {name: k for k, name in enumerate(dict.fromkeys(speakers))}
    speaker_index = None if "" in number else np.asarray([number[name] for name in speakers])
    return fit_temperature_to_arrays(np.concatenate(logits), np.asarray(labels), speaker_index)


def _compare(data: ExperimentData, folder: RunFolder, cross_validated: bool) -> Comparison:
    """Compare the original and the finetuned model on the test clips."""
    runs = [folder.fold(fold.index) for fold in data.folds] if cross_validated else [folder]
    source = bundles.read_bundle(data.recipe.init_from or bundles.DEFAULT_BUNDLE).metadata
    finetuned = _read_all([run.predictions for run in runs])
    original = _read_all([run.predictions_original for run in runs if run.predictions_original.is_file()])
    scores = "both scores are" if data.recipe.init_from else "its score is"
    overlap = describe_training_overlap(source, finetuned, scores)
    return compare_models(data.emotions, finetuned, original, source.labels, overlap)


def _read_all(paths: Sequence[Path]) -> list[ScoredUtterance]:
    return [utterance for path in paths for utterance in read_predictions(path)[1]]


def _split_text(plan: FinetunePlan) -> str:
    """The part of each clip as CSV: training, validation or test, or the fold that tests it."""
    parts: dict[int, str] = {}
    for fold in plan.folds:
        parts |= dict.fromkeys(fold.test, f"test of fold {fold.index}") if plan.cross_validates else name_parts(fold)
    return split_to_csv(plan.data.rows, parts)


def _check_same_split(folder: RunFolder, split: str) -> None:
    """Raise CorpusError if a run that is resumed was started with other recordings."""
    if folder.split.is_file() and folder.split.read_text(encoding="utf-8") != split:
        raise CorpusError(
            f"{folder} was started with other recordings, labels or folds (compare {folder.split}); start a new run"
        )
