"""Open a file with libsndfile so that it reads all of its sound: correct headers, and read joined files to the end."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast

from kanjo.audio.chained_decoder import ChainedDecoder
from kanjo.audio.chunk_sizes import is_cut_short
from kanjo.audio.flac_length import complete_flac_header
from kanjo.audio.mp3_frames import Mp3Link, find_mp3_links
from kanjo.audio.ogg_pages import find_ogg_links, is_ogg_complete
from kanjo.audio.soundfile_decoder import SoundfileDecoder
from kanjo.audio.stream_view import StreamView
from kanjo.audio.wav_header import WavHeader, correct_header, read_wav_header
from kanjo.errors import AudioError

_VIEW_BUFFER = 1 << 16
#: An ID3 tag that contains only padding, see :func:`_has_resource_fork`.
_EMPTY_TAG = b"ID3\x04\0\0\0\0\0\x0a" + bytes(10)
#: More WAV files than this in one file are not read.
_MAX_WAV_FILES = 1000


def view(stream: BinaryIO, start: int = 0, end: int | None = None, prefix: bytes = b"") -> BinaryIO:
    """Return a part of a stream, with other bytes in front of it, as a buffered stream; see :class:`StreamView`."""
    return cast(BinaryIO, io.BufferedReader(StreamView(stream, start, end, prefix), _VIEW_BUFFER))


def open_with_soundfile(
    stream: BinaryIO, name: str, path: Path | None, demuxer: str | None
) -> SoundfileDecoder | ChainedDecoder:
    """Open a file with libsndfile.

    Args:
        stream: The opened file. It must stay open; closing the decoder does not close it.
        name: Name of the recording in messages.
        path: Path of the same file, if it has one.
        demuxer: Format of the file, see :func:`kanjo.audio.formats.sniff_demuxer`.

    Raises:
        UnsupportedFormatError: libsndfile can't open the file.
        AudioError: The sample rate is out of range.
    """
    if demuxer == "wav":
        return _open_wav(stream, name, path)
    if demuxer == "ogg":
        return _open_ogg(stream, name, path)
    if demuxer == "mp3":
        return _open_mp3(stream, name, path)
    if demuxer == "flac" and (prefix := complete_flac_header(stream)):
        return SoundfileDecoder(view(stream, len(prefix), prefix=prefix), name)
    decoder = SoundfileDecoder(path or view(stream), name)
    if demuxer and is_cut_short(stream, demuxer):
        contained_s = (decoder.frames or 0) / decoder.native_rate
        decoder.warnings.append(f"truncated: the file was cut short and contains {contained_s:.2f} s")
    return decoder


def _open_wav(stream: BinaryIO, name: str, path: Path | None) -> SoundfileDecoder | ChainedDecoder:
    header = read_wav_header(stream)
    if header is None or header.next_recording is None:
        return _open_one_wav(stream, name, header, path=path)

    def open_part(start: int, end: int | None) -> SoundfileDecoder:
        return _open_one_wav(stream, name, read_wav_header(view(stream, start, end)), start, end)

    return ChainedDecoder(name, [partial(open_part, *part) for part in _split_wav(stream, header.next_recording)])


def _split_wav(stream: BinaryIO, end: int) -> Iterator[tuple[int, int | None]]:
    """Yield the first and last position of each WAV file in a file; the first one ends at ``end``."""
    start = 0
    for _ in range(_MAX_WAV_FILES):
        yield start, end
        start = end
        header = read_wav_header(view(stream, start))
        if header is None or header.next_recording is None:
            break
        end = start + header.next_recording
    yield start, None


def _open_one_wav(
    stream: BinaryIO,
    name: str,
    header: WavHeader | None,
    start: int = 0,
    end: int | None = None,
    path: Path | None = None,
) -> SoundfileDecoder:
    """Open the WAV file from ``start`` to ``end`` in a file; ``path`` is that of the file if it contains no other."""
    warnings = [header.warning] if header is not None and header.warning else []
    if header is not None and header.is_size_unknown and (prefix := correct_header(view(stream, start, end), header)):
        return SoundfileDecoder(view(stream, start + header.start, end, prefix), name, warnings)
    return SoundfileDecoder(path or view(stream, start, end), name, warnings)


def _open_ogg(stream: BinaryIO, name: str, path: Path | None) -> SoundfileDecoder | ChainedDecoder:
    links = find_ogg_links(stream)
    if len(links) > 1:
        return ChainedDecoder(name, [partial(_open_ogg_link, stream, name, start, end) for start, end in links])
    decoder = SoundfileDecoder(path or view(stream), name)
    _warn_incomplete_ogg(decoder, stream)
    return decoder


def _open_ogg_link(stream: BinaryIO, name: str, start: int, end: int) -> SoundfileDecoder:
    decoder = SoundfileDecoder(view(stream, start, end), name)
    _warn_incomplete_ogg(decoder, view(stream, start, end))
    return decoder


def _warn_incomplete_ogg(decoder: SoundfileDecoder, stream: BinaryIO) -> None:
    if decoder.file.format == "OGG" and not is_ogg_complete(stream):
        duration_s = (decoder.frames or 0) / decoder.native_rate
        decoder.warnings.append(f"truncated: the last page is missing; the file contains {duration_s:.2f} s")


def _open_mp3(stream: BinaryIO, name: str, path: Path | None) -> SoundfileDecoder | ChainedDecoder:
    links = find_mp3_links(stream)
    if len(links) > 1:
        rate = links[0].header.sample_rate
        frames = sum(link.min_samples * rate // link.header.sample_rate for link in links)
        return ChainedDecoder(name, [partial(_open_mp3_link, stream, name, link) for link in links], frames)
    if not links:
        return SoundfileDecoder(path or view(stream), name)
    link = links[0]
    is_plain = path is not None and not _has_resource_fork(path)
    source = path if path is not None and is_plain else view(stream, link.start, prefix=_EMPTY_TAG)
    if link.stated_frames:
        return SoundfileDecoder(source, name)
    decoder = SoundfileDecoder(source, name, expected_frames=link.min_samples)
    if link.min_samples <= (decoder.frames or 0):
        return decoder
    # The length was estimated from the first frame, and is too short.
    try:
        corrected = _open_mp3_link(stream, name, link)
    except AudioError:
        return decoder
    decoder.close()
    return corrected


def _has_resource_fork(path: Path) -> bool:
    """Return whether a Macintosh has stored a second file beside a file, as in archives of macOS.

    libsndfile looks for it before it recognizes MP3, and reads it instead of the file. Of a file without a path it
    looks for ``._`` in the current folder. It does not look if the file begins with a short ID3 tag.
    """
    return any(os.path.lexists(path.parent / name) for name in (f"._{path.name}", f".AppleDouble/{path.name}"))


def _open_mp3_link(stream: BinaryIO, name: str, link: Mp3Link) -> SoundfileDecoder:
    prefix = _EMPTY_TAG + (b"" if link.stated_frames else link.info_frame)
    return SoundfileDecoder(view(stream, link.start, link.end, prefix), name, expected_frames=link.min_samples)
