"""``kanjo join``: finished runs of one split as one network, tested as they were."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kanjo import files
from kanjo.cli._common import CorpusRoot, Run, Silent, Threads, progress, say
from kanjo.cli.pooled import pool
from kanjo.cli.runs import experiment_of, logged, note_split, prepared, run_folder, score_run
from kanjo.errors import RecipeError

if TYPE_CHECKING:
    from kanjo.train.material import Material
    from kanjo.train.schema import Recipe


def register(app: typer.Typer) -> None:
    app.command()(join)


def join(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="Finished runs of one split, or cross-validations.")],
    name: Annotated[str, typer.Option(help="What the new network is called.")] = "joined",
    corpus_root: CorpusRoot = None,
    output: Run = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the folder in -o: folds that are done stay.")] = False,
    threads: Threads = 0,
    silent: Silent = False,
) -> None:
    """Join networks that were trained on one split into one whose answer is their mean, and test it: more accurate, as many times slower.

    Example: kanjo join runs/seed-1 runs/seed-2 runs/seed-3 -o runs/joined
    """
    folds = _folds(runs)
    experiment_of(str(runs[0] / folds[0]), None, None, None)  # says so where training isn't installed
    from kanjo.train.join import joined_recipe

    recipe = joined_recipe([run / folds[0] for run in runs], name)
    folder = run_folder(recipe, output, resume, "joined")
    with progress("decoding", silent) as show:
        material = prepared(recipe, corpus_root, show)
    for fold in folds:
        place = folder / fold
        if not (place / "scores.json").is_file():
            members = [run / fold for run in runs]
            _join(material, joined_recipe(members, name), members, place, threads, silent)
    if folds == [""]:
        say(f"run folder: {folder}   report: {folder / 'report.html'}   try: kanjo predict --model {folder} clip.wav")
        return
    files.write_text(folder / "recipe.yaml", recipe.text())
    pool(folder, material)


def _folds(runs: Sequence[Path]) -> list[str]:
    """The runs' folders of folds, or "" where each is one fold itself. Raises RecipeError for what is not finished, or not alike."""
    if len(runs) < 2:
        raise RecipeError(f"{runs[0]} alone is nothing to join; name at least two runs")
    if len({run.resolve() for run in runs}) < len(runs):
        raise RecipeError(f"{', '.join(map(str, runs))}: a run is named twice; with itself it answers as it does alone")
    found = [sorted((path.parent.name for path in run.glob("fold-*/recipe.yaml")), key=_number) for run in runs]
    for run, folds in zip(runs, found, strict=True):
        if not folds and not (run / "recipe.yaml").is_file():
            raise RecipeError(
                f"{run}: no run folder (it has no recipe.yaml); give what kanjo train or kanjo crossval has written"
            )
        if folds != found[0]:
            one, other = (", ".join(words) or "one fold alone" for words in (folds, found[0]))
            raise RecipeError(f"{run} has {one}, and {runs[0]} {other}; join runs of the same folds")
    folds = found[0] or [""]
    for place in (run / fold for run in runs for fold in folds):
        if not (place / "scores.json").is_file() or not (place / "bundle").is_dir():
            raise RecipeError(f"{place} is not finished: go on with it by kanjo train {place} --resume -o {place}")
    return folds


def _number(fold: str) -> int:
    return int(fold.removeprefix("fold-"))


def _join(material: Material, recipe: Recipe, runs: Sequence[Path], place: Path, threads: int, silent: bool) -> None:
    from kanjo.train.join import joined

    material = replace(material, recipe=recipe)
    fold = material.fold(recipe.split.fold)
    _same_split(runs)
    with logged(place, silent):
        sentences = note_split(place, material, fold)
        fitted = joined(material, fold, runs, threads)
        said = f"{len(runs)} networks, joined after training ({', '.join(map(str, runs))}): their answers are averaged."
        score_run(material, fold, sentences, fitted, place, threads, silent, said)


def _same_split(runs: Sequence[Path]) -> None:
    """Raises RecipeError where runs of one recipe's split had other utterances on a side: the corpora have changed between them."""
    first = (runs[0] / "split.csv").read_bytes()
    for run in runs[1:]:
        if (run / "split.csv").read_bytes() != first:
            raise RecipeError(f"{run}/split.csv and {runs[0]}/split.csv differ: their corpora were not the same")
