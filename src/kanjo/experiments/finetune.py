"""Train on one's own recordings: read, split, train, compare with the original model, and write one bundle.

"Finetune" fits the linear heads of the built-in model, whose encoder stays frozen. The embeddings of all clips are
computed once, so the folds of a cross-validation take seconds. A recipe "from scratch" is trained in the same way.

PyTorch is imported after the recordings were read and split, so that data that can't be used are refused at once.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kanjo.errors import RecipeError
from kanjo.experiments.finetune_data import check_recordings, read_labeled_data
from kanjo.experiments.finetune_plan import FinetunePlan, plan_finetuning
from kanjo.experiments.finetune_result import FinetuneResult, read_result, remove_intermediate_files
from kanjo.experiments.run_folder import RunFolder, choose_run_folder
from kanjo.inference.recognizer import load
from kanjo.train.config.loading import load_recipe, override_values

if TYPE_CHECKING:
    from kanjo.experiments.finetune_data import LabeledData
    from kanjo.experiments.reporter import Reporter
    from kanjo.train.config.schema import Recipe

_RECIPE = "finetune-default"
#: Durations in units of one window through the built-in graph, measured on RAVDESS (1440 clips; 6 trainings on 160):
#: an embedding in PyTorch; the tests of one clip with both models; a training with its export, without its tests.
_EMBEDDING_COST, _TEST_COST, _TRAINING_COST = 2.0, 6.0, 350.0


@dataclass(frozen=True)
class FinetuneOptions:
    """How a model is trained on one's own recordings.

    Attributes:
        from_scratch: Name or file of a recipe to train instead of the built-in model's heads; "" for these.
        n_folds: Folds of a cross-validation (None: five under 500 clips, else one split).
        resume: Whether an interrupted run continues.
        threads: Cores to use; 0: all.
    """

    from_scratch: str = ""
    n_folds: int | None = None
    resume: bool = False
    threads: int = 0


def finetune(
    data: str | Path, output: Path | None, corpus_root: str | None, options: FinetuneOptions, reporter: Reporter
) -> FinetuneResult:
    """Train on labeled recordings.

    Args:
        data: A folder of class folders, a table, a manifest, or the name of a published corpus.
        output: The run folder; None for a new one below ``runs/``.
        corpus_root: The folder of the published corpora.
        options: How the model is trained.
        reporter: Receives progress and messages.

    Raises:
        KanjoError: The data can't be used, or the folder can't be written. In the first case, no folder is left.
        KeyboardInterrupt: The user pressed Ctrl-C. The run can be resumed.
    """
    if finished := find_finished(output, options, reporter):
        return finished
    plan = prepare(data, output, corpus_root, options, reporter)
    return run_plan(plan, output, corpus_root, options, reporter)


def find_finished(output: Path | None, options: FinetuneOptions, reporter: Reporter) -> FinetuneResult | None:
    """The result of a run that is resumed, but is finished. A message says that nothing is trained."""
    if output is None or not options.resume:
        return None
    folder = RunFolder(output)
    if not folder.finetuning.is_file():
        return None
    result = read_result(folder.finetuning, output, folder.bundle)
    reporter.log(f"{output} is finished, so nothing is trained; for other recordings, choose another folder with -o")
    with folder.locked():  # this also removes the lock of a process that was killed when the run was finished
        remove_intermediate_files(folder, result.n_folds)
    return result


def prepare(
    data: str | Path, output: Path | None, corpus_root: str | None, options: FinetuneOptions, reporter: Reporter
) -> FinetunePlan:
    """Read and check the recordings, and plan what will be done. Nothing is written.

    Raises:
        CorpusError: The data can't be used.
        RecipeError: The output folder is a file or not empty, or there is no such recipe.
    """
    if output is not None and output.exists() and not output.is_dir():
        raise RecipeError(f"{output} is a file; expected a new folder")
    if output is not None and not options.resume and not RunFolder(output).is_empty():
        raise RecipeError(f"{output} is not empty; continue this run with --resume, or choose another folder with -o")
    recipe = load_recipe(options.from_scratch or _RECIPE, corpus_root=corpus_root or "")
    read = read_labeled_data(data, corpus_root)
    _plan(read, recipe, options)  # refuses a split that can't work before the recordings are decoded
    return _plan(check_recordings(read, reporter), recipe, options)


def estimate_minutes(
    plan: FinetunePlan, corpus_root: str | None, options: FinetuneOptions, reporter: Reporter
) -> float:
    """Estimate the duration of a run from a short measurement on this machine. Nothing is trained."""
    recipe = build_recipe(plan, corpus_root, options)
    second_per_window = _measure_window()
    n_test = sum(len(fold.test) for fold in plan.folds)
    seconds = second_per_window * _TEST_COST * n_test
    n_trainings = len(plan.folds) + plan.cross_validates
    if options.from_scratch:
        from kanjo.experiments.finetune_training import estimate_training_minutes

        return seconds / 60 + n_trainings * estimate_training_minutes(plan, recipe, options.threads, reporter)
    n_embeddings = len(plan.data.rows) * (1 + recipe.training.n_augmented_copies)
    seconds += second_per_window * _EMBEDDING_COST * n_embeddings
    return (seconds + second_per_window * _TRAINING_COST * n_trainings) / 60


def choose_folder(plan: FinetunePlan, output: Path | None, corpus_root: str | None, options: FinetuneOptions) -> Path:
    """Choose the run folder: ``output``, the latest run of these recordings (resume), or a new one below ``runs/``.

    Raises:
        RecipeError: There is no run to resume.
    """
    return choose_run_folder(build_recipe(plan, corpus_root, options), output, options.resume, "finetune").path


def run_plan(
    plan: FinetunePlan, output: Path | None, corpus_root: str | None, options: FinetuneOptions, reporter: Reporter
) -> FinetuneResult:
    """Train what was planned, and write the run folder.

    Raises:
        KanjoError: The folder can't be written, belongs to another run, or is used by another command.
        KeyboardInterrupt: The user pressed Ctrl-C. The run can be resumed.
    """
    started = time.monotonic()
    recipe = build_recipe(plan, corpus_root, options)
    folder = choose_run_folder(recipe, output, options.resume, "finetune")
    if finished := find_finished(folder.path, options, reporter):
        return finished
    from kanjo.experiments.finetune_training import train_plan

    with folder.locked():
        return train_plan(plan, recipe, folder, options, reporter, started)


def build_recipe(plan: FinetunePlan, corpus_root: str | None, options: FinetuneOptions) -> Recipe:
    """The recipe for the recordings of a plan."""
    recipe = load_recipe(options.from_scratch or _RECIPE, corpus_root=corpus_root or "")
    data = plan.data
    start = f"the recipe {recipe.name}" if options.from_scratch else "the built-in model, fitted further"
    values = {
        "name": data.name,
        "description": f"{start}, on {data.name}",
        "corpora": [{"name": data.corpus, "path": str(data.root.resolve())}],
        "labels": {"map": {}, "include": None},
        "select": {},
        "split.protocol": plan.protocol,
        "split.n_folds": max(2, len(plan.folds)),
        "split.fold": 1,
        "training.calibration": "validation",
        "ablations": {},
        "tune": None,
    }
    if getattr(recipe.model, "speaker_conditioning", False) and not plan.enrollment:
        values["model.speaker_conditioning"] = False
    return override_values(recipe, values)


def _plan(data: LabeledData, recipe: Recipe, options: FinetuneOptions) -> FinetunePlan:
    plan = plan_finetuning(data, options.n_folds)
    if recipe.model.n_stages > 1 and plan.cross_validates:  # stage 1 can't be trained on all clips
        note = f"{recipe.name} has two stages, so one split is trained"
        return replace(plan, folds=plan.folds[:1], cross_validates=False, notes=(*plan.notes, note))
    return plan


def _measure_window() -> float:
    """Seconds that the built-in graph takes for one window: the shortest of three runs after a first one."""
    recognizer = load()
    window = np.random.default_rng(0).normal(0, 0.1, (1, recognizer.metadata.window_length)).astype(np.float32)
    seconds = []
    for _ in range(4):
        started = time.perf_counter()
        recognizer.probabilities(window)
        seconds.append(time.perf_counter() - started)
    return min(seconds[1:])
