"""``kanjo finetune``: train on one's own recordings in one command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kanjo.cli.common import (
    ConsoleReporter,
    CorpusRoot,
    Silent,
    format_estimate,
    print_message,
    resumable,
    stoppable,
)
from kanjo.errors import KanjoError

if TYPE_CHECKING:
    from kanjo.experiments.finetune_result import FinetuneResult


def finetune(
    data: Annotated[
        str,
        typer.Argument(help="A folder with one sub-folder for each class, a table, a manifest, or a corpus name."),
    ],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="DIR", help="Run folder (default: a new one below runs/)."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what was understood, the split and the duration; train nothing.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Continue a run (default: the latest).")] = False,
    from_scratch: Annotated[
        str, typer.Option(metavar="RECIPE", help="Train this recipe instead of the heads of the built-in model.")
    ] = "",
    folds: Annotated[
        int | None,
        typer.Option(min=2, help="Folds of the cross-validation (default: 5 under 500 clips, else one split)."),
    ] = None,
    corpus_root: CorpusRoot = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=0, help="CPU cores to use; 0: all.")] = 0,
    silent: Silent = False,
) -> None:
    """Fit the built-in model to your own recordings and classes, and compare it with the original on the same clips.

    Example: kanjo finetune recordings/ -o my-model
    """
    exists = resume and output is not None and output.exists()
    advice = (
        f"continue with --resume -o {_quoted(output)}" if exists else "nothing was written, so start the command again"
    )
    with stoppable(f"stopped; {advice}"):
        try:
            from kanjo.experiments import finetune as experiment
        except ImportError as error:
            raise KanjoError(f"this command needs the extra 'train': pip install 'kanjo[train]' ({error})") from error

        options = experiment.FinetuneOptions(from_scratch, folds, resume, jobs)
        reporter = ConsoleReporter(silent)
        result = None if dry_run else experiment.find_finished(output, options, reporter)
        if result is None:
            plan = experiment.prepare(data, output, corpus_root, options, reporter)
            show = print if dry_run else reporter.log
            for line in plan.describe():
                show(line)
            minutes = experiment.estimate_minutes(plan, corpus_root, options, reporter)
            show(f"duration: about {format_estimate(minutes)}")
            if dry_run:
                return
            folder = experiment.choose_folder(plan, output, corpus_root, options)
    if result is None:
        with resumable(_quoted(folder)):
            result = experiment.run_plan(plan, folder, corpus_root, options, reporter)
    _print(result)


def _print(result: FinetuneResult) -> None:
    print("\n".join(result.describe()))
    from kanjo.experiments.run_folder import RunFolder

    report = RunFolder(result.folder).report
    print_message(f"{result.minutes:.1f} min   bundle: {result.bundle}   report: {report}")
    print_message(f"use it: kanjo predict --model {_quoted(result.folder)} clip.wav")


def _quoted(path: Path | None) -> str:
    """A path for a command that the user copies."""
    return f'"{path}"' if " " in str(path) else str(path)
