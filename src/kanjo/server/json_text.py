"""Read JSON of clients: numbers are finite and of usual size, and all text can be written as UTF-8."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Iterable
from typing import Any

_MAX_INTEGER = 2**53  # larger ones are not exact in JavaScript


def parse_json(text: str | bytes) -> Any:
    """Parse JSON.

    Raises:
        ValueError: The text is not JSON, or contains a number that is not finite or too large.
    """
    try:
        return json.loads(text, parse_constant=_refuse_constant, parse_int=_parse_integer, parse_float=_parse_float)
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError):
        raise ValueError("this is not JSON") from None


def describe_unknown(name: str, known: Iterable[str], kind: str) -> str:
    """Say that a name is unknown, and name the nearest known one."""
    known = sorted(known)
    nearest = difflib.get_close_matches(name, known, n=1) or [word for word in known if word.startswith(name)][:1]
    hint = f"did you mean {nearest[0]}?" if nearest else f"expected {', '.join(known) or 'none'}"
    return f"unknown {kind} {shorten(name)}; {hint}"


def shorten(text: str, length: int = 60) -> str:
    """Return text for a message: on one line, without unprintable characters, at most ``length`` characters."""
    printable = "".join(c if c.isprintable() else "?" for c in text[: length + 1])
    return printable if len(text) <= length else printable[: length - 3] + "..."


def _refuse_constant(name: str) -> float:
    raise ValueError(f"it contains {name}; expected finite numbers")


def _parse_integer(digits: str) -> int:
    if len(digits) > 17 or abs(int(digits)) > _MAX_INTEGER:
        raise ValueError(f"it contains the number {shorten(digits, 24)}; expected numbers up to {_MAX_INTEGER}")
    return int(digits)


def _parse_float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"it contains the number {shorten(digits, 24)}; expected finite numbers")
    return value
