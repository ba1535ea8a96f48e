"""Find the recordings in an Ogg file: files put one behind the other form a chain (RFC 3533, section 4)."""

from __future__ import annotations

import io
import re
from typing import BinaryIO

#: Size of the largest Ogg page in bytes (RFC 3533).
_MAX_PAGE = 65_307
_HEADER_LENGTH = 27
#: The first page of a stream: flag 2, position 0 or none, page number 0.
_FIRST_PAGE = re.compile(rb"OggS\0[\x02\x03\x06\x07](?:\0{8}|\xff{8}).{4}\0{4}", re.DOTALL)
_BLOCK = 1 << 20
#: More recordings than this in one file are not searched.
_MAX_LINKS = 10_000


def find_ogg_links(stream: BinaryIO) -> list[tuple[int, int]]:
    """Return the first and last position of each recording in an Ogg file.

    The first pages of streams that are played together (such as sound and video) follow each other; they count once.
    """
    starts: list[int] = []
    next_page = -1
    for position in _first_pages(stream):
        if position != next_page:
            starts.append(position)
        if len(starts) > _MAX_LINKS:
            break
        next_page = _page_end(stream, position)
    size = stream.seek(0, io.SEEK_END)
    return list(zip(starts, [*starts[1:], size], strict=False))  # without a first page, there is no recording


def is_ogg_complete(stream: BinaryIO) -> bool:
    """Return whether the last page of an Ogg stream is marked as the last one (RFC 3533, header type 4)."""
    stream.seek(max(0, stream.seek(0, io.SEEK_END) - 2 * _MAX_PAGE))
    tail = stream.read()
    page = tail.rfind(b"OggS")
    if page < 0 or len(tail) < page + _HEADER_LENGTH or not tail[page + 5] & 4:
        return False
    return page + _page_length(tail[page : page + _HEADER_LENGTH + 255]) <= len(tail)


def _first_pages(stream: BinaryIO) -> list[int]:
    """Return the positions of the first pages of all streams."""
    positions: list[int] = []
    stream.seek(0)
    start, rest = 0, b""
    while block := stream.read(_BLOCK):
        content = rest + block
        positions += [start + match.start() for match in _FIRST_PAGE.finditer(content)]
        rest = content[-_HEADER_LENGTH:]
        # A page that lies in the rest completely is found again.
        start += len(content) - len(rest)
    return sorted(set(positions))


def _page_end(stream: BinaryIO, position: int) -> int:
    """Return the position behind the page at ``position``."""
    stream.seek(position)
    header = stream.read(_HEADER_LENGTH + 255)
    return position + _page_length(header) if len(header) >= _HEADER_LENGTH else -1


def _page_length(header: bytes) -> int:
    """Return the length of a page from its first bytes, which contain the lengths of its segments."""
    n_segments = header[_HEADER_LENGTH - 1]
    return _HEADER_LENGTH + n_segments + sum(header[_HEADER_LENGTH : _HEADER_LENGTH + n_segments])
