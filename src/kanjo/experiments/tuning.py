"""Hyper-parameter search by validation UAR or accuracy (``tune.metric``).

Values are drawn by the tree-structured Parzen estimator (TPE; Bergstra et al. 2011), and poor trials are pruned by
Hyperband (Li et al. 2018). Both are Optuna's. Test speakers are not used.
"""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import optuna

from kanjo import files
from kanjo.errors import KanjoError, RecipeError
from kanjo.evaluation.reports import tuning_plots
from kanjo.evaluation.reports.rendering import write_figures
from kanjo.experiments.optuna_study import (
    ERROR_ATTRIBUTE,
    WORKER_ATTRIBUTE,
    WORKER_VARIABLE,
    check_search_space,
    count_trials,
    explain_storage_errors,
    open_study,
    worker_name,
)
from kanjo.experiments.pipeline import load_data
from kanjo.experiments.subprocesses import run_with_retry
from kanjo.train.config.loading import override_values
from kanjo.train.config.tuning import ChoiceConfig
from kanjo.train.fit import fit_without_calibration

if TYPE_CHECKING:
    from collections.abc import Callable

    from kanjo.corpora.splits import Fold
    from kanjo.experiments.reporter import Reporter
    from kanjo.experiments.run_folder import RunFolder
    from kanjo.train.callbacks import EpochResult
    from kanjo.train.config.schema import Recipe
    from kanjo.train.data.experiment_data import ExperimentData

__all__ = [
    "Trial",
    "TuningResult",
    "check_search_space",
    "count_workers",
    "get_result",
    "open_study",
    "run_trials",
    "run_workers",
    "write_result",
]

