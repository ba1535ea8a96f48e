"""``kanjo tune``: hyper-parameters by search, in one process or several that share a study."""

from __future__ import annotations

import csv
import io
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kanjo import files
from kanjo.cli.common import CorpusRoot, Jobs, Overrides, RecipeName, Run, Silent, progress, say
from kanjo.errors import KanjoError
from kanjo.experiments.pipeline import experiment_of, prepared, run_folder, settle
from kanjo.experiments.subprocesses import run_twice

if TYPE_CHECKING:
    from kanjo.train.config.schema import Recipe
    from kanjo.train.tuning import Trial, Tuned


def register(app: typer.Typer) -> None:
    app.command()(tune)


def tune(
    recipe: RecipeName,
    overrides: Overrides = None,
    corpus_root: CorpusRoot = None,
    trials: Annotated[int | None, typer.Option(min=1, help="How many in all (default: the recipe's).")] = None,
    storage: Annotated[
        str | None,
        typer.Option(help="A database that machines share, such as sqlite:///study.db (default: a journal in -o)."),
    ] = None,
    output: Run = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the study in -o, or join it from another process.")
    ] = False,
    jobs: Jobs = 1,
    silent: Silent = False,
    worker: Annotated[bool, typer.Option(hidden=True)] = False,
) -> None:
    """Search the recipe's 'tune' space by validation UAR, poor trials cut early; write the best as a recipe.

    Test speakers are not read. Example: kanjo tune cnn-lstm-2d --corpus-root corpora --jobs 2
    """
    experiment = experiment_of(recipe, overrides, corpus_root, None)
    try:
        from kanjo.train.tuning import check_space, open_study, result
    except ImportError as error:
        raise KanjoError(f"tuning needs Optuna: pip install 'kanjo[tune]' ({error})") from error
    until = trials or check_space(experiment).trials
    folder = run_folder(experiment, output, resume, "tune")
    experiment = settle(experiment, folder, resume)
    started = time.monotonic()
    study = open_study(experiment, folder, storage)
    files.write_text(folder / "recipe.yaml", experiment.text())
    at_once = min(jobs or os.cpu_count() or 1, until)
    try:
        if at_once > 1 and not worker:
            _workers(folder, corpus_root, until, storage, at_once, silent)
        else:
            _search(experiment, study, corpus_root, folder, until, silent)
    except KeyboardInterrupt:
        say(f"kanjo: stopped; go on with --resume -o {folder}")
        raise typer.Exit(130) from None
    if worker:
        return
    found = result(study, experiment)
    _write(folder, found)
    _print(found, folder, (time.monotonic() - started) / 60)


def _search(experiment: Recipe, study: Any, corpus_root: str | None, folder: Path, until: int, silent: bool) -> None:
    from kanjo.train.tuning import search

    with progress("decoding", silent) as show:
        material = prepared(experiment, corpus_root, show)

    def tell(trial: Trial, best: float) -> None:
        if not silent:
            say(_line(trial, best))

    search(study, material, material.fold(experiment.split.fold), folder, until, tell)


def _workers(
    folder: Path, corpus_root: str | None, until: int, storage: str | None, at_once: int, silent: bool
) -> None:
    """The same search in several processes of their own cores; one that dies is started once more, and named."""
    threads = max(1, (os.cpu_count() or 1) // at_once)
    words = ["tune", str(folder / "recipe.yaml"), "-o", str(folder), "--resume", "--worker", "--trials", str(until)]
    words += ["--storage", storage] if storage else []
    words += ["--corpus-root", corpus_root] if corpus_root else []

    def kept(number: int) -> str:
        time.sleep(number)  # one after the other, so that no two decode the same corpus at once
        code, last = run_twice(words, "a worker", threads, "", silent, {"KANJO_TUNE_WORKER": "1"})
        return f"exit {code}: {last}" if code else ""

    with ThreadPoolExecutor(at_once) as pool:
        failed = [said for said in pool.map(kept, range(at_once)) if said]
    if failed:
        raise KanjoError(f"{len(failed)} of {at_once} workers failed ({failed[0]}); go on with --resume -o {folder}")


def _line(trial: Trial, best: float) -> str:
    values = ", ".join(
        f"{key.rsplit('.', 1)[-1]} {value:.3g}" if isinstance(value, float) else f"{key.rsplit('.', 1)[-1]} {value}"
        for key, value in trial.values.items()
    )
    score = f"validation UAR {100 * trial.uar:.1f} %" if trial.uar is not None else trial.said
    ended = {"done": "", "cut": ", cut", "failed": ", failed"}.get(trial.state, "")
    leader = f" (best {100 * best:.1f} %)" if best == best else ""  # there is none before the first that ends
    return f"trial {trial.number}: {score}, {trial.epochs} epochs{ended}{leader}; {values}"


def _write(folder: Path, found: Tuned) -> None:
    """``best.yaml``, ``trials.csv`` and the pictures."""
    from kanjo.evaluation.reports import figures, tuning_plots

    files.write_text(folder / "best.yaml", found.recipe.text())
    keys = list(found.best.values)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["trial", "state", "validation_uar", "epochs", *keys, "said"])
    for trial in found.trials:
        writer.writerow(
            [
                trial.number,
                trial.state,
                trial.uar,
                trial.epochs,
                *(trial.values.get(key, "") for key in keys),
                trial.said,
            ]
        )
    files.write_text(folder / "trials.csv", buffer.getvalue())
    points = [
        tuning_plots.Point(t.number, t.uar, t.state == "done", t.values) for t in found.trials if t.uar is not None
    ]
    pictures = {"history": tuning_plots.history(points), "parallel": tuning_plots.parallel(points)}
    if found.importance:
        pictures["importance"] = tuning_plots.importance(found.importance)
    figures.write(folder, pictures)


def _print(found: Tuned, folder: Path, minutes: float) -> None:
    done, cut, failed = found.count("done"), found.count("cut"), found.count("failed")
    print(f"{len(found.trials)} trials: {done} trained to their end, {cut} cut, {failed} failed; {minutes:.1f} minutes")
    assert found.best.uar is not None
    print(f"best: trial {found.best.number}, validation UAR {100 * found.best.uar:.1f} %")
    for key, value in found.best.values.items():
        print(f"  {key}: {value:.4g}" if isinstance(value, float) else f"  {key}: {value}")
    if found.importance:
        print("what mattered: " + ", ".join(f"{key} {100 * share:.0f} %" for key, share in found.importance.items()))
    say(f"best recipe: {folder / 'best.yaml'}   try: kanjo train {folder / 'best.yaml'}")
