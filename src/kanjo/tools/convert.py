"""Recordings at another rate, or another level: read and written block by block, in the format that they have."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from kanjo.errors import AudioError

Block = npt.NDArray[np.float32] | npt.NDArray[np.float64]
_FRAMES = 1 << 16
_TAGS = ("title", "copyright", "software", "artist", "comment", "date", "album", "license", "tracknumber", "genre")
SILENT = "silent, left as it is"


def resample(path: Path, place: Path, sample_rate: int) -> str:
    """Write ``path`` to ``place`` at ``sample_rate`` Hz (soxr, very high quality); channels, format, depth and tags stay.

    Memory is that of a block, however long the recording. Returns "" (no warning). Raises AudioError.
    """
    with _opened(path) as source, _created(place, source, sample_rate, path) as out:
        if source.samplerate == sample_rate:
            _through(source, out, lambda block: block)
            return ""
        stream = soxr.ResampleStream(source.samplerate, sample_rate, source.channels, dtype=_kind(source), quality="VHQ")
        for block in _blocks(source):
            out.write(_clipped(stream.resample_chunk(block)))
        out.write(_clipped(stream.resample_chunk(np.zeros((0, source.channels), _kind(source)), last=True)))
    return ""


def normalize(path: Path, place: Path, rms_db: float | None = None) -> str:
    """Write ``path`` to ``place`` with its peak at full scale (as ``librosa.util.normalize``), or its RMS at ``rms_db`` dBFS.

    Format, depth, rate and tags stay. Silence is left as it is; an RMS that would clip is held at a peak of full scale:
    both return a warning. Raises AudioError.
    """
    peak, squares, n = 0.0, 0.0, 0
    with _opened(path) as source:
        for block in _blocks(source):
            peak, squares, n = (
                max(peak, float(np.abs(block).max(initial=0.0))),
                squares + float(np.square(block, dtype=np.float64).sum()),
                n + block.size,
            )
    if not np.isfinite(squares):  # a comparison with no number is never true, so the peak would not tell
        raise AudioError(f"{path}: holds samples that are no number; nothing was written")
    said, gain = "", 1.0
    if peak == 0.0:
        said = f"{path}: {SILENT}"
    elif rms_db is None:
        gain = 1.0 / peak
    else:
        gain = 10 ** (rms_db / 20) / float(np.sqrt(squares / n))
        if gain * peak > 1.0:
            said = f"{path}: {rms_db:g} dB would clip; its peak is at full scale, {20 * np.log10(1.0 / peak / gain):.1f} dB below that"
            gain = 1.0 / peak
    with _opened(path) as source, _created(place, source, source.samplerate, path) as out:
        _through(source, out, lambda block: block * gain)
    return said


def _through(source: soundfile.SoundFile, out: soundfile.SoundFile, change: Callable[[Block], Block]) -> None:
    for block in _blocks(source):
        out.write(_clipped(change(block)))


def _blocks(source: soundfile.SoundFile) -> Iterator[Block]:
    while len(block := source.read(_FRAMES, dtype=_kind(source), always_2d=True)):
        yield block


def _kind(source: soundfile.SoundFile) -> str:
    """float32 holds 24 bits exactly; what has more is read as float64."""
    return "float64" if source.subtype in ("PCM_32", "FLOAT", "DOUBLE") else "float32"


def _clipped(block: Block) -> Block:
    """libsndfile wraps some formats' overs around; the last step before full scale is each format's own."""
    return np.clip(block, -1.0, 1.0)  # type: ignore[return-value]  # the kind that it was


@contextmanager
def _opened(path: Path) -> Iterator[soundfile.SoundFile]:
    try:
        with soundfile.SoundFile(path) as source:
            yield source
    except (soundfile.LibsndfileError, RuntimeError) as error:
        if not path.stat().st_size:
            raise AudioError(f"{path}: empty (0 bytes)") from error
        said = str(getattr(error, "error_string", error)).rstrip(".")
        raise AudioError(f"{path}: can't be read or written in its own format ({said}); convert it to WAV or FLAC") from error


@contextmanager
def _created(place: Path, source: soundfile.SoundFile, sample_rate: int, path: Path) -> Iterator[soundfile.SoundFile]:
    settings = {"format": source.format, "subtype": source.subtype, "endian": source.endian}
    try:
        out = soundfile.SoundFile(place, "w", sample_rate, source.channels, **settings)
    except (soundfile.LibsndfileError, ValueError, TypeError) as error:
        raise AudioError(f"{path}: {source.format} {source.subtype} can't be written at {sample_rate} Hz") from error
    with out:
        for tag in _TAGS:
            if value := getattr(source, tag):
                setattr(out, tag, value)
        yield out
