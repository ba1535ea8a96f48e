"""Comparison of runs: their scores, and whether their differences are significant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kanjo import files
from kanjo.errors import RecipeError
from kanjo.evaluation.compare import compare_pairs, read_run, with_distinct_names
from kanjo.evaluation.reports.figures import plot_comparison
from kanjo.evaluation.reports.html import render_comparison_page
from kanjo.evaluation.reports.rendering import write_figures
from kanjo.experiments.recipes import resolve_recipe
from kanjo.experiments.run_folder import RunFolder
from kanjo.experiments.subprocesses import TrainingJob, run_jobs

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from kanjo.evaluation.compare import EvaluatedRun, RunDifference
    from kanjo.experiments.reporter import Reporter
    from kanjo.train.config.schema import Recipe


@dataclass(frozen=True)
class ComparisonResult:
    """Several runs with the differences of all pairs that were tested on the same utterances."""

    runs: tuple[EvaluatedRun, ...]
    differences: tuple[RunDifference, ...]
    page: Path


@dataclass(frozen=True)
class RecipeComparison:
    """The comparison of several recipes: the runs that were tested, and those that failed."""

    tested: tuple[RunFolder, ...]
    failed: tuple[str, ...]


def run_names(recipes: Sequence[Recipe]) -> list[str]:
    """One run name per recipe.

    Raises:
        RecipeError: Two recipes have the same name and fold.
    """
    names = [f"{recipe.name}-fold-{recipe.split.fold}" for recipe in recipes]
    if len(set(names)) < len(names):
        raise RecipeError(f"two recipes have the same name and fold: {', '.join(names)}; change the key 'name' of one")
    return names


def train_recipes(
    recipes: Sequence[Recipe],
    corpus_root: str | None,
    folder: RunFolder,
    n_parallel: int,
    resume: bool,
    reporter: Reporter,
) -> RecipeComparison:
    """Train and test several recipes, each on its fold and in a subprocess.

    Args:
        recipes: The recipes. Their names and folds must differ.
        corpus_root: The folder of the corpora.
        folder: The folder of the comparison. Recipes that are finished there are not trained again.
        n_parallel: Recipes that are trained at the same time; 0: one per core.
        resume: Whether the comparison continues.
        reporter: Receives progress and messages.
    """
    jobs = []
    for name, recipe in zip(run_names(recipes), recipes, strict=True):
        run, recipe_file = folder.variant(name), folder.variant_recipe(name)
        files.write_text(recipe_file, resolve_recipe(recipe, run, resume, reporter).text())
        jobs.append(TrainingJob(name, run, recipe_file, run.scores))
    run_jobs(jobs, corpus_root, n_parallel, reporter)
    tested = tuple(job.folder for job in jobs if job.finished)
    return RecipeComparison(tested, tuple(job.name for job in jobs if not job.finished))


def compare_runs(runs: Sequence[RunFolder], output: RunFolder) -> ComparisonResult:
    """Compare tested runs by a paired bootstrap over speakers, and write the comparison page.

    Args:
        runs: The runs.
        output: The folder of the page and its figure.

    Raises:
        CorpusError: A run has no predictions.
    """
    evaluated = with_distinct_names([read_run(run.path, run.predictions, run.metrics) for run in runs])
    differences = compare_pairs(evaluated)
    figure = plot_comparison(evaluated)
    write_figures(output.path, {"comparison": figure})
    files.write_text(output.comparison, render_comparison_page(evaluated, differences, figure))
    return ComparisonResult(tuple(evaluated), tuple(differences), output.comparison)
