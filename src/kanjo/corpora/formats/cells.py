"""Convert the values of typed tables (JSON, Parquet) to the text of cells."""

from __future__ import annotations

from typing import Any

from kanjo.errors import CorpusError


def cell_to_text(value: Any, column: str) -> str:
    """Return the text of a value; "" for null and NaN, and whole numbers without a decimal point.

    Args:
        value: A text, a number, a truth value or None.
        column: Name of the column in messages.

    Raises:
        CorpusError: The value is a list, an object or bytes, or text that is not valid Unicode.
    """
    if value is None or value != value:  # NaN is not equal to itself
        return ""
    if isinstance(value, str):
        if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            raise CorpusError(f"{column} is {value!r}, which is not valid Unicode text")
        return value
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, list | dict | tuple | bytes):
        kind = "bytes" if isinstance(value, bytes) else "an object" if isinstance(value, dict) else "a list"
        raise CorpusError(f"{column} is {kind}; expected a text or a number")
    return str(value)
