"""Folders of the user: one sub-folder for each emotion, a Kaldi data folder, or an audformat database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from kanjo.corpora.corpus import list_recordings, no_utterances_error
from kanjo.corpora.formats import audformat, kaldi
from kanjo.corpora.manifest import Utterance
from kanjo.errors import CorpusError
from kanjo.labels import map_emotion


def read_folder(root: Path, name: str, label_map: Mapping[str, str]) -> Iterator[Utterance]:
    """Yield the utterances of a folder: Kaldi if it has ``wav.scp``, audformat if ``db.yaml``, else emotion folders.

    Raises:
        CorpusError: There are no utterances, or one of them is invalid.
    """
    if (root / kaldi.RECORDINGS).is_file():
        return kaldi.read_kaldi(root, name, label_map)
    if (root / audformat.HEADER).is_file():
        return audformat.read_audformat(root, name, label_map)
    return _read_emotion_folders(root, name, label_map)


def _read_emotion_folders(root: Path, name: str, label_map: Mapping[str, str]) -> Iterator[Utterance]:
    """Yield the recordings in folders named after emotions, such as ``angry/a.wav``.

    Further folders name the speaker: ``speaker/angry/a.wav`` or ``angry/speaker/a.wav``.
    """
    n_utterances = 0
    for path in list_recordings(root, name):
        folders = path.relative_to(root).parts[:-1]
        if not folders:
            continue
        index, emotion = _find_emotion_folder(folders, path, label_map)
        n_utterances += 1
        yield Utterance(
            corpus=name,
            file=path.relative_to(root).as_posix(),
            emotion=emotion,
            labels_raw=folders[index],
            speaker="/".join([*folders[:index], *folders[index + 1 :]]),
        )
    if not n_utterances:
        raise no_utterances_error(
            name,
            root,
            "one sub-folder with recordings for each emotion, such as angry/ and happy/; wav.scp; or db.yaml",
        )


def _find_emotion_folder(folders: tuple[str, ...], path: Path, label_map: Mapping[str, str]) -> tuple[int, str]:
    """Return the index and the emotion of the innermost folder that is named after an emotion."""
    innermost_error = None
    for index in reversed(range(len(folders))):
        try:
            return index, map_emotion(folders[index], label_map)
        except CorpusError as error:
            innermost_error = innermost_error or error
    raise CorpusError(f"{path}: no folder of this recording is named after an emotion: {innermost_error}") from None
