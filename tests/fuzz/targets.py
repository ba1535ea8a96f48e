"""What is fuzzed: functions that read content which anybody may have written.

Each target takes bytes. It returns, or raises one of :func:`allowed_errors`; any other exception is a finding. Formats
of several files are one input: the files are separated by lines ``=== NAME``.
"""

from __future__ import annotations

import atexit
import functools
import math
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import kanjo
from kanjo import audio
from kanjo.errors import KanjoError

#: Folder of the files that the targets write; one for each process.
_FOLDER = Path(tempfile.mkdtemp(prefix="kanjo-fuzz-files-"))
atexit.register(shutil.rmtree, _FOLDER, ignore_errors=True)
_SEPARATOR = b"=== "


def allowed_errors() -> tuple[type[Exception], ...]:
    """Return the exceptions that a target may raise: those of kanjo, and those that the service answers with."""
    try:
        from kanjo.server.errors import RequestError
        from kanjo.server.streams import StreamError
    except ImportError:  # without the extra "serve"
        return (KanjoError,)
    return KanjoError, RequestError, StreamError


def make_folder() -> None:
    """Create the folder of the files, if it was removed."""
    _FOLDER.mkdir(exist_ok=True)


def remove_folder() -> None:
    """Remove the files of all targets of this process."""
    shutil.rmtree(_FOLDER, ignore_errors=True)


def _write(name: str, content: bytes) -> Path:
    path = _FOLDER / name
    path.write_bytes(content)
    return path


def _write_folder(name: str, content: bytes, names: tuple[str, ...]) -> Path:
    """Write the parts of an input as the files of a folder; parts with other names are ignored."""
    folder = _FOLDER / name
    folder.mkdir(exist_ok=True)
    parts = {}
    for part in (b"\n" + content).split(b"\n" + _SEPARATOR)[1:]:
        title, _, text = part.partition(b"\n")
        parts[title.decode("utf-8", "replace").strip()] = text
    for file in names:
        if file in parts:
            (folder / file).write_bytes(parts[file])
        else:
            (folder / file).unlink(missing_ok=True)
    return folder


def _decode(content: bytes) -> None:
    with audio.open_audio(content, "input") as reader:
        for block in reader.blocks(16_000):
            if not len(block):
                raise AssertionError("a block without samples")


@functools.cache
def _recognizer() -> kanjo.Recognizer:
    return kanjo.load(threads=1)


def _predict(content: bytes) -> None:
    prediction = _recognizer().predict(content, name="input")
    if prediction.probabilities and not math.isclose(sum(prediction.probabilities.values()), 1, abs_tol=1e-3):
        raise AssertionError(f"probabilities {prediction.probabilities}")


def _duration(content: bytes) -> None:
    audio.read_duration(_write("recording.wav", content))


def _table(suffix: str) -> Callable[[bytes], None]:
    def read(content: bytes) -> None:
        from kanjo.corpora.formats.tables import read_manifest

        read_manifest(_write(f"table{suffix}", content))

    return read


def _folder_corpus(*names: str) -> Callable[[bytes], None]:
    def read(content: bytes) -> None:
        from kanjo.corpora import read_corpus

        read_corpus("own", _write_folder(names[0], content, names))

    return read


def _split(content: bytes) -> None:
    """Read a manifest with words for the parts of a split, and split it."""
    from kanjo.corpora.formats.tables import read_manifest
    from kanjo.corpora.splits import make_folds

    utterances = read_manifest(_write("split.csv", content)).utterances
    for protocol in ("manifest", "loso", "speaker_kfold"):
        make_folds(utterances, protocol, n_folds=2)


def _folds_file(content: bytes) -> None:
    from kanjo.corpora.manifest import Utterance
    from kanjo.corpora.splits import make_folds

    rows = [Utterance("crema-d", f"{n}.wav", "anger", "anger", f"s{n % 3}") for n in range(6)]
    make_folds(rows, "emobox", folds_file=_write("folds.csv", content))


def _label_map(content: bytes) -> None:
    """Read pairs WORD=EMOTION, and look the words up."""
    from kanjo.labels import map_emotion, parse_label_map

    lines = content.decode("utf-8", "surrogateescape").split("\n")
    mapping = parse_label_map(line for line in lines if "=" in line)
    for line in lines:
        map_emotion(line.partition("=")[0], mapping)


def _words(content: bytes) -> None:
    """Read words of closed columns: languages, sexes, splits, times, speakers."""
    from kanjo.corpora import words
    from kanjo.corpora.formats.times import parse_seconds
    from kanjo.languages import language_code

    text = content.decode("utf-8", "surrogateescape")
    readers: tuple[Callable[[str], object], ...] = (
        language_code,
        words.parse_sex,
        words.parse_split,
        words.parse_speaker,
        lambda cell: parse_seconds(cell, "start"),
    )
    for read in readers:
        try:
            read(text)
        except KanjoError as error:
            check_message(error)


def _predictions_file(content: bytes) -> None:
    from kanjo.evaluation.predictions_file import read_predictions

    read_predictions(_write("predictions.csv", content))


def _resume(form: str) -> Callable[[bytes], None]:
    def read(content: bytes) -> None:
        from kanjo.cli.resumable import ResumableWriter

        output = _FOLDER / f"resumed.{form}"
        _write(f"resumed.{form}.part", content)
        ResumableWriter(output, form, ("anger", "neutral"), resume=True).write_all(())

    return read


