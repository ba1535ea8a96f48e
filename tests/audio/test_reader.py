from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from kanjo import audio
from kanjo.audio.levels import Levels
from kanjo.errors import AudioError, KanjoError
from tests.corpora_fixtures import RATE, clip, tone

FORMATS = [
    ("wav", "PCM_16"), ("wav", "PCM_24"), ("wav", "PCM_32"), ("wav", "PCM_U8"), ("wav", "FLOAT"), ("wav", "DOUBLE"),
    ("flac", "PCM_16"), ("ogg", "VORBIS"), ("ogg", "OPUS"), ("mp3", "MPEG_LAYER_III"), ("aiff", "PCM_16"),
]  # fmt: skip


def _peak_hz(signal: np.ndarray, rate: int) -> float:
    return float(np.fft.rfftfreq(len(signal), 1 / rate)[np.abs(np.fft.rfft(signal)).argmax()])


@pytest.mark.parametrize(("suffix", "subtype"), FORMATS)
@pytest.mark.parametrize("rate", [8_000, 16_000, 48_000])
def test_every_format_and_rate_keeps_its_tone(tmp_path: Path, suffix: str, subtype: str, rate: int) -> None:
    path = tmp_path / f"tone.{suffix}"
    soundfile.write(path, tone(1.0, 440, rate), rate, subtype=subtype)
    signal = audio.load(path, 16_000)
    assert signal.dtype == np.float32
    assert abs(len(signal) - 16_000) < 700  # MP3 pads
    assert _peak_hz(signal, 16_000) == pytest.approx(440, abs=2)
    assert np.abs(signal[4_000:12_000]).max() == pytest.approx(0.33, abs=0.06)  # codecs overshoot at the onset


@pytest.mark.parametrize("rate", [192_000, 44_100, 11_025])
def test_odd_rates(tmp_path: Path, rate: int) -> None:
    signal = audio.load(clip(tmp_path / "a.wav", seconds=0.5, hz=300, rate=rate), 16_000)
    assert len(signal) == pytest.approx(8_000, abs=2)
    assert _peak_hz(signal, 16_000) == pytest.approx(300, abs=3)


@pytest.mark.parametrize("suffix", ["m4a", "mp4", "webm"])
def test_pyav_formats(tmp_path: Path, suffix: str) -> None:
    av = pytest.importorskip("av")
    path = tmp_path / f"tone.{suffix}"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac" if suffix != "webm" else "libopus", rate=48_000, layout="mono")
        samples = (tone(1.0, 440, 48_000) * 32767).astype(np.int16)[None]
        for at in range(0, 48_000, 960):
            frame = av.AudioFrame.from_ndarray(samples[:, at : at + 960].copy(), format="s16", layout="mono")
            frame.sample_rate = 48_000
            frame.pts = at
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert _peak_hz(audio.load(path, 16_000), 16_000) == pytest.approx(440, abs=3)
    assert _peak_hz(audio.open_source(path.read_bytes()).signal(16_000), 16_000) == pytest.approx(440, abs=3)


def test_eight_channels_are_averaged(tmp_path: Path) -> None:
    channels = np.stack([np.full(1000, level, np.float32) for level in np.linspace(0, 0.7, 8)], 1)
    soundfile.write(tmp_path / "8.wav", channels, RATE, subtype="FLOAT")
    np.testing.assert_allclose(audio.load(tmp_path / "8.wav"), 0.35, atol=1e-6)


def test_resampling_in_a_stream_equals_resampling_at_once(tmp_path: Path) -> None:
    path = clip(tmp_path / "long.wav", seconds=25, rate=44_100)
    at_once = audio.resample(audio.load(path), 44_100, 16_000)
    streamed = audio.load(path, 16_000)
    assert abs(len(at_once) - len(streamed)) <= 1
    n = min(len(at_once), len(streamed))
    np.testing.assert_allclose(streamed[:n], at_once[:n], atol=1e-5)


def _truncated(path: Path, share: float = 0.5) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


@pytest.mark.parametrize(("name", "subtype"), [("a.wav", "PCM_16"), ("a.flac", "PCM_16")])
def test_truncated_recordings_give_what_is_there_and_say_so(tmp_path: Path, name: str, subtype: str) -> None:
    path = tmp_path / name
    soundfile.write(path, tone(4.0), RATE, subtype=subtype)
    source = audio.open_source(_truncated(path))
    assert 0.2 * 4 * RATE < len(source.signal()) < 0.8 * 4 * RATE
    assert any("cut short" in warning for warning in source.warnings)


