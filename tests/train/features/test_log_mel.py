"""Log-mel spectrograms against librosa, known signals and ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import librosa
import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from kanjo import audio
from kanjo.train.export.onnx import export_onnx
from kanjo.train.features.log_mel import LogMel, Normalization, Waveform, deltas
from kanjo.train.models.emotion_model import EmotionModel
from tests.corpora_fixtures import SAMPLE_RATE, make_tone

SIZES = [(400, 160, 64), (512, 160, 64), (2048, 512, 128), (1024, 320, 128)]


def _librosa_db(
    signal: np.ndarray, n_fft: int, hop: int, n_mels: int, top_db: float | None = None, **settings: Any
) -> np.ndarray:
    mel = librosa.feature.melspectrogram(
        y=signal, sr=SAMPLE_RATE, n_fft=n_fft, hop_length=hop, n_mels=n_mels, **settings
    )
    return librosa.power_to_db(mel, top_db=top_db)


def _log_mel(
    signal: np.ndarray, n_fft: int, hop: int, n_mels: int, top_db: float | None = None, **settings: Any
) -> np.ndarray:
    feature_extractor = LogMel(SAMPLE_RATE, n_fft, hop, n_mels, normalization="none", top_db=top_db, **settings)
    return feature_extractor(torch.from_numpy(signal)[None])[0][0, 0].numpy()


def _zhang2021() -> LogMel:
    """The features of Zhang et al. 2021."""
    return LogMel(
        SAMPLE_RATE,
        400,
        160,
        64,
        fmin=20,
        fmax=8000,
        mel_scale="htk",
        preemphasis=0.97,
        with_deltas=True,
        normalization="image",
    )


@pytest.mark.parametrize(("n_fft", "hop", "n_mels"), SIZES)
def test_log_mel_real_clips_equals_librosa(
    ravdess_clips: list[Path], corpora: Path, n_fft: int, hop: int, n_mels: int
) -> None:
    clips = [*ravdess_clips[::320], *sorted((corpora / "nemo" / "samples").glob("*.ogg"))[::1800]]
    for path in clips:
        signal = audio.load(path, SAMPLE_RATE)
        expected = _librosa_db(signal, n_fft, hop, n_mels, 80.0)
        log_mel = _log_mel(signal, n_fft, hop, n_mels, 80.0)
        assert log_mel.shape == expected.shape
        np.testing.assert_allclose(log_mel, expected, atol=1e-3, rtol=0, err_msg=str(path))


@pytest.mark.parametrize(("n_fft", "hop", "n_mels"), SIZES)
@pytest.mark.parametrize("htk", [True, False])
def test_log_mel_tone_equals_librosa(n_fft: int, hop: int, n_mels: int, htk: bool) -> None:
    signal = make_tone(1.3, 700)
    expected = _librosa_db(signal, n_fft, hop, n_mels, 80.0, htk=htk, fmin=20.0, fmax=7600.0)
    scale = "htk" if htk else "slaney"
    log_mel = _log_mel(signal, n_fft, hop, n_mels, 80.0, mel_scale=scale, fmin=20.0, fmax=7600.0)
    np.testing.assert_allclose(log_mel, expected, atol=1e-3, rtol=0)


def test_log_mel_shorter_window_equals_librosa() -> None:
    log_mel = _log_mel(make_tone(0.5), 512, 160, 40, win_length=400)
    expected = _librosa_db(make_tone(0.5), 512, 160, 40, win_length=400)
    np.testing.assert_allclose(log_mel, expected, atol=1e-3, rtol=0)


def test_deltas_equal_htk_regression() -> None:
    """Equals librosa's Savitzky-Golay filter of order 1 with nearest edges, and a calculation by hand."""
    features = torch.randn(2, 3, 20)
    expected = librosa.feature.delta(features.numpy(), width=5, mode="nearest")
    np.testing.assert_allclose(deltas(features).numpy(), expected, atol=1e-5)
    squares = torch.tensor([[[0.0, 0.0, 1.0, 4.0, 9.0, 9.0]]])  # (-2 x[t-2] - x[t-1] + x[t+1] + 2 x[t+2]) / 10
    torch.testing.assert_close(deltas(squares)[0, 0], torch.tensor([0.2, 0.9, 2.2, 2.6, 2.1, 1.0]))
    ramp = torch.arange(30.0).reshape(1, 1, 30)
    np.testing.assert_allclose(deltas(ramp)[0, 0, 2:-2].numpy(), 1.0, atol=1e-6)


