"""One value in a JSON or YAML file changed where it stands: every other byte, comments and layout included, stays."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kanjo import files
from kanjo.errors import KanjoError

SUFFIXES = (".json", ".yaml", ".yml")
#: Is given a file's content after a change; raises KanjoError when it would no longer do.
Validate = Callable[[Path, Any, Any], None]


@dataclass(frozen=True)
class Place:
    """Where a value stands: its dotted name, its text's first and last offset, the value, and how it is quoted."""

    name: str
    start: int
    end: int
    value: Any
    style: str


@dataclass(frozen=True)
class Edit:
    """A change that was made, or would be: ``old`` and ``new`` as they are written in the file."""

    path: Path
    name: str
    old: str
    new: str


def find(path: Path, name: str) -> Place:
    """The value of that name: dotted from the top (``train.learning_rate``), or any unique ending of that.

    Raises KanjoError: no such file, not JSON or YAML, no such name (the nearest are named), more than one.
    """
    return _match(path, name, _read(path))


def set_value(
    paths: Sequence[Path], name: str, word: str, *, dry_run: bool = False, validate: Validate | None = None
) -> list[Edit]:
    """Set one value in many files; kinds stay (a number stays a number). All are checked before the first is written.

    ``validate`` sees each file's content before and after. Raises KanjoError, and writes nothing, when any file can't take it.
    """
    edits, contents = [], []
    for path in paths:
        text = _read(path)
        place = _match(path, name, text)
        new = _written(path, place, word)
        changed = text[: place.start] + new + text[place.end :]
        found = _match(path, place.name, changed)  # what was written must be read back as it was meant
        if found.value != _parsed(word, place):
            raise KanjoError(
                f"{path}: {word!r} can't be written in place of {text[place.start : place.end]!r}; nothing was written"
            )
        if validate:
            validate(path, _loaded(path, text), _loaded(path, changed))
        edits.append(Edit(path, place.name, text[place.start : place.end], new))
        contents.append(changed)
    if not dry_run:
        for path, content in zip(paths, contents, strict=True):
            with files.written_whole(path.resolve()) as temporary:
                temporary.write_bytes(content.encode("utf-8"))
    return edits


def _read(path: Path) -> str:
    if path.suffix.lower() not in SUFFIXES:
        raise KanjoError(f"{path}: expected a file that ends in {', '.join(SUFFIXES)}")
    try:
        return path.read_bytes().decode("utf-8")  # line ends stay as they are
    except OSError as error:
        raise KanjoError(f"can't read {path}: {files.reason(error)}") from error
    except UnicodeDecodeError as error:
        raise KanjoError(f"{path}: not text in UTF-8") from error


def _match(path: Path, name: str, text: str) -> Place:
    places = list(_places(path, text))
    exact = [place for place in places if place.name == name]
    found = exact or [place for place in places if place.name.endswith(f".{name}")]
    if len(found) == 1:
        return found[0]
    if found:
        raise KanjoError(f"{path}: {name} could be {', '.join(place.name for place in found)}; name one in full")
    import difflib

    known = {place.name: place.name for place in places} | {
        place.name.rsplit(".", 1)[-1]: place.name for place in places
    }
    near = [known[key] for key in difflib.get_close_matches(name, known, n=1)]
    hint = (
        f"did you mean {near[0]}?"
        if near
        else f"it has {', '.join(place.name for place in places[:12]) or 'no values'}"
    )
    raise KanjoError(f"{path}: no value named {name}; {hint}")


def _places(path: Path, text: str) -> Iterator[Place]:
    yaml = _yaml()
    if path.suffix.lower() == ".json":  # YAML reads JSON, but for tabs between its words
        _loaded(path, text)
        text = re.sub(r'"(?:\\.|[^"\\])*"|\t', lambda match: " " if match[0] == "\t" else match[0], text)
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise KanjoError(f"{path}: not YAML ({' '.join(str(error).split())})") from error

    def walk(node: Any, name: str) -> Iterator[Place]:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                yield from walk(value, f"{name}.{key.value}" if name else str(key.value))
        elif isinstance(node, yaml.SequenceNode):
            for n, value in enumerate(node.value):
                yield from walk(value, f"{name}.{n}")
        elif name:
            word = text[node.start_mark.index : node.end_mark.index]
            yield Place(name, node.start_mark.index, node.end_mark.index, _value(word), node.style or "")

    if root is not None:
        yield from walk(root, "")


def _value(word: str) -> Any:
    """A scalar as YAML reads it; and as a number, too, where only YAML 1.1 misses a dot (1e-4), which nobody writes."""
    yaml = _yaml()
    try:
        value = yaml.safe_load(word) if word.strip() else None
    except yaml.YAMLError:
        return word
    if isinstance(value, str) and value == word.strip():
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _parsed(word: str, place: Place) -> Any:
    """The word as a value of the kind that stands there."""
    return word if isinstance(place.value, str) else _value(word)


def _written(path: Path, place: Place, word: str) -> str:
    value = _parsed(word, place)
    kinds = {bool: "true or false", int: "a number", float: "a number", str: "text", type(None): "null"}
    numbers = (int, float)
    fits = (
        place.value is None
        or type(value) is type(place.value)
        or (type(value) in numbers and type(place.value) in numbers)
    )
    if not fits or isinstance(value, list | dict):
        raise KanjoError(
            f"{path}: {place.name} is {place.value!r}, {kinds.get(type(place.value), 'a value')}; {word!r} is "
            f"{kinds.get(type(value), 'a list or a group')}; nothing was written"
        )
    if isinstance(value, float) and not math.isfinite(value):
        raise KanjoError(f"{path}: {place.name}: {word!r} is no finite number; nothing was written")
    if path.suffix.lower() == ".json" or place.style == '"':
        return _json(value, word.strip())
    if place.style == "'":
        return "'" + word.replace("'", "''") + "'"
    if isinstance(value, str):
        return _plain(word)
    return word.strip()


def _json(value: Any, word: str) -> str:
    """The value in JSON; a number as it was typed, where JSON knows that form (not .5 or 0x1f)."""
    try:
        return (
            word if not isinstance(value, str) and json.loads(word) == value else json.dumps(value, ensure_ascii=False)
        )
    except ValueError:
        return json.dumps(value, ensure_ascii=False)


def _plain(word: str) -> str:
    """Text without quotes where YAML reads it back as that text, else with them."""
    yaml = _yaml()
    try:
        plain = (
            word == word.strip()
            and "\n" not in word
            and yaml.safe_load(f"x: {word}\n") == {"x": word} == {"x": _value(word)}
        )
    except yaml.YAMLError:
        plain = False
    return word if plain else json.dumps(word, ensure_ascii=False)


def _loaded(path: Path, text: str) -> Any:
    try:
        return json.loads(text) if path.suffix.lower() == ".json" else _yaml().safe_load(text)
    except ValueError as error:
        raise KanjoError(f"{path}: not JSON ({error})") from error


def _yaml() -> Any:
    try:
        import yaml
    except ImportError as error:
        raise KanjoError("this tool needs PyYAML: pip install 'kanjo[train]'") from error
    return yaml
