"""Names of files as text: names that are not UTF-8, and names with control characters.

A file system may hold any bytes as a name. Python reads a byte that is not UTF-8 as a lone surrogate (PEP 383), which
no text file can contain; a line feed in a name would break a table into two lines. kanjo writes both as a percent sign
and two hexadecimal digits, as URLs do: ``caf%E9.wav``, ``a%0Ab.wav``. A percent sign that is followed by such digits in
the name itself becomes ``%25``, so the representation is reversible. All other names are written unchanged.
"""

from __future__ import annotations

import codecs
import re

#: Name of the error handler for text files and consoles: see :func:`_replace_unencodable`.
ERROR_HANDLER = "kanjo-names"

#: The digits that stand for a control character, for a percent sign, or for a byte that is not ASCII.
_DIGITS = "[01][0-9A-F]|25|7F|[89A-F][0-9A-F]"
_ESCAPE = re.compile(f"%({_DIGITS})")
_ESCAPE_BYTES = re.compile(f"%({_DIGITS})".encode())
_UNPRINTABLE = re.compile("[\0-\x1f\x7f\ud800-\udfff]")


def encode_name(name: str) -> str:
    """Return the name of a file as text for tables, JSON and messages; :func:`decode_name` reverses it."""
    if name.isascii() and name.isprintable() and "%" not in name:
        return name
    return escape_text(_ESCAPE.sub(r"%25\1", name))


def decode_name(text: str) -> str:
    """Return the name of a file whose representation as text is given: the reverse of :func:`encode_name`."""
    if "%" not in text:
        return text
    content = text.encode("utf-8", "surrogateescape")
    decoded = _ESCAPE_BYTES.sub(lambda match: bytes([int(match[1], 16)]), content)
    return decoded.decode("utf-8", "surrogateescape")


def escape_text(text: str) -> str:
    """Return a message on one line: control characters and lone surrogates become "%" and hexadecimal digits."""
    return text if text.isprintable() else _UNPRINTABLE.sub(lambda match: _escape(match[0]), text)


def _escape(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8
        return f"%{code - 0xDC00:02X}"
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))


def _replace_unencodable(error: UnicodeError) -> tuple[str, int]:
    r"""Replace characters that an encoding does not have: lone surrogates as in names, others as in JSON (``\u017c``).

    JSON stays valid JSON in every encoding.
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    pieces = []
    for character in text:
        code = ord(character)
        if 0xD800 <= code <= 0xDFFF:
            pieces.append(_escape(character))
        elif code > 0xFFFF:
            high, low = divmod(code - 0x10000, 0x400)
            pieces.append(f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}")
        else:
            pieces.append(f"\\u{code:04x}")
    return "".join(pieces), error.end


codecs.register_error(ERROR_HANDLER, _replace_unencodable)
