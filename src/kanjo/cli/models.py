"""``kanjo models`` and ``kanjo recipes``: what can be used as ``--model``, and what can be trained."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from kanjo import bundle
from kanjo.cli.common import Format, check_format, print_line, print_message
from kanjo.cli.terminal import detect_terminal
from kanjo.errors import BundleError
from kanjo.file_names import encode_name

#: Folders below a folder of runs in which bundles are searched: ``runs/RECIPE/RUN/fold-1/bundle``.
_MAX_DEPTH = 4
_RECIPES = Path(__file__).parents[1] / "recipes"
_DESCRIPTION = re.compile(r"^description: (.+)$", re.MULTILINE)
_INDENT = 4


def models(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[DIR]...", help="Folders with runs (default: runs).", show_default=False),
    ] = None,
    form: Format = "table",
) -> None:
    """List the built-in models and those of your runs, with size, emotions, UAR and license.

    Example: kanjo models
    """
    check_format(form)
    for folder in folders or []:
        if not folder.is_dir():
            raise BundleError(f"{folder}: no such folder; expected a folder with runs or bundles")
    rows = [_describe(path, path.name, "") for path in bundle.builtin_bundles()]
    for folder in folders or [Path("runs")]:
        rows += [_describe(path, _model_name(path), str(folder)) for path in _find_bundles(folder)]
    if form == "json":
        print(json.dumps(rows, indent=2, ensure_ascii=False))
    else:
        _print_models(rows, folders or [Path("runs")])


def recipes(form: Format = "table") -> None:
    """List the built-in recipes.

    Example: kanjo recipes
    """
    check_format(form)
    descriptions = recipe_descriptions()
    if form == "json":
        print(json.dumps([{"name": name, "description": text} for name, text in descriptions.items()], indent=2))
        return
    width = max(map(len, descriptions))
    terminal = detect_terminal(sys.stdout)
    is_narrow = terminal.width is not None and terminal.width < 2 * width
    for name, text in descriptions.items():
        if is_narrow:
            print(name)
        first = " " * _INDENT if is_narrow else f"{name:<{width}}  "
        for line in terminal.wrap(text, len(first), first):
            print(line)
    print_message("Train one: kanjo train RECIPE --corpus-root corpora (--dry-run estimates the time first)")


def recipe_descriptions() -> dict[str, str]:
    """Return the built-in recipes with their descriptions; PyYAML, which the core does not have, is not needed."""
    found = {path.stem: path.read_text(encoding="utf-8") for path in _RECIPES.rglob("*.yaml")}
    matches = {name: _DESCRIPTION.search(text) for name, text in sorted(found.items())}
    return {name: match[1].strip().strip("'\"") if match else "" for name, match in matches.items()}


def _find_bundles(folder: Path) -> Iterator[Path]:
    """Yield the bundles in a folder and its subfolders."""
    depth = len(folder.parts)
    for parent, folders, names in os.walk(folder):
        path = Path(parent)
        folders.sort()
        if bundle.METADATA_FILE in names:
            yield path
            folders.clear()
        elif len(path.parts) - depth >= _MAX_DEPTH:
            folders.clear()


def _model_name(path: Path) -> str:
    """Return what ``--model`` takes: the run folder, if it contains the bundle."""
    name = str(path.parent if path.name == bundle.BUNDLE_FOLDER else path)
    is_plain = len(Path(name).parts) < 2  # a folder of this name would not be found if a built-in bundle has it, too
    return encode_name(os.path.join(".", name) if is_plain else name)  # noqa: PTH118 - pathlib drops the "."


def _describe(path: Path, name: str, source: str) -> dict[str, Any]:
    """Return the values of a bundle. One that can't be read has an error."""
    row: dict[str, Any] = {"model": name, "folder": source and encode_name(source)}
    try:
        metadata = bundle.read_metadata(path)
        size_mb = (path / bundle.GRAPH_FILE).stat().st_size / 1e6
    except (BundleError, OSError) as error:
        return {**row, "error": str(error)}
    scores = metadata.scores or {}
    return {
        **row,
        "name": metadata.name,
        "size_mb": round(size_mb, 2),
        "parameters": metadata.n_parameters,
        "labels": list(metadata.labels),
        "uar": scores.get("uar"),
        "chance_uar": scores.get("chance_uar"),
        "languages": list(dict.fromkeys(corpus.get("language") or "unknown" for corpus in metadata.corpora)),
        "license": metadata.license,
        "error": "",
    }


def _print_models(rows: list[dict[str, Any]], folders: list[Path]) -> None:
    terminal = detect_terminal(sys.stdout)
    for row in rows:
        print_line(row["model"] + (" (used without --model)" if row["model"] == bundle.DEFAULT_BUNDLE else ""))
        for line in [f"error: {row['error']}"] if row["error"] else _model_lines(row):
            for part in terminal.wrap(line, 2 * _INDENT, " " * _INDENT):
                print_line(part)
    if not any(row["folder"] for row in rows):
        print_message(f"no models of your own in {', '.join(map(str, folders))}")
    print_message('Use one: kanjo predict --model MODEL clip.wav, or in Python kanjo.load("MODEL")')


def _model_lines(row: dict[str, Any]) -> Iterator[str]:
    """Yield the lines about one model."""
    yield f"{', '.join(row['labels'])}"
    uar, chance = row["uar"], row["chance_uar"]
    size = f"{row['size_mb']:.1f} MB, {row['parameters']:,} parameters"
    if uar:
        interval = "" if uar.get("low") is None else f" [{100 * uar['low']:.1f}, {100 * uar['high']:.1f}]"
        by_chance = "" if chance is None else f" (chance {100 * chance:.1f} %)"
        yield f"{size}; UAR {100 * uar['value']:.1f} %{interval} on its test speakers{by_chance}"
    else:
        yield f"{size}; not scored"
    yield f"languages: {', '.join(row['languages']) or 'unknown'}; license: {row['license'] or 'not stated'}"
