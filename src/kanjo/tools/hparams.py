"""Change one value in JSON and YAML files; all other bytes stay, including comments and layout."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kanjo import files
from kanjo.errors import KanjoError
from kanjo.parsing import MAX_JSON_LENGTH, compose_yaml, parse_json, parse_yaml
from kanjo.tools.json_values import list_scalars, load_json, parse_typed_value

SUFFIXES = (".json", ".yaml", ".yml")
#: Called with a path and the content of the file before and after; raises KanjoError if the new content is invalid.
Validate = Callable[[Path, Any, Any], None]

_MAX_BYTES = 4 * MAX_JSON_LENGTH  # a character has at most 4 bytes
_PATH_MARKS = "/\\."
_TYPE_NAMES = {bool: "true or false", int: "a number", float: "a number", str: "text", type(None): "null"}


@dataclass(frozen=True)
class ValueLocation:
    """A value in a file.

    Attributes:
        name: Dotted name, such as "train.learning_rate".
        start: Offset of the first character.
        end: Offset after the last character.
        value: The value.
        style: The YAML quotes: "'", '"' or "".
    """

    name: str
    start: int
    end: int
    value: Any
    style: str


@dataclass(frozen=True)
class Edit:
    """A change of one value: ``old`` and ``new`` are the texts in the file."""

    path: Path
    name: str
    old: str
    new: str


def find_value(path: Path, name: str) -> ValueLocation:
    """Find the value with a dotted name (``train.learning_rate``), or with any unique ending of it.

    Raises:
        KanjoError: The file can't be read, is not JSON or YAML, or has no or several values with this name.
    """
    return _find_in_text(path, name, _read(path))


def set_value(
    paths: Sequence[Path], name: str, text: str, *, dry_run: bool = False, validate: Validate | None = None
) -> list[Edit]:
    """Set one value in several files. All files are checked before the first one is written.

    Args:
        paths: JSON or YAML files.
        name: Dotted name, or any unique ending of it.
        text: The new value; its type must be that of the old one.
        dry_run: Write nothing.
        validate: Checks the content of each file before and after.

    Returns:
        The change of each file.

    Raises:
        KanjoError: A file can't be read or written, or the value does not fit. Then no file is changed.
    """
    edits, contents = [], []
    for path in paths:
        content = _read(path)
        location = _find_in_text(path, name, content)
        old = content[location.start : location.end]
        new = _format_value(path, location, text)
        changed = content[: location.start] + new + content[location.end :]
        if _find_in_text(path, location.name, changed).value != _parse_like(path, text, location):
            raise KanjoError(f"{path}: {text!r} can't be written in place of {old!r}; nothing was written")
        if validate:
            validate(path, _load(path, content), _load(path, changed))
        edits.append(Edit(path, location.name, old, new))
        contents.append(changed)
    if not dry_run:
        for path, content in zip(paths, contents, strict=True):
            with files.atomic_write(path.resolve()) as temporary:
                temporary.write_bytes(content.encode("utf-8"))
    return edits


def _read(path: Path) -> str:
    if path.suffix.lower() not in SUFFIXES:
        raise KanjoError(f"{path}: the file name ends in {path.suffix!r}; expected {', '.join(SUFFIXES)}")
    try:
        return files.read_bytes(path, _MAX_BYTES).decode("utf-8")  # not read_text(), which changes line ends
    except OSError as error:
        raise KanjoError(f"can't read {path}: {files.os_error_message(error)}") from error
    except UnicodeDecodeError as error:
        raise KanjoError(f"{path}: not text in UTF-8; convert the file to UTF-8") from error


def _find_in_text(path: Path, name: str, text: str) -> ValueLocation:
    locations = list(_list_values(path, text))
    exact = [location for location in locations if location.name == name]
    matches = exact or [location for location in locations if location.name.endswith(f".{name}")]
    if len(matches) == 1:
        return matches[0]
    if matches:
        names = ", ".join(location.name for location in matches)
        raise KanjoError(f"{path}: {name} is not unique; use one of {names}")
    full_names = {location.name: location.name for location in locations}
    full_names |= {location.name.rsplit(".", 1)[-1]: location.name for location in locations}
    similar = difflib.get_close_matches(name, full_names, n=1)
    if similar:
        hint = f"did you mean {full_names[similar[0]]}?"
    else:
        hint = f"the file has {', '.join(location.name for location in locations[:12]) or 'no values'}"
    raise KanjoError(f"{path}: no value named {name}; {hint}")


def _list_values(path: Path, text: str) -> Iterator[ValueLocation]:
    """Yield all scalars of a file with their locations."""
    if _is_json(path):
        _load(path, text)
        for name, start, end, value in list_scalars(text):
            if name:
                yield ValueLocation(name, start, end, value, '"' if isinstance(value, str) else "")
        return
    try:
        root = compose_yaml(text)
    except ValueError as error:
        raise KanjoError(f"{path}: not YAML ({error})") from error

    def walk(node: Any, name: str) -> Iterator[ValueLocation]:
        if node.id == "mapping":
            for key, value in node.value:
                yield from walk(value, f"{name}.{key.value}" if name else str(key.value))
        elif node.id == "sequence":
            for n, value in enumerate(node.value):
                yield from walk(value, f"{name}.{n}")
        elif name:
            start, end = node.start_mark.index, node.end_mark.index
            yield ValueLocation(name, start, end, _parse_scalar(text[start:end]), node.style or "")

    if root is not None:
        yield from walk(root, "")


def _parse_scalar(text: str) -> Any:
    """Parse a scalar as YAML; 1e-4 is a number, too, although YAML 1.1 requires 1.0e-4."""
    try:
        value = parse_yaml(text) if text.strip() else None
    except ValueError:
        return text
    if isinstance(value, str) and value == text.strip():
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _parse_like(path: Path, text: str, location: ValueLocation) -> Any:
    """Parse a new value: text stays text where the old value is text."""
    if isinstance(location.value, str):
        return text
    return parse_typed_value(text) if _is_json(path) else _parse_scalar(text)


def _format_value(path: Path, location: ValueLocation, text: str) -> str:
    """Return the characters for a new value. Raises KanjoError if its type is not that of the old value."""
    value = _parse_like(path, text, location)
    if not _has_same_type(value, location.value):
        raise KanjoError(
            f"{path}: {location.name} is {location.value!r}, {_TYPE_NAMES.get(type(location.value), 'a value')}; "
            f"{text!r} is {_TYPE_NAMES.get(type(value), 'a list or a group')}; nothing was written"
        )
    if isinstance(value, float) and not math.isfinite(value):
        raise KanjoError(f"{path}: {location.name}: {text!r} is not a finite number; nothing was written")
    if _is_json(path) or location.style == '"':
        return _format_json(value, text.strip())
    if location.style == "'":
        return "'" + text.replace("'", "''") + "'"
    return _format_plain_yaml(text) if isinstance(value, str) else text.strip()


def _has_same_type(new: Any, old: Any) -> bool:
    """Return whether a scalar may replace another one.

    Any replaces null, int and float are one type, and a path replaces 0, which stands for "no file" in the
    configuration files of DCNN-LSTMWA.
    """
    if isinstance(new, list | dict):
        return False
    if type(old) is int and old == 0 and isinstance(new, str):
        return any(mark in new for mark in _PATH_MARKS)
    numbers = (int, float)
    return old is None or type(new) is type(old) or (type(new) in numbers and type(old) in numbers)


def _format_json(value: Any, text: str) -> str:
    """Return the value in JSON; numbers as typed where JSON permits that form (not .5 or 0x1f)."""
    try:
        as_typed = not isinstance(value, str) and parse_json(text) == value
    except ValueError:
        as_typed = False
    return text if as_typed else json.dumps(value, ensure_ascii=False)


def _format_plain_yaml(text: str) -> str:
    """Return text without quotes if YAML reads it as the same text, else with quotes."""
    try:
        is_plain = (
            text == text.strip()
            and "\n" not in text
            and parse_yaml(f"x: {text}\n") == {"x": text} == {"x": _parse_scalar(text)}
        )
    except ValueError:
        is_plain = False
    return text if is_plain else json.dumps(text, ensure_ascii=False)


def _load(path: Path, text: str) -> Any:
    try:
        return load_json(text) if _is_json(path) else parse_yaml(text)
    except ValueError as error:
        raise KanjoError(f"{path}: not {'JSON' if _is_json(path) else 'YAML'} ({error})") from error


def _is_json(path: Path) -> bool:
    return path.suffix.lower() == ".json"
