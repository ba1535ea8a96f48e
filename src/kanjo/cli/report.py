"""``kanjo report``: the page of a run written anew, or several runs compared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from kanjo import files
from kanjo.cli.common import say


def register(app: typer.Typer) -> None:
    app.command()(report)


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders that have been tested.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The folder that the comparison goes into.")] = Path(
        "comparison"
    ),
) -> None:
    """Compare runs: what each reaches, who wins, and whether that is more than luck (paired bootstrap over speakers).

    Example: kanjo report runs/cnn-lstm-1d/20260101-120000-fold-1 runs/cnn-lstm-2d/20260101-120000-fold-1
    """
    print_comparison(runs, output)


def print_comparison(folders: Sequence[Path], output: Path) -> None:
    """The table and the verdicts on stdout; the same, with pictures, as ``comparison.html`` in ``output``."""
    from kanjo.evaluation import compare
    from kanjo.evaluation.reports import figures
    from kanjo.evaluation.reports.html import comparison_page

    figures.require()
    runs = compare.named_apart([compare.read_run(folder) for folder in folders])
    found = compare.differences(runs)
    width = max(len(run.name) for run in runs) + 2
    print(f"{'':<{width}}{'UAR %':>7}{'interval':>16}{'accuracy':>10}{'macro-F1':>10}{'ECE':>7}{'n':>6}")
    for run in runs:
        scores = run.scores
        low, high = scores.uar.low, scores.uar.high
        span = f"[{100 * low:.1f}, {100 * high:.1f}]" if low is not None and high is not None else ""
        print(
            f"{run.name:<{width}}{100 * scores.uar.value:>7.1f}{span:>16}{100 * scores.accuracy.value:>10.1f}"
            f"{100 * scores.macro_f1.value:>10.1f}{scores.ece:>7.3f}{scores.n:>6}"
        )
    for difference in found:
        print(difference.sentence())
    if len(runs) > 1 and not found:
        print("no two of them were tested on the same utterances: nothing to set against each other")
    picture = figures.comparison(runs)
    figures.write(output, {"comparison": picture})
    files.write_text(output / "comparison.html", comparison_page(runs, found, picture))
    say(f"report: {output / 'comparison.html'}")
