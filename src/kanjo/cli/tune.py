"""``kanjo tune``: hyper-parameter search, in one process or in several that share a study."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from kanjo import files
from kanjo.cli.common import (
    ConsoleReporter,
    CorpusRoot,
    Jobs,
    Output,
    Overrides,
    RecipeName,
    Silent,
    load_recipe,
    print_message,
    resumable,
)
from kanjo.errors import KanjoError

if TYPE_CHECKING:
    from kanjo.experiments.run_folder import RunFolder
    from kanjo.experiments.tuning import TuningResult


def tune(
    recipe: RecipeName,
    overrides: Overrides = None,
    corpus_root: CorpusRoot = None,
    trials: Annotated[
        int | None, typer.Option(min=1, help="Number of trials, earlier ones included (default: the recipe's).")
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="Database that several machines share, as sqlite:///study.db (default: a file in -o)."
        ),
    ] = None,
    output: Output = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the study in -o, or join it from another process.")
    ] = False,
    jobs: Jobs = 1,
    silent: Silent = False,
    worker: Annotated[bool, typer.Option(hidden=True)] = False,
) -> None:
    """Search the hyper-parameters in the recipe's section 'tune' by validation score; write the best as a recipe.

    Hyperband stops poor trials early. Test speakers are not used.

    Example: kanjo tune cnn-lstm-2d --corpus-root corpora --jobs 2
    """
    loaded = load_recipe(recipe, overrides, corpus_root)
    try:
        from kanjo.experiments import tuning
    except ImportError as error:
        raise KanjoError(f"tuning needs Optuna: pip install 'kanjo[tune]' ({error})") from error
    from kanjo.experiments.recipes import resolve_recipe
    from kanjo.experiments.run_folder import choose_run_folder
    from kanjo.experiments.subprocesses import exit_with_parent

    exit_with_parent()
    n_trials = trials or tuning.check_search_space(loaded).trials
    reporter = ConsoleReporter(silent)
    folder = choose_run_folder(loaded, output, resume, "tune")
    started = time.monotonic()
    n_workers = tuning.count_workers(jobs, n_trials)
    with resumable(folder):  # not locked: other processes may join the search with --resume
        resolved = resolve_recipe(loaded, folder, resume, reporter)
        study = tuning.open_study(resolved, folder, storage)
        files.write_text(folder.recipe, resolved.text())
        if n_workers > 1 and not worker:
            tuning.run_workers(folder, corpus_root, n_trials, storage, n_workers, reporter)
        else:
            tuning.run_trials(study, resolved, corpus_root, folder, n_trials, reporter)
        if worker:
            return
        result = tuning.get_result(study, resolved)
        tuning.write_result(folder, result)
    _print_result(result, folder, (time.monotonic() - started) / 60)


def _print_result(result: TuningResult, folder: RunFolder, minutes: float) -> None:
    n_done, n_pruned, n_failed = (result.count(state) for state in ("done", "pruned", "failed"))
    print(
        f"{len(result.trials)} trials: {n_done} completed, {n_pruned} pruned, {n_failed} failed; {minutes:.1f} minutes"
    )
    print(f"best: trial {result.best.number}, validation {result.metric_name} {100 * (result.best.score or 0.0):.1f} %")
    for key, value in result.best.values.items():
        print(f"  {key}: {value:.4g}" if isinstance(value, float) else f"  {key}: {value}")
    if result.importance:
        parts = ", ".join(f"{key} {100 * importance:.0f} %" for key, importance in result.importance.items())
        print(f"importance: {parts}")
    print_message(f"best recipe: {folder.best_recipe}   try: kanjo train {folder.best_recipe}")
