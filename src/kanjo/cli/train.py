"""``kanjo train`` and ``crossval``: one fold, or all folds of a recipe."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from kanjo.cli.common import (
    ConsoleReporter,
    CorpusRoot,
    Device,
    Fold,
    Jobs,
    Output,
    Overrides,
    RecipeName,
    Root,
    Silent,
    Threads,
    check_split,
    format_estimate,
    load_recipe,
    print_message,
    resumable,
    train_on,
)
from kanjo.cli.results import print_scores
from kanjo.errors import RecipeError

if TYPE_CHECKING:
    from kanjo.experiments.pipeline import FoldResult
    from kanjo.experiments.preview import RunPreview
    from kanjo.train.config.schema import Recipe


Filelists = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", help="Train, validate and test on the lists in this folder, instead of the recipe's corpora."
    ),
]


def train(
    recipe: RecipeName,
    overrides: Overrides = None,
    corpus_root: CorpusRoot = None,
    filelists: Filelists = None,
    root: Root = None,
    fold: Fold = None,
    stage: Annotated[
        Literal["stage1", "stage2"] | None,
        typer.Option(help="Train one stage of a recipe with two: the CNN, or the layers behind it (default: both)."),
    ] = None,
    output: Output = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in -o (default: the recipe's latest run).")
    ] = False,
    init: Annotated[
        str | None,
        typer.Option(metavar="BUNDLE", help="Start from the weights of this bundle: 'default', or a folder."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Train nothing; print the split, its leakage, duration and memory.")
    ] = False,
    skip_test: Annotated[
        bool, typer.Option("--skip-test", help="Stop after training: validation scores only, no bundle.")
    ] = False,
    threads: Threads = 0,
    device: Device = "auto",
    silent: Silent = False,
) -> None:
    """Train a recipe on one fold, test it on speakers that it was not trained on, and export a bundle.

    Example: kanjo train cnn-lstm-2d --corpus-root corpora --fold 1
    """
    changes = [*_filelist_overrides(filelists, root, fold), *(overrides or [])]
    loaded = load_recipe(recipe, changes + [f"init_from={init}"] * bool(init), corpus_root, fold)
    _check_stage(loaded, stage)
    check_split(loaded, corpus_root)
    train_on(device)
    reporter = ConsoleReporter(silent)
    if dry_run:
        from kanjo.experiments.preview import preview_run

        _print_preview(preview_run(loaded, corpus_root, threads, reporter))
        return
    from kanjo.experiments.pipeline import TrainOptions, train_fold
    from kanjo.experiments.recipes import resolve_recipe
    from kanjo.experiments.run_folder import choose_run_folder
    from kanjo.experiments.subprocesses import exit_with_parent
    from kanjo.train.distributed import rank_and_size

    exit_with_parent()
    rank, n_processes = rank_and_size()
    if n_processes > 1 and output is None:
        raise RecipeError("several processes train one run: give its folder with -o")
    folder = choose_run_folder(loaded, output, resume or rank > 0, f"fold-{loaded.split.fold}", stage or "")
    with nullcontext() if rank else folder.locked(), resumable(folder):
        resolved = resolve_recipe(loaded, folder, resume, reporter)
        options = TrainOptions(stage or "", resume, threads, skip_test)
        result = train_fold(resolved, corpus_root, folder, options, reporter)
    _print_result(result)


def _check_stage(recipe: Recipe, stage: str | None) -> None:
    """Raise RecipeError if the recipe has no first stage, which was requested."""
    if stage == "stage1" and recipe.stage1 is None:
        raise RecipeError(f"{recipe.name} has no first stage: its recipe has no section 'stage1'")


def crossval(
    recipe: RecipeName,
    overrides: Overrides = None,
    corpus_root: CorpusRoot = None,
    output: Output = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue in -o (default: the latest); finished folds stay.")
    ] = False,
    jobs: Jobs = 0,
    device: Device = "auto",
    silent: Silent = False,
) -> None:
    """Train and test all folds of a recipe; the scores are pooled over all test speakers.

    Example: kanjo crossval cnn-lstm-2d-long --corpus-root corpora
    """
    loaded = load_recipe(recipe, overrides, corpus_root)
    check_split(loaded, corpus_root, all_folds=True)
    from kanjo.experiments.crossval import cross_validate
    from kanjo.experiments.recipes import resolve_recipe
    from kanjo.experiments.run_folder import choose_run_folder

    train_on(device)
    reporter = ConsoleReporter(silent)
    folder = choose_run_folder(loaded, output, resume, "crossval")
    with folder.locked():
        result = cross_validate(resolve_recipe(loaded, folder, resume, reporter), corpus_root, folder, jobs, reporter)
    print(f"{loaded.name}, {result.protocol}")
    print_scores(result.plain, result.enrolled)
    print_message(f"report: {folder.report}")
    if result.missing_folds:
        missing = ", ".join(map(str, result.missing_folds))
        print_message(f"kanjo: missing folds: {missing}; run them again with --resume -o {folder}")
        raise typer.Exit(1)


def _filelist_overrides(filelists: Path | None, root: Path | None, fold: int | None) -> list[str]:
    """The overrides of a recipe that make it train on the lists in a folder; none without lists."""
    from kanjo.corpora.filelist_folder import describe_test_part

    if filelists is None:
        if root is not None:
            raise typer.BadParameter("--root is the folder of the recordings of --filelists; give both")
        return []
    if fold not in (None, 1):
        raise typer.BadParameter("--fold chooses one of a recipe's folds; lists have one: give another folder of lists")
    if note := describe_test_part(filelists):
        print_message(note)
    corpus = {"name": "filelists", "path": str(filelists)} | ({"root": str(root)} if root else {})
    return [
        f"corpora={json.dumps([corpus], ensure_ascii=False)}",
        "split.protocol=manifest",
        "split.fold=1",
        "split.folds_file=null",
    ]


def _print_preview(preview: RunPreview) -> None:
    print("\n".join(preview.leakage))
    cost, name, n_epochs = preview.cost, preview.recipe.name, preview.recipe.training.epochs
    print(f"{name}: {cost.n_parameters:,} parameters, emotions {', '.join(preview.emotions)}")
    print(
        f"{cost.steps_per_epoch} steps per epoch, {cost.seconds_per_step:.2f} s each "
        f"({preview.clips_per_second:.0f} clips/s)"
    )
    print(
        f"at most {format_estimate(cost.minutes)} for {n_epochs} epoch{'s' if n_epochs != 1 else ''}, "
        f"{cost.peak_memory_mb / 1024:.1f} GB of memory"
    )
    if cost.stage1_minutes:
        stage1 = preview.recipe.stage1
        print(
            f"this includes at most {format_estimate(cost.stage1_minutes)} for the "
            f"{stage1.epochs if stage1 else 0} epochs of stage 1; the steps are those of stage 2"
        )


def _print_result(result: FoldResult) -> None:
    folder = result.folder
    if result.stage1_weights:
        print_message(
            f"weights of stage 1: {result.stage1_weights}   next: kanjo train {folder} --stage stage2 -o {folder}"
        )
    if result.validation:
        uar = 100 * result.validation.uar
        print(f"validation speakers: UAR {uar:.1f} % after the last epoch. {result.training}")
    if result.test:
        print_scores(result.test.plain, result.test.enrolled)
        print_message(f"run folder: {folder}   report: {folder.report}   try: kanjo predict --model {folder} clip.wav")
