"""``kanjo ablate``: the effect of each part of a recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from kanjo import files
from kanjo.cli.common import (
    ConsoleReporter,
    CorpusRoot,
    Fold,
    Jobs,
    Output,
    Overrides,
    RecipeName,
    Silent,
    load_recipe,
    print_message,
)
from kanjo.cli.results import name_width, percent
from kanjo.errors import KanjoError

if TYPE_CHECKING:
    from kanjo.experiments.ablation import AblationTable, EffectTable


def ablate(
    recipe: RecipeName,
    overrides: Overrides = None,
    corpus_root: CorpusRoot = None,
    fold: Fold = None,
    output: Output = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue in -o (default: the latest); finished variants stay.")
    ] = False,
    seeds: Annotated[
        int,
        typer.Option(min=0, help="Score on validation speakers, with this many seeds, each on another fold."),
    ] = 0,
    only: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Train only this ablation; repeatable.")
    ] = None,
    jobs: Jobs = 1,
    silent: Silent = False,
) -> None:
    """Train a recipe unchanged and with each of its ablations, and print a table of the differences.

    The scores are those of one fold's test speakers, or with --seeds those of validation speakers, so that design
    choices do not depend on test speakers.

    Example: kanjo ablate dcnn-blstm-attention --corpus-root corpora
    """
    loaded = load_recipe(recipe, overrides, corpus_root, fold)
    from kanjo.experiments import ablation
    from kanjo.experiments.recipes import resolve_recipe
    from kanjo.experiments.run_folder import choose_run_folder

    reporter = ConsoleReporter(silent)
    variants = ablation.choose_variants(loaded, only or ())
    folder = choose_run_folder(loaded, output, resume, f"ablate-{loaded.split.fold}")
    with folder.locked():
        files.write_text(folder.recipe, resolve_recipe(loaded, folder, resume, reporter).text())
        if seeds:
            effects = ablation.run_ablation_over_seeds(folder, variants, corpus_root, seeds, jobs, reporter)
            _print_effects(effects)
            missing = f"{effects.n_missing} runs" if effects.n_missing else ""
        else:
            table = ablation.run_ablation(folder, variants, corpus_root, jobs, reporter)
            _print_ablations(table)
            missing = ", ".join(table.missing)
    if missing:
        raise KanjoError(f"missing: {missing}; run again with --resume -o {folder}")


def _print_ablations(table: AblationTable) -> None:
    from kanjo.evaluation.metrics import format_bounds
    from kanjo.experiments.ablation import ORIGINAL

    original = next((row.uar for row in table.rows if row.variant == ORIGINAL), None)
    width = name_width(row.variant for row in table.rows)
    print(f"{'':<{width}}{'UAR %':>7}{'interval':>16}{'accuracy':>10}{'difference':>12}")
    for row in table.rows:
        difference = None if original is None or row.variant == ORIGINAL else row.uar - original
        print(
            f"{row.variant:<{width}}{percent(row.uar):>7}{format_bounds(row.uar_low, row.uar_high):>16}"
            f"{percent(row.accuracy):>10}{percent(difference, sign=True):>12}"
        )
    print_message(f"table: {table.path}; one fold and one seed: differences of a few points can be random")


def _print_effects(table: EffectTable) -> None:
    width = name_width(row.variant for row in table.rows)
    print(
        f"{'validation UAR %':<{width}}{'mean':>7}{'spread':>8}{'seeds':>7}{'difference':>12}{'spread':>8}"
        f"{'enrolled':>10}"
    )
    for row in table.rows:
        print(
            f"{row.variant:<{width}}{percent(row.uar):>7}{percent(row.spread):>8}{row.seeds:>7}"
            f"{percent(row.difference, sign=True):>12}{percent(row.difference_spread):>8}{percent(row.enrolled):>10}"
        )
    print_message(f"table: {table.path}; spread: standard deviation over seeds; test speakers were not used")
