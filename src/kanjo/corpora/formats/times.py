"""Parse and check the times of the part of a recording that is an utterance."""

from __future__ import annotations

import math
import re

from kanjo.corpora.words import is_missing
from kanjo.errors import CorpusError

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_INFINITY = re.compile(r"[+-]?inf(?:inity)?", re.ASCII | re.IGNORECASE)
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+", re.ASCII)
#: "1,500" is 1.5 in German and 1500 in English; "0,250" and "1,5" have one meaning only.
_AMBIGUOUS_COMMA = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}", re.ASCII)
#: ``0 days 00:00:01.500``: how pandas and audformat write a duration.
_TIMEDELTA = re.compile(
    r"(?:(?P<days>\d{1,9}) days? )?(?P<hours>\d{1,9}):(?P<minutes>[0-5]\d):(?P<seconds>[0-5]\d(?:[.,]\d+)?)", re.ASCII
)

#: An end may lie this far behind the end of the recording (as ``kanjo.audio.slice_signal``).
MAX_OVERRUN_S = 0.01


def parse_seconds(cell: str, column: str, decimal_comma: bool = False) -> float | None:
    """Return the seconds in a cell such as "1.5", "1,5", "00:00:01.5" or "inf"; None for a missing value.

    Args:
        cell: The cell.
        column: Name of the column in messages.
        decimal_comma: Whether "1,500" is 1.5; else it is refused, because it may be 1500.

    Raises:
        CorpusError: The cell is not a time, or ambiguous.
    """
    if _NUMBER.fullmatch(cell) or _INFINITY.fullmatch(cell):
        return float(cell)
    if is_missing(cell) or cell == "NA":
        return None
    if match := _TIMEDELTA.fullmatch(cell):
        hours = 24 * int(match["days"] or 0) + int(match["hours"])
        return 3600.0 * hours + 60 * int(match["minutes"]) + float(match["seconds"].replace(",", "."))
    if not decimal_comma and _AMBIGUOUS_COMMA.fullmatch(cell):
        raise CorpusError(
            f"{column} is {cell!r}, which may be {cell.replace(',', '.')} or {cell.replace(',', '')}; "
            "write a decimal point"
        )
    if _DECIMAL_COMMA.fullmatch(cell):
        return float(cell.replace(",", "."))
    raise CorpusError(f"{column} is {cell!r}; expected seconds, such as 1.5, or 00:00:01.5")


def check_times(start_s: float | None, end_s: float | None, duration_s: float | None = None) -> str:
    """Describe what is wrong with the times of a part of a recording; "" if nothing is.

    Args:
        start_s: Start, seconds; None for the beginning.
        end_s: End, seconds; None for the end.
        duration_s: Duration of the recording, if known.
    """
    for name, value in (("start_s", start_s), ("end_s", end_s)):
        if value is not None and not math.isfinite(value):
            return f"{name} is {value}; expected seconds, such as 1.5, or an empty cell"
        if value is not None and value < 0:
            return f"{name} is {value:g}; expected at least 0"
    if end_s is not None and end_s <= (start_s or 0.0):
        return f"start_s is {start_s or 0.0:g} and end_s is {end_s:g}; expected an end after the start"
    if duration_s is None:
        return ""
    if start_s is not None and start_s >= duration_s:
        return f"start_s is {start_s:g}, but the recording ends at {duration_s:.2f} s"
    if end_s is not None and end_s > duration_s + MAX_OVERRUN_S:
        return f"end_s is {end_s:g}, but the recording ends at {duration_s:.2f} s"
    return ""
