"""Ablation: train a recipe unchanged and with each of its ablations, and compare the scores."""

from __future__ import annotations

import csv
import io
import statistics
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from kanjo import files
from kanjo.errors import RecipeError
from kanjo.experiments.pipeline import load_data
from kanjo.experiments.recipes import load_fold_recipe
from kanjo.experiments.run_folder import STAGE2, read_json
from kanjo.experiments.subprocesses import TrainingJob, run_jobs
from kanjo.train.tasks.two_stage import stage1_key

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from kanjo.experiments.reporter import Reporter
    from kanjo.experiments.run_folder import RunFolder
    from kanjo.train.config.schema import Recipe

#: Name of the unchanged recipe in tables and folders.
ORIGINAL = "original"
#: Name of a variant -> overrides of the recipe.
Variants = dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class AblationRow:
    """Test scores (0 to 1) of one variant."""

    variant: str
    uar: float
    uar_low: float | None
    uar_high: float | None
    accuracy: float
    macro_f1: float
    n: int


@dataclass(frozen=True)
class EffectRow:
    """Validation scores (0 to 1) of one variant over several seeds.

    Attributes:
        variant: Name of the variant.
        uar: Mean UAR of the last epoch.
        spread: Standard deviation of the UAR over the seeds.
        seeds: Number of seeds.
        difference: Mean difference to the UAR of the original recipe with the same seed.
        difference_spread: Standard deviation of these differences.
        enrolled: Mean UAR with enrolled speakers.
    """

    variant: str
    uar: float | None
    spread: float | None
    seeds: int
    difference: float | None
    difference_spread: float | None
    enrolled: float | None


@dataclass(frozen=True)
class AblationTable:
    """Test scores of the variants, the file of the table, and the variants that failed."""

    rows: tuple[AblationRow, ...]
    path: Path
    missing: tuple[str, ...]


@dataclass(frozen=True)
class EffectTable:
    """Validation scores of the variants, the file of the table, and the number of runs that failed."""

    rows: tuple[EffectRow, ...]
    path: Path
    n_missing: int


def choose_variants(recipe: Recipe, only: Sequence[str] = ()) -> Variants:
    """The original recipe and its ablations, or those of them that ``only`` names.

    Raises:
        RecipeError: The recipe has no ablations, or not this one.
    """
    if not recipe.ablations:
        raise RecipeError(
            f"{recipe.name} has no ablations; the key 'ablations' of a recipe maps a name to a list of overrides"
        )
    unknown = [name for name in only if name not in recipe.ablations]
    if unknown:
        raise RecipeError(
            f"{recipe.name} has no ablation {', '.join(unknown)}; expected one of {', '.join(recipe.ablations)}"
        )
    chosen = {name: changes for name, changes in recipe.ablations.items() if not only or name in only}
    return {ORIGINAL: (), **chosen}


def run_ablation(
    folder: RunFolder, variants: Variants, corpus_root: str | None, n_parallel: int, reporter: Reporter
) -> AblationTable:
    """Train and test each variant on the fold of the recipe.

    Args:
        folder: The folder of the ablation, with the recipe. Variants that are finished there are not trained again.
        variants: The variants.
        corpus_root: The folder of the corpora.
        n_parallel: Variants that are trained at the same time; 0: one per core.
        reporter: Receives progress and messages.
    """
    first: list[TrainingJob] = []
    reuse_stage1: list[TrainingJob] = []
    known_keys: set[str] = set()
    for name, changes in variants.items():
        variant = _write_variant(folder, name, changes, corpus_root)
        key = _stage1_key(variant, corpus_root, reporter)
        # Variants that change only the second stage use the first stage of an earlier variant.
        queue, arguments = (reuse_stage1, ("--stage", STAGE2)) if key in known_keys else (first, ())
        run = folder.variant(name)
        queue.append(TrainingJob(name, run, folder.variant_recipe(name), run.scores, arguments))
        known_keys.add(key)
    for queue in (first, reuse_stage1):
        run_jobs(queue, corpus_root, n_parallel, reporter)
    scores = {name: _read_json(folder.variant(name).scores) for name in variants}
    rows = tuple(_ablation_row(name, content) for name, content in scores.items() if content)
    _write_table(folder.ablations, AblationRow, rows)
    return AblationTable(rows, folder.ablations, tuple(name for name, content in scores.items() if not content))


