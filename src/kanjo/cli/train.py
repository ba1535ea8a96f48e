"""``kanjo train``, ``crossval``, ``compare``: one fold, all folds, several recipes."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from kanjo import files
from kanjo.cli.common import CorpusRoot, Jobs, Overrides, RecipeName, Run, Silent, Threads, progress
from kanjo.errors import KanjoError, RecipeError
from kanjo.experiments.crossval import pool
from kanjo.experiments.pipeline import FINETUNE, experiment_of, look_ahead, prepared, run_fold, run_folder, settle
from kanjo.experiments.subprocesses import Job, run_jobs


def register(app: typer.Typer) -> None:
    for verb in (train, crossval, compare):
        app.command()(verb)


def train(
    recipe: RecipeName,
    overrides: Overrides = None,
    corpus_root: CorpusRoot = None,
    fold: Annotated[int | None, typer.Option(min=1, help="Which fold tests (default: the recipe's).")] = None,
    stage: Annotated[
        Literal["finetune", "train"] | None,
        typer.Option(
            help="One stage of a recipe with two: finetune the CNN, or train what follows it (default: both)."
        ),
    ] = None,
    output: Run = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in -o (default: the recipe's latest) where it stopped.")
    ] = False,
    init: Annotated[
        str | None, typer.Option(help="A bundle whose weights training starts from: 'default', or a folder.")
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Train nothing: say who trains and tests, what it leaks, minutes and memory."),
    ] = False,
    untested: Annotated[
        bool, typer.Option("--untested", help="Stop after training: scores of validation speakers only, no bundle.")
    ] = False,
    threads: Threads = 0,
    silent: Silent = False,
) -> None:
    """Train a recipe on one fold, test it on speakers it has not heard, and write its bundle.

    Example: kanjo train cnn-lstm-2d --corpus-root corpora --fold 1
    """
    experiment = experiment_of(recipe, [*(overrides or []), *([f"init={init}"] if init else [])], corpus_root, fold)
    if stage == FINETUNE and experiment.finetune is None:
        raise RecipeError(f"{experiment.name} has no stage 'finetune': its recipe has no finetune section")
    if dry_run:
        look_ahead(experiment, corpus_root, threads, silent)
        return
    from kanjo.train.distributed import rank_and_size

    rank, size = rank_and_size()
    if size > 1 and output is None:
        raise RecipeError("several processes train one run: name its folder with -o")
    run = run_folder(experiment, output, resume or rank > 0, f"fold-{experiment.split.fold}", stage or "")
    experiment = settle(experiment, run, resume)
    run_fold(
        experiment,
        corpus_root,
        run,
        stage=stage or "",
        resume=resume,
        threads=threads,
        silent=silent,
        untested=untested,
    )


def crossval(
    recipe: RecipeName,
    overrides: Overrides = None,
    corpus_root: CorpusRoot = None,
    output: Run = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the folder in -o: folds that are done stay.")
    ] = False,
    jobs: Jobs = 0,
    silent: Silent = False,
) -> None:
    """Train and test every fold of a recipe; scores are pooled over all test speakers.

    Example: kanjo crossval cnn-lstm-2d-long --corpus-root corpora
    """
    experiment = experiment_of(recipe, overrides, corpus_root, None)
    folder = run_folder(experiment, output, resume, "crossval")
    experiment = settle(experiment, folder, resume)
    with progress("decoding", silent) as show:
        material = prepared(experiment, corpus_root, show)
    files.write_text(folder / "recipe.yaml", experiment.text())
    folds = [
        Job(f"fold {fold.index}", folder / f"fold-{fold.index}", folder / "recipe.yaml", ("--fold", str(fold.index)))
        for fold in material.folds
    ]
    run_jobs(folds, corpus_root, jobs, silent)
    pool(folder, material)


def compare(
    recipes: Annotated[
        list[str], typer.Argument(metavar="RECIPE...", help="Recipes in the box, or YAML or JSON files.")
    ],
    overrides: Overrides = None,
    corpus_root: CorpusRoot = None,
    output: Run = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the folder in -o: what is done stays.")] = False,
    jobs: Jobs = 1,
    silent: Silent = False,
) -> None:
    """Train several recipes, each on its fold, and say who wins and whether that is more than luck.

    Example: kanjo compare cnn-lstm-1d cnn-lstm-2d --corpus-root corpora
    """
    from kanjo.cli.report import print_comparison

    experiments = [experiment_of(name, overrides, corpus_root, None) for name in recipes]
    names = [f"{experiment.name}-fold-{experiment.split.fold}" for experiment in experiments]
    if len(set(names)) < len(names):
        raise RecipeError(f"two recipes of one name and fold: {', '.join(names)}; give them names of their own")
    folder = run_folder(experiments[0].model_copy(update={"name": "compare"}), output, resume, "compare")
    queue = []
    for name, experiment in zip(names, experiments, strict=True):
        settled = settle(experiment, folder / name, resume)
        files.write_text(folder / f"{name}.yaml", settled.text())
        queue.append(Job(name, folder / name, folder / f"{name}.yaml"))
    run_jobs(queue, corpus_root, jobs, silent)
    done = [job.folder for job in queue if (job.folder / "scores.json").is_file()]
    if done:
        print_comparison(done, folder)
    missing = [job.name for job in queue if job.folder not in done]
    if missing:
        raise KanjoError(f"missing: {', '.join(missing)}; run again with --resume -o {folder}")
