"""Your own corpus: a folder with one sub-folder an emotion, Kaldi's data folder, audformat's database; for tables, ``tables``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from kanjo.corpora.corpus import nothing_found, recordings
from kanjo.corpora.formats import audformat, kaldi
from kanjo.corpora.manifest import Utterance
from kanjo.errors import CorpusError
from kanjo.labels import mapped


def read_folder(root: Path, name: str, label_map: Mapping[str, str]) -> Iterator[Utterance]:
    """Utterances of a folder, by what lies in it: ``wav.scp``, ``db.yaml``, else sub-folders named after emotions.

    Raises CorpusError.
    """
    if (root / kaldi.RECORDINGS).is_file():
        return kaldi.read_kaldi(root, name, label_map)
    if (root / audformat.HEADER).is_file():
        return audformat.read_audformat(root, name, label_map)
    return _emotions(root, name, label_map)


def _emotions(root: Path, name: str, label_map: Mapping[str, str]) -> Iterator[Utterance]:
    """``angry/anything.wav``; a layer between (``speaker/angry/x.wav`` or ``angry/speaker/x.wav``) names the speaker.

    Raises CorpusError when a sub-folder's name is no emotion.
    """
    found = False
    for path in recordings(root, name):
        layers = path.relative_to(root).parts[:-1]
        if not layers:
            continue
        emotion, raw, rest = _emotion_layer(layers, path, label_map)
        found = True
        yield Utterance(
            corpus=name,
            file=path.relative_to(root).as_posix(),
            emotion=emotion,
            labels_raw=raw,
            speaker="/".join(rest),
        )
    if not found:
        raise nothing_found(
            name,
            root,
            "one sub-folder for each emotion, such as angry/ and happy/, with recordings; or wav.scp; or db.yaml",
        )


def _emotion_layer(layers: tuple[str, ...], path: Path, label_map: Mapping[str, str]) -> tuple[str, str, list[str]]:
    for place in reversed(range(len(layers))):
        try:
            emotion = mapped(layers[place], label_map)
        except CorpusError:
            continue
        return emotion, layers[place], [*layers[:place], *layers[place + 1 :]]
    try:
        mapped(layers[-1], label_map)
    except CorpusError as error:
        raise CorpusError(f"{path}: its folder names no emotion: {error}") from None
    raise AssertionError("unreachable: the last layer was tried above")
