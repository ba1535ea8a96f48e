"""Copy recordings block by block and keep their format, bit depth and tags."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from kanjo.errors import AudioError

#: Samples of shape (frames, channels).
Block = npt.NDArray[np.float32] | npt.NDArray[np.float64]

_BLOCK_FRAMES = 1 << 16
_TAGS = ("title", "copyright", "software", "artist", "comment", "date", "album", "license", "tracknumber", "genre")


@contextmanager
def open_source(path: Path) -> Iterator[soundfile.SoundFile]:
    """Open a recording for reading.

    Raises:
        AudioError: libsndfile can't read the file.
    """
    try:
        with soundfile.SoundFile(path) as source:
            yield source
    except (soundfile.LibsndfileError, RuntimeError) as error:
        if not path.stat().st_size:
            raise AudioError(f"{path}: the file is empty (0 bytes); expected a recording") from error
        reason = str(getattr(error, "error_string", error)).rstrip(".")
        raise AudioError(
            f"{path}: can't be read or written in its own format ({reason}); convert it to WAV or FLAC"
        ) from error


@contextmanager
def create_like(
    target: Path, source: soundfile.SoundFile, sample_rate: int, source_path: Path
) -> Iterator[soundfile.SoundFile]:
    """Create a recording with the format, bit depth, channels and tags of ``source``.

    Raises:
        AudioError: The format does not support the sample rate.
    """
    settings = {"format": source.format, "subtype": source.subtype, "endian": source.endian}
    try:
        output = soundfile.SoundFile(target, "w", sample_rate, source.channels, **settings)
    except (soundfile.LibsndfileError, ValueError, TypeError) as error:
        raise AudioError(
            f"{source_path}: {source.format} {source.subtype} does not support {sample_rate} Hz; "
            "choose another sample rate, or convert the file to WAV or FLAC"
        ) from error
    with output:
        for tag in _TAGS:
            if value := getattr(source, tag):
                setattr(output, tag, value)
        yield output


def read_blocks(source: soundfile.SoundFile) -> Iterator[Block]:
    """Yield the samples in blocks.

    Raises:
        AudioError: A sample is not a finite number.
    """
    while len(block := source.read(_BLOCK_FRAMES, dtype=sample_dtype(source), always_2d=True)):
        if not np.isfinite(block).all():
            raise AudioError(f"{source.name}: contains samples that are not finite numbers; nothing was written")
        yield block


def sample_dtype(source: soundfile.SoundFile) -> str:
    """Return the type that represents all samples exactly: float32 up to 24 bits, float64 above."""
    return "float64" if source.subtype in ("PCM_32", "FLOAT", "DOUBLE") else "float32"


def copy_blocks(source: soundfile.SoundFile, output: soundfile.SoundFile, convert: Callable[[Block], Block]) -> None:
    """Convert and write all blocks of ``source``."""
    for block in read_blocks(source):
        output.write(clip(convert(block)))


def clip(block: Block) -> Block:
    """Clip samples to full scale, because libsndfile wraps them around in some formats."""
    return np.clip(block, -1.0, 1.0)  # type: ignore[return-value]  # numpy's stubs lose the dtype
