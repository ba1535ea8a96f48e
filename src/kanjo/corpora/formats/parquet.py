"""Parquet files in and out, through Apache Arrow (extra ``parquet``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from kanjo.errors import CorpusError
from kanjo.files import reason, written_whole

_ROWS = 50_000


def columns_of(path: Path) -> list[str]:
    """The names of a file's columns. Raises CorpusError."""
    return [str(name) for name in _opened(path).schema_arrow.names]


def read_rows(path: Path) -> Iterator[tuple[str, ...]]:
    """The rows of a file as text ("" for null), a batch in memory at a time; lengths of time in seconds. Raises CorpusError."""
    import pyarrow

    with _opened(path) as file:
        try:
            for batch in file.iter_batches(_ROWS):
                yield from zip(*(_values(column) for column in batch.columns), strict=True)
        except (pyarrow.ArrowException, OSError) as error:
            raise CorpusError(f"{path}: damaged ({_line(error)})") from error


def write_rows(path: Path, columns: Mapping[str, Sequence[Any]]) -> None:
    """Write columns, whole or not at all. Raises KanjoError."""
    pyarrow, parquet = _arrow()
    kinds = {name: pyarrow.float64() if name.endswith("_s") else pyarrow.string() for name in columns}
    table = pyarrow.table({name: pyarrow.array(values, kinds[name]) for name, values in columns.items()})
    with written_whole(path) as temporary:
        parquet.write_table(table, temporary)


def _values(column: Any) -> list[str]:
    import pyarrow

    values = column.to_pylist()
    if pyarrow.types.is_duration(column.type):
        exact = column.cast(pyarrow.duration("ns")).cast(pyarrow.int64()).to_pylist()
        values = [None if value is None else value / 1e9 for value in exact]
    return ["" if value is None else str(value) for value in values]


def _opened(path: Path) -> Any:
    pyarrow, parquet = _arrow()
    try:
        return parquet.ParquetFile(path)
    except pyarrow.ArrowException as error:
        raise CorpusError(f"{path}: not a Parquet file ({_line(error)})") from error
    except OSError as error:
        raise CorpusError(f"can't read {path}: {reason(error)}") from error


def _arrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise CorpusError("Parquet needs Apache Arrow: pip install 'kanjo[parquet]'") from error
    return pyarrow, parquet


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
