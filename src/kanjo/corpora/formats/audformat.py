"""audformat's databases (audeering): ``db.yaml`` beside tables such as ``db.emotion.csv`` or ``.parquet``."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kanjo.corpora.corpus import table_of
from kanjo.corpora.formats import parquet
from kanjo.corpora.formats.tables import column_of, utterances
from kanjo.corpora.manifest import Utterance
from kanjo.errors import CorpusError

HEADER = "db.yaml"
_JOINED = ("speaker", "sex", "language", "text")


@dataclass(frozen=True)
class _Table:
    path: Path
    header: list[str]
    rows: list[Sequence[str]]

    def place(self, what: str) -> int | None:
        name = column_of(what, self.header)
        return None if name is None else self.header.index(name)


def read_audformat(root: Path, name: str, label_map: Mapping[str, str]) -> Iterator[Utterance]:
    """Utterances of the first table with files and emotions; speaker, sex, language and text are joined from the others.

    Raises CorpusError when no table has both.
    """
    tables = [_read(path, name) for path in sorted(root.glob("db.*")) if path.suffix in (".csv", ".parquet")]
    labelled = next((t for t in tables if t.place("file") is not None and t.place("emotion") is not None), None)
    if labelled is None:
        found = "; ".join(f"{t.path.name}: {', '.join(t.header)}" for t in tables) or "no table"
        raise CorpusError(f"{name}: no table with the columns file and emotion beside {root / HEADER}; found {found}")
    header = list(labelled.header)
    rows = [list(row) for row in labelled.rows]
    for what in _JOINED:  # the sex may hang on the speaker, so the speaker comes first
        if column_of(what, header) is not None:
            continue
        for key in ("file", "speaker"):
            known = _lookup(tables, key, what)
            by = column_of(key, header)
            if known and by is not None:
                at = header.index(by)
                rows = [[*row, known.get(row[at], "")] for row in rows]
                header.append(what)
                break
    yield from utterances(labelled.path, header, enumerate(rows, 2), name, label_map)


def _lookup(tables: Sequence[_Table], key: str, what: str) -> dict[str, str]:
    for table in tables:
        by, value = table.place(key), table.place(what)
        whole = key != "file" or table.place("start_s") is None  # what a stretch says holds for no whole file
        if by == 0 and value is not None and whole:
            return {row[by]: row[value] for row in table.rows}
    return {}


def _read(path: Path, name: str) -> _Table:
    if path.suffix == ".parquet":
        return _Table(path, parquet.columns_of(path), list(parquet.read_rows(path)))
    rows = csv.reader(table_of(path, name))
    return _Table(path, next(rows, []), [row for row in rows if row])
