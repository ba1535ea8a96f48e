"""``kanjo ablate``: what each part of a recipe is worth."""

from __future__ import annotations

import csv
import io
import json
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kanjo import files
from kanjo.cli.common import CorpusRoot, Jobs, Overrides, RecipeName, Run, Silent, progress, say
from kanjo.errors import KanjoError, RecipeError
from kanjo.experiments.pipeline import TRAIN, VALIDATION, experiment_of, prepared, run_folder, settle
from kanjo.experiments.subprocesses import Job, run_jobs

if TYPE_CHECKING:
    from kanjo.train.config.schema import Recipe

WHOLE = "as it is"
#: Name -> overrides.
Variants = dict[str, tuple[str, ...]]


def register(app: typer.Typer) -> None:
    app.command()(ablate)


def ablate(
    recipe: RecipeName,
    overrides: Overrides = None,
    corpus_root: CorpusRoot = None,
    fold: Annotated[int | None, typer.Option(min=1, help="Which fold tests (default: the recipe's).")] = None,
    output: Run = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the folder in -o: what is done stays.")] = False,
    seeds: Annotated[
        int,
        typer.Option(
            min=0, help="Score on validation speakers instead, over so many seeds, each on a fold of its own."
        ),
    ] = 0,
    only: Annotated[list[str] | None, typer.Option(help="Of the ablations, this one; may be repeated.")] = None,
    jobs: Jobs = 1,
    silent: Silent = False,
) -> None:
    """Train a recipe as it is, and with each of its ablations; print the table of what each part is worth.

    On one fold's test speakers; or with --seeds on validation speakers, so that no test speaker has a say in what is chosen.

    Example: kanjo ablate dcnn-blstm-attention --corpus-root corpora
    """
    experiment = experiment_of(recipe, overrides, corpus_root, fold)
    if not experiment.ablations:
        raise RecipeError(
            f"{experiment.name} names no ablations; a recipe's key 'ablations' maps a name to its overrides"
        )
    unknown = [name for name in only or () if name not in experiment.ablations]
    if unknown:
        raise RecipeError(
            f"{experiment.name} has no ablation {', '.join(unknown)}; expected {', '.join(experiment.ablations)}"
        )
    chosen = {name: changes for name, changes in experiment.ablations.items() if not only or name in only}
    folder = run_folder(experiment, output, resume, f"ablate-{experiment.split.fold}")
    experiment = settle(experiment, folder, resume)
    files.write_text(folder / "recipe.yaml", experiment.text())
    variants: Variants = {WHOLE: (), **chosen}
    if seeds:
        _over_seeds(folder, variants, corpus_root, seeds, jobs, silent)
        return
    first: list[Job] = []
    then: list[Job] = []
    kinds: set[str] = set()
    for name, changes in variants.items():
        variant = experiment_of(str(folder / "recipe.yaml"), list(changes), corpus_root, None)
        place = folder / name.replace(" ", "-")
        files.write_text(folder / f"{place.name}.yaml", variant.text())
        kind = _extractor_kind(variant, corpus_root, silent)
        # ablations of the second stage share a first stage
        queue, stage = (then, ("--stage", TRAIN)) if kind in kinds else (first, ())
        queue.append(Job(name, place, folder / f"{place.name}.yaml", stage))
        kinds.add(kind)
    for queue in (first, then):
        run_jobs(queue, corpus_root, jobs, silent)
    _print_ablations(folder, [*first, *then], list(variants))


