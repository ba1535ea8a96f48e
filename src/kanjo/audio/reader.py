"""Read recordings: decode any format, mix to mono and resample, block by block.

The content of a file says which decoder reads it, not its suffix: libsndfile decodes its formats, PyAV the others and
what libsndfile refuses (see ``soundfile_decoder`` and ``pyav_decoder``). Reading in blocks keeps memory use constant
for recordings of any length.
"""

from __future__ import annotations

import io
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

import numpy as np
import numpy.typing as npt
import soundfile

from kanjo.audio.formats import FFMPEG_ONLY, HEAD_LENGTH, id3_length, sniff_demuxer
from kanjo.audio.limits import DecodingLimits
from kanjo.audio.pyav_decoder import PyAvDecoder
from kanjo.audio.resampling import Resampler, resample
from kanjo.audio.signals import (
    OPPOSITE_PHASE,
    SampleMatrix,
    SampleType,
    Signal,
    check_sample_rate,
    check_samples,
    detect_int16_scale,
    mix_to_mono,
    to_sample_matrix,
)
from kanjo.audio.soundfile_decoder import UnsupportedFormatError
from kanjo.audio.soundfile_opening import open_with_soundfile, view
from kanjo.errors import AudioError, KanjoError
from kanjo.files import os_error_message

#: First bytes of the text that stands for a file in a repository cloned without Git LFS.
LFS_POINTER_START = b"version https://git-lfs.github.com/spec/"

_BLOCK_S = 10
#: What :func:`open_audio` reads: a path, the content of a file, or a binary stream.
AudioSource = str | os.PathLike[str] | BinaryIO | bytes | bytearray | memoryview
#: Content of a pipe up to this size stays in memory, more is in a temporary file.
_MEMORY_BYTES = 1 << 24


class Decoder(Protocol):
    """Decodes one recording; see :class:`SoundfileDecoder` for the attributes."""

    native_rate: int
    channels: int
    frames: int | None
    warnings: list[str]

    @property
    def duration_s(self) -> float | None:
        """Seconds according to the header, or None."""

    def blocks(self, dtype: SampleType = "float32") -> Iterator[SampleMatrix]:
        """Yield blocks of samples (N, channels)."""

    def close(self) -> None:
        """Close the file."""


class AudioReader:
    """An opened recording. Read it once, with :meth:`blocks` or :meth:`signal`.

    Reading to the end closes the file. To read only the header, use ``with reader: ...``.

    Attributes:
        name: Name of the recording in messages.
    """

    def __init__(
        self,
        name: str,
        decoder: Decoder,
        limits: DecodingLimits | None = None,
        owned: BinaryIO | None = None,
    ) -> None:
        """Read from a decoder.

        Args:
            name: Name of the recording in messages.
            decoder: The decoder.
            limits: When to stop (default: never).
            owned: A stream that is closed together with the decoder.
        """
        self.name = name
        self._decoder, self._limits, self._owned = decoder, limits or DecodingLimits(), owned
        self._warnings: list[str] = []

    def __enter__(self) -> AudioReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._decoder.close()
        if self._owned is not None:
            self._owned.close()

    @property
    def soundfile(self) -> soundfile.SoundFile | None:
        """The file as libsndfile has opened it, with its format and tags; None if another decoder reads it."""
        return getattr(self._decoder, "file", None)

    @property
    def native_rate(self) -> int:
        """Sample rate of the recording in Hz."""
        return self._decoder.native_rate

    @property
    def channels(self) -> int:
        """Number of channels of the recording."""
        return self._decoder.channels

    @property
    def frames(self) -> int | None:
        """Number of frames according to the header, or None if the header does not state it."""
        return self._decoder.frames

    @property
    def duration_s(self) -> float | None:
        """Seconds according to the header, before anything is decoded; None if the header does not state them."""
        return self._decoder.duration_s

    @property
    def warnings(self) -> list[str]:
        """Defects of the file; complete after the last block."""
        return [*self._decoder.warnings, *self._warnings]

    def blocks(self, sample_rate: int | None = None) -> Iterator[Signal]:
        """Yield the recording in mono blocks (N,).

        Args:
            sample_rate: Sample rate of the blocks in Hz (default: that of the recording).

        Raises:
            AudioError: The recording has no samples, contains NaN or infinite samples, can't be decoded, or is longer
                than the limit. If the header states that it is, nothing is decoded.
            DecodingCancelledError: The limits' ``cancelled`` returned true.
        """
        with self:
            resampler = Resampler(self.native_rate, sample_rate or self.native_rate)
            for mono in self._mono_blocks():
                block = resampler.feed(mono)
                if block.size:
                    yield block
            tail = resampler.finish()
            if tail.size:
                yield tail

    def signal(self, sample_rate: int | None = None) -> Signal:
        """Return the whole recording as mono samples (N,).

        Args:
            sample_rate: Sample rate of the result in Hz (default: that of the recording).

        Raises:
            AudioError: As :meth:`blocks`.
        """
        with self:
            blocks = list(self._mono_blocks())
        whole = blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
        return resample(whole, self.native_rate, sample_rate or self.native_rate)

    def _mono_blocks(self) -> Iterator[Signal]:
        """Yield blocks (N,) at the native rate, the mean of the channels."""
        for block in self.channel_blocks():
            yield mix_to_mono(block)[0]

    def channel_blocks(self, dtype: SampleType = "float32") -> Iterator[SampleMatrix]:
        """Yield the recording in blocks (N, channels) at the native rate; it does not close the file.

        Args:
            dtype: Type of the samples.

        Raises:
            AudioError: As :meth:`blocks`.
            DecodingCancelledError: As :meth:`blocks`.
        """
        limits, n_samples = self._limits, 0
        limits.check_duration(self.duration_s, self.name)
        for block in self._decoder.blocks(dtype):
            check_samples(block, n_samples, self.name)
            if OPPOSITE_PHASE not in self._warnings and mix_to_mono(block)[1]:
                self._warnings.append(OPPOSITE_PHASE)
            n_samples += len(block)
            limits.check_duration(n_samples / self.native_rate, self.name)
            yield block
            limits.check_cancelled(self.name)
        if not n_samples:
            raise AudioError(f"{self.name}: contains no samples")


