"""The Optuna study of a hyper-parameter search: open it, count its trials, and repeat trials that were killed."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import optuna
from optuna.storages.journal import JournalFileBackend
from sqlalchemy.exc import SQLAlchemyError

from kanjo.errors import KanjoError, RecipeError
from kanjo.train.config.loading import override_values
from kanjo.train.config.tuning import ChoiceConfig

if TYPE_CHECKING:
    from kanjo.experiments.run_folder import RunFolder
    from kanjo.train.config.schema import Recipe
    from kanjo.train.config.tuning import TuneConfig

#: Environment variable of the processes that share a study.
WORKER_VARIABLE = "KANJO_TUNE_WORKER"
#: User attributes of a trial: why it failed, and the process that runs it.
ERROR_ATTRIBUTE, WORKER_ATTRIBUTE = "error", "worker"
_SPACE_ATTRIBUTE = "space"
_DATABASE_MODULES = ("sqlalchemy", "alembic")
_MAX_MESSAGE_LENGTH = 200


def check_search_space(recipe: Recipe) -> TuneConfig:
    """The recipe's section ``tune``, after a check that the bounds and choices of its keys are valid values.

    Raises:
        RecipeError: There is no such section, a value is not valid, or the model has two stages.
    """
    if recipe.tune is None:
        raise RecipeError(f"{recipe.name} has no section 'tune' with a 'space'; add one to search hyper-parameters")
    if recipe.stage1 is not None:
        raise RecipeError(f"{recipe.name} has two stages; only models with one stage can be tuned")
    for key, section in recipe.tune.space.items():
        for value in section.choices if isinstance(section, ChoiceConfig) else (section.low, section.high):
            try:
                override_values(recipe, {key: value})
            except RecipeError as error:
                raise RecipeError(f"tune.space.{key}: {value!r} is not a valid value: {error}") from None
    return recipe.tune


def open_study(recipe: Recipe, folder: RunFolder, storage: str | None) -> optuna.Study:
    """Open the study of a search, or create it.

    Args:
        recipe: The recipe with the search space.
        folder: The folder of the search. Its journal stores the study if there is no ``storage``.
        storage: URL of a database (any that SQLAlchemy supports).

    Raises:
        RecipeError: The study has another search space.
        KanjoError: The storage can't be reached, read or written.
    """
    tune = check_search_space(recipe)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with explain_storage_errors(storage or str(folder.study)):
        max_epochs = tune.epochs or recipe.training.epochs
        study = optuna.create_study(
            storage=storage or _open_journal(folder),
            study_name=recipe.name,
            load_if_exists=True,
            direction="maximize",
            pruner=optuna.pruners.HyperbandPruner(min(tune.min_epochs, max_epochs), max_epochs, tune.reduction),
        )
        # A resumed study and parallel workers must not draw the values of the first trials again.
        worker_offset = os.getpid() if os.environ.get(WORKER_VARIABLE) == "1" else 0
        seed = tune.seed + len(study.get_trials(deepcopy=False)) + worker_offset
        study.sampler = optuna.samplers.TPESampler(seed=seed)
        space = json.dumps({key: section.model_dump() for key, section in tune.space.items()}, sort_keys=True)
        if study.user_attrs.get(_SPACE_ATTRIBUTE, space) != space:
            raise RecipeError(
                f"{storage or folder}: this study has another search space; choose another folder or database"
            )
        study.set_user_attr(_SPACE_ATTRIBUTE, space)
        _repeat_killed_trials(study)
    return study


def count_trials(study: optuna.Study) -> int:
    """The number of trials, without those that are queued and those whose process was killed (they are repeated)."""
    failed, waiting = optuna.trial.TrialState.FAIL, optuna.trial.TrialState.WAITING
    with explain_storage_errors(study.study_name):
        trials = study.get_trials(deepcopy=False)
    return sum(
        trial.state != waiting and (trial.state != failed or ERROR_ATTRIBUTE in trial.user_attrs) for trial in trials
    )


def worker_name() -> str:
    """Name of this process, unique among the machines that share a study."""
    return f"{socket.gethostname()}:{os.getpid()}"


@contextmanager
def explain_storage_errors(storage: str) -> Iterator[None]:
    """Turn the errors of a lost or damaged storage into a KanjoError of one line."""
    try:
        yield
    except (OSError, json.JSONDecodeError) as error:
        raise KanjoError(f"the study in {storage} can't be read or written ({_one_line(error)})") from error
    except Exception as error:
        storage_error = isinstance(error, optuna.exceptions.StorageInternalError | SQLAlchemyError)
        if not storage_error and type(error).__module__.partition(".")[0] not in _DATABASE_MODULES:
            raise
        raise KanjoError(
            f"the study in {storage} can't be reached ({_one_line(error)}); it keeps all trials that have ended"
        ) from error


def _open_journal(folder: RunFolder) -> Any:
    folder.path.mkdir(parents=True, exist_ok=True)
    return optuna.storages.JournalStorage(JournalFileBackend(str(folder.study)))


def _repeat_killed_trials(study: optuna.Study) -> None:
    """Mark trials as failed whose process on this machine has been killed, and queue their values again."""
    for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
        host, _, process = str(trial.user_attrs.get(WORKER_ATTRIBUTE, "")).rpartition(":")
        if host == socket.gethostname() and process.isdigit() and not _is_running(int(process)):
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
            if trial.params:
                study.enqueue_trial(trial.params)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # the process of another user
        return True
    return True


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:_MAX_MESSAGE_LENGTH] or type(error).__name__
