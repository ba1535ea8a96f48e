"""Mel filters and the STFT against librosa and against theory."""

from __future__ import annotations

import librosa
import numpy as np
import pytest
import torch

from kanjo.train.features.stft import (
    MelSpectrogram,
    dft_factors,
    hann_window,
    hz_to_mel,
    mel_filters,
    mel_to_hz,
)
from tests.corpora_fixtures import SAMPLE_RATE, make_tone


@pytest.mark.parametrize("htk", [True, False])
def test_mel_scale_equals_librosa(htk: bool) -> None:
    hz = np.array([0.0, 440.0, 999.0, 1000.0, 1001.0, 7600.0])
    scale = "htk" if htk else "slaney"
    np.testing.assert_allclose(hz_to_mel(hz, scale), librosa.hz_to_mel(hz, htk=htk), rtol=1e-12)
    np.testing.assert_allclose(mel_to_hz(hz_to_mel(hz, scale), scale), hz, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("htk", [True, False])
def test_mel_filters_equal_librosa(htk: bool) -> None:
    expected = librosa.filters.mel(sr=SAMPLE_RATE, n_fft=2048, n_mels=128, fmin=20, fmax=8000, htk=htk)
    filters = mel_filters(SAMPLE_RATE, 2048, 128, 20, 8000, "htk" if htk else "slaney")
    np.testing.assert_allclose(filters, expected, atol=1e-7)


def test_mel_filters_kaldi_are_triangles_over_mel_of_unit_height() -> None:
    """Neighboring triangles sum to one between the centers of the first and the last filter."""
    filters = mel_filters(32_000, 1024, 128, 0.0, 15_000.0, "kaldi")
    bins_hz = np.arange(513) * 32_000 / 1024
    inside = (bins_hz > 100) & (bins_hz < 14_000)
    np.testing.assert_allclose(filters.sum(0)[inside], 1.0, atol=1e-9)
    assert filters.max() <= 1 and filters[:, bins_hz > 15_000].sum() == 0
    center_hz = 700 * (np.exp(np.linspace(0, 1127 * np.log1p(15_000 / 700), 130)[100] / 1127) - 1)
    assert abs(bins_hz[filters[99].argmax()] - center_hz) < 32_000 / 1024


def test_hann_window_shorter_than_frame_is_centered() -> None:
    np.testing.assert_allclose(hann_window(400, 512)[56:456], librosa.filters.get_window("hann", 400), atol=1e-12)
    assert not hann_window(400, 512)[:56].any() and not hann_window(400, 512)[456:].any()


@pytest.mark.parametrize(("n_fft", "hop"), [(400, 160), (441, 147), (256, 100), (512, 512), (1000, 7)])
def test_dft_factors_divide_frame_and_hop(n_fft: int, hop: int) -> None:
    a, b1, b2 = dft_factors(n_fft, hop)
    assert a * b1 * b2 == n_fft and hop % (b1 * b2) == 0


@pytest.mark.parametrize(("n_fft", "hop"), [(400, 160), (256, 100), (512, 512), (1000, 7)])
def test_mel_spectrogram_any_frame_and_hop_equals_librosa(n_fft: int, hop: int) -> None:
    signal = make_tone(0.4)
    expected = librosa.feature.melspectrogram(
        y=signal, sr=SAMPLE_RATE, n_fft=n_fft, hop_length=hop, n_mels=40, pad_mode="constant"
    )
    power = MelSpectrogram(SAMPLE_RATE, n_fft, hop, 40)(torch.from_numpy(signal)[None])[0].numpy()
    np.testing.assert_allclose(power, expected, atol=1e-5 * expected.max(), rtol=1e-3)
