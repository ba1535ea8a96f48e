"""Decode WAV, FLAC, Ogg Vorbis and Opus, MP3, AIFF, CAF and the other formats of libsndfile."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import soundfile

from kanjo.audio.signals import check_sample_rate
from kanjo.errors import AudioError

_BLOCK_S = 10.0
#: A file with fewer than this fraction of the frames in its header is reported as truncated.
_COMPLETE_FRACTION = 0.98
#: Size of the largest Ogg page in bytes (RFC 3533).
_MAX_OGG_PAGE = 65_307
#: A WAV file that was written to a pipe has no valid size in its header, but at least this value.
_UNKNOWN_WAV_SIZE = 0x7FFFFFFF


class UnsupportedFormatError(AudioError):
    """libsndfile can't open the file."""


class SoundfileDecoder:
    """Decodes one file with libsndfile.

    Attributes:
        native_rate: Sample rate in Hz.
        channels: Number of channels.
        frames: Number of frames according to the header.
        warnings: Defects of the file; complete after the last block.
    """

    def __init__(self, stream: BinaryIO, name: str, path: Path | None = None) -> None:
        """Open a file.

        Args:
            stream: The opened file; :meth:`close` closes it.
            name: Name of the recording in messages.
            path: Path of the file, if it has one. libsndfile then reads it without Python's global lock.

        Raises:
            UnsupportedFormatError: libsndfile can't open the file.
            AudioError: The sample rate is out of range.
        """
        try:
            file = soundfile.SoundFile(stream if path is None else path)
        except (soundfile.LibsndfileError, TypeError, RuntimeError) as error:
            raise UnsupportedFormatError(
                f"{name}: not audio, or in an unsupported format ({error_message(error)})"
            ) from error
        try:
            check_sample_rate(file.samplerate, name)
            position = stream.tell()
            truncation = _wav_truncation(stream, file) or _ogg_truncation(stream, file)
            stream.seek(position)
        except AudioError:
            file.close()
            raise
        self.native_rate: int = file.samplerate
        self.channels: int = file.channels
        self.frames: int | None = file.frames
        self.warnings: list[str] = [truncation] if truncation else []
        self._name, self._file, self._stream = name, file, stream

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        self._stream.close()

    def blocks(self) -> Iterator[npt.NDArray[np.float32]]:
        """Yield blocks of samples (N, channels).

        Raises:
            AudioError: The file is damaged and no sample can be decoded.
        """
        rate = self.native_rate
        n_read, block_size = 0, int(_BLOCK_S * rate)
        while not n_read or n_read != self.frames:  # one more read would make libsndfile seek, which is slow in Ogg
            try:
                block = self._read(block_size)
            except (soundfile.LibsndfileError, RuntimeError) as error:
                # Read the frames before the damage in smaller blocks.
                if block_size > rate // 10 and self._file.seekable():
                    block_size //= 10
                    if self._seek(n_read):
                        continue
                if not n_read:
                    raise AudioError(
                        f"{self._name}: the file is damaged; no sample can be decoded ({error_message(error)})"
                    ) from error
                self.warnings.append(f"truncated or damaged after {n_read / rate:.2f} s ({error_message(error)})")
                return
            if not len(block):
                break
            n_read += len(block)
            yield block
        if self.frames and 0 < n_read < _COMPLETE_FRACTION * self.frames:
            self.warnings.append(_truncation_message(self.frames / rate, n_read / rate))

    def _read(self, n_frames: int) -> npt.NDArray[np.float32]:
        """Read the next frames (N, channels)."""
        if self._file.subtype == "PCM_16":  # numpy scales 16-bit samples three times as fast as libsndfile
            integers = self._file.read(n_frames, dtype="int16", always_2d=True)
            return np.asarray(np.multiply(integers, np.float32(1 / 32768), dtype=np.float32))
        return np.asarray(self._file.read(n_frames, dtype="float32", always_2d=True))

    def _seek(self, frame: int) -> bool:
        """Seek to a frame and return whether that succeeded."""
        try:
            self._file.seek(frame)
        except (soundfile.LibsndfileError, RuntimeError):
            return False
        return True


def error_message(error: Exception) -> str:
    """Return the first line of a decoder's error message."""
    lines = str(getattr(error, "error_string", "") or error).strip().splitlines()
    return lines[0].rstrip(".").removeprefix("Error : ") if lines else type(error).__name__


def _wav_truncation(stream: BinaryIO, file: soundfile.SoundFile) -> str:
    """Describe a WAV file whose data chunk is shorter than its header states; libsndfile does not report that."""
    if file.format not in ("WAV", "WAVEX") or file.frames <= 0:
        return ""
    file_size = stream.seek(0, io.SEEK_END)
    stream.seek(12)
    while len(header := stream.read(8)) == 8:
        tag, size = struct.unpack("<4sI", header)
        if tag != b"data":
            stream.seek(size + size % 2, io.SEEK_CUR)
            continue
        n_bytes = file_size - stream.tell()
        if n_bytes < size < _UNKNOWN_WAV_SIZE:
            duration_s = file.frames / file.samplerate
            return _truncation_message(size / n_bytes * file.frames / file.samplerate, duration_s)
        return ""
    return ""


def _ogg_truncation(stream: BinaryIO, file: soundfile.SoundFile) -> str:
    """Describe an Ogg stream whose last page is not marked as the last one (RFC 3533, header type 4)."""
    if file.format != "OGG":
        return ""
    stream.seek(max(0, stream.seek(0, io.SEEK_END) - 2 * _MAX_OGG_PAGE))
    tail = stream.read()
    page = tail.rfind(b"OggS")
    complete = page >= 0 and len(tail) > page + 5 and tail[page + 5] & 4
    if complete:
        return ""
    return f"truncated: the last page is missing; the file contains {file.frames / file.samplerate:.2f} s"


def _truncation_message(expected_s: float, actual_s: float) -> str:
    return f"truncated: the header states {expected_s:.2f} s, but the file contains {actual_s:.2f} s"
