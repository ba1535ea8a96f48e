"""Make the seeds of the fuzz targets: valid inputs and odd ones, all synthetic."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from kanjo.bundle import BUILTIN_FOLDER, METADATA_FILE
from kanjo.bundle.metadata import parse_metadata
from kanjo.train.config.loading import RECIPES_FOLDER

_RATE = 16_000
#: Container and codec of the recordings that PyAV writes; every container of ``kanjo.audio.formats`` is among them.
_AV_FORMATS = (
    ("mp3", "mp3"),
    ("mp2", "mp2"),
    ("ipod", "aac"),
    ("mp4", "aac"),
    ("mp4", "flac"),
    ("3gp", "aac"),
    ("mov", "pcm_s16le"),
    ("mov", "alac"),
    ("ismv", "aac"),
    ("adts", "aac"),
    ("matroska", "libopus"),
    ("matroska", "flac"),
    ("matroska", "pcm_s16le"),
    ("webm", "libopus"),
    ("ogg", "libopus"),
    ("ogg", "flac"),
    ("flac", "flac"),
    ("asf", "wmav2"),
    ("asf", "pcm_s16le"),
    ("avi", "pcm_s16le"),
    ("avi", "mp2"),
    ("mpegts", "mp2"),
    ("mpegts", "aac"),
    ("m2ts", "mp2"),
    ("mpeg", "mp2"),
    ("vob", "mp2"),
    ("flv", "aac"),
    ("caf", "alac"),
    ("wav", "adpcm_ima_wav"),
    ("wav", "g722"),
    ("aiff", "pcm_s16be"),
    ("aiff", "adpcm_ima_qt"),
    ("w64", "pcm_s16le"),
    ("ac3", "ac3"),
    ("au", "pcm_mulaw"),
    ("amr", "libopencore_amrnb"),
    ("wv", "wavpack"),
)
#: Sample rates of codecs that do not encode every rate, and bit rates of codecs that need one.
_CODEC_RATES = {"libopus": 48_000, "ac3": 48_000, "libopencore_amrnb": 8_000}
_CODEC_BIT_RATES = {"wmav2": 32_000, "libopencore_amrnb": 12_200}

_HEADER = "file,emotion,speaker,sex,language,text,start_s,end_s,split\n"
_ROWS = "".join(
    f"a{n}.wav,{emotion},s{n // 2},{'f' if n % 2 else 'm'},en,some text,{n}.5,{n + 1},{split}\n"
    for n, (emotion, split) in enumerate(
        zip(["anger", "neutral"] * 6, ["train"] * 8 + ["dev"] * 2 + ["test"] * 2, strict=True)
    )
)
_JSON_LINES = "".join(
    json.dumps({"file": f"a{n}.wav", "emotion": "anger", "speaker": n, "start": 0.5, "end": None}) + "\n"
    for n in range(3)
)
_KALDI = (
    "=== wav.scp\nr1 a.wav\nr2 b.wav\n=== utt2emo\nu1 anger\nu2 sad\n=== utt2spk\nu1 s1\nu2 s2\n"
    "=== spk2gender\ns1 f\ns2 m\n=== text\nu1 some text\nu2 other\n=== segments\nu1 r1 0.5 1.5\nu2 r2 0 -1\n"
)
_AUDFORMAT = (
    "=== db.yaml\nname: db\n=== db.emotion.csv\nfile,start,end,emotion\na.wav,0 days 00:00:01,0 days 00:00:02,anger\n"
    "=== db.files.csv\nfile,speaker\na.wav,s1\n=== db.speaker.csv\nspeaker,gender,language\ns1,female,de\n"
)
_HPARAMS_YAML = (
    "2e-4\n# comment\ntrain:\n  lr: 1e-4  # rate\n  betas: [0.8, 0.99]\n  name: 'x'\ndata: &d {rate: 22050}\nb: *d\n"
)
_HPARAMS_JSON = '0.5\n{"train": {"lr": 0.0002, "betas": [0.8, 0.99], "log": true}, "data": {"n": 3}}\n'
_PREDICTIONS = (
    "corpus,file,speaker,sex,emotion,predicted,anger,neutral\nown,a.wav,s1,female,anger,anger,0.900000,0.100000\n"
    "own,b.wav,s2,male,neutral,anger,0.600000,0.400000\n"
)
#: Texts that broke parsers of other programs.
_HOSTILE = (
    "",
    "\ufeff",
    "[" * 2_000,
    '{"a":' * 2_000,
    "9" * 5_000,
    "1e999",
    "NaN",
    '"\\ud800"',
    "a: &a [*a]\n",
    "a: &a [x,x]\n" + "".join(f"{chr(98 + n)}: &{chr(98 + n)} [*{chr(97 + n)},*{chr(97 + n)}]\n" for n in range(24)),
    "d: 2001-99-99\n",
    "<<: [*a]\n",
    "!!int ''",
    "sep=;\n",
    '"',
    "\0",
    "\r\r\n\u2028\u0085",
    "file,emotion\n" + "x" * 200_000 + ",anger\n",
)


def make_seeds(target: str) -> list[bytes]:
    """Return the seeds of a target."""
    if target in ("decode", "predict", "duration"):
        return list(_recordings())
    if target == "headers":
        return [b"localhost:8000\nhttp://localhost:8000\nBearer secret", b"[::1]:1\nnull\nbearer  x", b"127.0.0.1\n\n"]
    seeds = [text.encode("utf-8", "surrogatepass") for text in _texts(target)]
    hostile = [text.encode() for text in _HOSTILE]
    if target.startswith("hparams"):
        hostile = [b"1\n" + text for text in hostile]
    return seeds + hostile


def _texts(target: str) -> list[str]:
    table = _HEADER + _ROWS
    texts = {
        "csv": [table, "sep=;\n" + table.replace(",", ";"), 'file,emotion\n"a ""b"".wav",angry\n'],
        "tsv": [table.replace(",", "\t")],
        "jsonl": [_JSON_LINES, '{"path": "a.wav", "label": "sad", "Speaker": null}\n'],
        "filelist": ["a.wav|s1|some text|3|1\nb.wav|s2|other|neutral|en\n"],
        "kaldi": [_KALDI],
        "audformat": [_AUDFORMAT],
        "split": [table],
        "folds-file": ["corpus,fold,utterance\ncrema-d,1,0\ncrema-d,2,1\ncrema-d,1,2\n"],
        "label-map": ["calm=neutral\nWut=anger\nfröhlich=happy\n怒り"],
        "words": ["en-US", "Korean", "weiblich", "dev", "0 days 00:00:01.5", "1,5", "1e3", "NA", "女"],
        "predictions": [_PREDICTIONS],
        "resume-csv": [_resume_csv()],
        "resume-jsonl": ['{"file": "a.wav", "probabilities": {"anger": 0.5, "neutral": 0.5}}\n{"file": "b.wav"}\n'],
        "recipe": [path.read_text(encoding="utf-8") for path in sorted(RECIPES_FOLDER.rglob("*.yaml"))][:8],
        "override": ["training.epochs=3", "labels.include=[anger, sad]", "corpora=[{name: own, path: x}]", ".=1"],
        "hparams-yaml": [_HPARAMS_YAML],
        "hparams-json": [_HPARAMS_JSON],
        "bundle-json": [_metadata()],
        "bundle": [_metadata()],
        "profile": [_profile()],
        "stream": [_stream_message()],
    }
    return texts[target]


def _metadata() -> str:
    """Return the metadata of the built-in bundle without long lists, so that mutations hit the other values."""
    content = json.loads((BUILTIN_FOLDER / "default" / METADATA_FILE).read_text(encoding="utf-8"))
    content["recipe"] = {"labels": {"map": {"calm": "neutral"}}}
    content["split"] = {"protocol": "speaker_kfold", "fold": 1, "train_speakers": ["a", "b"], "leakage": ["none"]}
    content["scores"]["uar_by_speaker"] = {"a": 0.5}
    content["scores_by_corpus"], content["corpora"] = {}, content["corpora"][:1]
    content["robustness"] = dict(list(content["robustness"].items())[:1])
    content.pop("scores_enrolled")
    return json.dumps(content)


def _profile() -> str:
    bundle = parse_metadata((BUILTIN_FOLDER / "default" / METADATA_FILE).read_text(encoding="utf-8"), "")
    profile = {"format_version": 2, "name": "Ana", "bundle": bundle.name, "sha256": bundle.sha256, "clips": 3}
    profile |= {"speech_s": 9.5, "emotions": {"anger": 0.5, "neutral": 0.5}, "variety": 0.4, "weight": 0.7}
    return json.dumps(profile | {"mean": [0.5, -1.0, 1e-3]})


def _stream_message() -> str:
    message = {"sample_rate": 16_000, "format": "s16le", "window_s": 1.0, "hop_s": 0.5, "min_confidence": 0.1}
    return json.dumps(message | {"language": "en", "emotions": ["anger", "neutral"]}) + "\n" + "\x01\x00" * 800


def _resume_csv() -> str:
    from kanjo.inference import writers

    header = writers.csv_header(("anger", "neutral"))
    row = ["a.wav", "0", "1.5", "recording", *[""] * (len(header) - 4)]
    return ",".join(header) + "\n" + ",".join(row) + "\n" + ",".join(row) + "\n"


def _recordings() -> Iterator[bytes]:
    """Yield a short recording in every format that soundfile and PyAV write, and WAV files with odd headers."""
    rng = np.random.default_rng(0)
    time_s = np.arange(_RATE // 2) / _RATE
    signal = (0.3 * np.sin(2 * np.pi * 220 * time_s) * (1 + np.sin(2 * np.pi * 3 * time_s))).astype(np.float32)
    signal += rng.normal(0, 0.01, len(signal)).astype(np.float32)
    for container in sorted(soundfile.available_formats().keys() - {"SD2"}):  # SD2 writes a second file, ._
        for subtype in soundfile.available_subtypes(container):
            for n_channels in (1, 2):
                stream = io.BytesIO()
                try:
                    samples = np.repeat(signal[: 4_000 if n_channels == 2 else 2_000, None], n_channels, 1)
                    soundfile.write(stream, samples, _RATE, subtype, format=container)
                except (soundfile.LibsndfileError, ValueError, TypeError):
                    continue  # libsndfile lists formats that it can't write into a stream
                yield stream.getvalue()
    for container, codec in _AV_FORMATS:
        content = _encode(signal, container, codec)
        if content:
            yield content
            if container in ("mp3", "ogg", "adts"):  # such files may be joined
                yield content + content
    yield from _odd_wav_files((signal[:2_000] * 32_767).astype("<i2").tobytes())
    yield b"v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 0\n"
    yield b"ffconcat version 1.0\nfile a.wav\n"
    yield b"#EXTM3U\n#EXTINF:1,\na.ts\n"
    yield b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"


def _encode(signal: np.ndarray, container: str, codec: str) -> bytes:
    """Encode a signal with PyAV; b"" if this build of FFmpeg has no such codec."""
    import av

    stream = io.BytesIO()
    options = {"mpegts_m2ts_mode": "1"} if container == "m2ts" else {}
    try:
        with av.open(stream, "w", format="mpegts" if container == "m2ts" else container, options=options) as output:
            encoder = output.add_stream(codec, rate=_CODEC_RATES.get(codec, _RATE), layout="mono")
            if codec in _CODEC_BIT_RATES:
                encoder.bit_rate = _CODEC_BIT_RATES[codec]
            output.start_encoding()  # only an open codec knows the length of its frames
            resampler = av.AudioResampler(
                encoder.format.name, "mono", encoder.rate, frame_size=encoder.codec_context.frame_size or 1_024
            )
            frame = av.AudioFrame.from_ndarray((signal * 32_767).astype(np.int16)[None], format="s16", layout="mono")
            frame.sample_rate = _RATE
            for part in (*resampler.resample(frame), *resampler.resample(None), None):
                output.mux(packet for packet in encoder.encode(part) if packet.size)
    except (av.FFmpegError, ValueError, TypeError):
        return b""
    return stream.getvalue()


def _odd_wav_files(pcm: bytes) -> Iterator[bytes]:
    """Yield WAV files whose header has sizes, rates, channels or formats that other programs write by mistake."""
    for size in (0, len(pcm) + 44, 0x7FFFF000, 0xFFFFFFFF, 1):
        yield _wav(pcm, size=size)
    for rate in (0, 1, 1_000, 8_000, 768_000, 0xFFFFFFFF):
        yield _wav(pcm, rate=rate)
    for channels in (0, 2, 6, 255, 65_535):
        yield _wav(pcm, channels=channels)
    for tag, bits in ((3, 32), (3, 64), (6, 8), (7, 8), (17, 4), (0xFFFE, 16), (0, 16), (85, 0), (1, 0), (1, 64)):
        yield _wav(pcm, tag=tag, bits=bits)
    yield _wav(b"")
    yield b"RF64" + _wav(pcm)[4:]
    yield b"RIFX" + _wav(pcm)[4:]


def _wav(
    pcm: bytes, size: int | None = None, rate: int = _RATE, channels: int = 1, tag: int = 1, bits: int = 16
) -> bytes:
    block = max(1, channels * bits // 8) & 0xFFFF
    header = struct.pack("<HHIIHH", tag, channels, rate, (rate * block) & 0xFFFFFFFF, block, bits)
    data = struct.pack("<I", len(pcm) if size is None else size) + pcm
    body = b"WAVEfmt " + struct.pack("<I", len(header)) + header + b"data" + data
    return b"RIFF" + struct.pack("<I", len(body) & 0xFFFFFFFF) + body


def write_seeds(target: str, folder: Path) -> int:
    """Write the seeds of a target as files; return their number."""
    folder.mkdir(parents=True, exist_ok=True)
    seeds = make_seeds(target)
    for number, content in enumerate(seeds):
        (folder / f"seed-{number:04d}").write_bytes(content)
    return len(seeds)
