"""Formats of FFmpeg: what libsndfile refuses is read, and a recording can't open other files or block the decoder."""

from __future__ import annotations

import io
import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from kanjo import audio
from kanjo.audio import limits, pyav_decoder
from kanjo.audio.formats import sniff_demuxer
from kanjo.errors import AudioError
from tests.audio.odd_files import correlation, encode, encode_with_ffmpeg, make_sweep, wav_bytes

av = pytest.importorskip("av")

#: Suffix, container, codec, sample rate and bit rate.
FORMATS = [
    (".amr", "amr", "libopencore_amrnb", 8_000, 12_200),
    (".caf", "caf", "alac", 44_100, 0),
    (".flv", "flv", "aac", 44_100, 0),
    (".ts", "mpegts", "aac", 44_100, 0),
    (".avi", "avi", "libmp3lame", 44_100, 0),
    (".wav", "wav", "g722", 16_000, 0),
    (".wav", "wav", "g726", 8_000, 32_000),
    (".ogg", "ogg", "flac", 16_000, 0),
    (".mkv", "matroska", "aac", 44_100, 0),
    (".mov", "mov", "pcm_s16le", 44_100, 0),
    (".mp2", "mp2", "mp2", 44_100, 0),
    (".m4b", "ipod", "aac", 44_100, 0),
    (".mpg", "mpeg", "mp2", 44_100, 0),
    (".aac", "adts", "aac", 44_100, 0),
    (".webm", "webm", "libopus", 48_000, 0),
]


def _encode_or_skip(signal: np.ndarray, container: str, codec: str, rate: int, bit_rate: int = 0) -> bytes:
    try:
        return encode_with_ffmpeg(signal, container, codec, rate, bit_rate=bit_rate)
    except (av.error.FFmpegError, ValueError) as error:
        pytest.skip(f"this FFmpeg can't write {codec}: {error}")


@pytest.mark.parametrize(("suffix", "container", "codec", "rate", "bit_rate"), FORMATS, ids=lambda value: str(value))
def test_read_format_returns_all_sound_without_warnings(
    tmp_path: Path, suffix: str, container: str, codec: str, rate: int, bit_rate: int
) -> None:
    sweep = make_sweep(2.0, rate)
    path = tmp_path / f"a{suffix}"
    path.write_bytes(_encode_or_skip(sweep, container, codec, rate, bit_rate))
    reader = audio.open_audio(path)
    signal = reader.signal(rate)
    assert reader.warnings == []
    assert len(sweep) - 1 <= len(signal) <= len(sweep) + 0.1 * rate  # encoders add padding
    assert correlation(signal[: len(sweep)], sweep) > 0.9
    assert list(audio.find_recordings(tmp_path)) == [path]


