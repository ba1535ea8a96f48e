"""Reading recordings of any format, also damaged ones."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from kanjo import audio
from kanjo.errors import AudioError
from tests.corpora_fixtures import SAMPLE_RATE, make_tone, write_clip

FORMATS = [
    ("wav", "PCM_16"),
    ("wav", "PCM_24"),
    ("wav", "PCM_32"),
    ("wav", "PCM_U8"),
    ("wav", "FLOAT"),
    ("wav", "DOUBLE"),
    ("flac", "PCM_16"),
    ("ogg", "VORBIS"),
    ("ogg", "OPUS"),
    ("mp3", "MPEG_LAYER_III"),
    ("aiff", "PCM_16"),
]


def _peak_hz(signal: np.ndarray, rate: int) -> float:
    """Return the frequency of the largest magnitude in the spectrum."""
    return float(np.fft.rfftfreq(len(signal), 1 / rate)[np.abs(np.fft.rfft(signal)).argmax()])


def _truncate(path: Path, fraction: float = 0.5) -> None:
    """Remove the end of a file."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * fraction)])


def _set_wav_data_size(path: Path, size: int) -> None:
    """Replace the size of the data chunk in the header of a WAV file."""
    content = bytearray(path.read_bytes())
    position = content.index(b"data") + 4
    content[position : position + 4] = struct.pack("<I", size)
    path.write_bytes(bytes(content))


@pytest.mark.parametrize(("suffix", "subtype"), FORMATS)
@pytest.mark.parametrize("rate", [8_000, 16_000, 48_000])
def test_load_any_format_and_rate_keeps_the_tone(tmp_path: Path, suffix: str, subtype: str, rate: int) -> None:
    path = tmp_path / f"tone.{suffix}"
    soundfile.write(path, make_tone(1.0, 440, rate), rate, subtype=subtype)
    signal = audio.load(path, 16_000)
    assert signal.dtype == np.float32
    assert abs(len(signal) - 16_000) < 700  # MP3 encoders add padding
    assert _peak_hz(signal, 16_000) == pytest.approx(440, abs=2)
    assert np.abs(signal[4_000:12_000]).max() == pytest.approx(0.33, abs=0.06)  # without the overshoot of codecs


@pytest.mark.parametrize("rate", [192_000, 44_100, 11_025])
def test_load_unusual_rate_is_resampled(tmp_path: Path, rate: int) -> None:
    signal = audio.load(write_clip(tmp_path / "a.wav", seconds=0.5, hz=300, rate=rate), 16_000)
    assert len(signal) == pytest.approx(8_000, abs=2)
    assert _peak_hz(signal, 16_000) == pytest.approx(300, abs=3)


@pytest.mark.parametrize("suffix", ["m4a", "mp4", "webm"])
def test_load_format_of_ffmpeg_keeps_the_tone(tmp_path: Path, suffix: str) -> None:
    av = pytest.importorskip("av")
    path = tmp_path / f"tone.{suffix}"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac" if suffix != "webm" else "libopus", rate=48_000, layout="mono")
        samples = (make_tone(1.0, 440, 48_000) * 32767).astype(np.int16)[None]
        for start in range(0, 48_000, 960):
            frame = av.AudioFrame.from_ndarray(samples[:, start : start + 960].copy(), format="s16", layout="mono")
            frame.sample_rate = 48_000
            frame.pts = start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert _peak_hz(audio.load(path, 16_000), 16_000) == pytest.approx(440, abs=3)
    assert _peak_hz(audio.open_audio(path.read_bytes()).signal(16_000), 16_000) == pytest.approx(440, abs=3)


def test_load_several_channels_are_averaged(tmp_path: Path) -> None:
    channels = np.stack([np.full(1000, level, np.float32) for level in np.linspace(0, 0.7, 8)], 1)
    soundfile.write(tmp_path / "8.wav", channels, SAMPLE_RATE, subtype="FLOAT")
    np.testing.assert_allclose(audio.load(tmp_path / "8.wav"), 0.35, atol=1e-6)