class _ArrayDecoder:
    """Yields the samples of an array (N, channels), so that arrays and files are read in the same way."""

    def __init__(self, samples: npt.NDArray[np.floating[Any]], sample_rate: int) -> None:
        self.native_rate = sample_rate
        self.frames: int | None
        self.frames, self.channels = samples.shape
        self.duration_s: float | None = len(samples) / sample_rate
        self._samples = samples
        self._scale, self.warnings = detect_int16_scale(max(float(samples.max()), -float(samples.min())))

    def blocks(self, dtype: SampleType = "float32") -> Iterator[SampleMatrix]:
        step = _BLOCK_S * self.native_rate
        for start in range(0, len(self._samples), step):
            block = self._samples[start : start + step]
            with np.errstate(over="ignore"):  # the reader reports infinite samples
                yield (block if self._scale == 1.0 else block * self._scale).astype(dtype)

    def close(self) -> None:
        pass


def load(path: str | Path, sample_rate: int | None = None) -> Signal:
    """Decode a recording to mono samples (N,) with full scale 1.0.

    Args:
        path: Path of an audio file.
        sample_rate: Sample rate of the result in Hz (default: that of the recording).

    Raises:
        AudioError: The file is missing, empty or not audio, or contains NaN.
    """
    return open_audio(path).signal(sample_rate)


def open_audio(source: AudioSource, name: str | None = None, limits: DecodingLimits | None = None) -> AudioReader:
    """Open a recording.

    Args:
        source: Path of an audio file, or its content as bytes or as a binary stream, which is not closed. A stream that
            can't seek is read completely.
        name: Name of the recording in messages (default: the path).
        limits: When to stop (default: never). A thread that decodes can be stopped with ``cancelled``.

    Raises:
        AudioError: The file is missing, can't be read, is empty, or is not audio in a supported format.
        DecodingCancelledError: The limits' ``cancelled`` returned true.
    """
    limits = limits or DecodingLimits()
    name = name or source_name(source)
    if isinstance(source, bytes | bytearray | memoryview):
        return AudioReader(name, _open_decoder(io.BytesIO(source), name, None, limits), limits)
    if not isinstance(source, str | os.PathLike):
        return AudioReader(name, _open_decoder(_seekable(source, name), name, None, limits), limits)
    path = Path(source)
    stream, is_file = _open_file(path, name)
    try:
        return AudioReader(name, _open_decoder(stream, name, path if is_file else None, limits), limits, stream)
    except KanjoError:
        stream.close()
        raise


def source_name(source: AudioSource) -> str:
    """Return the name of a recording in messages: its path, or "<bytes>" or "<stream>"."""
    if isinstance(source, str | os.PathLike):
        return str(source)
    return "<bytes>" if isinstance(source, bytes | bytearray | memoryview) else "<stream>"