def _over_seeds(folder: Path, variants: Variants, corpus_root: str | None, seeds: int, jobs: int, silent: bool) -> None:
    """Each variant with each seed, the first seed on fold 1 and so on; the table of validation UARs, on stdout and as ``effects.csv``."""
    with progress("decoding", silent) as show:
        n_folds = len(
            prepared(experiment_of(str(folder / "recipe.yaml"), None, corpus_root, None), corpus_root, show).folds
        )
    queue: dict[str, list[Job]] = {}
    for name, changes in variants.items():
        for seed in range(1, seeds + 1):
            both = [*changes, f"training.seed={seed}", f"split.fold={(seed - 1) % n_folds + 1}"]
            variant = experiment_of(str(folder / "recipe.yaml"), both, corpus_root, None)
            place = folder / f"{name.replace(' ', '-')}-{seed}"
            files.write_text(folder / f"{place.name}.yaml", variant.text())
            queue.setdefault(name, []).append(
                Job(f"{name}, seed {seed}", place, folder / f"{place.name}.yaml", ("--untested",), VALIDATION)
            )
    run_jobs([job for several in zip(*queue.values(), strict=True) for job in several], corpus_root, jobs, silent)
    found: dict[str, list[dict[str, Any] | None]] = {
        name: [_read(job.folder / VALIDATION) for job in several] for name, several in queue.items()
    }
    rows = [_effect(name, scores, found[WHOLE]) for name, scores in found.items()]
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, ["variant", *_EFFECT], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    files.write_text(folder / "effects.csv", buffer.getvalue())
    wide = _width(found)
    print(
        f"{'validation UAR %':<{wide}}{'mean':>7}{'spread':>8}{'seeds':>7}{'difference':>12}{'spread':>8}{'enrolled':>10}"
    )
    for row in rows:
        told = {
            key: ""
            if row[key] is None
            else f"{100 * row[key]:+.1f}"
            if key == "difference"
            else f"{100 * row[key]:.1f}"
            for key in _EFFECT
        }
        print(
            f"{row['variant']:<{wide}}{told['uar']:>7}{told['spread']:>8}{row['seeds']:>7}{told['difference']:>12}"
            f"{told['difference_spread']:>8}{told['enrolled']:>10}"
        )
    say(f"table: {folder / 'effects.csv'}; spread: standard deviation over seeds; no test speaker was heard")
    missing = sum(score is None for scores in found.values() for score in scores)
    if missing:
        raise KanjoError(f"missing: {missing} runs; run again with --resume -o {folder}")


_EFFECT = ("uar", "spread", "seeds", "difference", "difference_spread", "enrolled")


def _effect(name: str, scores: list[dict[str, Any] | None], whole: list[dict[str, Any] | None]) -> dict[str, Any]:
    """A variant's row: mean and spread of the last epoch's validation UAR, and of its difference from the whole recipe's, seed by seed."""
    uars = [score["uar"] for score in scores if score]
    apart = [score["uar"] - other["uar"] for score, other in zip(scores, whole, strict=True) if score and other]
    known = [score["enrolled"] for score in scores if score and score["enrolled"] is not None]

    def mean(values: list[float]) -> float | None:
        return statistics.fmean(values) if values else None

    def spread(values: list[float]) -> float | None:
        return statistics.stdev(values) if len(values) > 1 else None

    first = name == WHOLE
    return {
        "variant": name, "uar": mean(uars), "spread": spread(uars), "seeds": len(uars), "difference": None if first else mean(apart),
        "difference_spread": None if first else spread(apart), "enrolled": mean(known),
    }  # fmt: skip


def _width(names: Iterable[str]) -> int:
    """Of a table's first column."""
    return max(28, *(len(name) + 1 for name in names), 0)


def _read(path: Path) -> dict[str, Any] | None:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _extractor_kind(variant: Recipe, corpus_root: str | None, silent: bool) -> str:
    """What tells one first stage from another; a name of its own where there is none."""
    from kanjo.train.tasks.two_stage import extractor_key

    if variant.finetune is None:
        return variant.text()
    with progress("decoding", silent) as show:
        material = prepared(variant, corpus_root, show)
    return extractor_key(material, material.fold(variant.split.fold))


def _print_ablations(folder: Path, done: list[Job], order: list[str]) -> None:
    """The table on stdout, and as ``ablations.csv``. Raises KanjoError when a variant is missing."""
    places = {job.name: job.folder for job in done}
    scores = {
        name: json.loads((places[name] / "scores.json").read_text(encoding="utf-8"))
        for name in order
        if (places[name] / "scores.json").is_file()
    }
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["variant", "uar", "uar_low", "uar_high", "accuracy", "macro_f1", "n"])
    wide = _width(scores)
    print(f"{'':<{wide}}{'UAR %':>7}{'interval':>16}{'accuracy':>10}{'difference':>12}")
    whole = scores.get(WHOLE, {}).get("uar", {}).get("value")
    for name, found in scores.items():
        uar, accuracy = found["uar"], found["accuracy"]["value"]
        writer.writerow([name, uar["value"], uar["low"], uar["high"], accuracy, found["macro_f1"]["value"], found["n"]])
        span = f"[{100 * uar['low']:.1f}, {100 * uar['high']:.1f}]" if uar["low"] is not None else ""
        apart = f"{100 * (uar['value'] - whole):+.1f}" if whole is not None and name != WHOLE else ""
        print(f"{name:<{wide}}{100 * uar['value']:>7.1f}{span:>16}{100 * accuracy:>10.1f}{apart:>12}")
    files.write_text(folder / "ablations.csv", buffer.getvalue())
    say(f"table: {folder / 'ablations.csv'}; one fold, one seed: differences of a few points are no more than luck")
    missing = [name for name in order if name not in scores]
    if missing:
        raise KanjoError(f"missing: {', '.join(missing)}; run again with --resume -o {folder}")
