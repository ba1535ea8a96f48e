"""Runs of one split as one network: a committee of what they have trained (see kanjo.train.networks.committee)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from kanjo.errors import RecipeError
from kanjo.splits import Fold
from kanjo.train.fit import REFIT, Fitted, judged
from kanjo.train.material import Material, sides
from kanjo.train.module import System, system_of
from kanjo.train.network_sections import CommitteeSection, ToldSection
from kanjo.train.networks.committee import Committee
from kanjo.train.optimise import kept
from kanjo.train.recipe import load_recipe
from kanjo.train.schema import AugmentSection, Recipe, TrainingSection

#: What the runs of a committee have in common: the same utterances on each side, heard the same way.
_SHARED = ("corpora", "labels", "select", "split", "frontend")


def joined_recipe(runs: Sequence[Path], name: str) -> Recipe:
    """The recipe of a committee of these runs. Raises RecipeError for runs that are no committee: what is said says why."""
    recipes = [load_recipe(str(run / "recipe.yaml")) for run in runs]
    first, members = recipes[0], []
    for run, recipe in zip(runs, recipes, strict=True):
        if not isinstance(recipe.network, ToldSection):
            raise RecipeError(
                f"{run}: a committee's members are mobilenet, crnn, ge2e or whisper, and this is {recipe.network.type}"
            )
        members.append(recipe.network)
        apart = [key for key in _SHARED if getattr(recipe, key) != getattr(first, key)]
        apart += [
            f"audio.{key}" for key in ("sample_rate", "window_s") if getattr(recipe.audio, key) != getattr(first.audio, key)
        ]
        if apart:
            raise RecipeError(
                f"{run} and {runs[0]} differ in {', '.join(apart)}; what is joined has heard the same, in the same way"
            )
    network = CommitteeSection(type="committee", members=tuple(members), of=tuple(map(str, runs)))
    changes: dict[str, Any] = {
        "name": name,
        "description": "the mean answer of " + ", ".join(dict.fromkeys(recipe.name for recipe in recipes)),
        "network": network,
        "audio": first.audio.model_copy(update={"crop_s": None}),
        "augment": AugmentSection(),
        "training": TrainingSection(refit=any(recipe.training.refit for recipe in recipes)),
        "ablations": {},
        "tune": None,
        "init": None,
    }
    return first.model_copy(update=changes)


def joined(material: Material, fold: Fold, runs: Sequence[Path], threads: int = 0) -> Fitted:
    """The committee of finished runs on a fold; ``material`` has its recipe. Raises RecipeError for runs whose checkpoints are gone.

    Temperatures, the members' and the whole's, are chosen on validation speakers, by networks that have not heard them: of a run that was refitted with
    these, the one before. ``threads``: cores that torch may use (0: all).
    """
    if threads:
        torch.set_num_threads(threads)
    windows = sides(material, fold)[1]
    last, first, minutes = [], [], 0.0
    for run in runs:
        recipe = load_recipe(str(run / "recipe.yaml"))
        training, blank = recipe.training, partial(system_of, recipe, len(material.emotions))
        before = kept(blank(), run, training.to_the_end).eval()
        first.append(before)
        last.append(kept(blank(), run / REFIT, True).eval() if training.refit else before)
        minutes += json.loads((run / "scores.json").read_text(encoding="utf-8")).get("minutes") or 0.0
    heats = torch.tensor([_heats(system, windows) for system in first])
    committee, earlier = (_committee(systems, heats) for systems in (last, first))
    said = judged(earlier, windows)
    before_refit = earlier if material.recipe.training.refit else None
    return Fitted(committee, said.temperature, 0, said.validation_uar, minutes, said.enrolled, before_refit)


def _heats(system: System, windows: Any) -> list[float]:
    """A member's temperatures, without and with the speaker known."""
    said = judged(system, windows)
    return [said.temperature, said.enrolled.temperature if said.enrolled else said.temperature]


def _committee(systems: Sequence[System], heats: torch.Tensor) -> System:
    members: list[Any] = [system.network for system in systems]
    network = Committee(members)
    network.temperatures.copy_(heats)
    front = systems[0].frontend
    for key, value in front.state_dict().items():
        if not all(torch.allclose(value, system.frontend.state_dict()[key], atol=1e-5) for system in systems[1:]):
            raise RecipeError(
                f"the runs' front ends standardise by other statistics ({key}): join those that are all refitted, or none"
            )
    return System(front, network, systems[0].sample_rate).eval()
