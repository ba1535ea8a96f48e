"""Folders with one sub-folder for each class, where the names of the classes are free.

:mod:`kanjo.corpora.readers.own` reads folders whose names are words of the vocabulary. This module also reads new words
("stressed"), so it has to find out which level of the folders holds the classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kanjo.corpora.corpus import list_recordings, no_utterances_error
from kanjo.corpora.formats import audformat, kaldi
from kanjo.corpora.manifest import Manifest, Utterance
from kanjo.corpora.readers.own import read_folder, without_nested_copies
from kanjo.corpora.words import SPLIT_WORDS, normalize, parse_split
from kanjo.errors import CorpusError
from kanjo.labels import is_known_word, map_emotion

_SPLIT_WORDS = frozenset[str]().union(*SPLIT_WORDS.values())


@dataclass(frozen=True)
class ClassFolders:
    """The utterances of class folders.

    Attributes:
        manifest: The utterances.
        outside: Recordings that lie in no class folder, relative to the root.
    """

    manifest: Manifest
    outside: tuple[str, ...] = ()


def read_class_folders(root: Path, name: str, label_map: Mapping[str, str]) -> ClassFolders:
    """Read a folder of class folders, a Kaldi data folder, or an audformat database.

    Folders above or below the class folders name the speaker. If they are named "train", "test" and so on, they name
    the part of a split.

    Args:
        root: The folder.
        name: Corpus name of the utterances.
        label_map: Class of each word.

    Raises:
        CorpusError: There are no utterances, or it is not clear which folders are the classes.
    """
    if (root / kaldi.RECORDINGS).is_file() or (root / audformat.HEADER).is_file():
        return ClassFolders(Manifest(root, tuple(read_folder(root, name, label_map))))
    recordings = [path.relative_to(root) for path in list_recordings(root, name)]
    paths = list(without_nested_copies(root, recordings))
    folders = [tuple(map(normalize, path.parts[:-1])) for path in paths]
    expected = "one sub-folder with recordings for each class, such as angry/ and happy/"
    if not paths:
        raise no_utterances_error(name, root, expected)
    if not any(folders):
        raise CorpusError(
            f"{root}: all recordings, such as {paths[0].name}, are in no class folder; expected {expected}; or a table "
            "with the columns file and emotion"
        )
    level, from_top = _find_class_level(folders, root)
    is_split = _find_split_level(folders, level if from_top else None)
    utterances, outside = [], []
    for path, names in zip(paths, folders, strict=True):
        index = level if from_top else len(names) - 1
        if not names or not 0 <= index < len(names):
            outside.append(path.as_posix())
            continue
        others = [folder for i, folder in enumerate(names) if i != index]
        split = parse_split(others.pop(0)) if is_split else ""
        utterances.append(
            Utterance(
                corpus=name,
                file=path.as_posix(),
                emotion=map_emotion(names[index], label_map),
                labels_raw=names[index],
                speaker="/".join(others),
                split=split,
            )
        )
    return ClassFolders(Manifest(root, tuple(utterances)), tuple(outside))


def _find_class_level(folders: Sequence[tuple[str, ...]], root: Path) -> tuple[int, bool]:
    """Return the level of the class folders, and whether it counts from the top; else they are the innermost folders.

    Raises:
        CorpusError: No level, or more than one level, has folders that are named after emotions.
    """
    depth = max(map(len, folders))
    if depth == 1:
        return 0, True
    counts = [sum(level < len(names) and is_known_word(names[level]) for names in folders) for level in range(depth)]
    innermost = sum(bool(names) and is_known_word(names[-1]) for names in folders)
    best = max(counts)
    if innermost > best:
        return 0, False
    if not best or counts.count(best) > 1:
        reason = "are named after emotions on two levels" if best else "have no name of a known emotion"
        examples = ", ".join(dict.fromkeys("/".join(names) for names in folders if len(names) == depth))[:60]
        raise CorpusError(
            f"{root}: the folders ({examples}) {reason}, so it is unclear which are the classes; use one level of "
            "folders, or a table with the columns file, emotion and speaker"
        )
    return counts.index(best), True


def _find_split_level(folders: Sequence[tuple[str, ...]], class_level: int | None) -> bool:
    """Whether the first folder besides the class folder is a part of a split in every path."""
    first = []
    for names in folders:
        index = len(names) - 1 if class_level is None else class_level
        first.append(next((name for i, name in enumerate(names) if i != index), ""))
    return all(name.casefold() in _SPLIT_WORDS for name in first)
