"""The recipe of a command: loaded, overridden, and with the value "auto" of ``model.weights`` resolved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kanjo.errors import RecipeError
from kanjo.train.config.loading import load_recipe

if TYPE_CHECKING:
    from kanjo.experiments.reporter import Reporter
    from kanjo.experiments.run_folder import RunFolder
    from kanjo.train.config.schema import Recipe

#: Sections that other commands use. A run does not depend on them, so they may change before it is resumed.
_IGNORED_ON_RESUME: dict[str, Any] = {"ablations": {}, "tune": None}


def load_fold_recipe(
    name: str, overrides: Sequence[str] | None = None, corpus_root: str | None = None, fold: int | None = None
) -> Recipe:
    """Load a recipe, apply overrides, and choose its fold.

    Args:
        name: A built-in recipe, a YAML or JSON file, or a run folder.
        overrides: "KEY=VALUE" strings.
        corpus_root: The folder of the corpora.
        fold: The test fold, from 1. None keeps the recipe's.

    Raises:
        RecipeError: The recipe does not exist or is not valid.
    """
    fold_override = [f"split.fold={fold}"] if fold else []
    return load_recipe(name, [*(overrides or []), *fold_override], corpus_root)


def resolve_recipe(recipe: Recipe, folder: RunFolder, resume: bool, reporter: Reporter) -> Recipe:
    """Replace ``model.weights: auto`` by the weights that are used; a resumed run keeps those it started with.

    An encoder of the Hugging Face Hub gets the commit that is used as its ``revision``.

    Raises:
        RecipeError: The run was started with another recipe.
    """
    # PyTorch takes seconds to import: errors in the recipe should be reported before.
    from kanjo.train.models.pretrained_weights import AUTO, NONE, get_published_weights, resolve_weights

    stored = load_recipe(str(folder.recipe)) if folder.recipe.is_file() else None
    if getattr(recipe.model, "is_from_hub", False):
        recipe = _pin_hub_encoder(recipe, stored)
    if _weights(recipe) == AUTO:
        weights, reason = (_weights(stored) if stored else ""), ""
        if recipe.init_from:
            weights = NONE  # the weights of the bundle replace them
        if not weights:
            weights, reason = resolve_weights(AUTO, get_published_weights(recipe.model.pretrained))
        if reason:
            reporter.message(reason)
        recipe = with_weights(recipe, weights)
    if stored and resume and _comparable(stored) != _comparable(recipe):
        raise RecipeError(
            f"{folder} was started with another recipe (compare {folder.recipe}); resume it with the same recipe"
        )
    return recipe


def without_pretrained_weights(recipe: Recipe) -> Recipe:
    """The recipe with random initial weights in place of ``model.weights: auto``: nothing is downloaded."""
    from kanjo.train.models.pretrained_weights import AUTO, NONE

    return with_weights(recipe, NONE) if _weights(recipe) == AUTO else recipe


def with_weights(recipe: Recipe, weights: str) -> Recipe:
    """The recipe with another value of ``model.weights``."""
    return recipe.model_copy(update={"model": recipe.model.model_copy(update={"weights": weights})})


def _pin_hub_encoder(recipe: Recipe, stored: Recipe | None) -> Recipe:
    """Replace the revision of an encoder of the Hugging Face Hub by its commit; a resumed run keeps the commit.

    Raises:
        RecipeError: There is no such encoder, or it can't be downloaded.
    """
    from kanjo.train.models.hub_source import find_encoder
    from kanjo.train.models.pretrained_weights import AUTO, NONE

    model: Any = recipe.model
    revision = model.revision
    if revision is None and stored is not None and getattr(stored.model, "source", "") == model.source:
        revision = getattr(stored.model, "revision", None)
    files = find_encoder(model.source, revision)
    weights = model.weights
    if weights == AUTO:
        weights = NONE if recipe.init_from else model.source  # the weights of the bundle replace them
    update = {"revision": files.commit or None, "weights": weights}
    return recipe.model_copy(update={"model": model.model_copy(update=update)})


def _weights(recipe: Recipe) -> str:
    """The value of ``model.weights``, "" for models without this key."""
    return getattr(recipe.model, "weights", "")


def _comparable(recipe: Recipe) -> Recipe:
    """The recipe without what a resumed run may change, and without what its data decide."""
    model = recipe.model
    if "speaker_conditioning" in type(model).model_fields:  # left out where the speakers don't support it
        model = model.model_copy(update={"speaker_conditioning": False})
    return recipe.model_copy(update={**_IGNORED_ON_RESUME, "model": model})
