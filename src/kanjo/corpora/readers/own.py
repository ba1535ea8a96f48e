"""Folders of the user: one sub-folder for each emotion, a Kaldi data folder, or an audformat database."""

from __future__ import annotations

import filecmp
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from kanjo.corpora.corpus import list_recordings, no_utterances_error
from kanjo.corpora.formats import audformat, kaldi
from kanjo.corpora.formats.rows import TableOptions
from kanjo.corpora.manifest import Utterance
from kanjo.corpora.words import is_split_word, normalize, parse_split
from kanjo.errors import CorpusError
from kanjo.labels import map_emotion


def read_folder(root: Path, name: str, label_map: Mapping[str, str], validate: bool = True) -> Iterator[Utterance]:
    """Yield the utterances of a folder: Kaldi if it has ``wav.scp``, audformat if ``db.yaml``, else emotion folders.

    Args:
        root: The folder.
        name: Corpus of the utterances.
        label_map: Emotion for each label that is not a word of the vocabulary.
        validate: Refuse infinite, negative and reversed times, and recordings that are listed twice with different
            emotions.

    Raises:
        CorpusError: There are no utterances, or one of them is invalid.
    """
    options = TableOptions(name, label_map, root, validate=validate)
    if (root / kaldi.RECORDINGS).is_file():
        return kaldi.read_kaldi(root, options)
    if (root / audformat.HEADER).is_file():
        return audformat.read_audformat(root, options)
    return _read_emotion_folders(root, options)


def _read_emotion_folders(root: Path, options: TableOptions) -> Iterator[Utterance]:
    """Yield the recordings in folders named after emotions, such as ``angry/a.wav``.

    Further folders name the speaker: ``speaker/angry/a.wav`` or ``angry/speaker/a.wav``. The first of them names the
    part of a split if it is "train", "test" or the like for all recordings.
    """
    paths = [path.relative_to(root) for path in list_recordings(root, options.corpus)]
    files = [file for file in without_nested_copies(root, paths) if len(file.parts) > 1]
    if not files:
        raise no_utterances_error(
            options.corpus,
            root,
            "one sub-folder with recordings for each emotion, such as angry/ and happy/; wav.scp; or db.yaml",
        )
    rows = []
    for file, index, emotion in _find_emotion_folders(root, files, options.label_map):
        folders = [normalize(folder) for folder in file.parts[:-1]]
        label = folders.pop(index)
        rows.append((Utterance(options.corpus, file.as_posix(), emotion, label), folders))
    has_split = all(folders and is_split_word(folders[0]) for _, folders in rows)
    for row, folders in rows:
        split = parse_split(folders.pop(0)) if has_split else ""
        yield row._replace(speaker="/".join(folders), split=split)


def without_nested_copies(root: Path, files: Sequence[Path]) -> Iterator[Path]:
    """Yield files without those that another one equals in content and in the end of its path.

    These are a second copy of a corpus in a folder below it.

    Args:
        root: The folder that the files are relative to.
        files: The files.
    """
    paths = set(files)
    for file in files:
        shorter = (Path(*file.parts[n:]) for n in range(1, len(file.parts) - 1))
        if not any(path in paths and _is_equal(root / path, root / file) for path in shorter):
            yield file


def _is_equal(path: Path, other: Path) -> bool:
    try:
        return filecmp.cmp(path, other, shallow=False)
    except OSError:  # reported when the recording is decoded
        return False


def _find_emotion_folders(
    root: Path, files: Sequence[Path], label_map: Mapping[str, str]
) -> Iterator[tuple[Path, int, str]]:
    """Yield the files with the index and the emotion of the folder that is named after an emotion.

    Raises:
        CorpusError: No folder of a recording is named after an emotion, or two are named after different ones and no
            level of folders decides.
    """
    words: dict[str, str | CorpusError] = {}
    for folder in {folder for file in files for folder in file.parts[:-1]}:
        try:
            words[folder] = map_emotion(folder, label_map)
        except CorpusError as error:
            words[folder] = error
    emotions = [
        [(i, word) for i, name in enumerate(file.parts[:-1]) if isinstance(word := words[name], str)] for file in files
    ]
    levels = set[int].intersection(*({index for index, _ in found} for found in emotions))
    for file, found in zip(files, emotions, strict=True):
        if not found:
            raise CorpusError(
                f"{root / file}: no folder of this recording is named after an emotion: {words[file.parts[-2]]}"
            )
        if len({emotion for _, emotion in found}) > 1:
            found = [(index, emotion) for index, emotion in found if levels == {index}]
        if not found:
            names = " and ".join(name for name in file.parts[:-1] if isinstance(words[name], str))
            raise CorpusError(
                f"{root / file}: the folders {names} are named after different emotions; rename one, or use a table"
            )
        index, emotion = found[-1]
        yield file, index, emotion
