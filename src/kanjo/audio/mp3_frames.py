"""Find the recordings in an MP3 file, and their lengths.

libsndfile takes the length from the Xing frame, or estimates it from the first frame. So it would stop too early in
files that are put one behind the other, and in those with a variable bit rate and no Xing frame. The frames: ISO/IEC
11172-3.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from kanjo.audio.formats import id3_length

#: kbit/s for bit rate index 0 to 14, by (is MPEG 1, layer).
_BIT_RATES = {
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_SAMPLE_RATES = (44_100, 48_000, 32_000)
_XING_FLAG_FRAMES = 1
_BLOCK = 1 << 20
_MAX_LINKS = 10_000


@dataclass(frozen=True)
class FrameHeader:
    """The four bytes at the beginning of a frame.

    Attributes:
        is_mpeg1: Whether the version is MPEG 1, not 2 or 2.5.
        layer: 1, 2 or 3.
        sample_rate: Hz.
        is_mono: Whether there is one channel.
        length: Bytes of the frame.
        n_samples: Samples of the frame.
    """

    is_mpeg1: bool
    layer: int
    sample_rate: int
    is_mono: bool
    length: int
    n_samples: int

    @property
    def kind(self) -> tuple[bool, int, int, bool]:
        """What all frames of one recording share."""
        return self.is_mpeg1, self.layer, self.sample_rate, self.is_mono

    @property
    def xing_offset(self) -> int:
        """Position of a Xing header in the frame: behind the side information."""
        return 4 + ((17 if self.is_mono else 32) if self.is_mpeg1 else (9 if self.is_mono else 17))


@dataclass
class Mp3Link:
    """One recording in an MP3 file.

    Attributes:
        start: Position of the first byte.
        end: Position behind the last byte.
        n_frames: Number of frames, without the Xing frame.
        header: Header of its first frame.
        first: The four bytes of that header.
        stated_frames: Number of frames according to the Xing frame; None without one.
        stated_end: Position behind these frames.
    """

    start: int
    end: int
    n_frames: int
    header: FrameHeader
    first: bytes
    stated_frames: int | None = None
    stated_end: int = 0

    @property
    def min_samples(self) -> int:
        """Smallest number of samples that a decoder returns: encoder and decoder add up to three frames of padding."""
        return max(0, self.n_frames - 3) * self.header.n_samples

    @property
    def info_frame(self) -> bytes:
        """A frame that states the number of frames, as LAME writes it in front of a file with constant bit rate."""
        first = bytearray(self.first)
        first[1] |= 1  # without a checksum
        offset = self.header.xing_offset
        content = b"Info" + struct.pack(">II", _XING_FLAG_FRAMES, self.n_frames)
        for index in range(first[2] >> 4, 15):
            first[2] = index << 4 | first[2] & 0x0C
            parsed = parse_header(bytes(first))
            if parsed is not None and parsed.length >= offset + len(content):
                return (bytes(first) + bytes(offset - 4) + content).ljust(parsed.length, b"\0")
        return b""


def parse_header(head: bytes) -> FrameHeader | None:
    """Parse the header of a frame; None if it is not valid, or has a bit rate that it does not state."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    bit_rate_index, rate_index = head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or layer == 4 or bit_rate_index in (0, 15) or rate_index == 3:
        return None
    is_mpeg1, padding = version == 3, head[2] >> 1 & 1
    sample_rate = _SAMPLE_RATES[rate_index] >> {3: 0, 2: 1, 0: 2}[version]
    bit_rate = 1000 * _BIT_RATES[is_mpeg1, layer][bit_rate_index]
    n_samples = 384 if layer == 1 else 1152 if layer == 2 or is_mpeg1 else 576
    length = (12 * bit_rate // sample_rate + padding) * 4 if layer == 1 else n_samples // 8 * bit_rate // sample_rate
    return FrameHeader(
        is_mpeg1, layer, sample_rate, head[3] >> 6 == 3, length if layer == 1 else length + padding, n_samples
    )


def find_mp3_links(stream: BinaryIO) -> list[Mp3Link]:
    """Return the recordings in an MP3 file; an empty list if there is no frame."""
    links: list[Mp3Link] = []
    current: Mp3Link | None = None
    for position, first, header, stated in _frames(stream):
        is_new = current is None or header.kind != current.header.kind or stated is not None
        if current is None or is_new:
            if len(links) >= _MAX_LINKS:
                break
            current = Mp3Link(position, position + header.length, 0 if stated is not None else 1, header, first, stated)
            links.append(current)
            continue
        current.n_frames += 1
        current.end = position + header.length
        if current.n_frames == current.stated_frames:
            current.stated_end = current.end
    return [part for link in links for part in _split_at_stated_end(link)]


def _split_at_stated_end(link: Mp3Link) -> Iterator[Mp3Link]:
    """Split a recording that has more frames than its Xing frame states: another one without such a frame follows."""
    n_stated = link.stated_frames
    if not n_stated or link.n_frames <= n_stated + 1 or not link.stated_end:
        yield link
        return
    yield Mp3Link(link.start, link.stated_end, n_stated, link.header, link.first, n_stated, link.stated_end)
    yield Mp3Link(link.stated_end, link.end, link.n_frames - n_stated, link.header, link.first)


def _frames(stream: BinaryIO) -> Iterator[tuple[int, bytes, FrameHeader, int | None]]:
    """Yield position, header bytes and header of each frame, and for a Xing frame the number that it states, or 0."""
    known: dict[bytes, FrameHeader | None] = {}
    stream.seek(0)
    window, start, offset = stream.read(_BLOCK), 0, 0
    while True:
        if offset + 4096 > len(window):  # the longest frame has 2881 bytes
            start += min(offset, len(window))
            window, offset = window[offset:], max(0, offset - len(window))
            if offset:
                stream.seek(start + offset)
                start, offset = start + offset, 0
            window += stream.read(_BLOCK)
        first = window[offset : offset + 4]
        if first not in known:
            known[first] = parse_header(first)
        header = known[first]
        if header is None:
            if (skipped := _gap(window, offset)) is None:
                return
            offset += skipped
            continue
        marker = window[offset + header.xing_offset : offset + header.xing_offset + 4]
        stated = None
        if marker in (b"Xing", b"Info") and header.layer == 3:
            flags, n_frames = struct.unpack(">II", window[offset + header.xing_offset + 4 :][:8].ljust(8, b"\0"))
            stated = n_frames if flags & _XING_FLAG_FRAMES else 0
        yield start + offset, first, header, stated
        offset += header.length


def _gap(window: bytes, offset: int) -> int | None:
    """Return the number of bytes from ``offset`` to the next frame, or to more data; None at the end of the file."""
    if tag := id3_length(window[offset : offset + 10]):
        return tag
    position = offset
    while (position := window.find(b"\xff", position + 1)) >= 0:
        header = parse_header(window[position : position + 4])
        if header is not None:
            following = parse_header(window[position + header.length :][:4])
            if following is not None and following.kind == header.kind:
                return position - offset
    remaining = len(window) - offset
    return remaining - 3 if remaining > 4096 else None
