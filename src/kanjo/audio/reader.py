"""Read recordings: decode any format, mix to mono and resample, block by block.

libsndfile decodes its formats; PyAV decodes the others (see ``soundfile_decoder`` and ``pyav_decoder``). Reading in
blocks keeps memory use constant for recordings of any length.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
import numpy.typing as npt

from kanjo.audio.pyav_decoder import PYAV_SUFFIXES, PyAvDecoder, is_pyav_format
from kanjo.audio.resampling import Resampler, resample
from kanjo.audio.signals import Signal, check_finite, check_sample_rate, to_sample_matrix
from kanjo.audio.soundfile_decoder import SoundfileDecoder, UnsupportedFormatError
from kanjo.errors import AudioError
from kanjo.files import os_error_message

_SOUNDFILE_SUFFIXES = frozenset(
    [".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".caf", ".w64", ".rf64"]
)
#: Suffixes of the files that are taken for recordings in a folder.
SUFFIXES = _SOUNDFILE_SUFFIXES | PYAV_SUFFIXES
#: Folders with copies of recordings or deleted ones: those of macOS archives, Synology and Windows.
_SKIPPED_FOLDERS = frozenset(["__MACOSX", "@eaDir", "$RECYCLE.BIN"])
#: First bytes of the text that stands for a file in a repository cloned without Git LFS.
LFS_POINTER_START = b"version https://git-lfs.github.com/spec/"

_BLOCK_S = 10


class Decoder(Protocol):
    """Decodes one recording; see :class:`SoundfileDecoder` for the attributes."""

    native_rate: int
    channels: int
    frames: int | None
    warnings: list[str]

    def blocks(self) -> Iterator[npt.NDArray[np.float32]]:
        """Yield blocks of samples (N, channels)."""

    def close(self) -> None:
        """Close the file."""


class AudioReader:
    """An opened recording. Read it once, with :meth:`blocks` or :meth:`signal`.

    Reading to the end closes the file. To read only the header, use ``with reader: ...``.

    Attributes:
        name: Name of the recording in messages.
    """

    def __init__(self, name: str, decoder: Decoder) -> None:
        """Read from a decoder."""
        self.name = name
        self._decoder = decoder

    def __enter__(self) -> AudioReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._decoder.close()

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
    def warnings(self) -> list[str]:
        """Defects of the file; complete after the last block."""
        return self._decoder.warnings

    def blocks(self, sample_rate: int | None = None) -> Iterator[Signal]:
        """Yield the recording in mono blocks (N,).

        Args:
            sample_rate: Sample rate of the blocks in Hz (default: that of the recording).

        Raises:
            AudioError: The recording has no samples, contains NaN or infinite samples, or can't be decoded.
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
        n_samples = 0
        for block in self._decoder.blocks():
            mono = np.ascontiguousarray(block[:, 0] if block.shape[1] == 1 else block.mean(axis=1))
            check_finite(mono, n_samples, self.name)
            n_samples += len(mono)
            yield mono
        if not n_samples:
            raise AudioError(f"{self.name}: contains no samples")


class _ArrayDecoder:
    """Yields the samples of an array (N, channels), so that arrays and files are read in the same way."""

    def __init__(self, samples: npt.NDArray[np.floating[Any]], sample_rate: int) -> None:
        self.native_rate = sample_rate
        self.frames: int | None
        self.frames, self.channels = samples.shape
        self.warnings: list[str] = []
        self._samples = samples

    def blocks(self) -> Iterator[npt.NDArray[np.float32]]:
        step = _BLOCK_S * self.native_rate
        for start in range(0, len(self._samples), step):
            yield self._samples[start : start + step].astype(np.float32)

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


def open_audio(path: str | Path | BinaryIO | bytes, name: str | None = None) -> AudioReader:
    """Open a recording.

    Args:
        path: Path of an audio file, or its content as bytes or as a binary stream.
        name: Name of the recording in messages (default: the path).

    Raises:
        AudioError: The file is missing, can't be read, is empty, or is not audio in a supported format.
    """
    if isinstance(path, bytes):
        return AudioReader(name or "<bytes>", _open_decoder(io.BytesIO(path), name or "<bytes>"))
    if not isinstance(path, str | Path):
        return AudioReader(name or "<stream>", _open_decoder(io.BytesIO(path.read()), name or "<stream>"))
    path = Path(path)
    name = name or str(path)
    try:
        if path.is_dir():
            raise AudioError(f"{name}: this is a folder; expected an audio file")
        if path.stat().st_size == 0:
            raise AudioError(f"{name}: the file is empty (0 bytes)")
        stream = path.open("rb")
    except OSError as error:
        problem = "no such file" if isinstance(error, FileNotFoundError) else os_error_message(error)
        raise AudioError(f"{name}: {problem}") from error
    try:
        return AudioReader(name, _open_decoder(stream, name, path))
    except AudioError:
        stream.close()
        raise


def open_signal(signal: npt.ArrayLike, sample_rate: int, name: str) -> AudioReader:
    """Open samples like a recording.

    Args:
        signal: Samples as int16, or as float with full scale 1.0.
        sample_rate: Sample rate in Hz.
        name: Name of the recording in messages.

    Raises:
        AudioError: The array is empty or has another type or shape, or the sample rate is out of range.

    Shape:
        - signal: (N,) or (N, channels)
    """
    samples = to_sample_matrix(signal, name)
    check_sample_rate(sample_rate, name)
    if not samples.size:
        raise AudioError(f"{name}: contains no samples (shape {np.shape(signal)})")
    return AudioReader(name, _ArrayDecoder(samples, sample_rate))


def find_recordings(folder: Path, on_error: Callable[[OSError], None] | None = None) -> Iterator[Path]:
    """Yield the recordings below a folder, sorted.

    Hidden files and folders (``._a.wav``, ``.ipynb_checkpoints``) and the copies in ``__MACOSX`` are skipped. Links to
    folders are not followed, because they can form a loop.

    Args:
        folder: The folder; its own name does not matter.
        on_error: Called for each folder that can't be read; None skips it.
    """
    for parent, folders, names in os.walk(folder, onerror=on_error):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in _SKIPPED_FOLDERS)
        for name in sorted(names):
            if Path(name).suffix.lower() in SUFFIXES and not name.startswith("."):
                yield Path(parent) / name


def _open_decoder(stream: BinaryIO, name: str, path: Path | None = None) -> Decoder:
    """Open a decoder for the content of ``stream``; ``path`` is the path of the same file, if it has one."""
    if stream.read(len(LFS_POINTER_START)) == LFS_POINTER_START:
        raise AudioError(f"{name}: a Git LFS pointer, not the recording; run 'git lfs pull' in its repository")
    stream.seek(0)
    if path is not None and path.suffix.lower() in PYAV_SUFFIXES:
        return PyAvDecoder(stream, name)
    try:
        return SoundfileDecoder(stream, name, path)
    except UnsupportedFormatError as error:
        stream.seek(0)
        head = stream.read(12)
        if not head:
            raise AudioError(f"{name}: the input is empty (0 bytes)") from error
        if is_pyav_format(head):
            stream.seek(0)
            return PyAvDecoder(stream, name)
        raise