def run_ablation_over_seeds(
    folder: RunFolder, variants: Variants, corpus_root: str | None, n_seeds: int, n_parallel: int, reporter: Reporter
) -> EffectTable:
    """Train each variant with several seeds, and score it on validation speakers. Test speakers are not used.

    Seed 1 uses fold 1, seed 2 fold 2, and so on.

    Args:
        folder: The folder of the ablation, with the recipe. Runs that are finished there are not trained again.
        variants: The variants.
        corpus_root: The folder of the corpora.
        n_seeds: Number of seeds.
        n_parallel: Runs that are trained at the same time; 0: one per core.
        reporter: Receives progress and messages.
    """
    recipe = load_fold_recipe(str(folder.recipe), None, corpus_root)
    n_folds = len(load_data(recipe, corpus_root, reporter).folds)
    jobs: dict[str, list[TrainingJob]] = {name: [] for name in variants}
    for seed in range(1, n_seeds + 1):
        for name, changes in variants.items():
            run_name = f"{name}-{seed}"
            overrides = (*changes, f"training.seed={seed}", f"split.fold={(seed - 1) % n_folds + 1}")
            _write_variant(folder, run_name, overrides, corpus_root)
            run = folder.variant(run_name)
            recipe_file = folder.variant_recipe(run_name)
            jobs[name].append(TrainingJob(f"{name}, seed {seed}", run, recipe_file, run.validation, ("--skip-test",)))
    by_seed = zip(*jobs.values(), strict=True)
    run_jobs([job for same_seed in by_seed for job in same_seed], corpus_root, n_parallel, reporter)
    scores = {name: [_read_json(job.result) for job in of_variant] for name, of_variant in jobs.items()}
    rows = tuple(_effect_row(name, of_variant, scores[ORIGINAL]) for name, of_variant in scores.items())
    _write_table(folder.effects, EffectRow, rows)
    n_missing = sum(content is None for of_variant in scores.values() for content in of_variant)
    return EffectTable(rows, folder.effects, n_missing)


def _write_variant(folder: RunFolder, name: str, overrides: Sequence[str], corpus_root: str | None) -> Recipe:
    """Write the recipe of a variant into the folder of the ablation."""
    variant = load_fold_recipe(str(folder.recipe), overrides, corpus_root)
    files.write_text(folder.variant_recipe(name), variant.text())
    return variant


def _stage1_key(variant: Recipe, corpus_root: str | None, reporter: Reporter) -> str:
    """A key that is equal for variants with the same first stage; unique for models with one stage."""
    if variant.stage1 is None:
        return variant.text()
    data = load_data(variant, corpus_root, reporter)
    fold = data.fold(variant.split.fold)
    return stage1_key(data.for_fold(fold), fold)


def _ablation_row(name: str, scores: dict[str, Any]) -> AblationRow:
    uar = scores["uar"]
    accuracy, macro_f1 = scores["accuracy"]["value"], scores["macro_f1"]["value"]
    return AblationRow(name, uar["value"], uar["low"], uar["high"], accuracy, macro_f1, scores["n"])


def _effect_row(
    name: str, scores: Sequence[dict[str, Any] | None], original: Sequence[dict[str, Any] | None]
) -> EffectRow:
    """Mean and standard deviation of a variant's scores, and of their differences to the original, seed by seed."""
    uars = [content["uar"] for content in scores if content]
    pairs = zip(scores, original, strict=True)
    differences = [content["uar"] - reference["uar"] for content, reference in pairs if content and reference]
    if name == ORIGINAL:
        differences = []
    enrolled = [content["enrolled"] for content in scores if content and content["enrolled"] is not None]
    return EffectRow(
        name, _mean(uars), _stdev(uars), len(uars), _mean(differences), _stdev(differences), _mean(enrolled)
    )


def _mean(values: Sequence[float]) -> float | None:
    return statistics.fmean(values) if values else None


def _stdev(values: Sequence[float]) -> float | None:
    return statistics.stdev(values) if len(values) > 1 else None


def _write_table(path: Path, row_type: type[Any], rows: Sequence[Any]) -> None:
    """Write dataclass instances as CSV."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, [field.name for field in fields(row_type)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    files.write_text(path, buffer.getvalue())


def _read_json(path: Path) -> dict[str, Any] | None:
    return read_json(path) if path.is_file() else None
