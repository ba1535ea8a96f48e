"""Convert the rows of a table under a header to utterances; column names of other tools are understood, too."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from kanjo.corpora.manifest import Utterance
from kanjo.errors import CorpusError
from kanjo.labels import map_emotion

#: Accepted names of each column of the manifest; the first is the manifest's own.
_COLUMN_ALIASES = {
    "corpus": ("corpus", "dataset", "database"),
    "file": ("file", "path", "filename", "file_name", "wav", "audio", "name"),
    "emotion": ("emotion", "label", "emo", "class"),
    "labels_raw": ("labels_raw",),
    "speaker": ("speaker", "speaker_id", "spk"),
    "sex": ("sex", "gender"),
    "language": ("language", "lang"),
    "text": ("text", "transcript", "transcription", "sentence"),
    "start_s": ("start_s", "start"),
    "end_s": ("end_s", "end"),
    "split": ("split", "set", "subset"),
}
#: ``0 days 00:00:01.500``: how pandas and audformat write a duration.
_TIMEDELTA = re.compile(r"(?:(?P<days>\d+) days? )?(?P<hours>\d+):(?P<minutes>\d\d):(?P<seconds>\d\d(?:\.\d+)?)")
#: The paths in EmoBox's tables start two or three folders above the table.
_MAX_LEVELS_UP = 4

Row = Sequence[str]


def rows_to_utterances(
    path: Path, header: Sequence[str], rows: Iterable[tuple[int, Row]], name: str, label_map: Mapping[str, str]
) -> Iterator[Utterance]:
    """Yield the utterances of the rows of a table.

    Args:
        path: The table, for error messages and relative paths.
        header: Column names.
        rows: Line numbers and cells.
        name: Corpus of rows that state none.
        label_map: Emotion for each label that is not a word of the vocabulary.

    Raises:
        CorpusError: A column is missing, a cell is invalid, or there are no rows.
    """
    columns = _column_indices(header, path)
    corpus, file, emotion, raw, speaker, sex, language, text, start, end, split = (
        columns[column] for column in _COLUMN_ALIASES
    )
    width = len(header)
    padding = [""] * width
    emotions: dict[str, str] = {}
    words: dict[str, str] = {}
    intern = words.setdefault  # a million rows repeat the same few words: keep one copy of each
    make_utterance = Utterance._make  # twice as fast as Utterance(...)
    folder_prefix: str | None = None
    for number, row in rows:
        if not row:
            continue
        cells = list(map(str.strip, row))
        if len(cells) != width:
            cells = (cells + padding)[:width]
        cells.append("")  # missing columns have this index
        if not (file_name := cells[file]):
            raise CorpusError(f"{path}:{number}: no file; expected the path of a recording in column {header[file]}")
        if folder_prefix is None:
            folder_prefix = _folder_prefix(path, file_name)
        if (label := cells[emotion]) not in emotions:
            emotions[label] = _map_label(label, label_map, path, number)
        yield make_utterance(
            (
                intern(cells[corpus], cells[corpus]) or name,
                folder_prefix + file_name,
                emotions[label],
                intern(cells[raw] or label, cells[raw] or label),
                intern(cells[speaker], cells[speaker]),
                intern(cells[sex], cells[sex]),
                intern(cells[language], cells[language]),
                intern(cells[text], cells[text]),
                _parse_seconds(cells[start], "start_s", path, number) if cells[start] else None,
                _parse_seconds(cells[end], "end_s", path, number) if cells[end] else None,
                intern(cells[split], cells[split]),
            )
        )
    if folder_prefix is None:
        raise CorpusError(f"{path}: the table has a header, but no rows; expected one row for each utterance")


def find_column(column: str, header: Iterable[str]) -> str | None:
    """Return the name in the header of a column of the manifest; None if it is missing."""
    names = {str(name).strip().casefold(): str(name) for name in header}
    return next((names[alias] for alias in _COLUMN_ALIASES[column] if alias in names), None)


def _column_indices(header: Sequence[str], path: Path) -> dict[str, int]:
    """Return the index of each column of the manifest; ``len(header)`` for missing columns."""
    names = {column: find_column(column, header) for column in _COLUMN_ALIASES}
    missing = [column for column in ("file", "emotion") if names[column] is None]
    if missing:
        existing = ", ".join(str(name).strip() for name in header) or "empty"
        raise CorpusError(
            f"{path}:1: missing column {' and '.join(missing)}; the header is {existing}. Expected at least a column "
            f"for the file ({', '.join(_COLUMN_ALIASES['file'])}) and one for the emotion "
            f"({', '.join(_COLUMN_ALIASES['emotion'])})"
        )
    return {column: len(header) if name is None else list(header).index(name) for column, name in names.items()}


def _map_label(label: str, label_map: Mapping[str, str], path: Path, number: int) -> str:
    try:
        return map_emotion(label, label_map)
    except CorpusError as error:
        raise CorpusError(f"{path}:{number}: {error}") from None


def _parse_seconds(cell: str, column: str, path: Path, number: int) -> float | None:
    if cell in ("NaT", "nan"):
        return None
    try:
        return float(cell)
    except ValueError:
        match = _TIMEDELTA.fullmatch(cell)
    if match is None:
        raise CorpusError(f"{path}:{number}: {column} is {cell!r}; expected seconds, such as 1.5, or 00:00:01.5")
    hours = 24 * int(match["days"] or 0) + int(match["hours"])
    return 3600.0 * hours + 60 * int(match["minutes"]) + float(match["seconds"])


def _folder_prefix(path: Path, file: str) -> str:
    """Return the path from the folder of the table to the folder that its file paths start from; "" for the same."""
    folder = path.resolve().parent
    for n_levels in range(_MAX_LEVELS_UP):
        if (folder / file).exists():
            return "../" * n_levels
        folder = folder.parent
    return ""
