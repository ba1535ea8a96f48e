"""Recordings at another rate, or another level: read and written block by block, in the format that they have."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from kanjo.errors import AudioError

Block = npt.NDArray[np.float32] | npt.NDArray[np.float64]
_FRAMES = 1 << 16
_TAGS = ("title", "copyright", "software", "artist", "comment", "date", "album", "license", "tracknumber", "genre")
#: BS.1770's gate: what is below has no loudness.
_NO_LOUDNESS = -70.0
SILENT = "silent, left as it is"


def resample(path: Path, place: Path, sample_rate: int) -> str:
    """Write ``path`` to ``place`` at ``sample_rate`` Hz (soxr, very high quality); channels, format, depth and tags stay.

    Memory is that of a block, however long the recording. Returns "" (no warning). Raises AudioError.
    """
    with _opened(path) as source, _created(place, source, sample_rate, path) as out:
        if source.samplerate == sample_rate:
            _through(source, out, lambda block: block)
            return ""
        stream = soxr.ResampleStream(
            source.samplerate, sample_rate, source.channels, dtype=_kind(source), quality="VHQ"
        )
        for block in _blocks(source):
            out.write(_clipped(stream.resample_chunk(block)))
        out.write(_clipped(stream.resample_chunk(np.zeros((0, source.channels), _kind(source)), last=True)))
    return ""


def normalize(path: Path, place: Path, rms_db: float | None = None, lufs: float | None = None) -> str:
    """Write ``path`` to ``place`` with its peak at full scale (as ``librosa.util.normalize``), or at a level.

    The level is an RMS, ``rms_db`` dBFS, or a loudness, ``lufs`` LUFS (ITU-R BS.1770-4). Format, depth, rate and tags stay.
    Silence is left as it is, and so is, for ``lufs``, what is too short or too quiet to have a loudness; a level that would
    clip is held at a peak of full scale: all return a warning. Raises AudioError.
    """
    peak, squares, n = 0.0, 0.0, 0
    with _opened(path) as source:
        for block in _blocks(source):
            peak, squares, n = (
                max(peak, float(np.abs(block).max(initial=0.0))),
                squares + float(np.square(block, dtype=np.float64).sum()),
                n + block.size,
            )
    said, gain = "", 1.0
    if peak == 0.0:
        said = f"{path}: {SILENT}"
    elif rms_db is None and lufs is None:
        gain = 1.0 / peak
    else:
        level = 10 * float(np.log10(squares / n)) if rms_db is not None else loudness(path)
        target = rms_db if rms_db is not None else lufs
        assert target is not None, "one of the two, as was looked at above"
        if level <= _NO_LOUDNESS and rms_db is None:
            said = f"{path}: too short or too quiet to have a loudness, left as it is"
        else:
            gain = 10 ** ((target - level) / 20)
        if gain * peak > 1.0:
            over = 20 * float(np.log10(gain * peak))
            said = f"{path}: {target:g} {'dB' if lufs is None else 'LUFS'} would clip; its peak is at full scale, {over:.1f} dB below that"
            gain = 1.0 / peak
    with _opened(path) as source, _created(place, source, source.samplerate, path) as out:
        _through(source, out, lambda block: block * gain)
    return said


def loudness(path: Path) -> float:
    """Integrated loudness of a recording, LUFS, by FFmpeg's ``ebur128``; -70, the gate, where there is nothing above it.

    Source: ITU-R BS.1770-4, EBU Tech 3341. Raises AudioError, also where PyAV (extra ``media``) is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise AudioError("loudness needs PyAV: pip install 'kanjo[media]'") from error
    with _opened(path) as source:
        layout = {1: "mono", 2: "stereo"}.get(source.channels, f"{source.channels}c")
        base = Fraction(1, source.samplerate)
        graph = av.filter.Graph()
        start = graph.add_abuffer(format="flt", sample_rate=source.samplerate, layout=layout, time_base=base)
        meter, end = graph.add("ebur128", "metadata=1:framelog=quiet"), graph.add("abuffersink")
        start.link_to(meter)
        meter.link_to(end)
        graph.configure()
        found, at = _NO_LOUDNESS, 0
        for block in _blocks(source):
            frame = av.AudioFrame.from_ndarray(block.astype(np.float32).reshape(1, -1), format="flt", layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = source.samplerate, at, base
            at += len(block)
            graph.push(frame)
            found = _last_loudness(graph, found)
        graph.push(None)
        return _last_loudness(graph, found)


def _last_loudness(graph: Any, found: float) -> float:
    """The newest integrated loudness that the meter's frames carry; ``found`` where there is no frame."""
    import av

    while True:
        try:
            found = float(graph.pull().metadata.get("lavfi.r128.I", found))
        except (av.error.BlockingIOError, av.error.EOFError):
            return max(found, _NO_LOUDNESS)


def _through(source: soundfile.SoundFile, out: soundfile.SoundFile, change: Callable[[Block], Block]) -> None:
    for block in _blocks(source):
        out.write(_clipped(change(block)))


def _blocks(source: soundfile.SoundFile) -> Iterator[Block]:
    while len(block := source.read(_FRAMES, dtype=_kind(source), always_2d=True)):
        if not np.isfinite(block).all():
            raise AudioError(f"{source.name}: holds samples that are no number; nothing was written")
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
        raise AudioError(
            f"{path}: can't be read or written in its own format ({said}); convert it to WAV or FLAC"
        ) from error


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
