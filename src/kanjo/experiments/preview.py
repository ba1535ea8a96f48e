"""A look at a run before it starts: its split, its leakage, and an estimate of time and memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kanjo.experiments.leakage import describe_leakage
from kanjo.experiments.pipeline import load_data
from kanjo.experiments.recipes import without_pretrained_weights
from kanjo.train.cost_estimate import Cost, estimate_cost

if TYPE_CHECKING:
    from kanjo.experiments.reporter import Reporter
    from kanjo.train.config.schema import Recipe


@dataclass(frozen=True)
class RunPreview:
    """What a run would train and cost.

    Attributes:
        recipe: The recipe.
        emotions: The labels of the model.
        leakage: What training, validation and test share.
        cost: Estimated duration and memory.
    """

    recipe: Recipe
    emotions: tuple[str, ...]
    leakage: tuple[str, ...]
    cost: Cost

    @property
    def clips_per_second(self) -> float:
        """Training clips per second."""
        return self.recipe.training.batch_size / self.cost.seconds_per_step


def preview_run(recipe: Recipe, corpus_root: str | None, threads: int, reporter: Reporter) -> RunPreview:
    """Load the data, and measure a few training steps. Writes nothing and downloads nothing."""
    recipe = without_pretrained_weights(recipe)
    data = load_data(recipe, corpus_root, reporter)
    fold = data.fold(recipe.split.fold)
    leakage, data = describe_leakage(data, fold), data.for_fold(fold)
    cost = estimate_cost(data, fold, threads)
    return RunPreview(recipe, data.emotions, tuple(leakage), cost)
