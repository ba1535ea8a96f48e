"""The files of a run, whose names only this module contains, and the choice of the run folder."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kanjo.bundle import BUNDLE_FOLDER
from kanjo.errors import KanjoError, RecipeError
from kanjo.evaluation.reports.paths import ReportPaths
from kanjo.files import os_error_message, read_bytes
from kanjo.locks import LockedError, hold_lock
from kanjo.parsing import parse_json
from kanjo.train.config.loading import RECIPE_FILE

if TYPE_CHECKING:
    from kanjo.train.config.schema import Recipe
    from kanjo.train.fit import FitPaths
    from kanjo.train.tasks.two_stage import Stage1Paths
    from kanjo.train.trainer import TrainingPaths

#: Values of the option ``--stage``: one stage of a model that is trained in two stages.
STAGE1, STAGE2 = "stage1", "stage2"
#: Parent folder of the runs that are started without ``-o``.
RUNS = Path("runs")
#: Locked while a command writes into the folder.
_LOCK_FILE = ".lock"
_MAX_JSON_BYTES = 16_000_000


@dataclass(frozen=True)
class RunFolder:
    """The files of one run: a trained fold, a cross-validation, an ablation, a comparison or a search."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    @property
    def recipe(self) -> Path:
        """The resolved recipe."""
        return self.path / RECIPE_FILE

    @property
    def split(self) -> Path:
        """The utterances with the part (train, validation, test) that each belongs to."""
        return self.path / "split.csv"

    @property
    def log(self) -> Path:
        """The log of the run."""
        return self.path / "log.txt"

    @property
    def metrics(self) -> Path:
        """Losses and UARs of each epoch."""
        return self.path / "metrics.csv"

    @property
    def checkpoints(self) -> Path:
        """Lightning's checkpoints, from which an interrupted run resumes."""
        return self.path / "checkpoints"

    @property
    def stage1(self) -> RunFolder:
        """The folder of the first stage, for models that are trained in two stages."""
        return RunFolder(self.path / "stage1")

    @property
    def stage1_weights(self) -> Path:
        """The weights of the CNN that the first stage trains."""
        return self.stage1.path / "extractor.safetensors"

    @property
    def segment_features(self) -> Path:
        """The cached outputs of the first stage's CNN, input of the second stage."""
        return self.path / "features"

    @property
    def refit(self) -> RunFolder:
        """The folder of the training on training and validation utterances together."""
        return RunFolder(self.path / "refit")

    @property
    def training_paths(self) -> TrainingPaths:
        """The files that a training in this folder writes."""
        from kanjo.train.trainer import TrainingPaths  # imports PyTorch, which not all commands need

        return TrainingPaths(self.metrics, self.checkpoints, self.path)

    @property
    def stage1_paths(self) -> Stage1Paths:
        """The files that the first stage writes."""
        from kanjo.train.tasks.two_stage import Stage1Paths

        return Stage1Paths(self.stage1.training_paths, self.stage1_weights)

    @property
    def stage1_candidates(self) -> list[Path]:
        """The weights of first stages: of this run, then of the runs beside it, the latest first."""
        others = self.path.parent.glob(str(RunFolder(Path("*")).stage1_weights))
        latest_first = sorted(others, key=lambda path: -path.stat().st_mtime)
        return [path for path in dict.fromkeys([self.stage1_weights, *latest_first]) if path.is_file()]

    def fit_paths(self, stage1_weights: Path | None = None) -> FitPaths:
        """The files of training on one fold.

        Args:
            stage1_weights: The weights that the second stage starts from. Its features are cached beside them.
        """
        from kanjo.train.fit import FitPaths
        from kanjo.train.tasks.base import TaskPaths

        features = RunFolder(stage1_weights.parent if stage1_weights else self.path).segment_features
        return FitPaths(self.training_paths, self.refit.training_paths, TaskPaths(stage1_weights, features))

    @property
    def validation(self) -> Path:
        """The validation scores of a run without test (``--skip-test``)."""
        return self.path / "validation.json"

    @property
    def predictions(self) -> Path:
        """The predictions for the test utterances."""
        return self.path / "predictions.csv"

    @property
    def scores(self) -> Path:
        """The scores of the test utterances. A tested run has this file."""
        return self.path / "scores.json"

    @property
    def predictions_enrolled(self) -> Path:
        """The predictions for the test utterances with enrolled speakers."""
        return self.path / "predictions-enrolled.csv"

    @property
    def scores_enrolled(self) -> Path:
        """The scores of the test utterances with enrolled speakers."""
        return self.path / "scores-enrolled.json"

    @property
    def predictions_original(self) -> Path:
        """The predictions of the bundle that the training started from, for the test utterances."""
        return self.path / "predictions-original.csv"

    @property
    def report(self) -> Path:
        """The HTML report."""
        return self.path / "report.html"

    @property
    def report_paths(self) -> ReportPaths:
        """The files that the report of the run writes and reads."""
        return ReportPaths(
            predictions=self.predictions,
            scores=self.scores,
            predictions_enrolled=self.predictions_enrolled,
            scores_enrolled=self.scores_enrolled,
            page=self.report,
            figures=self.path,
            metrics=self.metrics,
        )

    @property
    def bundle(self) -> Path:
        """The exported bundle."""
        return self.path / BUNDLE_FOLDER

    # Cross-validation, comparison and ablation: a folder with one run folder per fold, recipe or variant.

    def fold(self, index: int) -> RunFolder:
        """The run of one fold (from 1) of a cross-validation."""
        return RunFolder(self.path / f"fold-{index}")

    @property
    def fold_logs(self) -> str:
        """A pattern that matches the logs of all folds of a cross-validation, for messages."""
        return str(RunFolder(self.path / "fold-*").log)

    def variant(self, name: str) -> RunFolder:
        """The run of one recipe of a comparison, or of one variant of an ablation."""
        return RunFolder(self.path / name.replace(" ", "-"))

    def variant_recipe(self, name: str) -> Path:
        """The recipe of one recipe of a comparison, or of one variant of an ablation."""
        return self.path / f"{name.replace(' ', '-')}.yaml"

    @property
    def finetuning(self) -> Path:
        """The result of a finished ``kanjo finetune``."""
        return self.path / "finetune.json"

    @property
    def fold_temperatures(self) -> Path:
        """Temperatures and epoch of a finished fold of ``kanjo finetune``."""
        return self.path / "temperatures.json"

    @property
    def benchmark(self) -> Path:
        """The scores of a bundle on many corpora. The predictions for each corpus are in its ``variant``."""
        return self.path / "benchmark.json"

    @property
    def comparison(self) -> Path:
        """The HTML page of a comparison."""
        return self.path / "comparison.html"

    @property
    def ablations(self) -> Path:
        """The table of an ablation on test speakers."""
        return self.path / "ablations.csv"

    @property
    def effects(self) -> Path:
        """The table of an ablation on validation speakers over several seeds."""
        return self.path / "effects.csv"

    # Hyper-parameter search.

    @property
    def study(self) -> Path:
        """Optuna's journal of a hyper-parameter search."""
        return self.path / "study.journal"

    def trial(self, number: int) -> RunFolder:
        """The run of one trial of a hyper-parameter search."""
        return RunFolder(self.path / "trials" / f"{number:04d}")

    @property
    def trials(self) -> Path:
        """The table of all trials of a hyper-parameter search."""
        return self.path / "trials.csv"

    @property
    def best_recipe(self) -> Path:
        """The recipe with the values of the best trial."""
        return self.path / "best.yaml"

    def is_empty(self) -> bool:
        """Whether the folder does not exist or has no files, besides the lock of a killed process."""
        return not self.path.is_dir() or all(path.name == _LOCK_FILE for path in self.path.iterdir())

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other commands from writing into the folder, which is made.

        Raises:
            KanjoError: Another command uses the folder, or it can't be written.
        """
        with ExitStack() as stack:
            try:
                self.path.mkdir(parents=True, exist_ok=True)
                stack.callback(self._remove_if_empty)
                stack.enter_context(hold_lock(self.path / _LOCK_FILE, wait=False))
            except LockedError as error:
                raise KanjoError(
                    f"another kanjo command uses {self}; wait until it has finished, or choose another folder with -o"
                ) from error
            except OSError as error:
                raise KanjoError(f"can't write {self}: {os_error_message(error)}") from error
            yield

    def _remove_if_empty(self) -> None:
        with suppress(OSError):
            self.path.rmdir()  # only works if it is empty


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object that a run has written.

    Raises:
        KanjoError: The file can't be read, or is damaged.
    """
    try:
        content = parse_json(read_bytes(path, _MAX_JSON_BYTES), strict=False)
    except OSError as error:
        raise KanjoError(f"can't read {path}: {os_error_message(error)}") from error
    except ValueError as error:
        raise KanjoError(f"{path} is damaged ({error}); remove it and run the command again") from error
    if not isinstance(content, dict):
        raise KanjoError(f"{path} is damaged (no JSON object); remove it and run the command again")
    return content