def test_log_mel_tone_peaks_in_its_mel_band() -> None:
    centers_hz = librosa.mel_frequencies(130, fmin=0, fmax=8000)[1:-1]
    for hz in (200, 440, 1000, 3000, 6000):
        spectrum = _log_mel(make_tone(1.0, hz), 2048, 512, 128)[:, 5:-5].mean(1)
        assert abs(centers_hz[spectrum.argmax()] - hz) <= max(40, 0.05 * hz)


def test_log_mel_double_amplitude_adds_six_db() -> None:
    signal = make_tone(1.0)
    difference = _log_mel(2 * signal, 2048, 512, 128) - _log_mel(signal, 2048, 512, 128)
    np.testing.assert_allclose(difference, 6.0206, atol=2e-3)


@pytest.mark.parametrize("normalization", ["none", "utterance", "corpus", "image", "audioset"])
def test_log_mel_silence_is_finite(normalization: Normalization) -> None:
    features, n_frames = LogMel(SAMPLE_RATE, 2048, 512, 128, normalization=normalization)(torch.zeros(1, SAMPLE_RATE))
    assert torch.isfinite(features).all()
    assert n_frames.tolist() == [1]


def test_log_mel_preemphasis_is_a_first_difference() -> None:
    signal = make_tone(0.5)
    difference = np.concatenate([signal[:1], signal[1:] - 0.97 * signal[:-1]]).astype(np.float32)
    with_filter_tail = np.append(difference, np.float32(-0.97) * signal[-1])
    expected = _log_mel(with_filter_tail, 512, 160, 40)[:, : 1 + len(signal) // 160]
    np.testing.assert_allclose(_log_mel(signal, 512, 160, 40, preemphasis=0.97), expected, atol=1e-4)


def test_log_mel_corpus_normalization_with_deltas_has_zero_mean_and_unit_variance() -> None:
    feature_extractor = LogMel(SAMPLE_RATE, 512, 160, 40, with_deltas=True, normalization="corpus")
    signal = torch.from_numpy(make_tone(1.0))[None]
    features = feature_extractor.unnormalized(signal, torch.tensor([100]))
    assert features.shape == (1, 3, 40, 101)
    feature_extractor.set_statistics(features.mean((0, 3)), features.std((0, 3), unbiased=False))
    normalized, _ = feature_extractor(signal)
    np.testing.assert_allclose(normalized.mean((0, 3)).numpy(), 0, atol=1e-3)
    np.testing.assert_allclose(normalized.std((0, 3), unbiased=False).numpy(), 1, atol=1e-2)


def test_log_mel_other_items_of_the_batch_change_nothing() -> None:
    feature_extractor = LogMel(SAMPLE_RATE, 2048, 512, 128, normalization="none")
    first, second = torch.from_numpy(make_tone(1.0, 300))[None], torch.from_numpy(make_tone(1.0, 900, seed=3))[None]
    batch = feature_extractor(torch.cat([first, 5 * second]))[0]
    np.testing.assert_allclose(batch[0].numpy(), feature_extractor(first)[0][0].numpy(), atol=1e-4)


@pytest.mark.parametrize("n", [SAMPLE_RATE, SAMPLE_RATE + 1, 11_111, 8_000, 500])
def test_log_mel_padding_changes_no_valid_frame(n: int) -> None:
    signal = torch.from_numpy(make_tone(2.0))[None, :n]
    features, n_frames = _zhang2021()(signal)
    padded, n_frames_padded = _zhang2021()(torch.nn.functional.pad(signal, (0, 4 * SAMPLE_RATE - n)))
    assert n_frames.item() == n_frames_padded.item() == -(-n // 160)
    n_valid = int(n_frames)
    torch.testing.assert_close(padded[..., :n_valid], features[..., :n_valid], atol=1e-5, rtol=0)
    last = padded[..., n_valid - 1 : n_valid]
    assert torch.equal(padded[..., n_valid:], last.expand(-1, -1, -1, padded.shape[3] - n_valid))


def test_log_mel_image_normalization_scales_channels_and_removes_loudness() -> None:
    signal = torch.from_numpy(make_tone(1.0))[None]
    image, _ = _zhang2021()(signal)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    unit_image = image * std.reshape(3, 1, 1) + mean.reshape(3, 1, 1)
    torch.testing.assert_close(unit_image.amin((0, 2, 3)), torch.zeros(3), atol=1e-6, rtol=0)
    torch.testing.assert_close(unit_image.amax((0, 2, 3)), torch.ones(3), atol=1e-6, rtol=0)
    torch.testing.assert_close(_zhang2021()(0.1 * signal)[0], image, atol=1e-3, rtol=0)


def test_log_mel_zhang2021_channels_equal_librosa(ravdess_clips: list[Path]) -> None:
    signal = audio.load(ravdess_clips[100], SAMPLE_RATE)
    emphasized = np.append(signal, np.float32(0)) - 0.97 * np.append(np.float32(0), signal)
    spectrum = librosa.feature.melspectrogram(
        y=emphasized,
        sr=SAMPLE_RATE,
        n_fft=400,
        hop_length=160,
        n_mels=64,
        fmin=20,
        fmax=8000,
        htk=True,
        norm="slaney",
        pad_mode="constant",
    )
    n_frames = -(-len(signal) // 160)
    static = librosa.power_to_db(spectrum, amin=1e-10, top_db=80)[:, :n_frames]
    delta = librosa.feature.delta(static, width=5, mode="nearest")
    delta_delta = librosa.feature.delta(delta, width=5, mode="nearest")
    channels = _zhang2021().unnormalized(torch.from_numpy(signal)[None], torch.tensor([n_frames]))[0, :, :, :n_frames]
    for channel, expected in zip(channels.numpy(), (static, delta, delta_delta), strict=True):
        np.testing.assert_allclose(channel, expected, atol=2e-3, rtol=0)


class _FlatModel(nn.Module):
    """Returns the features themselves as the embedding."""

    def forward(self, features: Tensor, n_frames: Tensor) -> tuple[Tensor, Tensor]:
        return features.mean(3)[:, 0], features.flatten(1)


@pytest.mark.parametrize(
    ("n_fft", "hop", "n_mels"),
    [SIZES[2], *(pytest.param(*size, marks=pytest.mark.slow) for size in (SIZES[0], SIZES[1], SIZES[3]))],
)
def test_log_mel_exported_to_onnx_equals_torch(n_fft: int, hop: int, n_mels: int) -> None:
    feature_extractor = LogMel(SAMPLE_RATE, n_fft, hop, n_mels, normalization="none")
    n_samples = SAMPLE_RATE // 2
    graph = export_onnx(EmotionModel(feature_extractor, _FlatModel(), SAMPLE_RATE), 1.0, n_samples)
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    batch = np.stack([make_tone(0.5, 300), make_tone(0.5, 900, seed=2), np.zeros(n_samples, np.float32)])
    features = session.run(["embedding"], {"signal": batch})[0].reshape(3, n_mels, -1)
    np.testing.assert_allclose(features, feature_extractor(torch.from_numpy(batch))[0][:, 0].numpy(), atol=2e-3)


def test_waveform_valid_samples_have_rms_one() -> None:
    signal = torch.zeros(3, SAMPLE_RATE)
    signal[0, :4000] = torch.randn(4000) * 0.01
    signal[1] = torch.randn(SAMPLE_RATE) * 3
    features, n_samples = Waveform()(signal)
    assert features.shape == (3, 1, 1, SAMPLE_RATE)
    assert n_samples.tolist()[:2] == [4000, SAMPLE_RATE]
    assert float(features[0, 0, 0, :4000].square().mean().sqrt()) == pytest.approx(1.0, rel=1e-4)
    assert float(features[1].square().mean().sqrt()) == pytest.approx(1.0, rel=1e-4)
    assert not features[0, 0, 0, 4000:].any() and not features[2].any()
    padded = Waveform()(torch.nn.functional.pad(signal, (0, 999)))[0]
    torch.testing.assert_close(padded[..., :SAMPLE_RATE], features)


def test_log_mel_max_equals_librosas_decibels_relative_to_the_maximum() -> None:
    """The features of the 2D Keras port: 48 kHz, n_fft 6144, hop 1536."""
    rng = np.random.default_rng(0)
    signal = np.zeros(4 * 48_000, np.float32)
    signal[: 2 * 48_000] = 0.1 * rng.standard_normal(2 * 48_000)
    mel = librosa.feature.melspectrogram(y=signal, sr=48_000, n_fft=6144, hop_length=1536)
    expected = librosa.power_to_db(mel, ref=np.max)
    features, _ = LogMel(48_000, 6144, 1536, 128, normalization="max")(torch.from_numpy(signal)[None])
    assert features.max() == 0 and features.min() == -80
    np.testing.assert_allclose(features[0, 0].numpy(), expected, atol=2e-3)


def test_log_mel_without_padding_mask_counts_all_frames() -> None:
    signal = torch.zeros(2, SAMPLE_RATE)
    signal[0, :1600] = 0.1
    extractor = LogMel(SAMPLE_RATE, 400, 160, 64, normalization="none", mask_padding=False)
    assert extractor(signal)[1].tolist() == [101, 101]


def test_log_mel_center_hz_are_those_of_librosa() -> None:
    extractor = LogMel(SAMPLE_RATE, 512, 160, 40)
    np.testing.assert_allclose(extractor.center_hz, librosa.mel_frequencies(42, fmin=0, fmax=8000)[1:-1], rtol=1e-9)
