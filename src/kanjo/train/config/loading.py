"""Read recipes from YAML or JSON files.

A recipe is validated completely before anything else happens: unknown keys and values out of range are errors. A recipe
may extend another (``base: NAME``), ``KEY=VALUE`` overrides change single values, and ``${corpus.root}`` in a string
means the corpus root.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from kanjo.errors import RecipeError
from kanjo.files import os_error_message, read_bytes
from kanjo.parsing import MAX_YAML_LENGTH, parse_yaml
from kanjo.train.config.messages import RENAMED_RECIPES, explain
from kanjo.train.config.original_config import describe_original_config
from kanjo.train.config.schema import Recipe

#: Name of the recipe's file inside a run folder.
RECIPE_FILE = "recipe.yaml"
RECIPES_FOLDER = Path(__file__).parents[2] / "recipes"
_MAX_BYTES = 4 * MAX_YAML_LENGTH  # a character has at most 4 bytes
#: Largest number in a recipe; seeds are the largest numbers, below 2**32.
_MAX_NUMBER = 1e10
_CORPUS_ROOT = "${corpus.root}"


def list_recipes() -> list[str]:
    """Names of the built-in recipes."""
    return sorted(path.stem for path in RECIPES_FOLDER.rglob("*.yaml"))


def load_recipe(name: str, overrides: Iterable[str] = (), corpus_root: str | None = None) -> Recipe:
    """Read a recipe, and apply overrides.

    Args:
        name: Name of a built-in recipe, path of a YAML or JSON file, or a run folder.
        overrides: Changes, each ``KEY=VALUE`` with a dotted key and a YAML value.
        corpus_root: Folder of the corpora (None: the environment variable ``KANJO_CORPORA``).

    Raises:
        RecipeError: No such recipe, a file that is not YAML, an unknown key, or a value out of range; in one line.
    """
    path, overrides = _find(name), list(overrides)
    content = _read(path)
    for override in overrides:
        _apply_override(content, override)
    shown_name = name if path.is_relative_to(RECIPES_FOLDER) else str(path)
    source = " with --set ".join([shown_name, *map(_one_line, overrides)])
    root = corpus_root or os.environ.get("KANJO_CORPORA")
    return parse_recipe(_insert_corpus_root(content, root, source), source)


def _one_line(override: str) -> str:
    """Return an override for a message, in one line of at most 100 characters."""
    text = " ".join(override.split())
    return text if len(text) <= 100 else text[:97] + "..."


def parse_recipe(content: Mapping[str, Any], name: str) -> Recipe:
    """Validate a recipe's keys and values.

    Args:
        content: Keys and values.
        name: Where they are from, for the error message.

    Raises:
        RecipeError: Unknown keys or values out of range; all of them in one line.
    """
    _refuse_absurd_numbers(content, name)
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        raise RecipeError(f"{name}: {explain(error, content)}") from None


def _refuse_absurd_numbers(value: Any, name: str, key: str = "") -> None:
    """Raise RecipeError for a number that no setting can have; it would exhaust memory or overflow later."""
    if isinstance(value, int | float) and abs(value) > _MAX_NUMBER:
        raise RecipeError(f"{name}: {key} is {value:g}; expected a number up to {_MAX_NUMBER:g}")
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list | tuple) else ()
    for part, item in items:
        _refuse_absurd_numbers(item, name, f"{key}.{part}" if key else str(part))


def override_values(recipe: Recipe, values: Mapping[str, Any]) -> Recipe:
    """Return a copy of a recipe with other values at dotted keys.

    Raises:
        RecipeError: An unknown key, or a value out of range.
    """
    content = recipe.model_dump(mode="json")
    for key, value in values.items():
        _set_value(content, key, value, f"{recipe.name}: {key}")
    return parse_recipe(content, recipe.name)


def _find(name: str) -> Path:
    path = Path(name)
    if path.suffix.lower() in (".yaml", ".yml", ".json"):
        if not path.is_file():
            raise RecipeError(f"{name}: no such recipe file")
        return path
    if name in list_recipes():
        return next(RECIPES_FOLDER.rglob(f"{name}.yaml"))
    if path.is_dir() and (path / RECIPE_FILE).is_file():  # a run folder
        return path / RECIPE_FILE
    if name in RENAMED_RECIPES:
        raise RecipeError(f"unknown recipe {name!r}; it is now called {RENAMED_RECIPES[name]!r}")
    near = difflib.get_close_matches(name, list_recipes(), n=1)
    hint = f" did you mean {near[0]}?" if near else ""
    raise RecipeError(
        f"unknown recipe {name!r};{hint} expected a built-in recipe ({', '.join(list_recipes())}), "
        "a file that ends in .yaml or .json, or a run folder"
    )


def _read(path: Path, extended_by: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Read a recipe's keys, on top of those of the recipe that it extends (``base``)."""
    try:
        content = parse_yaml(read_bytes(path, _MAX_BYTES).decode("utf-8-sig"))
    except OSError as error:
        raise RecipeError(f"can't read {path}: {os_error_message(error)}") from error
    except ValueError as error:  # or UnicodeDecodeError
        raise RecipeError(f"{path}: not a YAML file: {error}") from error
    if not isinstance(content, dict):
        raise RecipeError(f"{path}: expected keys such as name, corpora and model; found {type(content).__name__}")
    if original := describe_original_config(content):
        raise RecipeError(f"{path}: {original}")
    if "base" not in content:
        return content
    base = str(content.pop("base"))
    beside = path.parent / base
    base_path = _find(str(beside) if beside.is_file() else base)
    if base_path in (*extended_by, path):
        raise RecipeError(f"{path}: base: {base} extends this recipe itself; remove one of the two")
    return _merge(_read(base_path, (*extended_by, path)), content)


