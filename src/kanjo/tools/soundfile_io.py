"""Copy recordings block by block and keep their format, bit depth and tags."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from kanjo.audio import AudioReader, SampleType
from kanjo.audio.output_file import OutputFile, open_output
from kanjo.errors import AudioError

#: Samples of shape (frames, channels).
Block = npt.NDArray[np.float32] | npt.NDArray[np.float64]

_TAGS = ("title", "copyright", "software", "artist", "comment", "date", "album", "license", "tracknumber", "genre")
_FORMATS = {".wav": "WAV", ".flac": "FLAC", ".ogg": "OGG", ".mp3": "MP3", ".aiff": "AIFF", ".aif": "AIFF"}


@contextmanager
def create_like(
    target: Path, source: AudioReader, sample_rate: int, source_path: Path
) -> Iterator[soundfile.SoundFile]:
    """Create a recording with the format, bit depth, channels and tags of ``source``.

    If ``target`` has another suffix than ``source_path``, it has the format of this suffix.

    Raises:
        AudioError: The format can't be written, or does not support the sample rate.
        OSError: The file can't be written, for example because the disk is full.
    """
    original = source.soundfile
    settings = _output_settings(target, original, source_path)
    with open_output(target) as file, _create(file, settings, sample_rate, source.channels, source_path) as output:
        for tag in _TAGS:
            if original is not None and (value := getattr(original, tag)):
                setattr(output, tag, value)
        yield output


def _create(
    file: OutputFile, settings: dict[str, str | None], sample_rate: int, channels: int, source_path: Path
) -> soundfile.SoundFile:
    try:
        return soundfile.SoundFile(file, "w", sample_rate, channels, **settings)
    except (soundfile.LibsndfileError, ValueError, TypeError) as error:
        raise AudioError(
            f"{source_path}: {settings['format']} {settings['subtype'] or ''} does not support {sample_rate} Hz and "
            f"{channels} channels; choose another sample rate, or convert the file to WAV or FLAC"
        ) from error


def _output_settings(target: Path, original: soundfile.SoundFile | None, source_path: Path) -> dict[str, str | None]:
    """Return format, bit depth and byte order of the output for ``soundfile.SoundFile``."""
    file_format = _FORMATS.get(target.suffix.lower())
    if original is not None and (file_format is None or target.suffix.lower() == source_path.suffix.lower()):
        return {"format": original.format, "subtype": original.subtype, "endian": original.endian}
    if file_format is None:
        raise AudioError(
            f"{source_path}: this format can be read but not written; give a target that ends in .wav or .flac, or "
            "convert the file to WAV or FLAC"
        )
    subtype = original.subtype if original is not None else "PCM_16"
    return {"format": file_format, "subtype": subtype if soundfile.check_format(file_format, subtype) else None}


def read_blocks(source: AudioReader) -> Iterator[Block]:
    """Yield the samples in blocks.

    Raises:
        AudioError: The file is damaged, or a sample is not a finite number.
    """
    return source.channel_blocks(sample_dtype(source))


def sample_dtype(source: AudioReader) -> SampleType:
    """Return the type that represents all samples exactly: float32 up to 24 bits, float64 above."""
    subtype = source.soundfile.subtype if source.soundfile is not None else ""
    return "float64" if subtype in ("PCM_32", "FLOAT", "DOUBLE") else "float32"


def copy_blocks(source: AudioReader, output: soundfile.SoundFile, convert: Callable[[Block], Block]) -> None:
    """Convert and write all blocks of ``source``."""
    for block in read_blocks(source):
        output.write(clip(convert(block)))


def describe_warnings(path: Path, *warnings: str) -> str:
    """Join the warnings about a recording in one line; "" if there are none."""
    texts = [text for text in warnings if text]
    return f"{path}: {'; '.join(texts)}" if texts else ""


def clip(block: Block) -> Block:
    """Clip samples to full scale, because libsndfile wraps them around in some formats."""
    return np.clip(block, -1.0, 1.0)  # type: ignore[return-value]  # numpy's stubs lose the dtype
