"""Read audformat databases (audeering): ``db.yaml`` and tables such as ``db.emotion.csv`` or ``.parquet``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kanjo.corpora.formats import parquet
from kanjo.corpora.formats.rows import TableOptions, find_column, rows_to_utterances
from kanjo.corpora.manifest import Utterance
from kanjo.corpora.text_files import describe_header, extra_cells_error, open_table, read_records
from kanjo.errors import CorpusError

HEADER = "db.yaml"
#: Columns that may be in other tables. The sex may depend on the speaker, so the speaker comes first.
_JOINED_COLUMNS = ("speaker", "sex", "language", "text")


@dataclass(frozen=True)
class _Table:
    path: Path
    header: list[str]
    rows: list[tuple[int, Sequence[str]]]  # line numbers and cells

    def column_index(self, column: str) -> int | None:
        """Return the index of a column of the manifest; None if the table lacks it."""
        name = find_column(column, self.header)
        return None if name is None else self.header.index(name)


def read_audformat(root: Path, options: TableOptions) -> Iterator[Utterance]:
    """Yield the utterances of the first table with files and emotions.

    Speaker, sex, language and text are joined from other tables.

    Raises:
        CorpusError: No table has both files and emotions, or a cell is invalid.
    """
    tables = [_read_table(path) for path in sorted(root.glob("db.*")) if path.suffix in (".csv", ".parquet")]
    labeled = next((table for table in tables if _has_labels(table)), None)
    if labeled is None:
        existing = "; ".join(f"{table.path.name}: {describe_header(table.header)}" for table in tables) or "no table"
        raise CorpusError(
            f"{options.corpus}: expected a table with the columns file and emotion in the folder of {root / HEADER}; "
            f"found {existing}"
        )
    header = list(labeled.header)
    rows = [(number, list(row)) for number, row in labeled.rows]
    for column in _JOINED_COLUMNS:
        if find_column(column, header) is not None:
            continue
        for key in ("file", "speaker"):
            values = _values_by_key(tables, key, column)
            key_name = find_column(key, header)
            if values and key_name is not None:
                index = header.index(key_name)
                rows = [(number, [*row, values.get(row[index], "")]) for number, row in rows]
                header.append(column)
                break
    yield from rows_to_utterances(labeled.path, header, rows, options)


def _has_labels(table: _Table) -> bool:
    return table.column_index("file") is not None and table.column_index("emotion") is not None


def _values_by_key(tables: Sequence[_Table], key: str, column: str) -> dict[str, str]:
    """Return ``{key: value}`` of the first table whose index is ``key`` and that has the column; else {}."""
    for table in tables:
        key_index, value_index = table.column_index(key), table.column_index(column)
        is_per_segment = key == "file" and table.column_index("start_s") is not None  # not valid for the whole file
        if key_index == 0 and value_index is not None and not is_per_segment:
            return {row[key_index]: row[value_index] for _, row in table.rows}
    return {}


def _read_table(path: Path) -> _Table:
    """Read a table; every row gets as many cells as the header."""
    if path.suffix == ".parquet":
        return _Table(path, parquet.read_column_names(path), list(enumerate(parquet.read_rows(path), 1)))
    records = read_records(open_table(path, "audformat"), path)
    _, header = next(records, (1, []))
    rows: list[tuple[int, Sequence[str]]] = []
    for number, cells in records:
        if len(cells) > len(header):
            raise extra_cells_error(path, number, len(cells), header)
        if cells:
            rows.append((number, cells + [""] * (len(header) - len(cells))))
    return _Table(path, header, rows)
