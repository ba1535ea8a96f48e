"""What a terminal or a file can show: its width, its colors and its characters."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import TextIO

from kanjo.file_names import ERROR_HANDLER
from kanjo.palette import rgb, text_color

#: A bar has eight steps per character; its first character means empty.
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_ELLIPSIS = "…"
_MIN_WIDTH = 20
_RESET = "\x1b[0m"
_ESCAPE_SEQUENCE = "\x1b\\[[0-9;]*m"
#: A space at which a line is not broken.
NO_BREAK = "\u00a0"
#: Values of the color cube of terminals with 256 colors.
_CUBE = (0, 95, 135, 175, 215, 255)
#: Variables that terminals on Windows with support for colors set.
_WINDOWS_COLOR_VARIABLES = ("WT_SESSION", "ConEmuANSI", "TERM", "TERM_PROGRAM")


class Terminal:  # not a dataclass, which takes a millisecond of each start of kanjo
    """A terminal, or a file, for which the standard values are.

    Attributes:
        width: Columns; None: lines may have any length.
        n_colors: 0, 256 or 2**24.
        encoding: Encoding of the characters.
    """

    def __init__(self, width: int | None = None, n_colors: int = 0, encoding: str = "utf-8") -> None:
        self.width, self.n_colors, self.encoding = width, n_colors, encoding

    @cached_property
    def has_blocks(self) -> bool:
        """Whether the encoding has the block characters of a bar."""
        return self._encodes(_EIGHTHS)

    def replace_unencodable(self, text: str) -> str:
        """Return a text with escapes in place of characters that the encoding does not have."""
        return text if text.isascii() else text.encode(self.encoding, ERROR_HANDLER).decode(self.encoding)

    def paint_background(self, text: str, color: str) -> str:
        """Return a text on a color, in black or white, whichever has the higher contrast."""
        if not self.n_colors:
            return text
        return f"\x1b[{self._code(38, text_color(color))};{self._code(48, color)}m{text}{_RESET}"

    def bold(self, text: str) -> str:
        """Return a text in bold."""
        return f"\x1b[1m{text}{_RESET}" if self.n_colors and text else text

    def bar(self, fraction: float, width: int) -> str:
        """Return a bar for a fraction, 0 to 1, of constant width. Without block characters it consists of "#"."""
        if self.has_blocks:
            eighths = round(8 * width * min(max(fraction, 0.0), 1.0))
            filled = _EIGHTHS[8] * (eighths // 8) + (_EIGHTHS[eighths % 8] if eighths % 8 else "")
        else:
            filled = "#" * round(width * min(max(fraction, 0.0), 1.0))
        return filled.ljust(width)

    def shorten(self, text: str, width: int) -> str:
        """Shorten a text in the middle, so that it has at most ``width`` columns."""
        if display_width(text) <= width:
            return text
        ellipsis = _ELLIPSIS if self._encodes(_ELLIPSIS) else "..."
        kept = max(0, width - len(ellipsis))
        start = _take(text, kept // 3)
        end = _take(text[::-1], kept - display_width(start))[::-1]
        return f"{start}{ellipsis}{end}"

    def wrap(self, text: str, indent: int, first: str = "") -> Iterator[str]:
        """Yield a text as lines that are not longer than the width.

        Args:
            text: The text; its words stay whole, and a no-break space (U+00A0) is printed as a space.
            indent: Spaces before each line but the first.
            first: What the first line begins with.
        """
        line, used, separator = first, display_width(first), ""
        for word in text.split(" "):
            word_width = display_width(re.sub(_ESCAPE_SEQUENCE, "", word))
            if self.width is not None and separator and used + 1 + word_width > self.width:
                yield line.rstrip()
                line, used, separator = " " * indent, indent, ""
            if not word and not line.strip():
                continue
            line, used = f"{line}{separator}{word.replace(NO_BREAK, ' ')}", used + len(separator) + word_width
            separator = " "
        yield line

    def _encodes(self, text: str) -> bool:
        try:
            text.encode(self.encoding)
        except UnicodeEncodeError:
            return False
        return True

    def _code(self, kind: int, color: str) -> str:
        """Return the parameters of the escape sequence; ``kind`` is 38 for text, 48 for the background."""
        red, green, blue = rgb(color)
        return f"{kind};2;{red};{green};{blue}" if self.n_colors > 256 else f"{kind};5;{nearest_256(color)}"


def detect_terminal(stream: TextIO) -> Terminal:
    """Return what a stream can show. COLUMNS, NO_COLOR, FORCE_COLOR, COLORTERM and TERM are respected."""
    n_colors = 0
    if _wants_color(stream):
        n_colors = 2**24 if os.environ.get("COLORTERM", "").lower() in ("truecolor", "24bit") else 256
    return Terminal(_width(stream), n_colors, stream.encoding or "utf-8")


def is_terminal(stream: TextIO) -> bool:
    """Whether a stream is a terminal; a closed one is not."""
    return not stream.closed and stream.isatty()


def display_width(text: str) -> int:
    """Return the columns that a text occupies: wide characters, as in Korean and Japanese, occupy two."""
    return len(text) if text.isascii() else sum(map(_character_width, text))


def pad(text: str, width: int) -> str:
    """Append spaces up to a number of columns."""
    return text + " " * (width - display_width(text))


def nearest_256(color: str) -> int:
    """Return the number of the most similar color of a terminal with 256 colors."""
    values = rgb(color)
    cube = [min(range(6), key=lambda n: abs(_CUBE[n] - value)) for value in values]
    gray = min(range(24), key=lambda n: sum((8 + 10 * n - value) ** 2 for value in values))
    cube_error = sum((_CUBE[n] - value) ** 2 for n, value in zip(cube, values, strict=True))
    gray_error = sum((8 + 10 * gray - value) ** 2 for value in values)
    return 232 + gray if gray_error < cube_error else 16 + 36 * cube[0] + 6 * cube[1] + cube[2]


def _wants_color(stream: TextIO) -> bool:
    """Apply the rules of no-color.org and force-color.org, in the order in which Python applies them."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR", "0") not in ("", "0"):
        return True
    if os.environ.get("TERM") == "dumb" or not is_terminal(stream):
        return False
    return sys.platform != "win32" or any(map(os.environ.get, _WINDOWS_COLOR_VARIABLES))


def _width(stream: TextIO) -> int | None:
    """Return the columns of a terminal, else those of COLUMNS, else None."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns):
        return max(_MIN_WIDTH, int(columns))
    if not is_terminal(stream):
        return None
    try:
        width = os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        width = 0
    return max(_MIN_WIDTH, width or 80)  # a serial console has a width of 0


def _character_width(character: str) -> int:
    import unicodedata

    if "\u1160" <= character <= "\u11ff" or unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0  # the vowels and final consonants of decomposed Hangul, and accents
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _take(characters: Iterable[str], width: int) -> str:
    """Return the first characters that fit into a number of columns."""
    taken, used = [], 0
    for character in characters:
        used += _character_width(character)
        if used > width:
            break
        taken.append(character)
    return "".join(taken)
