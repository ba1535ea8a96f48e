"""No sound is lost, and no good file gets a warning: wrong headers, joined files, files that were cut short."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from kanjo import audio
from kanjo.audio.mp3_frames import find_mp3_links
from kanjo.audio.signals import OPPOSITE_PHASE
from kanjo.errors import AudioError
from tests.audio.odd_files import (
    correlation,
    encode,
    make_sweep,
    remove_flac_length,
    rf64_bytes,
    to_pcm,
    wav_bytes,
)
from tests.corpora_fixtures import SAMPLE_RATE

SWEEP = make_sweep(2.0)
PCM = to_pcm(SWEEP)


def _read(content: bytes, rate: int | None = None) -> tuple[np.ndarray, list[str]]:
    reader = audio.open_audio(content, "a")
    return reader.signal(rate), reader.warnings


def _read_both_ways(path: Path, content: bytes) -> tuple[np.ndarray, list[str]]:
    """Read a file by its path and by its content; both must give the same."""
    path.write_bytes(content)
    by_path = audio.open_audio(path, "a")
    signal = by_path.signal()
    other, warnings = _read(content)
    np.testing.assert_array_equal(signal, other)
    assert by_path.warnings == warnings
    return signal, warnings


@pytest.mark.parametrize(
    "size",
    [0, 0xFFFFFFFF, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, len(PCM) + 44, len(PCM) + 36, len(PCM) + 1],
    ids=hex,
)
def test_read_wav_of_unknown_or_slightly_wrong_size_returns_all_sound(tmp_path: Path, size: int) -> None:
    signal, warnings = _read_both_ways(tmp_path / "a.wav", wav_bytes(PCM, size))
    np.testing.assert_array_equal(signal, np.frombuffer(PCM, "<i2") / np.float32(32768))
    assert warnings == []


@pytest.mark.parametrize("size", [len(PCM), 0, (1 << 64) - 1, 0xFFFFFFFF])
def test_read_rf64_of_any_size_returns_all_sound(tmp_path: Path, size: int) -> None:
    signal, warnings = _read_both_ways(tmp_path / "a.wav", rf64_bytes(PCM, size))
    assert len(signal) == len(SWEEP) and warnings == []


def test_read_wav_of_size_zero_that_begins_with_silence_returns_all_sound() -> None:
    signal, warnings = _read(wav_bytes(bytes(32_000) + PCM, 0))
    assert len(signal) == 16_000 + len(SWEEP) and warnings == []


@pytest.mark.parametrize(
    "after",
    [b"LIST\x04\0\0\0INFO", bytes(70_000), b"TAG" + bytes(125), b"LIST\x04\0\0\0INFOid3 \x03\0\0\0abc\0"],
    ids=["chunk", "zeros", "tag", "chunks"],
)
def test_read_wav_with_more_behind_the_sound_does_not_warn(after: bytes) -> None:
    signal, warnings = _read(wav_bytes(PCM, after=after))
    assert len(signal) == len(SWEEP) and warnings == []


def test_read_wav_with_more_sound_than_stated_warns() -> None:
    signal, warnings = _read(wav_bytes(PCM, len(PCM) // 2))
    assert len(signal) == len(SWEEP) // 2
    assert warnings == ["the header states 1.00 s, but 1.00 s more follow that are not read"]


def test_read_wav_without_sound_but_with_a_chunk_behind_is_refused() -> None:
    with pytest.raises(AudioError, match="a: contains no samples"):
        _read(wav_bytes(b"", after=b"LIST\x04\0\0\0INFO"))


@pytest.mark.parametrize("size", [0xFFFFFFFF, (5 << 30) & 0xFFFFFFFF], ids=["unknown", "modulo 2 to the 32"])
def test_open_wav_of_five_gibibytes_states_its_whole_duration(tmp_path: Path, size: int) -> None:
    """The file has a hole and needs no space on the disk."""
    path, n_bytes = tmp_path / "a.wav", 5 << 30
    with path.open("wb") as output:
        output.write(wav_bytes(b"", size))
        output.truncate(44 + n_bytes)
    with audio.open_audio(path) as reader:
        assert reader.frames == n_bytes // 2 and reader.warnings == []
    assert audio.read_duration(path) == n_bytes / 2 / SAMPLE_RATE


@pytest.mark.parametrize("sizes", [(None, None), (None, 0)], ids=["both known", "second unknown"])
def test_read_joined_wav_files_returns_both(sizes: tuple[int | None, int | None]) -> None:
    content = b"".join(wav_bytes(PCM, size) for size in sizes)
    signal, warnings = _read(content)
    np.testing.assert_array_equal(signal, np.tile(np.frombuffer(PCM, "<i2") / np.float32(32768), 2))
    assert warnings == []


def test_read_flac_of_unknown_length_returns_all_sound(tmp_path: Path) -> None:
    content = encode(SWEEP, "FLAC")
    signal, warnings = _read_both_ways(tmp_path / "a.flac", remove_flac_length(content))
    np.testing.assert_array_equal(signal, _read(content)[0])
    assert warnings == []
    assert audio.read_duration(tmp_path / "a.flac") == 2.0


def test_read_flac_of_unknown_length_that_was_cut_short_warns() -> None:
    content = remove_flac_length(encode(SWEEP, "FLAC"))
    signal, warnings = _read(content[: len(content) // 2])
    assert 0.3 * len(SWEEP) < len(signal) < 0.7 * len(SWEEP)
    assert "truncated" in warnings[0]


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
@pytest.mark.parametrize(("rate", "channels"), [(SAMPLE_RATE, 1), (24_000, 2)])
def test_read_chained_ogg_returns_every_part(tmp_path: Path, subtype: str, rate: int, channels: int) -> None:
    second = np.stack([make_sweep(1.5, rate)] * channels, 1)
    content = encode(SWEEP, "OGG", subtype) + encode(second, "OGG", subtype, rate) + encode(SWEEP, "OGG", subtype)
    signal, warnings = _read_both_ways(tmp_path / "a.ogg", content)
    assert warnings == [] and abs(len(signal) - round(5.5 * SAMPLE_RATE)) <= 1
    assert correlation(signal[: len(SWEEP)], SWEEP) > 0.97
    middle = make_sweep(1.5)
    assert correlation(signal[len(SWEEP) : len(SWEEP) + len(middle)], middle) > 0.97
    assert correlation(signal[-len(SWEEP) :], SWEEP) > 0.97


def test_read_chained_ogg_with_a_damaged_part_names_it() -> None:
    good = encode(SWEEP, "OGG", "VORBIS")
    first_page = b"OggS\0\x02" + bytes(8) + b"abcd" + bytes(4)
    signal, warnings = _read(good + first_page + bytes(range(256)) * 4)
    assert len(signal) == len(SWEEP)
    assert len(warnings) == 1 and warnings[0].startswith("part 2 of 2 in this file is damaged: not audio")


def test_read_ogg_whose_last_page_is_incomplete_warns() -> None:
    _, warnings = _read(encode(make_sweep(20.0), "OGG", "VORBIS")[:-100])
    assert len(warnings) == 1 and "truncated: the last page is missing" in warnings[0]


def _mp3(signal: np.ndarray, rate: int = 44_100, mode: str = "CONSTANT", level: float = 0.5) -> bytes:
    return encode(signal, "MP3", None, rate, bitrate_mode=mode, compression_level=level)


def _without_xing(content: bytes) -> bytes:
    import io

    (link,) = find_mp3_links(io.BytesIO(content))
    return content[link.start + link.header.length :]


def test_read_joined_mp3_files_returns_each(tmp_path: Path) -> None:
    first, second = make_sweep(1.0, 44_100), make_sweep(1.5, 44_100, 900)
    tag = b"ID3\x04\0\0\0\0\x10\0" + bytes(2048)
    signal, warnings = _read_both_ways(tmp_path / "a.mp3", _mp3(first) + tag + _mp3(second))
    np.testing.assert_array_equal(signal, np.concatenate([_read(_mp3(first))[0], _read(_mp3(second))[0]]))
    assert len(signal) == round(2.5 * 44_100) and warnings == []


def test_read_joined_mp3_files_of_two_rates_returns_each() -> None:
    signal, warnings = _read(_mp3(make_sweep(1.0, 44_100)) + _mp3(make_sweep(1.0, 22_050), 22_050))
    assert abs(len(signal) - 2 * 44_100) <= 1 and warnings == []


@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
@pytest.mark.parametrize("n_joined", [1, 3])
def test_read_mp3_without_xing_frame_returns_all_sound(mode: str, n_joined: int) -> None:
    """The estimate of the length from the first frame, which is silent or loud, is wrong for a variable bit rate."""
    loud = make_sweep(4.0, 44_100) + np.random.default_rng(0).uniform(-0.4, 0.4, 4 * 44_100).astype(np.float32)
    for signal in (np.concatenate([np.zeros(44_100, np.float32), loud]), np.concatenate([loud, loud * 0])):
        content = _without_xing(_mp3(signal, 44_100, mode, 0.3)) * n_joined
        decoded, warnings = _read(content)
        assert n_joined * len(signal) <= len(decoded) + 1152 <= n_joined * (len(signal) + 3 * 1152)
        assert warnings == []


def test_read_mp3_with_a_cover_and_tags_does_not_warn(tmp_path: Path) -> None:
    cover = bytes(range(256)) * 1200
    size = bytes(len(cover) >> shift & 127 for shift in (21, 14, 7, 0))
    content = b"ID3\x03\0\0" + size + cover + _mp3(make_sweep(2.0, 44_100)) + b"TAG" + bytes(125)
    signal, warnings = _read_both_ways(tmp_path / "a.mp3", content)
    assert len(signal) == 2 * 44_100 and warnings == []


@pytest.mark.parametrize("container", ["AU", "AIFF", "CAF", "W64"])
def test_read_file_that_was_cut_short_warns(container: str) -> None:
    content = encode(SWEEP, container, "PCM_16")
    assert _read(content)[1] == []
    _, warnings = _read(content[: len(content) * 3 // 4])
    assert len(warnings) == 1 and warnings[0].startswith("truncated: the file was cut short and contains 1.")


def test_read_au_and_caf_of_unknown_size_returns_all_sound() -> None:
    au = bytearray(encode(SWEEP, "AU", "PCM_16"))
    au[8:12] = b"\xff" * 4
    caf = bytearray(encode(SWEEP, "CAF", "PCM_16"))
    position = caf.index(b"data") + 4
    caf[position : position + 8] = b"\xff" * 8
    for content in (au, caf):
        signal, warnings = _read(bytes(content))
        assert len(signal) == len(SWEEP) and warnings == []


@pytest.mark.parametrize("gain", [-1.0, -0.9, -1.05])
def test_read_channels_of_opposite_phase_uses_the_louder_one(gain: float) -> None:
    channels = np.stack([SWEEP, gain * SWEEP], 1)
    signal, warnings = _read(encode(channels, "WAV", "FLOAT"))
    assert warnings == [OPPOSITE_PHASE]
    np.testing.assert_allclose(signal, channels[:, int(abs(gain) > 1)], atol=1e-7)


@pytest.mark.parametrize(
    "channels",
    [
        np.stack([SWEEP, SWEEP], 1),
        np.stack([SWEEP, 0 * SWEEP], 1),
        np.stack([SWEEP, np.roll(SWEEP, 40)], 1),
        np.stack([SWEEP] + [0 * SWEEP] * 7, 1),
        np.zeros((8000, 2), np.float32),
        np.random.default_rng(0).normal(0, 0.1, (8000, 2)).astype(np.float32),
    ],
    ids=["equal", "one silent", "delayed", "seven silent", "silence", "noise"],
)
def test_read_channels_that_do_not_cancel_are_averaged(channels: np.ndarray) -> None:
    signal, warnings = _read(encode(channels, "WAV", "FLOAT"))
    np.testing.assert_allclose(signal, channels.mean(axis=1), atol=1e-6)
    assert warnings == []


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
def test_read_float_samples_at_the_scale_of_integers_are_scaled_with_a_warning(subtype: str) -> None:
    scaled = np.concatenate([np.zeros(100), SWEEP * 32767])
    signal, warnings = _read(encode(scaled, "WAV", subtype))
    np.testing.assert_allclose(signal[100:], SWEEP, atol=1e-4)
    assert len(warnings) == 1 and "the scale of 16-bit integers; they were divided by 32768" in warnings[0]


def test_read_float_samples_slightly_above_full_scale_are_kept() -> None:
    signal, warnings = _read(encode(SWEEP * 10, "WAV", "FLOAT"))
    np.testing.assert_array_equal(signal, SWEEP * 10)
    assert warnings == []


def test_read_float_samples_at_the_scale_of_32_bits_are_refused() -> None:
    with pytest.raises(AudioError, match=r"expected float samples from -1 to 1"):
        _read(encode(SWEEP * 2**31, "WAV", "FLOAT"))


def test_read_pipe_returns_its_content(tmp_path: Path) -> None:
    import os
    import threading

    if not hasattr(os, "mkfifo"):
        pytest.skip("this system has no named pipes")
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=lambda: (tmp_path / "pipe").write_bytes(wav_bytes(PCM)))
    writer.start()
    assert len(audio.load(tmp_path / "pipe")) == len(SWEEP)
    writer.join()


def test_read_wrong_suffix_is_decoded_by_content(tmp_path: Path) -> None:
    for name, content in (("a.mp3", wav_bytes(PCM)), ("b.m4a", encode(SWEEP, "FLAC")), ("c.wav", encode(SWEEP, "OGG"))):
        (tmp_path / name).write_bytes(content)
        assert len(audio.load(tmp_path / name)) == len(SWEEP)


@pytest.mark.parametrize("tag", [b"", b"ID3\x03\0\0\0\0\x20\0" + bytes(4096)], ids=["without tag", "with tag"])
def test_read_mp3_beside_a_macintosh_file_reads_its_own_sound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tag: bytes
) -> None:
    content = tag + _mp3(make_sweep(1.0, 44_100))
    expected = _read(content)[0]
    other = encode(0 * SWEEP, "WAV")
    for name in ("._a.mp3", "._"):
        (tmp_path / name).write_bytes(other)
    monkeypatch.chdir(tmp_path)
    np.testing.assert_array_equal(_read_both_ways(tmp_path / "a.mp3", content)[0], expected)
    assert len(_read(content * 2)[0]) == 2 * 44_100


def test_mp3_info_frame_states_the_number_of_frames() -> None:
    import io

    (link,) = find_mp3_links(io.BytesIO(_without_xing(_mp3(make_sweep(1.0, 44_100)))))
    frame = link.info_frame
    assert frame[36:40] in (b"Info", bytes(4)) and frame.count(b"Info") == 1
    position = frame.index(b"Info")
    assert struct.unpack(">II", frame[position + 4 : position + 12]) == (1, link.n_frames)
