"""Correct the sizes in the header of a WAV file.

A program that writes to a pipe, or is stopped, can't write the size of the sound. The header then says 0, 0xFFFFFFFF
(FFmpeg) or 0x7FFFF000 (SoX). Sizes above 4 GiB do not fit into the 32 bits of a WAV file. Some recorders count the
header as well. libsndfile would lose sound. The formats: RIFF WAVE (Microsoft, 1991) and RF64 (EBU Tech 3306).
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import BinaryIO

#: From this size on, a size is taken for "unknown" if the file is smaller: SoX writes 0x7FFFF000 or slightly less.
_UNKNOWN_SIZE = 0x7FFF0000
_MAX_SIZE = 0xFFFFFFFF
#: A header with more bytes than this in front of the sound is not corrected.
_MAX_HEADER = 1 << 20
#: A file whose sound is shorter than stated by at most this is complete.
_TOLERANCE_S = 0.01
_MAX_CHUNKS = 1000
#: More zeros than this behind the sound are not padding.
_MAX_PADDING = 1 << 20


@dataclass(frozen=True)
class WavHeader:
    """Where the sound of a WAV file is.

    Attributes:
        start: Position of the first byte of the sound.
        stated: Number of bytes of the sound that the header states.
        available: Number of bytes from ``start`` to the end of the file.
        byte_rate: Bytes per second that the header states.
        has_chunks_after: Whether valid chunks fill the file behind the stated end of the sound.
        next_recording: Where another WAV file begins behind it; None if there is none.
    """

    start: int
    stated: int
    available: int
    byte_rate: int
    has_chunks_after: bool
    next_recording: int | None

    @property
    def is_size_unknown(self) -> bool:
        """Whether the stated size is none, so that the sound ends with the file."""
        if self.has_chunks_after:
            return False
        if self.stated == 0 or self.available - self.stated >= 1 << 32:
            return self.available > 0
        return self.stated >= _UNKNOWN_SIZE and self.stated != self.available and self._is_marker

    @property
    def _is_marker(self) -> bool:
        """Whether the stated size is larger than the file, or is exactly one of the values for "unknown"."""
        return self.available < self.stated or self.stated in (0x7FFFFFFF, _MAX_SIZE)

    @property
    def warning(self) -> str:
        """What is wrong with the file; "" if nothing is."""
        per_second = self.byte_rate or 1
        if self.is_size_unknown:
            return ""
        missing = self.stated - self.available
        if missing > self.start + 8 and missing > _TOLERANCE_S * per_second:
            return truncation_message(self.stated / per_second, self.available / per_second)
        excess_s = -missing / per_second
        if excess_s >= 0.1 and not self.has_chunks_after:
            stated_s = self.stated / per_second
            return f"the header states {stated_s:.2f} s, but {excess_s:.2f} s more follow that are not read"
        return ""


def truncation_message(expected_s: float, actual_s: float) -> str:
    """Return the warning about a file that ends too early."""
    return f"truncated: the header states {expected_s:.2f} s, but the file was cut short and contains {actual_s:.2f} s"


def read_wav_header(stream: BinaryIO) -> WavHeader | None:
    """Read the chunks of a WAV or RF64 file; None if it is another format, or has no sound.

    The position of the stream is undefined afterwards.
    """
    size = stream.seek(0, io.SEEK_END)
    stream.seek(0)
    head = stream.read(12)
    if head[:4] not in (b"RIFF", b"RF64") or head[8:12] != b"WAVE":
        return None
    byte_rate, data_size_64 = 0, None
    for _ in range(_MAX_CHUNKS):
        header = stream.read(8)
        if len(header) < 8:
            return None
        tag, length = struct.unpack("<4sI", header)
        position = stream.tell()
        if tag == b"data":
            if length == _MAX_SIZE and data_size_64 is not None:
                length = data_size_64
            after = _chunks_after(stream, position + length, size, length == 0)
            return WavHeader(position, length, size - position, byte_rate, *after)
        if tag == b"fmt " and len(content := stream.read(12)) == 12:
            byte_rate = struct.unpack("<8xI", content)[0]
        if tag == b"ds64" and len(content := stream.read(16)) == 16:
            data_size_64 = _known_size(struct.unpack("<8xQ", content)[0])
        stream.seek(position + length + length % 2)
    return None


def correct_header(stream: BinaryIO, header: WavHeader) -> bytes:
    """Return all bytes in front of the sound with its actual size; b"" if the header is too long."""
    if header.start > _MAX_HEADER:
        return b""
    stream.seek(0)
    chunks = stream.read(header.start)[12:-8]
    if chunks[:4] == b"ds64":
        length = struct.unpack_from("<I", chunks, 4)[0]
        chunks = chunks[8 + length + length % 2 :]
    total = 4 + len(chunks) + 8 + header.available
    if total <= _MAX_SIZE:
        prefix = b"RIFF" + struct.pack("<I", total) + b"WAVE" + chunks
        prefix += b"data" + struct.pack("<I", header.available)
    else:
        sizes = struct.pack("<QQQI", total + 36, header.available, 0, 0)
        prefix = b"RF64\xff\xff\xff\xffWAVE" + b"ds64" + struct.pack("<I", len(sizes)) + sizes + chunks
        prefix += b"data\xff\xff\xff\xff"
    return prefix


def _known_size(size: int) -> int:
    """Return a size of 64 bits; all bits set is the same as in 32 bits."""
    return _MAX_SIZE if size == (1 << 64) - 1 else size


def _chunks_after(stream: BinaryIO, position: int, size: int, is_empty: bool) -> tuple[bool, int | None]:
    """Return whether valid chunks fill the file from a position on, and where another WAV file begins there.

    Zeros and tags of other kinds count as chunks, unless the sound would be empty.
    """
    if position >= size:
        return position == size, None
    for start in (position, position + position % 2):
        stream.seek(start)
        head = stream.read(12)
        if head[:4] in (b"RIFF", b"RF64") and head[8:] == b"WAVE":
            return True, start
        if _are_chunks(stream, start, size) or (not is_empty and _is_padding(stream, start)):
            return True, None
    return False, None


def _is_padding(stream: BinaryIO, position: int) -> bool:
    """Return whether a tag of MP3 files, or nothing but zeros, follow."""
    stream.seek(position)
    block = stream.read(1 << 16)
    if block.startswith((b"ID3", b"TAG", b"APETAGEX")):
        return True
    n_zeros = 0
    while block and not block.strip(b"\0") and n_zeros <= _MAX_PADDING:
        n_zeros += len(block)
        block = stream.read(1 << 16)
    return not block


def _are_chunks(stream: BinaryIO, position: int, size: int) -> bool:
    """Return whether chunks with printable names fill the file from a position to its end."""
    for _ in range(_MAX_CHUNKS):
        if position >= size:
            return position <= size + 1  # the last chunk may lack its padding
        stream.seek(position)
        header = stream.read(8)
        if len(header) < 8 or not all(0x20 <= byte < 0x7F for byte in header[:4]):
            return False
        position += 8 + struct.unpack("<4xI", header)[0]
        position += position % 2
    return False
