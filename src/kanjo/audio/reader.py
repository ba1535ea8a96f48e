"""Recordings in, float32 samples out: decode, mix to mono, resample, measure, write.

Anything libsndfile reads (WAV, FLAC, Ogg Vorbis and Opus, MP3, AIFF, CAF, ...) is read through it; m4a, mp4, webm and
the rest of FFmpeg's formats through PyAV where that is installed (extra ``media``). Resampling is soxr's "HQ" (Sox's
default, 20 bits), in a stream, so that a ten-hour recording needs no more memory than a short one.
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from kanjo.errors import AudioError
from kanjo.files import reason, written_whole

Signal = npt.NDArray[np.float32]

#: Suffixes that a folder is searched for.
SUFFIXES = frozenset(
    [
        ".wav",
        ".flac",
        ".ogg",
        ".oga",
        ".opus",
        ".mp3",
        ".aif",
        ".aiff",
        ".aifc",
        ".au",
        ".caf",
        ".w64",
        ".rf64",
        ".m4a",
        ".mp4",
        ".aac",
        ".webm",
        ".mka",
        ".wma",
        ".3gp",
    ]
)
#: Of these, the ones that libsndfile doesn't read.
_PYAV_SUFFIXES = frozenset([".m4a", ".mp4", ".aac", ".webm", ".mka", ".wma", ".3gp"])

MIN_RATE, MAX_RATE = 4_000, 768_000
_BLOCK_S = 10.0


@dataclass
class Source:
    """A recording being read: ``blocks()`` once, then ``warnings`` says what was odd about it.

    Reading to the end closes the file; a caller that wants the header only says ``with source: ...``.
    """

    name: str
    native_rate: int
    channels: int
    frames: int | None
    _chunks: Iterator[npt.NDArray[np.float32]]
    _open: tuple[Any, ...] = ()
    warnings: list[str] = field(default_factory=list)

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._open:
            file.close()

    def blocks(self, sample_rate: int | None = None) -> Iterator[Signal]:
        """Yield mono float32 blocks at ``sample_rate`` Hz (default: as recorded).

        Raises AudioError for a recording without samples, with NaN or infinite samples, or that can't be decoded.
        """
        with self:
            yield from self._resampled(sample_rate or self.native_rate)

    def signal(self, sample_rate: int | None = None) -> Signal:
        """All of it at once: float32 (N,) at ``sample_rate`` Hz. Raises AudioError as ``blocks`` does."""
        with self:
            blocks = list(self._mono())
        whole = blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
        return resample(whole, self.native_rate, sample_rate or self.native_rate)

    def _resampled(self, rate: int) -> Iterator[Signal]:
        resampler = Resampler(self.native_rate, rate)
        for mono in self._mono():
            block = resampler.feed(mono)
            if block.size:
                yield block
        tail = resampler.finish()
        if tail.size:
            yield tail

    def _mono(self) -> Iterator[Signal]:
        seen = 0
        for chunk in self._chunks:
            mono = np.ascontiguousarray(chunk[:, 0] if chunk.shape[1] == 1 else chunk.mean(axis=1))
            if not np.isfinite(mono).all():
                first = seen + int(np.argmin(np.isfinite(mono)))
                raise AudioError(
                    f"{self.name}: sample {first} is not a number (NaN or infinite); expected finite samples"
                )
            seen += len(mono)
            yield mono
        if not seen:
            raise AudioError(f"{self.name}: no samples in it (0 frames)")


class Resampler:
    """From one rate (Hz) to another with soxr HQ, in blocks (N,) of any size."""

    def __init__(self, from_rate: int, to_rate: int) -> None:
        self._stream = soxr.ResampleStream(from_rate, to_rate, 1, "float32") if from_rate != to_rate else None

    def feed(self, block: Signal) -> Signal:
        """Take in a block: what is ready at the new rate, which may be nothing."""
        return block if self._stream is None else self._stream.resample_chunk(block, last=False)

    def finish(self) -> Signal:
        """Nothing more comes: the rest."""
        empty = np.zeros(0, np.float32)
        return empty if self._stream is None else self._stream.resample_chunk(empty, last=True)


def load(path: str | Path, sample_rate: int | None = None) -> Signal:
    """Decode a recording: mono float32 (N,) at ``sample_rate`` Hz (default: as recorded), full scale at 1.0.

    Raises AudioError when it is missing, empty, not audio, or holds NaN.
    """
    return open_source(path).signal(sample_rate)


def open_source(path: str | Path | BinaryIO | bytes, name: str | None = None) -> Source:
    """Open a file, or a stream or bytes holding one, for reading block by block.

    Raises AudioError in one line: missing, no permission, empty, or not audio that can be read here.
    """
    if isinstance(path, bytes):
        return _open_stream(io.BytesIO(path), name or "<bytes>")
    if not isinstance(path, str | Path):
        return _open_stream(io.BytesIO(path.read()), name or "<stream>")
    path = Path(path)
    name = name or str(path)
    try:
        if path.is_dir():
            raise AudioError(f"{name}: a folder, expected a recording")
        if path.stat().st_size == 0:
            raise AudioError(f"{name}: an empty file (0 bytes)")
        stream = path.open("rb")
    except OSError as error:
        said = "no such file" if isinstance(error, FileNotFoundError) else reason(error)
        raise AudioError(f"{name}: {said}") from error
    try:
        # libsndfile reads the file by itself, without Python's lock at every few kilobytes
        return _open_stream(stream, name, path)
    except AudioError:
        stream.close()
        raise


def source_of(signal: npt.ArrayLike, sample_rate: int, name: str) -> Source:
    """Samples you have as a Source: (N,) or (N, channels), float or int16. Raises AudioError for what is no recording."""
    samples = samples_of(signal, name)
    check_rate(sample_rate, name)
    if not samples.size:
        raise AudioError(f"{name}: no samples in it (shape {np.shape(signal)})")
    step = 10 * sample_rate
    chunks = (samples[at : at + step].astype(np.float32) for at in range(0, len(samples), step))
    return Source(name, sample_rate, samples.shape[1], len(samples), chunks)


def samples_of(signal: npt.ArrayLike, name: str) -> npt.NDArray[np.floating[Any]]:
    """Samples (N,) or (N, channels), float at full scale 1.0 or int16, as (N, channels) floats. Raises AudioError."""
    samples = np.asarray(signal)
    if samples.dtype == np.int16:
        samples = samples.astype(np.float32) / 32768
    if samples.ndim == 1:
        samples = samples[:, None]
    if samples.ndim != 2 or not np.issubdtype(samples.dtype, np.floating):
        raise AudioError(
            f"{name}: shape {np.shape(signal)} of {samples.dtype}; expected float or int16 samples (N,) or (N, channels)"
        )
    return samples


def check_rate(sample_rate: int, name: str) -> None:
    """Raise AudioError for a rate (Hz) that no recording of speech has."""
    if not MIN_RATE <= sample_rate <= MAX_RATE:
        raise AudioError(f"{name}: {sample_rate} Hz; expected {MIN_RATE} to {MAX_RATE} Hz")


def stretch(signal: Signal, rate: int, start_s: float | None, end_s: float | None, name: str) -> Signal:
    """Seconds ``start_s`` to ``end_s`` (None: the beginning, the end) of a signal. Raises AudioError where it isn't so long."""
    if start_s is None and end_s is None:
        return signal
    start, end = round((start_s or 0.0) * rate), len(signal) if end_s is None else round(end_s * rate)
    if not 0 <= start < end <= len(signal) + rate // 100:
        raise AudioError(f"{name}: stretch {start_s} to {end_s} s lies outside its {len(signal) / rate:.2f} s")
    return signal[start:end]


