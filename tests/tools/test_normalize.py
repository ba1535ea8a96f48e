from __future__ import annotations

from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile

from kanjo.errors import AudioError
from kanjo.tools.normalize import SILENT, measure_loudness, normalize
from tests.audio.odd_files import make_sweep, to_pcm, wav_bytes
from tests.corpora_fixtures import SAMPLE_RATE, make_tone, write_clip


def test_normalize_peak_equals_librosa(tmp_path: Path) -> None:
    path, target = tmp_path / "a.wav", tmp_path / "b.wav"
    soundfile.write(path, 0.2 * make_tone(5.0), SAMPLE_RATE, "FLOAT")
    assert normalize(path, target) == ""
    normalized, _ = soundfile.read(target, dtype="float32")
    np.testing.assert_allclose(normalized, librosa.util.normalize(soundfile.read(path, dtype="float32")[0]), atol=1e-6)
    assert np.abs(normalized).max() == 1.0


def test_normalize_rms_has_the_level_and_keeps_the_bit_depth(tmp_path: Path) -> None:
    path, target = write_clip(tmp_path / "a.wav", seconds=1.0), tmp_path / "b.wav"
    assert normalize(path, target, rms_db=-23) == ""
    normalized, _ = soundfile.read(target)
    assert 20 * np.log10(np.sqrt(np.mean(normalized**2))) == pytest.approx(-23, abs=0.05)
    assert soundfile.info(target).subtype == "PCM_16"


def test_normalize_level_that_would_clip_has_its_peak_at_full_scale(tmp_path: Path) -> None:
    path, target = write_clip(tmp_path / "a.wav", seconds=1.0), tmp_path / "b.wav"
    warning = normalize(path, target, rms_db=-1)
    assert "-1 dB would clip" in warning and np.abs(soundfile.read(target)[0]).max() > 0.999


def _write_sine(path: Path, channels: int, peak: float, subtype: str) -> None:
    sine = peak * np.sin(2 * np.pi * 997 * np.arange(20 * 48_000) / 48_000)
    soundfile.write(path, np.stack([sine] * channels, axis=1), 48_000, subtype)


@pytest.mark.parametrize(("channels", "expected_lufs"), [(1, -26.0), (2, -23.0)])
def test_measure_loudness_agrees_with_ebu_tech_3341(tmp_path: Path, channels: int, expected_lufs: float) -> None:
    """Case 1: a sine at -23 dBFS in both channels has -23 LUFS; in one channel 3 dB less."""
    _write_sine(tmp_path / "a.wav", channels, 10 ** (-23 / 20), "PCM_24")
    assert measure_loudness(tmp_path / "a.wav") == pytest.approx(expected_lufs, abs=0.1)


def test_normalize_lufs_has_the_loudness_and_keeps_the_bit_depth(tmp_path: Path) -> None:
    _write_sine(tmp_path / "a.wav", 2, 10 ** (-23 / 20), "PCM_24")
    assert normalize(tmp_path / "a.wav", tmp_path / "b.wav", lufs=-30) == ""
    assert measure_loudness(tmp_path / "b.wav") == pytest.approx(-30, abs=0.1)
    assert soundfile.info(tmp_path / "b.wav").subtype == "PCM_24"


def test_normalize_lufs_that_would_clip_returns_a_warning(tmp_path: Path) -> None:
    """-1 LUFS is a sine at -1 dBFS in both channels; in one channel it would be 2 dB above full scale."""
    _write_sine(tmp_path / "stereo.wav", 2, 0.5, "FLOAT")
    _write_sine(tmp_path / "mono.wav", 1, 0.5, "FLOAT")
    assert normalize(tmp_path / "stereo.wav", tmp_path / "b.wav", lufs=-1) == ""
    warning = normalize(tmp_path / "mono.wav", tmp_path / "b.wav", lufs=-1)
    assert "-1 LUFS would clip; its peak is at full scale, which is 2.0 dB below" in warning


def test_normalize_lufs_of_a_short_recording_copies_it_unchanged(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.wav", seconds=0.1)
    warning = normalize(path, tmp_path / "b.wav", lufs=-23)
    assert "a.wav: too short or too quiet to have a loudness" in warning
    np.testing.assert_array_equal(soundfile.read(tmp_path / "b.wav")[0], soundfile.read(path)[0])


def test_normalize_silence_is_copied_unchanged(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "s.wav", np.zeros(100), SAMPLE_RATE)
    assert normalize(tmp_path / "s.wav", tmp_path / "o.wav") == f"{tmp_path / 's.wav'}: {SILENT}"
    assert not soundfile.read(tmp_path / "o.wav")[0].any()


def test_normalize_samples_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "n.wav", np.array([0.1, np.nan, 0.2]), SAMPLE_RATE, "FLOAT")
    with pytest.raises(AudioError, match="n.wav: sample 1 is not a number"):
        normalize(tmp_path / "n.wav", tmp_path / "o.wav")


def test_normalize_file_of_unknown_size_keeps_all_sound_and_returns_warnings(tmp_path: Path) -> None:
    path, target = tmp_path / "a.wav", tmp_path / "b.wav"
    path.write_bytes(wav_bytes(to_pcm(make_sweep(2.0)), 0))
    assert normalize(path, target) == ""
    assert soundfile.info(target).frames == 2 * SAMPLE_RATE and np.abs(soundfile.read(target)[0]).max() > 0.999
    path.write_bytes(wav_bytes(to_pcm(make_sweep(2.0)), 10 * 2 * SAMPLE_RATE))
    assert normalize(path, target, lufs=-30).startswith(f"{path}: truncated: the header states 10.00 s")