def choose_run_folder(recipe: Recipe, output: Path | None, resume: bool, kind: str, stage: str = "") -> RunFolder:
    """Choose the folder of a run: ``output``, the latest run of the recipe (``resume``), or a new folder.

    A second stage without ``output`` goes into the folder of the latest first stage that has no second stage yet.

    Args:
        recipe: The recipe. New folders are created below ``runs/NAME``.
        output: The folder that the user gave.
        resume: Whether the run continues.
        kind: What is run, such as "fold-1" or "crossval". It ends the names of new folders.
        stage: "stage1" or "stage2" if only one stage is trained.

    Raises:
        RecipeError: The folder has files and ``resume`` is false, or there is no run to resume.
    """
    folder = RunFolder(output) if output else _default_folder(recipe.name, resume, kind, stage)
    # A single stage may be added to a folder with the other stage.
    must_be_empty = {STAGE1: [folder.stage1, RunFolder(folder.checkpoints)], STAGE2: [RunFolder(folder.checkpoints)]}
    if not resume and not all(part.is_empty() for part in must_be_empty.get(stage, [folder])):
        raise RecipeError(f"{folder} is not empty; continue this run with --resume, or choose another folder with -o")
    return folder


def _default_folder(recipe_name: str, resume: bool, kind: str, stage: str) -> RunFolder:
    """The folder of a run without ``-o``."""
    parent = RUNS / recipe_name
    earlier = [RunFolder(path) for path in sorted(parent.glob(f"*-{kind}"))]
    if stage == STAGE2:
        waiting = [run for run in earlier if run.stage1.path.is_dir() and not run.checkpoints.exists()]
        if waiting:
            return waiting[-1]
    if not resume:
        return RunFolder(parent / f"{time.strftime('%Y%m%d-%H%M%S')}-{kind}")
    if not earlier:
        raise RecipeError(f"nothing to resume: no folder in {parent} ends in {kind}; give the run folder with -o")
    return earlier[-1]