def _merge(base: dict[str, Any], content: dict[str, Any]) -> dict[str, Any]:
    """Merge keys into those of the base, section by section.

    A section of another ``type``, the ablations and the space of a search replace those of the base completely.
    """
    merged = dict(base)
    for key, value in content.items():
        base_value = base.get(key)
        if isinstance(value, dict) and isinstance(base_value, dict) and key not in ("space", "ablations"):
            same_type = value.get("type") in (None, base_value.get("type"))
            merged[key] = _merge(base_value, value) if same_type else value
        else:
            merged[key] = value
    return merged


def _apply_override(content: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise RecipeError(f"--set {override!r}: expected KEY=VALUE, such as training.learning_rate=1e-4")
    try:
        value = parse_yaml(text)
    except ValueError as error:
        raise RecipeError(f"--set {override!r}: the value is not YAML") from error
    if isinstance(value, str):  # YAML 1.1 reads 1e-4 as text, because it has no dot
        with suppress(ValueError):
            value = float(value)
    _set_value(content, key.strip(), value, f"--set {override!r}")


def _set_value(content: dict[str, Any], key: str, value: Any, source: str) -> None:
    """Set the value of a dotted key; sections that don't exist are created."""
    *parents, last = key.split(".")
    section: Any = content
    for parent in parents:
        section = section.setdefault(parent, {}) if isinstance(section, dict) else None
    if not isinstance(section, dict):
        raise RecipeError(f"{source}: {'.'.join(parents)} is not a section, so it has no key {last}")
    section[last] = value


def _insert_corpus_root(value: Any, root: str | None, source: str) -> Any:
    if isinstance(value, dict):
        return {key: _insert_corpus_root(item, root, source) for key, item in value.items()}
    if isinstance(value, list):
        return [_insert_corpus_root(item, root, source) for item in value]
    if isinstance(value, str) and _CORPUS_ROOT in value:
        if root is None:
            raise RecipeError(f"{source}: {_CORPUS_ROOT} is not set; give --corpus-root, or set KANJO_CORPORA")
        return value.replace(_CORPUS_ROOT, root)
    return value
