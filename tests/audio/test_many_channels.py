"""Planar recordings of eight channels or more: PyAV alone ends the process."""

from __future__ import annotations

import io

import av
import numpy as np
import pytest

from kanjo import audio

_RATE, _N = 48_000, 9_600


def _encode(layout: str, container: str) -> bytes:
    """Encode the same tone in all channels as AAC, whose frames are planar."""
    stream = io.BytesIO()
    with av.open(stream, "w", format=container) as output:
        encoder = output.add_stream("aac", rate=_RATE, layout=layout)
        tone = (np.sin(2 * np.pi * 440 * np.arange(_N) / _RATE) * 10_000).astype(np.int16)
        samples = np.repeat(tone[:, None], encoder.layout.nb_channels, 1).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="s16", layout=layout)
        frame.sample_rate = _RATE
        resampler = av.AudioResampler(
            encoder.format.name, layout, _RATE, frame_size=encoder.codec_context.frame_size or 1_024
        )
        for part in (frame, None):
            for resampled in resampler.resample(part):
                output.mux(encoder.encode(resampled))
        output.mux(encoder.encode(None))
    return stream.getvalue()


@pytest.mark.parametrize("container", ["adts", "mp4"])
@pytest.mark.parametrize(("layout", "n_channels"), [("5.1", 6), ("7.1", 8), ("hexadecagonal", 16)])
def test_open_audio_planar_frames_of_many_channels_are_mixed(container: str, layout: str, n_channels: int) -> None:
    with audio.open_audio(_encode(layout, container), "surround") as reader:
        assert reader.channels == n_channels
        signal = reader.signal()
    spectrum = np.abs(np.fft.rfft(signal[2_048:9_248]))
    assert _N <= len(signal) <= _N + 3 * 1_024
    assert abs(spectrum.argmax() * _RATE / 7_200 - 440) < 10
