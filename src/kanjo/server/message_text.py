"""Text of clients in error messages."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


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
