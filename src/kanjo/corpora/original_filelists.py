"""The parts of JTES, ESD, STUDIES and RAVDESS in the lists of kanjo's reference implementation, DCNN-LSTMWA.

The reference has no test list: it validates on the held-out speakers after each epoch, and reports this score.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from kanjo.corpora.manifest import Utterance

_EMOTIONS = ("neutral", "happiness", "sadness", "anger")
_N_FOLDS = 5
_ESD_ENGLISH = tuple(f"{number:04d}" for number in range(11, 21))
_ESD_VALIDATION = {"female": "0015", "male": "0011"}
_ESD_TRAINING = {"female": ("0016", "0017", "0018", "0019"), "male": ("0012", "0013", "0014", "0020")}
_JTES_PER_FOLD, _RAVDESS_PER_FOLD, _RAVDESS_ACTORS = 10, 4, 24
_STUDIES_SEED, _STUDIES_PER_FOLD = 123, 20
_RAVDESS_NORMAL = "01"


@dataclass(frozen=True)
class ListParts:
    """The lists of one folder.

    Attributes:
        folder: Name of the folder, such as "loso0011".
        train: Training utterances.
        validation: Utterances of the list "val".
    """

    folder: str
    train: tuple[Utterance, ...]
    validation: tuple[Utterance, ...]


def original_parts(
    corpus: str, protocol: str, utterances: Sequence[Utterance], emotions: Sequence[str] | None = None
) -> list[ListParts] | None:
    """Return the parts that the reference's script makes of a corpus; None if it has no script for this protocol.

    Args:
        corpus: Name of the corpus.
        protocol: all, female, male, loso or cv.
        utterances: All utterances of the corpus.
        emotions: Emotions of the lists (None: the reference's neutral, happiness, sadness and anger).
    """
    make = _PARTS.get((corpus, protocol))
    if make is None:
        return None
    chosen = emotions or _EMOTIONS

    def select(rows: Iterable[Utterance]) -> tuple[Utterance, ...]:
        return tuple(row for row in rows if row.emotion in chosen)

    parts = make([row for row in utterances if _is_used(corpus, row)])
    return [ListParts(part.folder, select(part.train), select(part.validation)) for part in parts]


def _is_used(corpus: str, row: Utterance) -> bool:
    if corpus == "esd":
        return row.speaker in _ESD_ENGLISH
    return corpus != "ravdess" or Path(row.file).stem.split("-")[3] == _RAVDESS_NORMAL


def _all(rows: Sequence[Utterance]) -> list[ListParts]:
    return [ListParts("all", tuple(rows), ())]


def _by_speaker(
    rows: Sequence[Utterance], folds: Mapping[str, Iterable[str]], train: Iterable[str] | None = None
) -> list[ListParts]:
    """Return one folder for each set of validation speakers.

    Args:
        rows: Utterances.
        folds: Validation speakers by the name of the folder. Folders without any of them are left out.
        train: Training speakers (None: all others).
    """
    parts = []
    for folder, speakers in folds.items():
        held_out, training = set(speakers), None if train is None else set(train)
        validation = tuple(row for row in rows if row.speaker in held_out)
        others = (row for row in rows if row.speaker not in held_out)
        if validation:
            parts.append(
                ListParts(folder, tuple(r for r in others if training is None or r.speaker in training), validation)
            )
    return parts


def _esd_sex(sex: str) -> Callable[[Sequence[Utterance]], list[ListParts]]:
    return lambda rows: _by_speaker(rows, {sex: [_ESD_VALIDATION[sex]]}, _ESD_TRAINING[sex])


def _esd_loso(rows: Sequence[Utterance]) -> list[ListParts]:
    return _by_speaker(rows, {f"loso{speaker}": [speaker] for speaker in _ESD_ENGLISH})


def _jtes_cv(rows: Sequence[Utterance]) -> list[ListParts]:
    """Return folders cv10 to cv50: each validates on ten women and the ten men with the same numbers."""
    ends = range(_JTES_PER_FOLD, (_N_FOLDS + 1) * _JTES_PER_FOLD, _JTES_PER_FOLD)
    folds = {
        f"cv{end}": [f"{sex}{number:02d}" for sex in "fm" for number in range(end - _JTES_PER_FOLD + 1, end + 1)]
        for end in ends
    }
    return _by_speaker(rows, folds)


def _ravdess_cv(rows: Sequence[Utterance]) -> list[ListParts]:
    """Return folders cv4 to cv24: each validates on four actors in the order of their numbers."""
    ends = range(_RAVDESS_PER_FOLD, _RAVDESS_ACTORS + 1, _RAVDESS_PER_FOLD)
    folds = {f"cv{end}": [f"{n:02d}" for n in range(end - _RAVDESS_PER_FOLD + 1, end + 1)] for end in ends}
    return _by_speaker(rows, folds)


def _studies_cv(rows: Sequence[Utterance]) -> list[ListParts]:
    """Return folders cv20 to cv100 of the sentences of ITA, all of one speaker.

    Each folder of recordings is shuffled with the same seed, and its first hundred utterances are five parts of 20.
    Further ones always train.
    """
    by_folder: dict[str, list[Utterance]] = {}
    for row in rows:
        path = PurePosixPath(row.file)
        if "ITA" in path.parts:
            by_folder.setdefault(path.parent.parent.as_posix(), []).append(row)
    shuffled = []
    for group in by_folder.values():
        group.sort(key=lambda row: row.file)
        random.Random(_STUDIES_SEED).shuffle(group)
        shuffled.append(group)
    parts = []
    for start in range(0, _N_FOLDS * _STUDIES_PER_FOLD, _STUDIES_PER_FOLD):
        end = start + _STUDIES_PER_FOLD
        train = tuple(row for group in shuffled for row in (*group[:start], *group[end:]))
        validation = tuple(row for group in shuffled for row in group[start:end])
        if validation:
            parts.append(ListParts(f"cv{end}", train, validation))
    return parts


_PARTS: dict[tuple[str, str], Callable[[Sequence[Utterance]], list[ListParts]]] = {
    ("esd", "all"): _all,
    ("esd", "female"): _esd_sex("female"),
    ("esd", "male"): _esd_sex("male"),
    ("esd", "loso"): _esd_loso,
    ("jtes", "all"): _all,
    ("jtes", "cv"): _jtes_cv,
    ("ravdess", "all"): _all,
    ("ravdess", "cv"): _ravdess_cv,
    ("studies", "all"): _all,
    ("studies", "cv"): _studies_cv,
}
