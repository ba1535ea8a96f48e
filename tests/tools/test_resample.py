from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from kanjo import audio
from kanjo.errors import AudioError
from kanjo.tools.resample import resample
from tests.audio.odd_files import encode, encode_with_ffmpeg, make_sweep, to_pcm, wav_bytes
from tests.corpora_fixtures import SAMPLE_RATE, make_tone


@pytest.mark.parametrize(
    ("suffix", "subtype"),
    [(".wav", "PCM_16"), (".wav", "PCM_24"), (".wav", "FLOAT"), (".flac", "PCM_24"), (".ogg", "VORBIS")],
)
def test_resample_keeps_format_bit_depth_channels_and_tags(tmp_path: Path, suffix: str, subtype: str) -> None:
    path, target = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    with soundfile.SoundFile(path, "w", 48_000, 2, subtype) as output:
        output.title = "Geräusch"
        output.write(np.stack([make_tone(1.0, 440, 48_000), make_tone(1.0, 1000, 48_000)], 1))
    assert resample(path, target, SAMPLE_RATE) == ""
    with soundfile.SoundFile(target) as file:
        assert (file.samplerate, file.channels, file.subtype, file.title) == (SAMPLE_RATE, 2, subtype, "Geräusch")
        signal = file.read()
    assert abs(len(signal) - SAMPLE_RATE) <= 1
    for channel, hz in enumerate((440, 1000)):
        spectrum = np.abs(np.fft.rfft(signal[:, channel]))
        assert np.fft.rfftfreq(len(signal), 1 / SAMPLE_RATE)[spectrum.argmax()] == pytest.approx(hz, abs=2)


def test_resample_several_blocks_equals_the_whole_signal(tmp_path: Path) -> None:
    path, target = tmp_path / "a.wav", tmp_path / "b.wav"
    signal = make_tone(7.0, 440, 48_000).astype(np.float64)  # five blocks
    soundfile.write(path, signal, 48_000, "DOUBLE")
    resample(path, target, SAMPLE_RATE)
    np.testing.assert_allclose(soundfile.read(target)[0], soxr.resample(signal, 48_000, SAMPLE_RATE, "VHQ"), atol=1e-9)


def test_resample_same_rate_keeps_all_samples(tmp_path: Path) -> None:
    path, target = tmp_path / "a.wav", tmp_path / "b.wav"
    soundfile.write(path, make_tone(1.0), SAMPLE_RATE, "PCM_16")
    resample(path, target, SAMPLE_RATE)
    np.testing.assert_array_equal(soundfile.read(target)[0], soundfile.read(path)[0])


def test_resample_samples_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "n.wav", np.array([0.1, np.nan, 0.2]), SAMPLE_RATE, "FLOAT")
    with pytest.raises(AudioError, match="n.wav: sample 1 is not a number"):
        resample(tmp_path / "n.wav", tmp_path / "o.wav", 8000)


def test_resample_rate_that_the_format_does_not_support_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.opus"
    soundfile.write(path, make_tone(1.0), SAMPLE_RATE, format="OGG", subtype="OPUS")
    with pytest.raises(AudioError, match="OGG OPUS does not support 44100 Hz"):
        resample(path, tmp_path / "b.opus", 44_100)


def test_resample_reads_files_as_predict_does(tmp_path: Path) -> None:
    """All sound of a WAV file of unknown size, and of joined MP3 files; the warnings are returned."""
    path, target = tmp_path / "a.wav", tmp_path / "b.wav"
    path.write_bytes(wav_bytes(to_pcm(make_sweep(2.0)), 0))
    assert resample(path, target, 8_000) == ""
    assert soundfile.info(target).frames == 16_000
    path.write_bytes(wav_bytes(to_pcm(make_sweep(2.0)), 10 * 2 * SAMPLE_RATE))
    assert resample(path, target, 8_000).startswith(f"{path}: truncated: the header states 10.00 s")
    (tmp_path / "a.mp3").write_bytes(2 * encode(make_sweep(1.0, 44_100), "MP3", rate=44_100))
    assert resample(tmp_path / "a.mp3", tmp_path / "b.mp3", 22_050) == ""
    assert len(audio.load(tmp_path / "b.mp3")) == 44_100


def test_resample_float_samples_at_the_scale_of_integers_are_scaled(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", make_tone(1.0) * 32767, SAMPLE_RATE, "FLOAT")
    assert "they were divided by 32768" in resample(tmp_path / "a.wav", tmp_path / "b.wav", SAMPLE_RATE)
    np.testing.assert_allclose(soundfile.read(tmp_path / "b.wav")[0], make_tone(1.0), atol=1e-4)


def test_resample_format_of_ffmpeg_is_written_as_the_target_says(tmp_path: Path) -> None:
    pytest.importorskip("av")
    path = tmp_path / "a.m4a"
    path.write_bytes(encode_with_ffmpeg(make_sweep(1.0, 44_100), "ipod", "aac", 44_100))
    resample(path, tmp_path / "b.wav", SAMPLE_RATE)
    assert soundfile.info(tmp_path / "b.wav").duration == pytest.approx(1.0, abs=0.1)
    with pytest.raises(AudioError, match=r"a.m4a: this format can be read but not written; give a target that ends in"):
        resample(path, tmp_path / "b.m4a", SAMPLE_RATE)


def test_resample_target_of_another_suffix_has_its_format(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.flac", make_tone(1.0), SAMPLE_RATE, "PCM_24")
    resample(tmp_path / "a.flac", tmp_path / "b.wav", 8_000)
    info = soundfile.info(tmp_path / "b.wav")
    assert (info.format, info.subtype, info.frames) == ("WAV", "PCM_24", 8_000)
