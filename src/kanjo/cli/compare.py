"""``kanjo compare`` and ``report``: train several recipes and compare them, or compare existing runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kanjo.cli.common import ConsoleReporter, CorpusRoot, Jobs, Output, Overrides, Silent, load_recipe, print_message
from kanjo.cli.results import percent
from kanjo.errors import KanjoError

if TYPE_CHECKING:
    from kanjo.experiments.comparison import ComparisonResult


def compare(
    recipes: Annotated[list[str], typer.Argument(metavar="RECIPE...", help="Built-in recipes, or YAML or JSON files.")],
    overrides: Overrides = None,
    corpus_root: CorpusRoot = None,
    output: Output = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue in -o (default: the latest); finished recipes stay.")
    ] = False,
    jobs: Jobs = 1,
    silent: Silent = False,
) -> None:
    """Train several recipes, each on its fold, and test whether their differences are significant.

    Example: kanjo compare cnn-lstm-1d cnn-lstm-2d --corpus-root corpora
    """
    loaded = [load_recipe(name, overrides, corpus_root) for name in recipes]
    from kanjo.experiments.comparison import compare_runs, run_names, train_recipes
    from kanjo.experiments.run_folder import choose_run_folder

    run_names(loaded)  # report equal names before anything is trained
    folder = choose_run_folder(loaded[0].model_copy(update={"name": "compare"}), output, resume, "compare")
    with folder.locked():
        trained = train_recipes(loaded, corpus_root, folder, jobs, resume, ConsoleReporter(silent))
        if trained.tested:
            _print_comparison(compare_runs(trained.tested, folder))
    if trained.failed:
        raise KanjoError(f"missing: {', '.join(trained.failed)}; run again with --resume -o {folder}")


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of tested runs.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Folder of the comparison.")] = Path(
        "comparison"
    ),
) -> None:
    """Compare tested runs: their scores, and whether the differences are significant (paired bootstrap over speakers).

    Example: kanjo report runs/cnn-lstm-1d/20260101-120000-fold-1 runs/cnn-lstm-2d/20260101-120000-fold-1
    """
    from kanjo.evaluation.reports.html import require_report_packages

    require_report_packages()
    from kanjo.experiments.comparison import compare_runs
    from kanjo.experiments.run_folder import RunFolder

    _print_comparison(compare_runs([RunFolder(run) for run in runs], RunFolder(output)))


def _print_comparison(comparison: ComparisonResult) -> None:
    """Print one line per run and one per difference."""
    from kanjo.evaluation.metrics import format_bounds

    width = max(len(run.name) for run in comparison.runs) + 2
    print(f"{'':<{width}}{'UAR %':>7}{'interval':>16}{'accuracy':>10}{'macro-F1':>10}{'ECE':>7}{'n':>6}")
    for run in comparison.runs:
        scores = run.scores
        print(
            f"{run.name:<{width}}{percent(scores.uar.value):>7}{format_bounds(scores.uar.low, scores.uar.high):>16}"
            f"{percent(scores.accuracy.value):>10}{percent(scores.macro_f1.value):>10}{scores.ece:>7.3f}{scores.n:>6}"
        )
    for difference in comparison.differences:
        print(difference.describe())
    if len(comparison.runs) > 1 and not comparison.differences:
        print("no two runs were tested on the same utterances, so their differences were not tested")
    print_message(f"report: {comparison.page}")