def resample(signal: Signal, from_rate: int, to_rate: int) -> Signal:
    """Resample float32 (N,) from one rate (Hz) to another with soxr HQ."""
    if from_rate == to_rate:
        return signal
    return np.asarray(soxr.resample(signal, from_rate, to_rate), dtype=np.float32)


def peak_normalize(signal: Signal, peak: float = 1.0) -> Signal:
    """Scale so that the largest magnitude is ``peak``; silence stays as it is (``librosa.util.normalize``)."""
    largest = float(np.abs(signal).max(initial=0.0))
    return signal if largest <= np.finfo(np.float32).tiny else (signal * (peak / largest)).astype(np.float32)


def write(path: Path, signal: Signal, sample_rate: int, subtype: str | None = None) -> None:
    """Write (N,) or (N, channels) in the format of the suffix, whole or not at all. Raises KanjoError, AudioError."""
    try:
        with written_whole(path) as temporary:
            soundfile.write(temporary, signal, sample_rate, subtype=subtype)
    except (soundfile.LibsndfileError, ValueError, TypeError) as error:
        raise AudioError(f"can't write {path}: {_said(error)}") from error


def find(folder: Path) -> Iterator[Path]:
    """Every recording under a folder, sorted, links to folders not followed (so a loop of links can't trap it)."""
    for where, folders, names in os.walk(folder):
        folders.sort()
        for entry in sorted(names):
            if Path(entry).suffix.lower() in SUFFIXES and not entry.startswith("."):
                yield Path(where) / entry


