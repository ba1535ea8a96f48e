"""Detect files that end too early: their headers state more bytes than the file has."""

from __future__ import annotations

import io
import struct
from typing import BinaryIO

_MAX_BOXES = 100_000
#: From this size on, a size of 32 bits is taken for "unknown".
_UNKNOWN_SIZE = 0x7F000000
#: Identifier of the segment of a Matroska file, which contains everything behind the header.
_MATROSKA_SEGMENT = b"\x18\x53\x80\x67"


def is_cut_short(stream: BinaryIO, demuxer: str) -> bool:
    """Return whether a Matroska, MP4, AVI, AIFF, AU, CAF or W64 file has fewer bytes than its header states.

    The position of the stream is undefined afterwards.

    Args:
        stream: The file.
        demuxer: Its format, see :func:`kanjo.audio.formats.sniff_demuxer`; False for other formats.
    """
    size = stream.seek(0, io.SEEK_END)
    stream.seek(0)
    if demuxer == "matroska":
        return _is_matroska_cut(stream, size)
    if demuxer == "mov":
        return _is_mp4_cut(stream, size)
    if demuxer == "caf":
        return _is_caf_cut(stream, size)
    head = stream.read(24)
    if len(head) < 24:
        return False
    stated = 0
    if demuxer in ("avi", "aiff"):
        stated = 8 + struct.unpack_from("<I" if demuxer == "avi" else ">I", head, 4)[0]
    elif demuxer == "au":
        stated = sum(struct.unpack_from(">II", head, 4))
    elif demuxer == "w64":
        return bool(size < struct.unpack_from("<Q", head, 16)[0] < 1 << 62)
    return size < stated < _UNKNOWN_SIZE


def _is_caf_cut(stream: BinaryIO, size: int) -> bool:
    """Follow the chunks of a Core Audio file to its end; a size of -1 means that the chunk ends with the file."""
    position = 8
    for _ in range(_MAX_BOXES):
        stream.seek(position)
        header = stream.read(12)
        length = struct.unpack(">4xq", header)[0] if len(header) == 12 else -1
        if length < 0:
            return False
        position += 12 + length
        if position >= size:
            return position > size
    return False


def _is_matroska_cut(stream: BinaryIO, size: int) -> bool:
    """Compare the size of the segment (RFC 8794) with that of the file; live recordings do not state it."""
    head = stream.read(4096)
    header_length, n_bytes = _read_vint(head, 4)
    position = 4 + n_bytes + (header_length or 0)
    if head[position : position + 4] != _MATROSKA_SEGMENT:
        return False
    length, n_bytes = _read_vint(head, position + 4)
    return length is not None and position + 4 + n_bytes + length > size


def _read_vint(content: bytes, position: int) -> tuple[int | None, int]:
    """Read a size of variable length (RFC 8794): its value, or None for an unknown size, and its number of bytes."""
    first = content[position] if position < len(content) else 0
    if not first:
        return None, 1
    n_bytes = 9 - first.bit_length()
    value = int.from_bytes(content[position : position + n_bytes], "big") & ((1 << 7 * n_bytes) - 1)
    return (None if value == (1 << 7 * n_bytes) - 1 else value), n_bytes


def _is_mp4_cut(stream: BinaryIO, size: int) -> bool:
    """Follow the boxes (ISO/IEC 14496-12) to the end of the file."""
    position = 0
    for _ in range(_MAX_BOXES):
        stream.seek(position)
        header = stream.read(16)
        if len(header) < 8:
            return False
        length: int = struct.unpack(">I", header[:4])[0]
        if length == 1 and len(header) == 16:
            length = struct.unpack(">8xQ", header)[0]
        if length < 8:  # 0: the box ends with the file
            return False
        position += length
        if position >= size:
            return position > size
    return False
