"""Several networks' answers for one to learn: seeds averaged, then distilled (Hinton et al. 2015, arXiv 1503.02531).

Teachers hear what the pupil hears, varied and blended as it is (Beyer et al. 2022, arXiv 2106.05237): of clips as they are, which they have learnt by heart, they
would say no more than the labels do.
"""

from __future__ import annotations

from torch import nn

from kanjo import bundle
from kanjo.errors import RecipeError
from kanjo.splits import Fold
from kanjo.train.init import restored
from kanjo.train.material import Material
from kanjo.train.networks.committee import Committee
from kanjo.train.recipe import recipe_from


def teachers_of(material: Material, fold: Fold) -> list[nn.Module]:
    """The networks that a recipe names for this fold. Raises RecipeError: another front end or emotions, or one that was trained on a test speaker."""
    recipe = material.recipe
    found: list[nn.Module] = []
    for word in recipe.training.teachers:
        known = bundle.read(word.format(fold=fold.index))
        theirs = recipe_from(known.facts.recipe, str(known.folder))
        if known.facts.labels != material.emotions or (theirs.audio.sample_rate, theirs.frontend) != (
            recipe.audio.sample_rate,
            recipe.frontend,
        ):
            raise RecipeError(f"training.teachers: {word} has other emotions or another front end than this recipe")
        both = set(known.facts.split.get("train_speakers", ())) & {material.rows[i].speaker_key for i in fold.test} - {""}
        if both:
            raise RecipeError(
                f"training.teachers: {word} was trained on {', '.join(sorted(both)[:3])}, who test here (fold {fold.index})"
            )
        network = restored(known).requires_grad_(False).network
        found += list(network.members) if isinstance(network, Committee) else [network]
    return found
