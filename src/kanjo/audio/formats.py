"""Formats of recordings: suffixes of files, and recognition by content, because suffixes are often wrong."""

from __future__ import annotations

#: Suffixes of formats that libsndfile decodes.
_SOUNDFILE_SUFFIXES = (
    *(".wav", ".wave", ".bwf", ".w64", ".rf64", ".flac", ".aif", ".aiff", ".aifc", ".au", ".caf"),
    *(".ogg", ".oga", ".opus", ".mp3", ".mp2", ".mpga"),
)
#: Suffixes of formats that FFmpeg decodes.
_FFMPEG_SUFFIXES = (
    *(".m4a", ".m4b", ".m4v", ".mp4", ".mov", ".3gp", ".3g2", ".aac", ".webm", ".weba", ".mka", ".mkv"),
    *(".wma", ".wmv", ".asf", ".amr", ".awb", ".flv", ".ts", ".mts", ".m2ts", ".mpg", ".mpeg", ".avi", ".wv"),
)
#: Suffixes of the files that are taken for recordings in a folder.
SUFFIXES = frozenset([*_SOUNDFILE_SUFFIXES, *_FFMPEG_SUFFIXES])
#: Suffixes that files of other kinds have as well (source code, translations); such a file is a recording only if its
#: first bytes say so.
AMBIGUOUS_SUFFIXES = frozenset([".ts", ".mts"])
#: Bytes that :func:`sniff_demuxer` needs.
HEAD_LENGTH = 1024

#: FFmpeg's demuxers for formats that libsndfile can't decode.
FFMPEG_ONLY = frozenset(["mov", "matroska", "flv", "avi", "asf", "amr", "mpeg", "mpegts", "aac", "wv"])

_ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_MP4_BOXES = frozenset([b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"wide", b"free", b"skip", b"pnot"])
#: First bytes, and the demuxer of FFmpeg.
_SIGNATURES = (
    (b"\x1aE\xdf\xa3", "matroska"),
    (b"OggS", "ogg"),
    (b"fLaC", "flac"),
    (b"caff", "caf"),
    (b"FLV\x01", "flv"),
    (b"#!AMR", "amr"),
    (b".snd", "au"),
    (b"wvpk", "wv"),
    (b"riff\x2e\x91\xcf\x11", "w64"),
    (_ASF_HEADER, "asf"),
    (b"\0\0\x01\xba", "mpeg"),
)
#: Form type of a RIFF or IFF file, and the demuxer of FFmpeg.
_RIFF_FORMS = {b"WAVE": "wav", b"AVI ": "avi", b"AVIX": "avi", b"AIFF": "aiff", b"AIFC": "aiff"}
_MPEG_TS_PACKET = 188


def sniff_demuxer(head: bytes) -> str | None:
    """Return the demuxer of FFmpeg for a file, or None if its format is not known.

    Only these demuxers are used. FFmpeg itself knows text formats that open other files and network addresses.

    Args:
        head: The first bytes of the file, HEAD_LENGTH if it has so many.
    """
    for signature, demuxer in _SIGNATURES:
        if head.startswith(signature):
            return demuxer
    if head[:4] in (b"RIFF", b"RF64", b"BW64", b"FORM"):
        return _RIFF_FORMS.get(head[8:12])
    if head[4:8] in _MP4_BOXES:
        return "mov"
    if _is_mpeg_ts(head):
        return "mpegts"
    return _sniff_mpeg_audio(head)


def id3_length(head: bytes) -> int:
    """Return the length in bytes of an ID3v2 tag at the beginning of ``head``, 0 if there is none."""
    if head[:3] != b"ID3" or len(head) < 10 or any(byte & 0x80 for byte in head[6:10]):
        return 0
    size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
    return 10 + size + (10 if head[5] & 0x10 else 0)


def _is_mpeg_ts(head: bytes) -> bool:
    """Return whether packets of 188 bytes start with the byte 0x47; those of M2TS have 4 more bytes in front."""
    for offset, packet in ((0, _MPEG_TS_PACKET), (4, _MPEG_TS_PACKET + 4)):
        starts = head[offset::packet]
        if len(starts) >= 3 and set(starts) == {0x47}:
            return True
    return False


def _sniff_mpeg_audio(head: bytes) -> str | None:
    """Recognize AAC in ADTS and MPEG audio; ``head`` is that after an ID3 tag."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    if head[1] & 0xF6 == 0xF0:  # layer 0 exists in ADTS only
        return "aac" if (head[2] >> 2) & 0x0F < 13 else None
    return "mp3" if head[1] & 0x06 and head[2] & 0xF0 != 0xF0 and head[2] & 0x0C != 0x0C else None
