"""Hyper-parameters by search: Optuna's TPE (Bergstra et al. 2011) and Hyperband, on validation speakers alone."""

from __future__ import annotations

import json
import logging
import os
import shutil
import socket
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lightning as L
import optuna
from optuna.storages.journal import JournalFileBackend
from sqlalchemy.exc import SQLAlchemyError

from kanjo.corpora.splits import Fold
from kanjo.errors import KanjoError, RecipeError
from kanjo.train.config.base import ChoiceSection, TuneSection
from kanjo.train.config.loading import changed
from kanjo.train.config.schema import Recipe
from kanjo.train.data.experiment_data import Material
from kanjo.train.fit import best_of

log = logging.getLogger("kanjo")

JOURNAL = "study.journal"
_FAULTS = "said"


@dataclass(frozen=True)
class Trial:
    """One set of values: ``state`` is "done", "cut" (pruned), "failed" or "running"; ``uar`` its best on validation speakers."""

    number: int
    state: str
    uar: float | None
    epochs: int
    values: dict[str, Any]
    said: str = ""


@dataclass(frozen=True)
class Tuned:
    """A study as it stands: all trials in order, the best one's recipe, and how much each key matters (None: too few trials)."""

    trials: tuple[Trial, ...]
    best: Trial
    recipe: Recipe
    importance: dict[str, float] | None

    def count(self, state: str) -> int:
        return sum(trial.state == state for trial in self.trials)


def check_space(recipe: Recipe) -> TuneSection:
    """The recipe's search space, every end of which makes a recipe. Raises RecipeError."""
    if recipe.tune is None:
        raise RecipeError(f"{recipe.name} says nothing of what to search: it needs a section 'tune' with a 'space'")
    if recipe.finetune is not None:
        raise RecipeError(f"{recipe.name} has two stages; what can be tuned has one")
    for key, section in recipe.tune.space.items():
        for value in section.choices if isinstance(section, ChoiceSection) else (section.low, section.high):
            try:
                changed(recipe, {key: value})
            except RecipeError as error:
                raise RecipeError(f"tune.space.{key}: {value!r} makes no recipe: {error}") from None
    return recipe.tune


def open_study(recipe: Recipe, folder: Path, storage: str | None) -> optuna.Study:
    """The study in a folder's journal, or in a database (any URL that SQLAlchemy knows). Raises KanjoError."""
    tune = check_space(recipe)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with _storage_errors(storage or str(folder / JOURNAL)):
        kept: Any = storage
        if kept is None:
            folder.mkdir(parents=True, exist_ok=True)
            kept = optuna.storages.JournalStorage(JournalFileBackend(str(folder / JOURNAL)))
        most = tune.epochs or recipe.training.epochs
        study = optuna.create_study(
            storage=kept,
            study_name=recipe.name,
            load_if_exists=True,
            direction="maximize",
            pruner=optuna.pruners.HyperbandPruner(min(tune.min_epochs, most), most, tune.reduction),
        )
        # a study that goes on, and each process of several, draw what is new, and not the first trials' values again
        seed = tune.seed + len(study.get_trials(deepcopy=False)) + (os.getpid() if _is_worker() else 0)
        study.sampler = optuna.samplers.TPESampler(seed=seed)
        space = json.dumps({key: section.model_dump() for key, section in tune.space.items()}, sort_keys=True)
        known = study.user_attrs.get("space")
        if known is not None and known != space:
            raise RecipeError(f"{storage or folder}: this study searches another space; choose another folder or study")
        study.set_user_attr("space", space)
        _revive(study)
    return study


def search(
    study: optuna.Study, material: Material, fold: Fold, folder: Path, until: int, say: Callable[[Trial, float], None]
) -> None:
    """Run trials, in this process, until the study has ``until`` of them, those of other processes included.

    ``say(trial, best)`` is called after each. Raises KanjoError for a full disk or a storage that is lost.
    """

    def objective(trial: optuna.Trial) -> float:
        trial.set_user_attr("worker", f"{socket.gethostname()}:{os.getpid()}")
        recipe = _drawn(material.recipe, trial)
        run = folder / "trials" / f"{trial.number:04d}"
        shutil.rmtree(run, ignore_errors=True)
        run.mkdir(parents=True)
        try:
            return best_of(replace(material, recipe=recipe), fold, run, [_Watch(trial)]).validation_uar
        finally:
            shutil.rmtree(run / "checkpoints", ignore_errors=True)

    while _counted(study) < until:
        with _storage_errors(str(folder)):
            trial = study.ask()
            try:
                found: float | None = objective(trial)
                state = optuna.trial.TrialState.COMPLETE
            except optuna.TrialPruned:
                found, state = None, optuna.trial.TrialState.PRUNED
            except RecipeError as error:  # values that don't go together: that set is no good, the search goes on
                trial.set_user_attr(_FAULTS, str(error))
                found, state = None, optuna.trial.TrialState.FAIL
            frozen = study.tell(trial, found, state=state)
            say(_told(frozen), _best_value(study))