def _open_stream(stream: BinaryIO, name: str, path: Path | None = None) -> Source:
    """A source of what ``stream`` holds; where that is the file ``path``, libsndfile gets the path."""
    if path is not None and path.suffix.lower() in _PYAV_SUFFIXES:
        return _open_pyav(stream, name)
    try:
        file = soundfile.SoundFile(stream if path is None else path)
    except (soundfile.LibsndfileError, TypeError, RuntimeError) as error:
        stream.seek(0)
        head = stream.read(12)
        if not head:
            raise AudioError(f"{name}: empty (0 bytes)") from error
        if head[4:8] == b"ftyp" or head[:4] == b"\x1aE\xdf\xa3" or head[:2] in (b"\xff\xf1", b"\xff\xf9"):
            stream.seek(0)
            return _open_pyav(stream, name)
        raise AudioError(f"{name}: not audio that can be read ({_said(error)})") from error
    try:
        _check_rate(file.samplerate, name)
        place = stream.tell()
        missing = _wav_shortfall(stream, file) or _ogg_shortfall(stream, file)
        stream.seek(place)
    except AudioError:
        file.close()
        raise
    source = Source(name, file.samplerate, file.channels, file.frames, iter(()), (file, stream))
    source._chunks = _soundfile_chunks(file, source)
    if missing:
        source.warnings.append(missing)
    return source


def _soundfile_chunks(file: soundfile.SoundFile, source: Source) -> Iterator[npt.NDArray[np.float32]]:
    read, size = 0, int(_BLOCK_S * file.samplerate)
    while not read or read != source.frames:  # one read too many makes libsndfile seek, which costs in Ogg
        try:
            chunk = _read(file, size)
        except (soundfile.LibsndfileError, RuntimeError) as error:
            if size > file.samplerate // 10 and file.seekable():  # take what stands before the damage, block by block
                size //= 10
                if _seek(file, read):
                    continue
            if not read:
                raise AudioError(f"{source.name}: damaged, no sample could be decoded ({_said(error)})") from error
            source.warnings.append(f"cut short or damaged after {read / file.samplerate:.2f} s ({_said(error)})")
            return
        if not len(chunk):
            break
        read += len(chunk)
        yield chunk
    if source.frames and 0 < read < 0.98 * source.frames:
        source.warnings.append(
            f"cut short: the header says {source.frames / file.samplerate:.2f} s, {read / file.samplerate:.2f} s are there"
        )


