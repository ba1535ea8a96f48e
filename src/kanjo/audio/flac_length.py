"""Find the length of a FLAC file that does not state it, because its encoder wrote to a pipe (RFC 9639)."""

from __future__ import annotations

import io
import struct
from typing import BinaryIO

_STREAMINFO_END = 42
#: Position of the 36 bits that state the number of samples.
_TOTAL_OFFSET = 21
#: Bytes at the end of the file that are searched for the last frame.
_TAIL = 1 << 20
#: Samples of a frame by the code in its header; codes 6 and 7 say that the number follows.
_BLOCK_SIZES = {
    1: 192,
    **{code: 576 << (code - 2) for code in range(2, 6)},
    **{code: 256 << (code - 8) for code in range(8, 16)},
}


def complete_flac_header(stream: BinaryIO) -> bytes:
    """Return the first 42 bytes of a FLAC file with its number of samples; b"" if they state it, or nothing is found.

    The position of the stream is undefined afterwards.
    """
    size = stream.seek(0, io.SEEK_END)
    stream.seek(0)
    head = bytearray(stream.read(_STREAMINFO_END))
    if len(head) < _STREAMINFO_END or head[:4] != b"fLaC" or head[4] & 0x7F != 0:
        return b""
    if head[_TOTAL_OFFSET] & 0x0F or any(head[_TOTAL_OFFSET + 1 : _TOTAL_OFFSET + 5]):
        return b""
    stream.seek(max(_STREAMINFO_END, size - _TAIL))
    n_samples = _samples_to_end(stream.read(), bytes(head))
    if not 0 < n_samples < 1 << 36:
        return b""
    head[_TOTAL_OFFSET] |= n_samples >> 32
    head[_TOTAL_OFFSET + 1 : _TOTAL_OFFSET + 5] = struct.pack(">I", n_samples & 0xFFFFFFFF)
    return bytes(head)


def _samples_to_end(tail: bytes, head: bytes) -> int:
    """Return the number of samples up to the end of the last frame in ``tail``; 0 if there is no frame."""
    n_channels = (head[20] >> 1 & 7) + 1
    max_block = struct.unpack_from(">H", head, 10)[0]
    position = len(tail)
    while (position := tail.rfind(b"\xff", 0, position)) >= 0:
        frame = tail[position : position + 16]
        if len(frame) < 6 or frame[1] & 0xFE != 0xF8 or _channels(frame[3] >> 4) != n_channels or frame[3] & 1:
            continue
        if parsed := _parse_frame(frame, max_block):
            return sum(parsed)
    return 0


def _channels(code: int) -> int:
    return code + 1 if code < 8 else 2 if code < 11 else 0


def _parse_frame(frame: bytes, max_block: int) -> tuple[int, int] | None:
    """Return the number of the first sample of a frame and its number of samples; None if its checksum is wrong."""
    size_code, rate_code = frame[2] >> 4, frame[2] & 0x0F
    n_bytes = 1 if frame[4] < 0x80 else 8 - (frame[4] ^ 0xFF).bit_length()
    if size_code == 0 or rate_code == 15 or not 1 <= n_bytes <= 7:
        return None
    number = frame[4] & (0x7F if n_bytes == 1 else (1 << (7 - n_bytes)) - 1)
    for byte in frame[5 : 4 + n_bytes]:
        number = number << 6 | byte & 0x3F
    position = 4 + n_bytes
    block = _BLOCK_SIZES.get(size_code, 0)
    if size_code in (6, 7):
        n_size_bytes = size_code - 5
        block = int.from_bytes(frame[position : position + n_size_bytes], "big") + 1
        position += n_size_bytes
    position += {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    if position >= len(frame) or _crc8(frame[:position]) != frame[position] or block > max_block:
        return None
    is_variable = frame[1] & 1
    return (number if is_variable else number * max_block), block


def _crc8(content: bytes) -> int:
    """Return the checksum of a frame header: polynomial x^8 + x^2 + x + 1."""
    crc = 0
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ 0x07 if crc & 0x80 else crc << 1) & 0xFF
    return crc