@pytest.mark.parametrize("container", ["matroska", "webm", "mp4", "avi"])
def test_read_file_that_was_cut_short_warns(tmp_path: Path, container: str) -> None:
    sweep = make_sweep(4.0, 48_000)
    codec = {"matroska": "flac", "webm": "libopus", "mp4": "aac", "avi": "pcm_s16le"}[container]
    content = encode_with_ffmpeg(sweep, container, codec, 48_000)
    if container == "mp4":  # the index in front of the sound, as for download
        content = _move_index_to_front(content, tmp_path / "a.mp4")
    complete = audio.open_audio(content)
    complete.signal()
    assert complete.warnings == []
    reader = audio.open_audio(content[: len(content) * 6 // 10])
    assert 1.0 < len(reader.signal()) / 48_000 < 3.0
    assert len(reader.warnings) == 1 and "truncated" in reader.warnings[0] and "cut short" in reader.warnings[0]


def _move_index_to_front(content: bytes, target: Path) -> bytes:
    """Write an MP4 file again with its ``moov`` box in front of the sound."""
    with (
        av.open(io.BytesIO(content)) as source,
        av.open(str(target), "w", format="mp4", options={"movflags": "faststart"}) as output,
    ):
        stream = output.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(source.streams.audio[0]):
            if packet.dts is not None:
                packet.stream = stream
                output.mux(packet)
    return target.read_bytes()


def test_read_live_webm_does_not_warn() -> None:
    content = encode_with_ffmpeg(make_sweep(2.0, 48_000), "webm", "libopus", 48_000, live=True)
    reader = audio.open_audio(content)
    assert abs(len(reader.signal()) - 96_000) < 1000
    assert reader.warnings == []


def test_read_duration_of_mp4_is_that_of_its_header() -> None:
    content = encode_with_ffmpeg(make_sweep(3.0, 44_100), "mp4", "aac", 44_100)
    assert audio.read_duration(content) == pytest.approx(3.0, abs=0.1)


def _sdp(port: int) -> bytes:
    return f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio {port} RTP/AVP 0\n".encode()


TEXTS = {
    "concat": lambda secret: f"ffconcat version 1.0\nfile {secret}\n".encode(),
    "hls": lambda secret: f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{secret}\n#EXT-X-ENDLIST\n".encode(),
    "sdp": lambda secret: _sdp(45_678),
    "m3u": lambda secret: f"#EXTM3U\nfile://{secret}\n".encode(),
    "dash": lambda secret: f'<?xml version="1.0"?><MPD><BaseURL>{secret}</BaseURL></MPD>'.encode(),
    "ffmetadata": lambda secret: b";FFMETADATA1\ntitle=a\n",
}


@pytest.mark.parametrize("kind", TEXTS)
@pytest.mark.parametrize("suffix", [".m4a", ".webm", ".wav", ".ts"])
def test_read_text_that_names_another_file_is_refused_at_once(tmp_path: Path, kind: str, suffix: str) -> None:
    secret = tmp_path / "secret.wav"
    secret.write_bytes(wav_bytes(bytes(32_000)))
    path = tmp_path / f"a{suffix}"
    path.write_bytes(TEXTS[kind](secret))
    start = time.monotonic()
    for source in (path, path.read_bytes()):
        with pytest.raises(AudioError, match="not audio, or in an unsupported format"):
            audio.open_audio(source)
    assert time.monotonic() - start < 2


def test_read_text_opens_no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    """The port of the SDP text stays free while it is read."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(AudioError):
        audio.open_audio(_sdp(port))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", port))


def _replace_data_reference(content: bytes, target: Path) -> bytes:
    """Let the track of a QuickTime file refer to another file (``alis`` and ``url `` entries of ``dref``)."""
    position = content.index(b"dref")
    size = struct.unpack(">I", content[position - 4 : position])[0]
    url = str(target).encode() + b"\0"
    entry = struct.pack(">I", 12 + len(url)) + b"url " + bytes(4) + url
    dref = struct.pack(">I", 16 + len(entry)) + b"dref" + bytes(4) + struct.pack(">I", 1) + entry
    changed = content[: position - 4] + dref + content[position - 4 + size :]
    growth = len(dref) - size
    result = bytearray(changed)
    for box in (b"moov", b"trak", b"mdia", b"minf", b"dinf"):
        at = result.index(box) - 4
        result[at : at + 4] = struct.pack(">I", struct.unpack(">I", result[at : at + 4])[0] + growth)
    return bytes(result)


def test_read_quicktime_with_a_reference_does_not_open_the_other_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(pyav_decoder, "_refuse_to_open", lambda url, flags, options: opened.append(url))
    sweep = make_sweep(1.0, 44_100)
    secret = tmp_path / "secret.mov"
    secret.write_bytes(encode_with_ffmpeg(0 * sweep, "mov", "pcm_s16le", 44_100))
    content = _replace_data_reference(encode_with_ffmpeg(sweep, "mov", "pcm_s16le", 44_100), secret)
    signal = audio.open_audio(content).signal()
    assert np.abs(signal).max() > 0.3  # the sound of the file itself
    assert opened == []


def test_sniff_demuxer_knows_no_text() -> None:
    for create in TEXTS.values():
        assert sniff_demuxer(create("a.wav")) is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:60],
        lambda content: content[:40] + bytes(len(content) - 40),
        lambda content: b"".join(
            bytes([byte ^ 0x55]) if n % 97 == 5 else bytes([byte]) for n, byte in enumerate(content)
        ),
        lambda content: content[:8] + b"\xff" * 64 + content[72:],
    ],
    ids=["head", "zeros", "flipped", "sizes"],
)
@pytest.mark.parametrize(("container", "codec"), [("mp4", "aac"), ("webm", "libopus"), ("adts", "aac"), ("flv", "aac")])
def test_read_damaged_file_returns_sound_or_one_line(
    damage: Callable[[bytes], bytes], container: str, codec: str
) -> None:
    content = damage(encode_with_ffmpeg(make_sweep(0.5, 48_000), container, codec, 48_000))
    try:
        signal = audio.open_audio(content, "a").signal(16_000)
    except AudioError as error:
        assert str(error).startswith("a: ") and len(str(error).splitlines()) == 1
    else:
        assert np.isfinite(signal).all()


@pytest.mark.parametrize(
    "error", [IndexError("x"), ValueError("x"), AttributeError("x"), MemoryError(), OSError(5, "x")]
)
def test_open_any_error_of_pyav_becomes_an_audio_error(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    content = encode_with_ffmpeg(make_sweep(0.2, 48_000), "webm", "libopus", 48_000)

    def fail(*arguments: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(av, "open", fail)
    with pytest.raises(AudioError, match="a: not audio, or in an unsupported format"):
        audio.open_audio(content, "a")


def test_read_packet_that_cannot_be_decoded_keeps_the_others() -> None:
    sweep = make_sweep(2.0, 48_000)
    content = bytearray(encode_with_ffmpeg(sweep, "matroska", "flac", 48_000))
    middle = len(content) // 2
    content[middle : middle + 40] = bytes(40)
    reader = audio.open_audio(bytes(content), "a")
    assert len(reader.signal()) > 0.8 * len(sweep)
    assert len(reader.warnings) == 1 and reader.warnings[0].startswith("damaged: ")


def test_read_without_an_audio_track_is_refused() -> None:
    target = io.BytesIO()
    with av.open(target, "w", format="matroska") as output:
        stream = output.add_stream("mpeg4", rate=25, width=16, height=16, pix_fmt="yuv420p")
        for _ in range(3):
            output.mux(stream.encode(av.VideoFrame(16, 16, "yuv420p")))
        output.mux(stream.encode(None))
    with pytest.raises(AudioError, match="a: contains no audio track"):
        audio.open_audio(target.getvalue(), "a")


def test_read_wav_with_an_unknown_codec_says_so() -> None:
    content = wav_bytes(bytes(3200))
    unknown = content[:20] + struct.pack("<H", 0x7777) + content[22:]
    with pytest.raises(AudioError, match="no decoder for its audio codec"):
        audio.load(io.BytesIO(unknown), 16_000)


def test_decoding_that_takes_too_long_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    content = encode_with_ffmpeg(make_sweep(0.5, 48_000), "webm", "libopus", 48_000)
    monkeypatch.setattr(limits, "_TIME_LIMIT_S", -1.0)
    with pytest.raises(AudioError, match=r"a: decoding took 0 s for 0\.0 s of sound; the file is damaged"):
        audio.open_audio(content, "a")


def test_decoding_can_be_cancelled_while_it_is_opened() -> None:
    content = encode_with_ffmpeg(make_sweep(0.5, 48_000), "webm", "libopus", 48_000)
    with pytest.raises(audio.DecodingCancelledError):
        audio.open_audio(content, "a", audio.DecodingLimits(cancelled=lambda: True))


@pytest.mark.parametrize("kind", ["wav", "mp3", "webm"])
def test_decoding_can_be_cancelled_between_blocks(kind: str) -> None:
    sweep = make_sweep(25.0, 48_000)
    content = (
        encode_with_ffmpeg(sweep, "webm", "libopus", 48_000)
        if kind == "webm"
        else encode(sweep, kind.upper(), rate=48_000)
    )
    cancelled = False
    reader = audio.open_audio(content, "a", audio.DecodingLimits(cancelled=lambda: cancelled))
    blocks = reader.blocks(16_000)
    next(blocks)
    cancelled = True
    with pytest.raises(audio.DecodingCancelledError):
        list(blocks)


@pytest.mark.parametrize("kind", ["wav", "mp4", "live"])
def test_recording_longer_than_the_limit_is_refused(kind: str) -> None:
    sweep = make_sweep(5.0, 48_000)
    content = {
        "wav": lambda: encode(sweep, "WAV", rate=48_000),
        "mp4": lambda: encode_with_ffmpeg(sweep, "mp4", "aac", 48_000),
        "live": lambda: encode_with_ffmpeg(sweep, "webm", "libopus", 48_000, live=True),
    }[kind]()
    reader = audio.open_audio(content, "a", audio.DecodingLimits(max_duration_s=3.0))
    read_s = 0.0
    with pytest.raises(AudioError, match="a: longer than the limit of 3 s"):
        for block in reader.blocks(16_000):
            read_s += len(block) / 16_000
    assert read_s < 3.1 if kind == "live" else read_s == 0


def test_read_without_pyav_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    content = encode_with_ffmpeg(make_sweep(0.5, 48_000), "webm", "libopus", 48_000)
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(AudioError, match=r"a: this format needs PyAV: pip install 'kanjo\[media\]'"):
        audio.open_audio(content, "a")


def test_find_recordings_leaves_out_typescript(tmp_path: Path) -> None:
    (tmp_path / "a.ts").write_text("export const a = 1;\n")
    assert list(audio.find_recordings(tmp_path)) == []