def test_truncated_opus_still_plays(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.ogg", tone(20.0), RATE, format="OGG", subtype="OPUS")
    with audio.open_source(tmp_path / "a.ogg") as whole:
        assert whole.warnings == []
    source = audio.open_source(_truncated(tmp_path / "a.ogg"))
    assert 5 * RATE < len(source.signal()) < 15 * RATE
    assert any("cut short: its last page is missing" in warning for warning in source.warnings)


def test_wav_that_promises_more_than_it_holds(tmp_path: Path) -> None:
    path = clip(tmp_path / "liar.wav", seconds=1.0)
    content = bytearray(path.read_bytes())
    place = content.index(b"data") + 4
    content[place : place + 4] = struct.pack("<I", 10 * (len(content) - place - 4))
    path.write_bytes(bytes(content))
    source = audio.open_source(path)
    assert len(source.signal()) == RATE
    assert source.warnings == ["cut short: the header says 10.00 s, 1.00 s are there"]


def test_wav_written_by_a_pipe_is_no_liar(tmp_path: Path) -> None:
    path = clip(tmp_path / "pipe.wav", seconds=1.0)
    content = bytearray(path.read_bytes())
    place = content.index(b"data") + 4
    content[place : place + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(bytes(content))
    source = audio.open_source(path)
    assert len(source.signal()) == RATE
    assert source.warnings == []


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda p: None, "no such file"),
        (lambda p: p.mkdir(), "a folder, expected a recording"),
        (lambda p: p.write_bytes(b""), "an empty file"),
        (lambda p: p.write_text("Dear diary, this is text. " * 40), "not audio that can be read"),
        (lambda p: p.write_bytes(b"RIFF\x24\x00\x00\x00WAVEfmt "), "not audio that can be read"),
        (lambda p: soundfile.write(p, np.zeros(0, np.float32), RATE), "no samples in it"),
        (lambda p: soundfile.write(p, np.array([0.1, np.nan, 0.2]), RATE, subtype="FLOAT"), "sample 1 is not a number"),
        (lambda p: soundfile.write(p, np.array([0.1, 0.1, np.inf]), RATE, subtype="FLOAT"), "sample 2 is not a number"),
        (lambda p: soundfile.write(p, tone(), 2_000), "2000 Hz; expected 4000"),
        (lambda p: p.symlink_to(p), "symbolic link"),
    ],
)
def test_bad_files_are_refused_in_one_line(tmp_path: Path, make: object, said: str) -> None:
    path = tmp_path / "näme with spaces — 声.wav"
    make(path)  # type: ignore[operator]
    with pytest.raises(AudioError, match=said) as caught:
        audio.load(path)
    assert len(str(caught.value).splitlines()) == 1
    assert str(path) in str(caught.value)


def test_levels() -> None:
    sine, levels = tone(1.0, level=1.0) * 0 + np.sin(2 * np.pi * 100 * np.arange(RATE) / RATE), Levels()
    for block in np.array_split(sine.astype(np.float32), 7):
        levels.feed(block)
    assert levels.rms_db == pytest.approx(-3.01, abs=0.01)
    assert not levels.silent
    doubled = Levels()
    doubled.feed((0.5 * sine).astype(np.float32))
    assert levels.rms_db - doubled.rms_db == pytest.approx(6.02, abs=0.01)


@pytest.mark.parametrize("signal", [np.zeros(100, np.float32), np.full(100, 0.5, np.float32), np.zeros(0, np.float32)])
def test_zeros_and_a_constant_offset_are_silence(signal: np.ndarray) -> None:
    levels = Levels()
    levels.feed(signal)
    assert levels.silent


def test_hard_clipping_is_noticed() -> None:
    loud, fine = Levels(), Levels()
    loud.feed(np.clip(3 * tone(1.0, level=1.0), -1, 1))
    fine.feed(tone(1.0, level=0.9))
    assert loud.clipped
    assert not fine.clipped


def test_peak_normalize() -> None:
    assert np.abs(audio.peak_normalize(tone(level=0.1))).max() == pytest.approx(1.0)
    np.testing.assert_array_equal(audio.peak_normalize(np.zeros(5, np.float32)), np.zeros(5))


def test_find_leaves_links_and_other_files(tmp_path: Path) -> None:
    wanted = clip(tmp_path / "b" / "a.wav")
    (tmp_path / "b" / "notes.txt").write_text("x")
    (tmp_path / "b" / "loop").symlink_to(tmp_path)
    assert list(audio.find(tmp_path)) == [wanted]


def test_write_is_whole_or_not_at_all(tmp_path: Path) -> None:
    audio.write(tmp_path / "out.flac", tone(), RATE)
    assert len(audio.load(tmp_path / "out.flac")) == len(tone())
    with pytest.raises(AudioError, match="can't write"):
        audio.write(tmp_path / "bad.mp3", tone(), 12_345)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.flac"]
    if Path("/dev/full").exists():
        with pytest.raises(KanjoError):
            audio.write(Path("/dev/full/out.wav"), tone(), RATE)


def test_a_stream_is_read_like_a_file(tmp_path: Path) -> None:
    content = clip(tmp_path / "a.wav").read_bytes()
    np.testing.assert_array_equal(audio.open_source(io.BytesIO(content)).signal(), audio.load(tmp_path / "a.wav"))
    with pytest.raises(AudioError, match="<stdin>: empty"):
        audio.open_source(b"", "<stdin>")
