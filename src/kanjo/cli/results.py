"""Scores and tables as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kanjo.evaluation.evaluate import Evaluation


def print_scores(plain: Evaluation, enrolled: Evaluation | None) -> None:
    """Print the scores of an evaluation, and those with enrolled speakers."""
    from kanjo.evaluation.reports.run_report import summarize

    print("\n".join(summarize(plain.scores, enrolled.scores if enrolled else None)))


def percent(value: float | None, sign: bool = False) -> str:
    """A fraction as percent with one decimal; "" for None."""
    if value is None:
        return ""
    return f"{100 * value:+.1f}" if sign else f"{100 * value:.1f}"


def name_width(names: Iterable[str], minimum: int = 28) -> int:
    """Width of a table's first column."""
    return max(minimum, *(len(name) + 1 for name in names), 0)