def read_duration(source: AudioSource, name: str | None = None) -> float | None:
    """Return the seconds of a recording that its header states, without decoding it; None if it does not state them.

    Args:
        source: As in :func:`open_audio`; a stream is at its beginning again afterwards.
        name: Name of the recording in messages (default: the path).

    Raises:
        AudioError: As :func:`open_audio`.
    """
    with open_audio(source, name) as reader:
        return reader.duration_s


def _open_file(path: Path, name: str) -> tuple[BinaryIO, bool]:
    """Open a file for reading, and return whether it is a regular file; the content of a pipe is copied."""
    try:
        if path.is_dir():
            raise AudioError(f"{name}: this is a folder; expected an audio file")
        status = path.stat()
        if stat.S_ISFIFO(status.st_mode):
            copy = cast(BinaryIO, tempfile.SpooledTemporaryFile(_MEMORY_BYTES))  # noqa: SIM115  # the reader closes it
            with path.open("rb") as pipe:
                shutil.copyfileobj(pipe, copy)
            copy.seek(0)
            return copy, False
        if not stat.S_ISREG(status.st_mode):
            raise AudioError(f"{name}: this is a device or a socket; expected an audio file")
        if status.st_size == 0:
            raise AudioError(f"{name}: the file is empty (0 bytes)")
        return path.open("rb"), True
    except OSError as error:
        problem = "no such file" if isinstance(error, FileNotFoundError) else os_error_message(error)
        raise AudioError(f"{name}: {problem}") from error
    except ValueError as error:  # a path with a NUL character
        raise AudioError(f"{name}: not a valid path ({error})".replace("\0", "\\0")) from error


def _seekable(stream: BinaryIO, name: str) -> BinaryIO:
    """Return a view of a caller's stream from its position on, or a copy of the rest of a stream that can't seek."""
    if not hasattr(stream, "read"):
        raise AudioError(
            f"{name}: {type(stream).__name__}; expected the path of an audio file, bytes, or a binary stream. "
            "Pass samples to predict_signal"
        )
    try:
        if isinstance(stream, io.TextIOBase):
            raise AudioError(f"{name}: a text stream; open the file in binary mode ('rb')")
        try:
            position = stream.tell()
            stream.seek(position)
        except (AttributeError, OSError):
            content = stream.read()
            if not isinstance(content, bytes):
                raise AudioError(f"{name}: the stream returned {type(content).__name__}; expected bytes") from None
            return io.BytesIO(content)
        return view(stream, position)
    except (OSError, ValueError) as error:
        raise AudioError(f"{name}: the stream can't be read ({error})") from error


def open_signal(signal: npt.ArrayLike, sample_rate: float, name: str) -> AudioReader:
    """Open samples like a recording.

    Args:
        signal: Samples as int16, or as float with full scale 1.0: an array, a tensor of PyTorch, or a list. Float
            samples from -32768 to 32767 are divided by 32768, with a warning.
        sample_rate: Sample rate in Hz.
        name: Name of the recording in messages.

    Raises:
        AudioError: The array is empty or has another type or shape, or the sample rate is out of range.

    Shape:
        - signal: (N,), (N, channels) or (channels, N) with at most 8 channels
    """
    samples = to_sample_matrix(signal, name)
    rate = check_sample_rate(sample_rate, name)
    if not samples.size:
        raise AudioError(f"{name}: contains no samples (shape {np.shape(signal)})")
    return AudioReader(name, _ArrayDecoder(samples, rate))


def _open_decoder(stream: BinaryIO, name: str, path: Path | None, limits: DecodingLimits) -> Decoder:
    """Open a decoder for the content of ``stream``; ``path`` is the path of the same file, if it has one."""
    head = stream.read(HEAD_LENGTH)
    if not head:
        raise AudioError(f"{name}: the input is empty (0 bytes)")
    if head.startswith(LFS_POINTER_START):
        raise AudioError(f"{name}: a Git LFS pointer, not the recording; run 'git lfs pull' in its repository")
    if tag := id3_length(head):
        stream.seek(tag)
        head = stream.read(HEAD_LENGTH)
    demuxer = sniff_demuxer(head)
    stream.seek(0)
    limits.check_cancelled(name)
    if demuxer in FFMPEG_ONLY:
        return PyAvDecoder(stream, name, str(demuxer), limits)
    try:
        return open_with_soundfile(stream, name, path, demuxer)
    except UnsupportedFormatError:
        if demuxer is None:
            raise
    return PyAvDecoder(stream, name, demuxer, limits)
