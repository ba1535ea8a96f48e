"""Scores and tables as text."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from kanjo.cli.terminal import NO_BREAK, detect_terminal
from kanjo.cli.timeline_strip import paint_label

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kanjo.evaluation.evaluate import Evaluation


def print_scores(plain: Evaluation, enrolled: Evaluation | None) -> None:
    """Print the scores of an evaluation, and those with enrolled speakers, in the width of the terminal."""
    from kanjo.evaluation.reports.run_report import RECALL, summarize

    terminal = detect_terminal(sys.stdout)
    for line in summarize(plain.scores, enrolled.scores if enrolled else None):
        text = line.replace(" %", f"{NO_BREAK}%").replace(" [", f"{NO_BREAK}[")
        if line.startswith(RECALL):
            for name in plain.labels:  # a label is followed by its recall
                text = text.replace(f" {name} ", f" {paint_label(name, name, terminal)} ", 1)
        for part in terminal.wrap(text, 2):
            print(part)


def percent(value: float | None, sign: bool = False) -> str:
    """A fraction as percent with one decimal; "" for None."""
    if value is None:
        return ""
    return f"{100 * value:+.1f}" if sign else f"{100 * value:.1f}"


def name_width(names: Iterable[str], minimum: int = 28) -> int:
    """Width of a table's first column."""
    return max(minimum, *(len(name) + 1 for name in names), 0)