def test_blocks_resampled_equal_resample_of_the_whole(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "long.wav", seconds=25, rate=44_100)
    expected = audio.resample(audio.load(path), 44_100, 16_000)
    blocks = list(audio.open_audio(path).blocks(16_000))
    assert len(blocks) > 1
    actual = np.concatenate(blocks)
    assert abs(len(expected) - len(actual)) <= 1
    n = min(len(expected), len(actual))
    np.testing.assert_allclose(actual[:n], expected[:n], atol=1e-5)


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_read_truncated_file_returns_the_beginning_with_a_warning(tmp_path: Path, name: str) -> None:
    soundfile.write(tmp_path / name, make_tone(4.0), SAMPLE_RATE, subtype="PCM_16")
    _truncate(tmp_path / name)
    reader = audio.open_audio(tmp_path / name)
    assert 0.2 * 4 * SAMPLE_RATE < len(reader.signal()) < 0.8 * 4 * SAMPLE_RATE
    assert any("truncated" in warning for warning in reader.warnings)


def test_read_truncated_opus_returns_the_beginning_with_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "a.ogg"
    soundfile.write(path, make_tone(20.0), SAMPLE_RATE, format="OGG", subtype="OPUS")
    with audio.open_audio(path) as complete:
        assert complete.warnings == []
    _truncate(path)
    reader = audio.open_audio(path)
    assert 5 * SAMPLE_RATE < len(reader.signal()) < 15 * SAMPLE_RATE
    assert any("truncated: the last page is missing" in warning for warning in reader.warnings)


def test_read_wav_with_too_large_data_size_warns(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.wav", seconds=1.0)
    _set_wav_data_size(path, 10 * 2 * SAMPLE_RATE)
    reader = audio.open_audio(path)
    assert len(reader.signal()) == SAMPLE_RATE
    assert reader.warnings == ["truncated: the header states 10.00 s, but the file was cut short and contains 1.00 s"]


def test_read_wav_from_a_pipe_does_not_warn(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "pipe.wav", seconds=1.0)
    _set_wav_data_size(path, 0xFFFFFFFF)
    reader = audio.open_audio(path)
    assert len(reader.signal()) == SAMPLE_RATE
    assert reader.warnings == []


@pytest.mark.parametrize(
    ("create", "message"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.mkdir(), "this is a folder; expected an audio file"),
        (lambda path: path.write_bytes(b""), "the file is empty"),
        (lambda path: path.write_text("Dear diary, this is text. " * 40), "not audio, or in an unsupported format"),
        (lambda path: path.write_bytes(b"RIFF\x24\x00\x00\x00WAVEfmt "), "not audio, or in an unsupported format"),
        (lambda path: soundfile.write(path, np.zeros(0, np.float32), SAMPLE_RATE), "contains no samples"),
        (
            lambda path: soundfile.write(path, np.array([0.1, np.nan, 0.2]), SAMPLE_RATE, subtype="FLOAT"),
            "sample 1 is not a number",
        ),
        (
            lambda path: soundfile.write(path, np.array([0.1, 0.1, np.inf]), SAMPLE_RATE, subtype="FLOAT"),
            "sample 2 is not a number",
        ),
        (lambda path: soundfile.write(path, make_tone(), 2_000), "2000 Hz; expected 4000"),
        (lambda path: path.symlink_to(path), "symbolic link"),
    ],
    ids=["missing", "folder", "empty", "text", "half-header", "no-samples", "nan", "inf", "sample-rate", "link-loop"],
)
def test_load_invalid_file_raises_one_line(tmp_path: Path, create: Callable[[Path], object], message: str) -> None:
    path = tmp_path / "näme with spaces — 声.wav"
    create(path)
    with pytest.raises(AudioError, match=message) as caught:
        audio.load(path)
    assert len(str(caught.value).splitlines()) == 1
    assert str(path) in str(caught.value)