#: Names of the metrics for people.
METRIC_NAMES = {"uar": "UAR", "accuracy": "accuracy"}
_STATES = {"COMPLETE": "done", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running", "WAITING": "running"}


@dataclass(frozen=True)
class Trial:
    """One set of values.

    Attributes:
        number: Number of the trial, from 0.
        state: "done", "pruned", "failed" or "running".
        score: Best validation UAR or accuracy (0 to 1); None before the first epoch.
        epochs: Number of trained epochs.
        values: The values by recipe key.
        error: Why the trial failed.
    """

    number: int
    state: str
    score: float | None
    epochs: int
    values: dict[str, Any]
    error: str = ""


@dataclass(frozen=True)
class TuningResult:
    """The state of a study.

    Attributes:
        trials: All trials in order.
        best: The completed trial with the highest score.
        recipe: The recipe with the values of this trial.
        importance: Importance of each key (PED-ANOVA); None if there are too few trials.
        metric: Metric of the scores, "uar" or "accuracy".
    """

    trials: tuple[Trial, ...]
    best: Trial
    recipe: Recipe
    importance: dict[str, float] | None
    metric: str = "uar"

    @property
    def metric_name(self) -> str:
        """Name of the metric for people."""
        return METRIC_NAMES[self.metric]

    def count(self, state: str) -> int:
        """The number of trials in a state."""
        return sum(trial.state == state for trial in self.trials)


def count_workers(jobs: int, n_trials: int) -> int:
    """The number of processes that search together (``jobs`` 0: one per core)."""
    return min(jobs or os.cpu_count() or 1, n_trials)


def run_trials(
    study: optuna.Study, recipe: Recipe, corpus_root: str | None, folder: RunFolder, n_trials: int, reporter: Reporter
) -> None:
    """Run trials in this process until the study has ``n_trials``, those of other processes included.

    Raises:
        KanjoError: The disk is full, or the storage can't be reached.
    """
    data = load_data(recipe, corpus_root, reporter)
    fold = data.fold(recipe.split.fold)
    data = data.for_fold(fold)
    while count_trials(study) < n_trials:
        with explain_storage_errors(str(folder)):
            trial = study.ask()
            value: float | None = None
            try:
                value = _train_trial(trial, data, fold, folder)
                state = optuna.trial.TrialState.COMPLETE
            except optuna.TrialPruned:
                state = optuna.trial.TrialState.PRUNED
            except RecipeError as error:  # values that can't be combined: the search continues with others
                trial.set_user_attr(ERROR_ATTRIBUTE, str(error))
                state = optuna.trial.TrialState.FAIL
            ended = _convert_trial(study.tell(trial, value, state=state))
            reporter.log(_describe_trial(ended, _best_score(study), METRIC_NAMES[check_search_space(recipe).metric]))


def run_workers(
    folder: RunFolder,
    corpus_root: str | None,
    n_trials: int,
    storage: str | None,
    n_workers: int,
    reporter: Reporter,
) -> None:
    """Run the trials in several processes with their own cores. A process that is killed is started once more.

    Raises:
        KanjoError: A process failed.
    """
    threads = max(1, (os.cpu_count() or 1) // n_workers)
    arguments = ["tune", str(folder.recipe), "-o", str(folder), "--resume", "--worker", "--trials", str(n_trials)]
    arguments += ["--storage", storage] if storage else []
    arguments += ["--corpus-root", corpus_root] if corpus_root else []

    def run_worker(index: int) -> str:
        time.sleep(index)  # so that two processes don't decode the same corpus at the same time
        environment = {WORKER_VARIABLE: "1"}
        exit_code, last_line = run_with_retry(arguments, "a worker", threads, reporter, environment=environment)
        return f"exit code {exit_code}: {last_line}" if exit_code else ""

    with ThreadPoolExecutor(n_workers) as pool:
        failures = [failure for failure in pool.map(run_worker, range(n_workers)) if failure]
    if failures:
        raise KanjoError(
            f"{len(failures)} of {n_workers} workers failed ({failures[0]}); continue with --resume -o {folder}"
        )


def get_result(study: optuna.Study, recipe: Recipe) -> TuningResult:
    """The trials of a study, and the recipe with the best values.

    Raises:
        KanjoError: No trial has been completed.
    """
    with explain_storage_errors(study.study_name):
        trials = tuple(_convert_trial(trial) for trial in study.get_trials(deepcopy=False))
    scored = [trial for trial in trials if trial.score is not None and trial.state in ("done", "pruned")]
    if not scored:
        reason = next((trial.error for trial in trials if trial.error), "no trial was completed")
        raise KanjoError(f"the search has no result after {len(trials)} trials: {reason}")
    done = [trial for trial in scored if trial.state == "done"]
    best = max(done, key=lambda trial: trial.score or 0.0, default=scored[0])
    tuned = override_values(recipe, best.values).model_copy(update={"name": f"{recipe.name}-tuned", "tune": None})
    metric = check_search_space(recipe).metric
    return TuningResult(trials, best, tuned, _compute_importance(study), metric)


def write_result(folder: RunFolder, result: TuningResult) -> None:
    """Write the best recipe, the table of the trials, and the figures."""
    files.write_text(folder.best_recipe, result.recipe.text())
    keys = list(result.best.values)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["trial", "state", f"validation_{result.metric}", "epochs", *keys, "error"])
    for trial in result.trials:
        values = [trial.values.get(key, "") for key in keys]
        writer.writerow([trial.number, trial.state, trial.score, trial.epochs, *values, trial.error])
    files.write_text(folder.trials, buffer.getvalue())
    points = [
        tuning_plots.TrialPoint(trial.number, trial.score, trial.state == "done", trial.values)
        for trial in result.trials
        if trial.score is not None
    ]
    figures = {
        "history": tuning_plots.plot_history(points, result.metric_name),
        "parallel": tuning_plots.plot_parallel_coordinates(points, result.metric_name),
    }
    if result.importance:
        figures["importance"] = tuning_plots.plot_importance(result.importance)
    write_figures(folder.path, figures)


def _train_trial(trial: optuna.Trial, data: ExperimentData, fold: Fold, folder: RunFolder) -> float:
    """Train with the values of a trial; returns the validation score of its best epoch.

    Raises:
        optuna.TrialPruned: Hyperband stopped the trial.
        RecipeError: The values can't be combined.
    """
    trial.set_user_attr(WORKER_ATTRIBUTE, worker_name())
    recipe, metric = _draw_recipe(data.recipe, trial), check_search_space(data.recipe).metric
    run = folder.trial(trial.number)
    shutil.rmtree(run.path, ignore_errors=True)
    run.path.mkdir(parents=True)
    trial_data = replace(data, recipe=recipe)
    try:
        best = fit_without_calibration(trial_data, fold, run.training_paths, _report_epochs(trial, metric))
    finally:
        shutil.rmtree(run.checkpoints, ignore_errors=True)
    return best.validation_uar if metric == "uar" else best.validation_accuracy


def _report_epochs(trial: optuna.Trial, metric: str) -> Callable[[EpochResult], None]:
    """A callback that reports the validation score of each epoch to the study, and stops a trial that is pruned."""

    def on_epoch_end(result: EpochResult) -> None:
        score = result.validation_uar if metric == "uar" else result.validation_accuracy
        trial.report(score, result.epoch)
        if result.epoch < result.n_epochs and trial.should_prune():  # after the last epoch, pruning saves no time
            raise optuna.TrialPruned(f"after epoch {result.epoch}")

    return on_epoch_end


def _draw_recipe(recipe: Recipe, trial: optuna.Trial) -> Recipe:
    """The recipe with the values of a trial. Raises RecipeError if they can't be combined."""
    tune = check_search_space(recipe)
    values: dict[str, Any] = {}
    for key, section in tune.space.items():
        if isinstance(section, ChoiceConfig):  # Optuna stores only texts and numbers, so lists are encoded as JSON
            choices = [json.dumps(value) for value in section.choices]
            values[key] = json.loads(trial.suggest_categorical(key, choices))
        elif isinstance(section.low, int) and isinstance(section.high, int):
            step = int(section.step or 1)
            values[key] = trial.suggest_int(key, section.low, section.high, step=step, log=section.log)
        else:
            values[key] = trial.suggest_float(key, section.low, section.high, step=section.step, log=section.log)
    return override_values(recipe, {**values, "training.epochs": tune.epochs or recipe.training.epochs})


def _convert_trial(trial: optuna.trial.FrozenTrial) -> Trial:
    score = trial.value if trial.state.name == "COMPLETE" else None
    if score is None:
        score = max(trial.intermediate_values.values(), default=None)
    values = {key: json.loads(value) if isinstance(value, str) else value for key, value in trial.params.items()}
    error = str(trial.user_attrs.get(ERROR_ATTRIBUTE, ""))
    return Trial(trial.number, _STATES[trial.state.name], score, len(trial.intermediate_values), values, error)


def _describe_trial(trial: Trial, best_score: float | None, metric: str) -> str:
    """One line for the log."""
    result = f"validation {metric} {100 * trial.score:.1f} %" if trial.score is not None else trial.error
    state = "" if trial.state == "done" else f", {trial.state}"
    best = f" (best {100 * best_score:.1f} %)" if best_score is not None else ""
    values = ", ".join(
        f"{key.rsplit('.', 1)[-1]} {value:.3g}" if isinstance(value, float) else f"{key.rsplit('.', 1)[-1]} {value}"
        for key, value in trial.values.items()
    )
    return f"trial {trial.number}: {result}, {trial.epochs} epochs{state}{best}; {values}"


def _best_score(study: optuna.Study) -> float | None:
    """The best score so far; None before the first trial is completed."""
    with suppress(ValueError):
        return float(study.best_value)
    return None


def _compute_importance(study: optuna.Study) -> dict[str, float] | None:
    """The part of the variance between trials that each key explains (PED-ANOVA; Watanabe et al. 2023)."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # raised if all trials have the same score
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        try:
            importance = optuna.importance.get_param_importances(study, evaluator=evaluator)
        except (ValueError, RuntimeError, UserWarning):  # fewer than two completed trials, or equal scores
            return None
    return {key: float(value) for key, value in importance.items()}
