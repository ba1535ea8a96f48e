"""Parse JSON and YAML that anybody may have written: bounded time and memory, and one kind of exception.

``json.loads`` and ``yaml.safe_load`` run no code, but a few bytes can keep them busy: aliases of aliases become
billions of values, deep nesting ends in a RecursionError, and a number of a million digits is slow to convert. The
functions here refuse such texts with a ValueError whose message is one short line.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable
from typing import Any

from kanjo.errors import requires_extra

#: Longest text in characters. The metadata of a bundle with thousands of speakers has some 100,000.
MAX_JSON_LENGTH, MAX_YAML_LENGTH = 4_000_000, 1_000_000
#: Lists and objects inside each other.
MAX_DEPTH = 100
#: Values of a YAML file, each alias counted as what it stands for. PyYAML reads some 50,000 values in a second.
MAX_YAML_VALUES = 50_000
#: Digits of an integer. Such numbers still fit a float32.
MAX_DIGITS = 30
#: Length of the reason in an error message.
_MAX_REASON_LENGTH = 200


def parse_json(
    text: str | bytes, *, strict: bool = True, object_pairs_hook: Callable[[list[tuple[str, Any]]], Any] | None = None
) -> Any:
    """Parse JSON.

    Args:
        text: The text; bytes are UTF-8.
        strict: Refuse NaN, infinite numbers and characters that can't be written in UTF-8 (lone surrogates).
        object_pairs_hook: As in ``json.loads``.

    Raises:
        ValueError: The text is not JSON, is too long or nested too deeply, or has a number that is not usable.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8-sig")
    if len(text) > MAX_JSON_LENGTH:
        raise ValueError(f"longer than {MAX_JSON_LENGTH:,} characters")
    hooks: dict[str, Any] = {"parse_constant": _refuse_constant, "parse_float": _finite_float} if strict else {}
    try:
        value = json.loads(text, parse_int=_bounded_int, object_pairs_hook=object_pairs_hook, **hooks)
    except RecursionError:
        raise _depth_error() from None
    if text.count("[") + text.count("{") > MAX_DEPTH:  # only then it can be deep
        _check_depth(value)
    if strict and ("\\u" in text or not text.isascii()):
        _check_text(value)
    return value


def parse_yaml(text: str) -> Any:
    """Parse YAML with the types of YAML's safe schema.

    Raises:
        ValueError: The text is not YAML, is too long or nested too deeply, has too many values, an alias inside its own
            anchor, or a value that is not of its type, such as the date 2001-99-99.
        KanjoError: PyYAML is not installed.
    """
    return _run_loader(text, lambda loader: loader.get_single_data())


def compose_yaml(text: str) -> Any:
    """Return the root node of a YAML text (``yaml.Node``, with positions in the text); None for an empty text.

    Raises:
        ValueError: As :func:`parse_yaml`, except values that are not of their type.
        KanjoError: PyYAML is not installed.
    """
    return _run_loader(text, lambda loader: loader.get_single_node())


def _run_loader(text: str, load: Callable[[Any], Any]) -> Any:
    """Apply a method of PyYAML's loader to a text; all its exceptions become ValueError."""
    if len(text) > MAX_YAML_LENGTH:
        raise ValueError(f"longer than {MAX_YAML_LENGTH:,} characters")
    yaml, loader_class = _import_yaml()
    try:
        loader = loader_class(text)
        try:
            return load(loader)
        finally:
            loader.dispose()
    except (yaml.YAMLError, ValueError) as error:  # ValueError: int() and date()
        raise ValueError(_one_line(error)) from None
    except RecursionError:
        raise _depth_error() from None
    except (ArithmeticError, LookupError, AttributeError, TypeError):  # PyYAML with !!int '', !!bool x, !!timestamp x
        raise ValueError("a value does not fit its type, such as !!int x") from None


@functools.cache
def _import_yaml() -> tuple[Any, Any]:
    """Return PyYAML and its safe loader with limits; imported here because only some commands need PyYAML."""
    with requires_extra("train", "YAML files need PyYAML"):
        import yaml

    class BoundedLoader(yaml.SafeLoader):
        """Counts values while they are composed, and stops at the limits."""

        def __init__(self, text: str) -> None:
            super().__init__(text)
            self.depth = 0
            self.n_values = 0
            self.sizes: dict[str, int] = {}  # of complete anchors

        def compose_node(self, parent: Any, index: Any) -> Any:
            event: Any = self.peek_event()  # type: ignore[no-untyped-call]
            if self.check_event(yaml.AliasEvent):
                if event.anchor in self.anchors and event.anchor not in self.sizes:
                    raise ValueError(f"line {event.start_mark.line + 1}: the alias *{event.anchor} contains itself")
                self._count(self.sizes.get(event.anchor, 1))
                return super().compose_node(parent, index)
            before = self.n_values
            self._count(1)
            self.depth += 1
            if self.depth > MAX_DEPTH:
                raise _depth_error()
            node = super().compose_node(parent, index)
            self.depth -= 1
            if event.anchor is not None:
                self.sizes[event.anchor] = self.n_values - before
            return node

        def _count(self, n: int) -> None:
            self.n_values += n
            if self.n_values > MAX_YAML_VALUES:
                raise ValueError(f"more than {MAX_YAML_VALUES:,} values (aliases count as what they stand for)")

        def construct_yaml_int(self, node: Any) -> int:
            value = super().construct_yaml_int(node) if len(str(node.value)) < 2 * MAX_DIGITS else 10**MAX_DIGITS
            if abs(value) >= 10**MAX_DIGITS:
                raise _digits_error()
            return int(value)

    BoundedLoader.add_constructor("tag:yaml.org,2002:int", BoundedLoader.construct_yaml_int)
    return yaml, BoundedLoader


def _bounded_int(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise _digits_error()
    return int(digits)


def _finite_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:20]} is too large")
    return value


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number of JSON")


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        containers = [item for item in level if isinstance(item, dict | list)]
        if not containers:
            return
        level = [item for c in containers for item in (c.values() if isinstance(c, dict) else c)]
    raise _depth_error()


def _check_text(content: Any) -> None:
    """Refuse parsed JSON with a half of a surrogate pair, which UTF-8 can't represent."""
    try:
        json.dumps(content, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = ascii(error.object[error.start]).strip("'")
        raise ValueError(f"it contains {half}, half of a surrogate pair; expected valid Unicode text") from None


def _depth_error() -> ValueError:
    return ValueError(f"lists or objects are nested more than {MAX_DEPTH} levels deep")


def _digits_error() -> ValueError:
    return ValueError(f"an integer has more than {MAX_DIGITS} digits")


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).replace('in "<unicode string>", ', "").split())
    return text if len(text) <= _MAX_REASON_LENGTH else text[: _MAX_REASON_LENGTH - 3] + "..."