def _read(file: soundfile.SoundFile, frames: int) -> npt.NDArray[np.float32]:
    """The next frames, float32 (N, channels). 16-bit samples are scaled here: libsndfile takes three times as long."""
    if file.subtype == "PCM_16":
        integers = file.read(frames, dtype="int16", always_2d=True)
        return np.asarray(np.multiply(integers, np.float32(1 / 32768), dtype=np.float32))
    return np.asarray(file.read(frames, dtype="float32", always_2d=True))


def _seek(file: soundfile.SoundFile, frame: int) -> bool:
    try:
        file.seek(frame)
    except (soundfile.LibsndfileError, RuntimeError):
        return False
    return True


def _open_pyav(stream: BinaryIO, name: str) -> Source:
    try:
        import av
    except ImportError as error:
        raise AudioError(f"{name}: this format needs PyAV: pip install 'kanjo[media]'") from error
    try:
        container = av.open(stream)
        track = container.streams.audio[0]
        rate = int(track.rate)
    except IndexError as error:
        raise AudioError(f"{name}: no sound track in it") from error
    except (av.error.FFmpegError, ValueError, TypeError) as error:
        raise AudioError(f"{name}: not audio that can be read ({_said(error)})") from error
    _check_rate(rate, name)
    source = Source(name, rate, int(track.channels), None, iter(()), (container, stream))
    source._chunks = _pyav_chunks(container, track, source)
    return source


def _pyav_chunks(container: Any, track: Any, source: Source) -> Iterator[npt.NDArray[np.float32]]:
    import av

    resampler = av.AudioResampler(format="flt", layout=track.layout.name, rate=source.native_rate)
    read = 0
    try:
        for frame in container.decode(track):
            for piece in resampler.resample(frame):
                chunk = piece.to_ndarray().reshape(-1, source.channels).astype(np.float32, copy=False)
                read += len(chunk)
                yield chunk
    except av.error.FFmpegError as error:
        if not read:
            raise AudioError(f"{source.name}: damaged, no sample could be decoded ({_said(error)})") from error
        source.warnings.append(f"cut short or damaged after {read / source.native_rate:.2f} s ({_said(error)})")


def _wav_shortfall(stream: BinaryIO, file: soundfile.SoundFile) -> str:
    """A WAV whose data chunk promises more bytes than the file holds: libsndfile reads it without a word."""
    if file.format not in ("WAV", "WAVEX") or file.frames <= 0:
        return ""
    end = stream.seek(0, io.SEEK_END)
    stream.seek(12)
    while len(head := stream.read(8)) == 8:
        tag, size = struct.unpack("<4sI", head)
        if tag != b"data":
            stream.seek(size + size % 2, io.SEEK_CUR)
            continue
        there = end - stream.tell()
        if there < size < 0x7FFFFFFF:  # a pipe that didn't know the length writes more than that
            promised = size / there * file.frames / file.samplerate
            return f"cut short: the header says {promised:.2f} s, {file.frames / file.samplerate:.2f} s are there"
        return ""
    return ""


def _ogg_shortfall(stream: BinaryIO, file: soundfile.SoundFile) -> str:
    """An Ogg stream that doesn't end with a page marked as the last one (RFC 3533, header type 4)."""
    if file.format != "OGG":
        return ""
    stream.seek(max(0, stream.seek(0, io.SEEK_END) - 2 * 65_307))  # two pages of the largest size
    tail = stream.read()
    page = tail.rfind(b"OggS")
    whole = page >= 0 and len(tail) > page + 5 and tail[page + 5] & 4
    return "" if whole else f"cut short: its last page is missing, {file.frames / file.samplerate:.2f} s are there"


def _check_rate(rate: int, name: str) -> None:
    if not MIN_RATE <= rate <= MAX_RATE:
        raise AudioError(f"{name}: its header says {rate} Hz; expected {MIN_RATE} to {MAX_RATE} Hz")


def _said(error: Exception) -> str:
    text = str(getattr(error, "error_string", "") or error).strip().splitlines()
    return text[0].rstrip(".").removeprefix("Error : ") if text else type(error).__name__
