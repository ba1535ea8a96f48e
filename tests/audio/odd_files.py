"""Odd recordings for tests, made from synthesized sound: wrong sizes in headers, joined files, formats of FFmpeg."""

from __future__ import annotations

import io
import struct
from fractions import Fraction
from typing import Any

import numpy as np
import soundfile

from tests.corpora_fixtures import SAMPLE_RATE


def make_sweep(seconds: float = 1.0, rate: int = SAMPLE_RATE, first_hz: float = 200.0) -> np.ndarray:
    """Samples whose frequency rises, so that every part of the sound differs from the others."""
    times = np.arange(round(seconds * rate)) / rate
    return (0.4 * np.sin(2 * np.pi * (first_hz * times + 150 * times**2))).astype(np.float32)


def to_pcm(signal: np.ndarray) -> bytes:
    """16-bit little-endian samples."""
    return (signal * 32767).astype("<i2").tobytes()


def wav_bytes(pcm: bytes, size: int | None = None, after: bytes = b"", rate: int = SAMPLE_RATE) -> bytes:
    """A mono 16-bit WAV file whose header states ``size`` bytes of sound."""
    size = len(pcm) if size is None else size
    chunks = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, rate, 2 * rate, 2, 16) + b"data" + struct.pack("<I", size)
    return b"RIFF" + struct.pack("<I", 0xFFFFFFFF & (36 + size)) + b"WAVE" + chunks + pcm + after


def rf64_bytes(pcm: bytes, size: int, rate: int = SAMPLE_RATE) -> bytes:
    """The same as RF64, whose ds64 chunk states ``size``."""
    ds64 = b"ds64" + struct.pack("<IQQQI", 28, 72 + size & (1 << 64) - 1, size, 0, 0)
    chunks = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, rate, 2 * rate, 2, 16) + b"data\xff\xff\xff\xff"
    return b"RF64\xff\xff\xff\xffWAVE" + ds64 + chunks + pcm


def encode(
    signal: np.ndarray, container: str, subtype: str | None = None, rate: int = SAMPLE_RATE, **options: Any
) -> bytes:
    """A file of libsndfile."""
    buffer = io.BytesIO()
    soundfile.write(buffer, signal, rate, format=container, subtype=subtype, **options)
    return buffer.getvalue()


def remove_flac_length(content: bytes) -> bytes:
    """A FLAC file as an encoder writes it to a pipe: without the number of samples, and without the checksum."""
    changed = bytearray(content)
    changed[21] &= 0xF0
    changed[22:26] = bytes(4)
    changed[26:42] = bytes(16)
    return bytes(changed)


class _Pipe(io.RawIOBase):
    """Collects what is written; it can't seek."""

    def __init__(self) -> None:
        super().__init__()
        self.content = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.content += bytes(data)
        return len(data)


def encode_with_ffmpeg(
    signal: np.ndarray, container: str, codec: str, rate: int = SAMPLE_RATE, live: bool = False, bit_rate: int = 0
) -> bytes:
    """A mono file of FFmpeg; a live one can't seek, so its header states neither size nor duration."""
    import av

    sink: Any = _Pipe() if live else io.BytesIO()
    with av.open(sink, "w", format=container) as output:
        stream = output.add_stream(codec, rate=rate, layout="mono")
        if bit_rate:
            stream.bit_rate = bit_rate
        resampler = av.AudioResampler(
            format=stream.format.name, layout="mono", rate=rate, frame_size=stream.codec_context.frame_size or 1024
        )
        for start in range(0, len(signal), 1024):
            block = (signal[start : start + 1024] * 32767).astype(np.int16)[None]
            frame = av.AudioFrame.from_ndarray(block, format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
            for converted in resampler.resample(frame):
                output.mux(stream.encode(converted))
        for converted in resampler.resample(None):
            output.mux(stream.encode(converted))
        output.mux(stream.encode(None))
    return bytes(sink.content) if live else bytes(sink.getvalue())


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Largest correlation of two signals over small delays, because encoders delay the sound."""
    n = min(len(first), len(second))
    spectrum = np.fft.rfft(first[:n], 2 * n).conj() * np.fft.rfft(second[:n], 2 * n)
    scale = float(np.linalg.norm(first[:n]) * np.linalg.norm(second[:n]))
    return float(np.abs(np.fft.irfft(spectrum)).max() / scale)