def result(study: optuna.Study, recipe: Recipe) -> Tuned:
    """What the study has found. Raises KanjoError when no trial came to an end."""
    with _storage_errors(study.study_name):
        frozen = study.get_trials(deepcopy=False)
    trials = tuple(_told(trial) for trial in frozen)
    done = [trial for trial in trials if trial.uar is not None and trial.state in ("done", "cut")]
    if not done:
        said = next((trial.said for trial in trials if trial.said), "no trial came to an end")
        raise KanjoError(f"nothing found in {len(trials)} trials: {said}")
    best = max((trial for trial in done if trial.state == "done"), key=lambda t: t.uar or 0.0, default=done[0])
    named = changed(recipe, best.values).model_copy(update={"name": f"{recipe.name}-tuned", "tune": None})
    return Tuned(trials, best, named, _importance(study))


class _Watch(L.Callback):
    """Tells the study each epoch's validation UAR, and stops a trial that it cuts."""

    def __init__(self, trial: optuna.Trial) -> None:
        self.trial = trial

    def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        epoch = trainer.current_epoch + 1
        self.trial.report(float(trainer.callback_metrics["validation/uar"]), epoch)
        if epoch < (trainer.max_epochs or 0) and self.trial.should_prune():  # at its end there is nothing to save
            raise optuna.TrialPruned(f"after epoch {epoch}")


def _drawn(recipe: Recipe, trial: optuna.Trial) -> Recipe:
    """The recipe with this trial's values. Raises RecipeError when they don't go together."""
    tune = recipe.tune
    assert tune is not None, "check_space has looked"
    values: dict[str, Any] = {}
    for key, section in tune.space.items():
        if isinstance(section, ChoiceSection):  # Optuna keeps plain words and numbers; a list goes as text
            values[key] = json.loads(trial.suggest_categorical(key, [json.dumps(value) for value in section.choices]))
        elif isinstance(section.low, int) and isinstance(section.high, int):
            values[key] = trial.suggest_int(
                key, section.low, section.high, step=int(section.step or 1), log=section.log
            )
        else:
            values[key] = trial.suggest_float(key, section.low, section.high, step=section.step, log=section.log)
    return changed(recipe, {**values, "training.epochs": tune.epochs or recipe.training.epochs})


def _told(trial: optuna.trial.FrozenTrial) -> Trial:
    states = {"COMPLETE": "done", "PRUNED": "cut", "FAIL": "failed", "RUNNING": "running", "WAITING": "running"}
    seen = trial.intermediate_values
    uar = (
        trial.value if trial.value is not None and trial.state.name == "COMPLETE" else max(seen.values(), default=None)
    )
    values = {key: json.loads(value) if isinstance(value, str) else value for key, value in trial.params.items()}
    return Trial(trial.number, states[trial.state.name], uar, len(seen), values, trial.user_attrs.get(_FAULTS, ""))


def _counted(study: optuna.Study) -> int:
    """Trials that count: those that a dead process left don't, for their values are tried again."""
    failed = optuna.trial.TrialState.FAIL
    waiting = optuna.trial.TrialState.WAITING
    with _storage_errors(study.study_name):
        trials = study.get_trials(deepcopy=False)
    return sum(t.state != waiting and (t.state != failed or _FAULTS in t.user_attrs) for t in trials)


def _best_value(study: optuna.Study) -> float:
    with suppress(ValueError):
        return float(study.best_value)
    return float("nan")


def _revive(study: optuna.Study) -> None:
    """Trials that a process of this machine left running when it died end here, and their values are tried again."""
    for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
        host, _, process = str(trial.user_attrs.get("worker", "")).rpartition(":")
        if host == socket.gethostname() and process.isdigit() and not _alive(int(process)):
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
            if trial.params:
                study.enqueue_trial(trial.params)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _is_worker() -> bool:
    return os.environ.get("KANJO_TUNE_WORKER") == "1"


def _importance(study: optuna.Study) -> dict[str, float] | None:
    """How much of the differences between trials each key explains (PED-ANOVA, Watanabe et al. 2023)."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # it warns where all trials did alike, and there is nothing to tell
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        try:
            found = optuna.importance.get_param_importances(
                study, evaluator=optuna.importance.PedAnovaImportanceEvaluator()
            )
        except (ValueError, RuntimeError, UserWarning):  # fewer than two trials that ended, or none that differ
            return None
    return {key: float(value) for key, value in found.items()}


@contextmanager
def _storage_errors(where: str) -> Iterator[None]:
    """What a lost or damaged storage raises, as one line."""
    try:
        yield
    except (optuna.exceptions.StorageInternalError, SQLAlchemyError) as error:
        raise KanjoError(
            f"the study in {where} can't be reached ({_line(error)}); trials that ended are kept there"
        ) from error
    except (OSError, json.JSONDecodeError) as error:
        raise KanjoError(f"the study in {where} can't be read or written ({_line(error)})") from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] in ("sqlalchemy", "alembic"):
            raise KanjoError(
                f"the study in {where} can't be reached ({_line(error)}); trials that ended are kept there"
            ) from error
        raise


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