def test_open_audio_stream_equals_file(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.wav")
    stream = io.BytesIO(path.read_bytes())
    np.testing.assert_array_equal(audio.open_audio(stream).signal(), audio.load(path))


def test_open_audio_stream_starts_at_its_position_and_stays_open(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.wav")
    with (tmp_path / "b").open("wb+") as stream:
        stream.write(b"header" + path.read_bytes())
        stream.seek(6)
        np.testing.assert_array_equal(audio.open_audio(stream).signal(), audio.load(path))
        assert not stream.closed


def test_open_audio_stream_that_cannot_seek_is_read_completely(tmp_path: Path) -> None:
    class Socket(io.RawIOBase):
        content = io.BytesIO(write_clip(tmp_path / "a.wav").read_bytes())

        def read(self, size: int = -1) -> bytes:
            return self.content.read(size)

    np.testing.assert_array_equal(audio.open_audio(Socket()).signal(), audio.load(tmp_path / "a.wav"))


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_open_audio_bytes_of_any_type_equal_the_file(tmp_path: Path, kind: type) -> None:
    path = write_clip(tmp_path / "a.wav")
    np.testing.assert_array_equal(audio.open_audio(kind(path.read_bytes())).signal(), audio.load(path))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (None, "NoneType; expected the path of an audio file, bytes, or a binary stream"),
        (5, "int; expected the path"),
        (np.zeros(5), "ndarray; expected the path .* Pass samples to predict_signal"),
        (io.StringIO("a"), r"a text stream; open the file in binary mode \('rb'\)"),
        ("a\0b.wav", "not a valid path"),
    ],
)
def test_open_audio_other_objects_raise_one_line(source: object, message: str) -> None:
    with pytest.raises(AudioError, match=message) as caught:
        audio.open_audio(source)  # type: ignore[arg-type]
    assert str(caught.value).isprintable()


def test_read_duration_leaves_the_stream_open(tmp_path: Path) -> None:
    stream = io.BytesIO(write_clip(tmp_path / "a.wav", seconds=0.5).read_bytes())
    assert audio.read_duration(stream) == 0.5
    stream.seek(0)
    assert len(audio.open_audio(stream).signal()) == SAMPLE_RATE // 2


def test_open_signal_at_the_scale_of_integers_is_scaled_with_a_warning() -> None:
    reader = audio.open_signal(make_tone() * 32767, 16_000.0, "a")
    np.testing.assert_allclose(reader.signal(), make_tone(), atol=1e-4)
    assert "they were divided by 32768" in reader.warnings[0]
    with pytest.raises(AudioError, match="sample 0 is not a number"):
        audio.open_signal(make_tone().astype(np.float64) * 1e300, 16_000, "a").signal()


def test_open_audio_empty_bytes_raises() -> None:
    with pytest.raises(AudioError, match="<stdin>: the input is empty"):
        audio.open_audio(b"", "<stdin>")


def test_open_audio_reads_the_header(tmp_path: Path) -> None:
    with audio.open_audio(write_clip(tmp_path / "a.wav", seconds=0.5)) as reader:
        assert (reader.native_rate, reader.channels, reader.frames) == (SAMPLE_RATE, 1, SAMPLE_RATE // 2)


def test_find_recordings_ignores_links_and_other_files(tmp_path: Path) -> None:
    expected = write_clip(tmp_path / "b" / "a.wav")
    (tmp_path / "b" / "notes.txt").write_text("x")
    (tmp_path / "b" / ".hidden.wav").write_text("x")
    (tmp_path / "b" / "loop").symlink_to(tmp_path)
    assert list(audio.find_recordings(tmp_path)) == [expected]


def test_find_recordings_skips_hidden_folders_and_copies_of_archives(tmp_path: Path) -> None:
    for name in (
        "a/b.wav",
        "a/.ipynb_checkpoints/b-checkpoint.wav",
        "__MACOSX/a/._b.wav",
        "@eaDir/b.wav",
        ".git/c.wav",
    ):
        write_clip(tmp_path / ".root" / name)
    assert list(audio.find_recordings(tmp_path / ".root")) == [tmp_path / ".root" / "a" / "b.wav"]


@pytest.mark.skipif(getattr(os, "geteuid", lambda: 0)() == 0, reason="root can read every folder")
def test_find_recordings_unreadable_folder_calls_on_error(tmp_path: Path) -> None:
    write_clip(tmp_path / "a" / "b.wav")
    (tmp_path / "a").chmod(0)
    errors: list[OSError] = []
    try:
        assert list(audio.find_recordings(tmp_path, errors.append)) == [] and len(errors) == 1
    finally:
        (tmp_path / "a").chmod(0o700)


@pytest.mark.parametrize("suffix", ["wav", "mp3", "m4a"])
def test_load_git_lfs_pointer_is_named(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 72862\n")
    with pytest.raises(AudioError, match="a Git LFS pointer, not the recording; run 'git lfs pull'"):
        audio.load(path)
    with pytest.raises(AudioError, match="<bytes>: a Git LFS pointer"):
        audio.open_audio(path.read_bytes())