def _recipe(content: bytes) -> None:
    from kanjo.train.config.loading import load_recipe

    load_recipe(str(_write("recipe.yaml", content)), (), "/corpora")


def _override(content: bytes) -> None:
    from kanjo.train.config.loading import load_recipe

    load_recipe("cnn-lstm-2d", [content.decode("utf-8", "surrogateescape")], "/corpora")


def _hparams(suffix: str) -> Callable[[bytes], None]:
    def read(content: bytes) -> None:
        """The first line is the new value, the rest is the file."""
        from kanjo.tools.hparams import set_value

        value, _, text = content.partition(b"\n")
        set_value([_write(f"hparams{suffix}", text)], "lr", value.decode("utf-8", "surrogateescape"), dry_run=True)

    return read


def _bundle_metadata(content: bytes) -> None:
    """Read ``bundle.json``, and use what was read."""
    from kanjo.bundle.metadata import parse_metadata
    from kanjo.inference.options import InferenceOptions, resolve_options

    metadata = parse_metadata(content.decode("utf-8", "replace"), "bundle.json")
    parse_metadata(metadata.to_json(), "bundle.json")
    resolve_options(InferenceOptions(), metadata)


def _bundle(content: bytes) -> None:
    """Load the built-in graph with another ``bundle.json``, and predict a second of silence."""
    from kanjo.bundle import BUILTIN_FOLDER

    folder = _FOLDER / "bundle"
    if not folder.exists():
        folder.mkdir()
        shutil.copyfile(BUILTIN_FOLDER / "default" / "model.onnx", folder / "model.onnx")
    (folder / "bundle.json").write_bytes(content)
    kanjo.load(folder, threads=1).predict_signal([0.0] * 16_000, 16_000)


def _profile(content: bytes) -> None:
    """Read a speaker profile, and predict with it."""
    from kanjo.inference.speaker_profiles import describe_shortcomings, read_profile, speaker_vector

    profile = read_profile(_write("profile.json", content))
    describe_shortcomings(profile)
    metadata = replace(_recognizer().metadata, speaker_size=len(profile.mean), sha256=profile.sha256)
    speaker_vector(profile, metadata)


def _stream_messages(content: bytes) -> None:
    """The first line opens a stream, the rest are samples."""
    from kanjo.server.queue import InferenceQueue
    from kanjo.server.settings import Settings
    from kanjo.server.streams import StreamSession

    first, _, samples = content.partition(b"\n")
    queue = cast("InferenceQueue", SimpleNamespace(recognizer=_recognizer()))
    session = StreamSession(cast("Any", None), queue, Settings())
    stream, sample_type = session._open_stream({"text": first.decode("utf-8", "surrogateescape")})
    import numpy as np

    stream.feed(np.frombuffer(samples, sample_type, len(samples) // sample_type.itemsize))
    stream.finish()


def _request_headers(content: bytes) -> None:
    """Lines: host, origin, authorization."""
    from kanjo.server.access import check_host, check_origin, check_token
    from kanjo.server.settings import Settings

    lines = [*content.decode("latin-1").split("\n"), "", "", ""]
    headers = {"host": lines[0], "origin": lines[1], "authorization": lines[2]}
    settings = Settings(token="secret")
    for check in (
        lambda: check_host(headers, Settings()),
        lambda: check_origin("POST", headers),
        lambda: check_token("/v1/predict", headers, settings),
    ):
        try:
            check()
        except allowed_errors() as error:
            check_message(error)


def check_message(error: Exception) -> None:
    """Raise AssertionError if a message is empty or has several lines."""
    message = str(error)
    if "\n" in message or not message:
        raise AssertionError(f"a message of {len(message)} characters in {len(message.splitlines())} lines") from error


def read_input(target: str, content: bytes) -> str:
    """Run a target on an input.

    Returns:
        The message of the error of kanjo; "" for a result.

    Raises:
        Exception: A finding.
    """
    try:
        TARGETS[target](content)
    except allowed_errors() as error:
        check_message(error)
        return str(error)
    return ""


TARGETS: dict[str, Callable[[bytes], None]] = {
    "decode": _decode,
    "predict": _predict,
    "duration": _duration,
    "csv": _table(".csv"),
    "tsv": _table(".tsv"),
    "jsonl": _table(".jsonl"),
    "filelist": _table(".txt"),
    "kaldi": _folder_corpus("wav.scp", "utt2emo", "utt2spk", "spk2gender", "text", "segments"),
    "audformat": _folder_corpus("db.yaml", "db.emotion.csv", "db.files.csv", "db.speaker.csv"),
    "split": _split,
    "folds-file": _folds_file,
    "label-map": _label_map,
    "words": _words,
    "predictions": _predictions_file,
    "resume-csv": _resume("csv"),
    "resume-jsonl": _resume("jsonl"),
    "recipe": _recipe,
    "override": _override,
    "hparams-yaml": _hparams(".yaml"),
    "hparams-json": _hparams(".json"),
    "bundle-json": _bundle_metadata,
    "bundle": _bundle,
    "profile": _profile,
    "stream": _stream_messages,
    "headers": _request_headers,
}
#: Targets that decode recordings or run the model; they get three quarters of the time.
SLOW_TARGETS = ("decode", "predict")
