"""The recipe: everything that a training run depends on, in one YAML (or JSON) file with a schema.

A key that the schema doesn't know is an error that names the nearest one it does; a value is checked when the recipe is
read, not after an hour of training. ``${corpus.root}`` stands for ``--corpus-root`` or ``KANJO_CORPORA``.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from kanjo.errors import RecipeError
from kanjo.files import reason
from kanjo.train.config.schema import Recipe

RECIPES = Path(__file__).parents[2] / "recipes"
_CORPUS_ROOT = "${corpus.root}"


def shipped() -> list[str]:
    """Names of the recipes in the box."""
    return sorted(path.stem for path in RECIPES.rglob("*.yaml"))


def load_recipe(name: str, overrides: Iterable[str] = (), corpus_root: str | None = None) -> Recipe:
    """Read a recipe: one in the box by name, or a YAML or JSON file by path; then apply ``KEY=VALUE`` overrides.

    Raises RecipeError in one line: no such recipe, not YAML, an unknown key (the nearest is named), a value out of range.
    """
    path = _find(name)
    content = _content(path)
    for override in overrides:
        _override(content, override)
    root = corpus_root or os.environ.get("KANJO_CORPORA")
    return recipe_from(_resolved(content, root, str(path)), str(path))


def recipe_from(content: Mapping[str, Any], name: str) -> Recipe:
    """The recipe that these keys describe. Raises RecipeError, naming every key at fault."""
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        said = "; ".join(_explain(fault, content) for fault in error.errors())
        raise RecipeError(f"{name}: {said}") from None


def changed(recipe: Recipe, values: Mapping[str, Any]) -> Recipe:
    """The recipe with other values at dotted keys. Raises RecipeError for a key that it doesn't have, or a bad value."""
    content = recipe.model_dump(mode="json")
    for key, value in values.items():
        _place(content, key, f"{recipe.name}: {key}")[key.rsplit(".", 1)[-1]] = value
    return recipe_from(content, recipe.name)


def _content(path: Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """A recipe's keys; those of the recipe that ``base`` names (in the box, or a file beside) stand where it has none."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(f"can't read {path}: {reason(error)}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise RecipeError(f"{path}: expected keys such as name, corpora and network, found {type(content).__name__}")
    if "base" not in content:
        return content
    base = str(content.pop("base"))
    beside = path.parent / base
    below = _find(str(beside) if beside.is_file() else base)
    if below in (*above, path):
        raise RecipeError(f"{path}: its base {base} leads back to itself")
    return _joined(_content(below, (*above, path)), content)


def _joined(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Keys over keys, group by group; a group of another ``type``, ablations and a search's space take nothing from the base's."""
    joined = dict(base)
    for key, value in over.items():
        known = base.get(key)
        same = isinstance(value, dict) and isinstance(known, dict) and value.get("type") in (None, known.get("type"))
        same = same and key not in ("space", "ablations")
        joined[key] = _joined(known, value) if same else value  # type: ignore[arg-type]
    return joined


def _find(name: str) -> Path:
    path = Path(name)
    if path.suffix.lower() in (".yaml", ".yml", ".json"):
        if not path.is_file():
            raise RecipeError(f"{name}: no such recipe file")
        return path
    if name in shipped():
        return next(RECIPES.rglob(f"{name}.yaml"))
    if path.is_dir() and (path / "recipe.yaml").is_file():  # a run folder holds its own recipe
        return path / "recipe.yaml"
    near = difflib.get_close_matches(name, shipped(), n=1)
    hint = f" did you mean {near[0]}?" if near else ""
    raise RecipeError(
        f"unknown recipe {name!r};{hint} In the box: {', '.join(shipped())}; or give a file that ends in .yaml or .json"
    )


def _override(content: dict[str, Any], override: str) -> None:
    key, equals, word = override.partition("=")
    if not equals or not key.strip():
        raise RecipeError(f"--set {override!r}: expected KEY=VALUE, such as training.learning_rate=1e-4")
    try:
        value = yaml.safe_load(word)
    except yaml.YAMLError as error:
        raise RecipeError(f"--set {override!r}: the value is not YAML") from error
    if isinstance(value, str):  # YAML 1.1 wants a dot in 1e-4; people don't write one
        with suppress(ValueError):
            value = float(value)
    _place(content, key.strip(), f"--set {override!r}")[key.strip().rsplit(".", 1)[-1]] = value


def _place(content: dict[str, Any], key: str, where: str) -> dict[str, Any]:
    """The group that a dotted key's last word stands in, made where it is not there."""
    *parents, _ = key.split(".")
    place: Any = content
    for part in parents:
        place = place.setdefault(part, {}) if isinstance(place, dict) else None
    if not isinstance(place, dict):
        raise RecipeError(f"{where}: {'.'.join(parents)} has no keys below it")
    return place


def _resolved(value: Any, root: str | None, where: str) -> Any:
    if isinstance(value, dict):
        return {key: _resolved(item, root, where) for key, item in value.items()}
    if isinstance(value, list):
        return [_resolved(item, root, where) for item in value]
    if isinstance(value, str) and _CORPUS_ROOT in value:
        if root is None:
            raise RecipeError(f"{where}: {_CORPUS_ROOT} is not known; give --corpus-root, or set KANJO_CORPORA")
        return value.replace(_CORPUS_ROOT, root)
    return value


def _explain(fault: Any, content: Mapping[str, Any]) -> str:
    steps, known = _walked(fault["loc"])
    place = ".".join(steps)
    if fault["type"] == "extra_forbidden":
        near = difflib.get_close_matches(steps[-1], known, n=1, cutoff=0.5)
        return f"unknown key {place!r}" + (
            f"; did you mean {near[0]!r}?" if near else f"; known here: {', '.join(known)}"
        )
    if fault["type"] == "missing":
        return f"the key {place!r} is missing"
    message = str(fault["msg"]).removeprefix("Value error, ")
    found = fault.get("input")
    shown = "" if isinstance(found, dict | list) or fault["type"] == "value_error" else f" (found {found!r})"
    return f"{place}: {message}{shown}" if place else message


def _walked(location: tuple[Any, ...]) -> tuple[list[str], list[str]]:
    """A fault's place as the user wrote it, and the keys that are known there.

    Pydantic puts a network's type into the place too, to say which of the networks it means; no such key is written.
    """
    steps: list[str] = []
    candidates: list[type[BaseModel]] = [Recipe]
    known: list[str] = []
    for part in location:
        chosen = [model for model in candidates if _type_of(model) == part]
        if chosen:
            candidates = chosen
            known = sorted(chosen[0].model_fields)
            continue
        steps.append(str(part))
        if isinstance(part, int):
            continue
        known = sorted({name for model in candidates for name in model.model_fields})
        found = [model.model_fields[part].annotation for model in candidates if part in model.model_fields]
        candidates = [model for annotation in found for model in _models(annotation)]
    return steps, known


def _type_of(model: type[BaseModel]) -> str:
    field = model.model_fields.get("type")
    return str(get_args(field.annotation)[0]) if field else ""


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The sections that an annotation speaks of, unions and tuples unwrapped."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in get_args(annotation) for model in _models(inner)]
