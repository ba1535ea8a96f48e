"""Decode WAV, FLAC, Ogg Vorbis and Opus, MP3, AIFF, CAF and the other formats of libsndfile."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile

from kanjo.audio.signals import MAX_FLOAT_PEAK, SampleMatrix, SampleType, check_sample_rate, detect_int16_scale
from kanjo.audio.wav_header import truncation_message
from kanjo.errors import AudioError

_BLOCK_S = 10.0
#: A file with fewer than this fraction of the frames in its header is reported as truncated.
_COMPLETE_FRACTION = 0.98
#: libsndfile gives a length like this (292 years at 1 GHz) to FLAC files that do not state one.
_MAX_FRAMES = 1 << 48
#: Seconds of a file with float samples that are searched for samples at the scale of 16-bit integers.
_SCALE_SEARCH_S = 60.0


class UnsupportedFormatError(AudioError):
    """libsndfile can't open the file."""


class SoundfileDecoder:
    """Decodes one file with libsndfile.

    Attributes:
        native_rate: Sample rate in Hz.
        channels: Number of channels.
        frames: Number of frames according to the header, or None if the header does not state it.
        warnings: Defects of the file; complete after the last block.
        file: The opened file, whose format and tags others may read.
    """

    def __init__(
        self, source: BinaryIO | Path, name: str, warnings: Sequence[str] = (), expected_frames: int | None = None
    ) -> None:
        """Open a file.

        Args:
            source: The file. libsndfile reads a path without Python's global lock.
            name: Name of the recording in messages.
            warnings: Defects that are known already.
            expected_frames: Number of frames, if it is known better than from the header.

        Raises:
            UnsupportedFormatError: libsndfile can't open the file.
            AudioError: The sample rate is out of range.
        """
        try:
            file = soundfile.SoundFile(libsndfile_path(source) if isinstance(source, Path) else source)
        except (soundfile.LibsndfileError, TypeError, ValueError, RuntimeError) as error:
            raise UnsupportedFormatError(
                f"{name}: not audio, or in an unsupported format ({error_message(error)})"
            ) from error
        try:
            check_sample_rate(file.samplerate, name)
        except AudioError:
            file.close()
            raise
        self.native_rate: int = file.samplerate
        self.channels: int = file.channels
        self.frames: int | None = file.frames if file.frames < _MAX_FRAMES else None
        self.warnings = list(warnings)
        self.file = file
        self._expected_frames = self.frames if expected_frames is None else expected_frames
        self._name, self._scale = name, 1.0

    @property
    def duration_s(self) -> float | None:
        """Seconds according to the header, or None."""
        return self._expected_frames / self.native_rate if self._expected_frames is not None else None

    def close(self) -> None:
        """Close the file, but not the stream that it reads."""
        self.file.close()

    def blocks(self, dtype: SampleType = "float32") -> Iterator[SampleMatrix]:
        """Yield blocks of samples (N, channels).

        Raises:
            AudioError: The file is damaged and no sample can be decoded.
        """
        rate = self.native_rate
        n_read, block_size = 0, int(_BLOCK_S * rate)
        self._find_scale()
        while not n_read or n_read != self.frames:  # one more read would make libsndfile seek, which is slow in Ogg
            try:
                block = self._read(block_size, dtype)
            except (soundfile.LibsndfileError, RuntimeError) as error:
                # Read the frames before the damage in smaller blocks.
                if block_size > rate // 100 and self.file.seekable():
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
        expected = self._expected_frames
        if expected and 0 < n_read < _COMPLETE_FRACTION * expected:
            self.warnings.append(truncation_message(expected / rate, n_read / rate))

    def _read(self, n_frames: int, dtype: SampleType) -> SampleMatrix:
        """Read the next frames (N, channels)."""
        if self.file.subtype == "PCM_16" and dtype == "float32":
            # numpy scales 16-bit samples three times as fast as libsndfile
            integers = self.file.read(n_frames, dtype="int16", always_2d=True)
            return np.asarray(np.multiply(integers, np.float32(1 / 32768), dtype=np.float32))
        block: SampleMatrix = self.file.read(n_frames, dtype=dtype, always_2d=True)
        return block if self._scale == 1.0 else block * block.dtype.type(self._scale)

    def _find_scale(self) -> None:
        """Recognize float samples from -32768 to 32767, which some programs write instead of -1 to 1."""
        if self.file.subtype not in ("FLOAT", "DOUBLE") or not self.file.seekable():
            return
        n_remaining, peak = int(_SCALE_SEARCH_S * self.native_rate), 0.0
        while n_remaining > 0 and peak <= MAX_FLOAT_PEAK:
            block = self.file.read(min(n_remaining, int(_BLOCK_S * self.native_rate)), dtype="float32", always_2d=True)
            if not len(block):
                break
            finite = block[np.isfinite(block)]
            peak = max(peak, float(np.abs(finite).max(initial=0.0)))
            n_remaining -= len(block)
        self.file.seek(0)
        self._scale, warnings = detect_int16_scale(peak)
        self.warnings += warnings

    def _seek(self, frame: int) -> bool:
        """Seek to a frame and return whether that succeeded."""
        try:
            self.file.seek(frame)
        except (soundfile.LibsndfileError, RuntimeError):
            return False
        return True


def error_message(error: Exception) -> str:
    """Return the first line of a decoder's error message."""
    text = getattr(error, "error_string", "") or getattr(error, "strerror", "") or error
    lines = str(text).strip().splitlines()
    return lines[0].rstrip(".").removeprefix("Error : ") if lines else type(error).__name__


def libsndfile_path(path: Path) -> Path | bytes:
    """Return a path for soundfile, which accepts a name that is not UTF-8 only as bytes."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return os.fsencode(path)
    return path
