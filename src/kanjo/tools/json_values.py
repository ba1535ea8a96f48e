"""The values of a JSON text with their positions, without YAML: the core install edits JSON files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from kanjo.parsing import parse_json

_TOKEN = re.compile(r'[{}\[\],:]|"(?:\\.|[^"\\])*"|[^{}\[\],:"\s]+', re.DOTALL)
_BYTE_ORDER_MARK = "\ufeff"
#: Words and numbers of YAML that may be typed for a value of JSON.
_WORDS: dict[str, Any] = {
    **dict.fromkeys(("true", "yes", "on"), True),
    **dict.fromkeys(("false", "no", "off"), False),
    **dict.fromkeys(("null", "~", ""), None),
    ".inf": float("inf"),
    "-.inf": float("-inf"),
    ".nan": float("nan"),
}


def load_json(text: str) -> Any:
    """Parse a JSON file that may begin with a byte order mark.

    Raises:
        ValueError: The text is not JSON.
    """
    return parse_json(text.removeprefix(_BYTE_ORDER_MARK), strict=False)


def list_scalars(text: str) -> Iterator[tuple[str, int, int, Any]]:
    """Yield name, start, end and value of each text, number, truth value and null.

    Args:
        text: Valid JSON; names are dotted, and the items of lists have numbers.
    """
    tokens = list(_TOKEN.finditer(text, len(_BYTE_ORDER_MARK) if text.startswith(_BYTE_ORDER_MARK) else 0))
    position = 0

    def walk(name: str) -> Iterator[tuple[str, int, int, Any]]:
        nonlocal position
        token = tokens[position]
        position += 1
        if token[0] not in ("{", "["):
            yield name, token.start(), token.end(), json.loads(token[0])
            return
        n_items = 0
        while tokens[position][0] not in ("}", "]"):
            key = str(n_items)
            if token[0] == "{":
                key = json.loads(tokens[position][0])
                position += 2  # the key and the colon
            yield from walk(f"{name}.{key}" if name else key)
            n_items += 1
            position += tokens[position][0] == ","
        position += 1

    if tokens:
        yield from walk("")


def parse_typed_value(text: str) -> Any:
    """Return what a typed text stands for: a number, a truth value, null, a list or an object, else the text."""
    word = text.strip()
    if word.lower() in _WORDS:
        return _WORDS[word.lower()]
    for parse in (lambda: parse_json(word), lambda: int(word, 0), lambda: float(word)):
        try:
            value = parse()
        except ValueError:
            continue
        return text if isinstance(value, str) else value
    return text
