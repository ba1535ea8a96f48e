"""The front end against librosa, against physics, and against itself in ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import librosa
import numpy as np
import pytest
import torch

from kanjo import audio
from kanjo.train.features.log_mel import LogMel, Waveform, deltas, dft_factors, hann, mel_filters
from tests.corpora_fixtures import RATE, tone

SIZES = [(400, 160, 64), (512, 160, 64), (2048, 512, 128), (1024, 320, 128)]


def librosa_db(
    signal: np.ndarray, n_fft: int, hop: int, n_mels: int, top_db: float | None = None, **more: object
) -> np.ndarray:
    mel = librosa.feature.melspectrogram(y=signal, sr=RATE, n_fft=n_fft, hop_length=hop, n_mels=n_mels, **more)
    return librosa.power_to_db(mel, top_db=top_db)


def ours(signal: np.ndarray, n_fft: int, hop: int, n_mels: int, **more: object) -> np.ndarray:
    frontend = LogMel(RATE, n_fft, hop, n_mels, normalization="none", **({"top_db": None} | more))
    return frontend(torch.from_numpy(signal)[None])[0][0, 0].numpy()


@pytest.mark.parametrize(("n_fft", "hop", "n_mels"), SIZES)
def test_equals_librosa_on_real_clips(
    ravdess_clips: list[Path], corpora: Path, n_fft: int, hop: int, n_mels: int
) -> None:
    clips = [*ravdess_clips[::160], *sorted((corpora / "nemo" / "samples").glob("*.ogg"))[::900]]
    for path in clips:
        signal = audio.load(path, RATE)
        expected = librosa_db(signal, n_fft, hop, n_mels, 80.0)
        found = ours(signal, n_fft, hop, n_mels, top_db=80.0)
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, atol=1e-3, rtol=0, err_msg=str(path))


@pytest.mark.parametrize(("n_fft", "hop", "n_mels"), SIZES)
@pytest.mark.parametrize("htk", [True, False])
def test_equals_librosa_on_a_tone(n_fft: int, hop: int, n_mels: int, htk: bool) -> None:
    signal = tone(1.3, 700)
    expected = librosa_db(signal, n_fft, hop, n_mels, 80.0, htk=htk, fmin=20.0, fmax=7600.0)
    found = ours(signal, n_fft, hop, n_mels, top_db=80.0, mel_scale="htk" if htk else "slaney", fmin=20.0, fmax=7600.0)
    np.testing.assert_allclose(found, expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize(("n_fft", "hop"), [(400, 160), (441, 147), (256, 100), (512, 512), (1000, 7)])
def test_any_frame_and_hop_agree_with_librosa(n_fft: int, hop: int) -> None:
    a, b1, b2 = dft_factors(n_fft, hop)
    assert a * b1 * b2 == n_fft and hop % (b1 * b2) == 0
    if n_fft % 2 == 0:
        np.testing.assert_allclose(
            ours(tone(0.4), n_fft, hop, 40), librosa_db(tone(0.4), n_fft, hop, 40), atol=1e-3, rtol=0
        )


@pytest.mark.parametrize("htk", [True, False])
def test_mel_filters_are_librosas(htk: bool) -> None:
    expected = librosa.filters.mel(sr=RATE, n_fft=2048, n_mels=128, fmin=20, fmax=8000, htk=htk)
    np.testing.assert_allclose(mel_filters(RATE, 2048, 128, 20, 8000, "htk" if htk else "slaney"), expected, atol=1e-7)


def test_shorter_window_sits_in_the_middle_of_the_frame() -> None:
    np.testing.assert_allclose(hann(400, 512)[56:456], librosa.filters.get_window("hann", 400), atol=1e-12)
    np.testing.assert_allclose(
        ours(tone(0.5), 512, 160, 40, win_length=400),
        librosa_db(tone(0.5), 512, 160, 40, win_length=400),
        atol=1e-3,
        rtol=0,
    )


def test_deltas_are_the_htk_regression() -> None:
    """librosa's (Savitzky-Golay of order 1, nearest edges) and torchaudio's (replicated edges) are this one."""
    features = torch.randn(2, 3, 20)
    expected = librosa.feature.delta(features.numpy(), width=5, mode="nearest")
    np.testing.assert_allclose(deltas(features).numpy(), expected, atol=1e-5)
    by_hand = torch.tensor([[[0.0, 0.0, 1.0, 4.0, 9.0, 9.0]]])  # (-2 x[t-2] - x[t-1] + x[t+1] + 2 x[t+2]) / 10
    torch.testing.assert_close(deltas(by_hand)[0, 0], torch.tensor([0.2, 0.9, 2.2, 2.6, 2.1, 1.0]))
    ramp = torch.arange(30.0).reshape(1, 1, 30)
    np.testing.assert_allclose(deltas(ramp)[0, 0, 2:-2].numpy(), 1.0, atol=1e-6)


def test_a_tone_peaks_in_its_mel_bin() -> None:
    centres = librosa.mel_frequencies(130, fmin=0, fmax=8000)[1:-1]
    for hz in (200, 440, 1000, 3000, 6000):
        spectrum = ours(tone(1.0, hz), 2048, 512, 128)[:, 5:-5].mean(1)
        assert abs(centres[spectrum.argmax()] - hz) <= max(40, 0.05 * hz)


def test_doubling_the_amplitude_adds_six_decibels() -> None:
    signal = tone(1.0)
    difference = ours(2 * signal, 2048, 512, 128) - ours(signal, 2048, 512, 128)
    np.testing.assert_allclose(difference, 6.0206, atol=2e-3)


def test_silence_is_finite() -> None:
    for normalization in ("none", "utterance", "corpus", "image"):
        features, frames = LogMel(RATE, 2048, 512, 128, normalization=normalization)(torch.zeros(1, RATE))  # type: ignore[arg-type]
        assert torch.isfinite(features).all()
        assert frames.tolist() == [1]


def test_preemphasis_is_a_first_difference() -> None:
    signal = tone(0.5)
    differenced = np.concatenate([signal[:1], signal[1:] - 0.97 * signal[:-1]]).astype(np.float32)
    after = np.append(differenced, np.float32(-0.97) * signal[-1])  # what the filter still says when the signal is over
    expected = ours(after, 512, 160, 40)[:, : 1 + len(signal) // 160]
    np.testing.assert_allclose(ours(signal, 512, 160, 40, preemphasis=0.97), expected, atol=1e-4)


def test_three_channels_and_their_statistics() -> None:
    frontend = LogMel(RATE, 512, 160, 40, with_deltas=True, normalization="corpus")
    raw = frontend.features(torch.from_numpy(tone(1.0))[None], torch.tensor([100]))
    assert raw.shape == (1, 3, 40, 101)
    frontend.fit_statistics(raw.mean((0, 3)), raw.std((0, 3), unbiased=False))
    normed, _ = frontend(torch.from_numpy(tone(1.0))[None])
    np.testing.assert_allclose(normed.mean((0, 3)).numpy(), 0, atol=1e-3)
    np.testing.assert_allclose(normed.std((0, 3), unbiased=False).numpy(), 1, atol=1e-2)


def test_company_in_the_batch_changes_nothing() -> None:
    frontend = LogMel(RATE, 2048, 512, 128, normalization="none")
    one, other = torch.from_numpy(tone(1.0, 300))[None], 5 * torch.from_numpy(tone(1.0, 900, seed=3))[None]
    np.testing.assert_allclose(frontend(torch.cat([one, other]))[0][0].numpy(), frontend(one)[0][0].numpy(), atol=1e-4)


def _published() -> LogMel:
    """Zhang et al. 2021's front end, with the mission's reference's numbers."""
    return LogMel(
        RATE,
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


@pytest.mark.parametrize("n", [RATE, RATE + 1, 11_111, 8_000, 500])
def test_padding_leaves_an_utterances_frames_alone(n: int) -> None:
    signal = torch.from_numpy(tone(2.0))[None, :n]
    alone, frames = _published()(signal)
    padded, same = _published()(torch.nn.functional.pad(signal, (0, 4 * RATE - n)))
    assert frames.item() == same.item() == -(-n // 160)
    heard = int(frames)
    torch.testing.assert_close(padded[..., :heard], alone[..., :heard], atol=1e-5, rtol=0)
    assert torch.equal(padded[..., heard:], padded[..., heard - 1 : heard].expand(-1, -1, -1, padded.shape[3] - heard))


def test_the_image_is_scaled_channel_by_channel_and_loudness_falls_out() -> None:
    signal = torch.from_numpy(tone(1.0))[None]
    image, _ = _published()(signal)
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    plain = image * deviation.reshape(3, 1, 1) + mean.reshape(3, 1, 1)
    torch.testing.assert_close(plain.amin((0, 2, 3)), torch.zeros(3), atol=1e-6, rtol=0)
    torch.testing.assert_close(plain.amax((0, 2, 3)), torch.ones(3), atol=1e-6, rtol=0)
    torch.testing.assert_close(_published()(0.1 * signal)[0], image, atol=1e-3, rtol=0)


def test_the_published_channels_are_librosas(ravdess_clips: list[Path]) -> None:
    import soundfile

    signal, _ = soundfile.read(ravdess_clips[100], dtype="float32")
    emphasised = np.append(signal, np.float32(0)) - 0.97 * np.append(np.float32(0), signal)
    spectrum = librosa.feature.melspectrogram(
        y=emphasised,
        sr=RATE,
        n_fft=400,
        hop_length=160,
        n_mels=64,
        fmin=20,
        fmax=8000,
        htk=True,
        norm="slaney",
        pad_mode="constant",
    )
    static = librosa.power_to_db(spectrum, amin=1e-10, top_db=80)
    frames = -(-len(signal) // 160)
    first = librosa.feature.delta(static[:, :frames], width=5, mode="nearest")
    second = librosa.feature.delta(first, width=5, mode="nearest")
    found = _published().features(torch.from_numpy(signal)[None], torch.tensor([frames]))[0, :, :, :frames].numpy()
    for ours_, expected in zip(found, (static[:, :frames], first, second), strict=True):
        np.testing.assert_allclose(ours_, expected, atol=2e-3, rtol=0)


@pytest.mark.parametrize(("n_fft", "hop", "n_mels"), SIZES)
def test_onnx_runtime_agrees(tmp_path: Path, n_fft: int, hop: int, n_mels: int) -> None:
    from kanjo.train.export.onnx import to_onnx
    from kanjo.train.tasks.base import System

    class Flat(torch.nn.Module):
        def forward(self, features: torch.Tensor, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return features.mean(3)[:, 0], features.flatten(1)

    frontend = LogMel(RATE, n_fft, hop, n_mels, normalization="none")
    (tmp_path / "m.onnx").write_bytes(to_onnx(System(frontend, Flat(), RATE), 1.0, RATE))
    import onnxruntime

    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    batch = np.stack([tone(1.0, 300), tone(1.0, 900, seed=2), np.zeros(RATE, np.float32)])
    features = session.run(["embedding"], {"signal": batch})[0].reshape(3, n_mels, -1)
    np.testing.assert_allclose(features, frontend(torch.from_numpy(batch))[0][:, 0].numpy(), atol=2e-3)


def test_raw_samples_are_at_an_rms_of_one_wherever_they_end() -> None:
    signal = torch.zeros(3, RATE)
    signal[0, :4000] = torch.randn(4000) * 0.01
    signal[1] = torch.randn(RATE) * 3
    features, frames = Waveform()(signal)
    assert features.shape == (3, 1, 1, RATE)
    assert frames.tolist()[:2] == [4000, RATE]
    assert float(features[0, 0, 0, :4000].square().mean().sqrt()) == pytest.approx(1.0, rel=1e-4)
    assert float(features[1].square().mean().sqrt()) == pytest.approx(1.0, rel=1e-4)
    assert not features[0, 0, 0, 4000:].any() and not features[2].any()
    longer = Waveform()(torch.nn.functional.pad(signal, (0, 999)))[0]
    torch.testing.assert_close(longer[..., :RATE], features)


@pytest.mark.parametrize("normalization", ["none", "utterance", "corpus", "audioset"])
def test_silence_around_speech_changes_nothing(normalization: str) -> None:
    """A second of tone in faint noise: wherever it stands, and however much noise is around it, the features are its own."""
    frontend = LogMel(RATE, 512, 160, 40, normalization=normalization, trim_db=30)  # type: ignore[arg-type]
    noise = 1e-4 * np.random.default_rng(0).standard_normal(4 * RATE).astype(np.float32)
    loud = tone(1.0, 400)
    found = []
    for start, around in ((0, 0.0), (16_000, 0.0), (16_000, 1.0), (48_000, 1.0)):
        signal = around * noise
        signal[start : start + RATE] = loud
        found.append(frontend(torch.from_numpy(signal)[None]))
    for features, frames in found:
        assert abs(int(frames) - 100) <= 3
        if normalization != "utterance":  # of which the mean is over all frames
            ours, first = features[0, 0, :, 5:95], found[0][0][0, 0, :, 3:97]
            assert min(float((ours - first[:, at : at + 90]).abs().amax()) for at in range(5)) < 0.2
    silent, frames = frontend(torch.zeros(1, RATE))
    assert torch.isfinite(silent).all() and int(frames) == 1


def test_all_of_what_is_evenly_loud_is_kept() -> None:
    frontend = LogMel(RATE, 512, 160, 40, normalization="none", trim_db=30)
    plain = LogMel(RATE, 512, 160, 40, normalization="none")
    signal = torch.from_numpy(np.random.default_rng(0).normal(0, 0.1, (2, RATE)).astype(np.float32))
    (ours, frames), (theirs, heard) = frontend(signal), plain(signal)
    assert torch.equal(frames, heard) and int(frames[0]) == 100
    assert torch.equal(ours[..., :100], theirs[..., :100])
