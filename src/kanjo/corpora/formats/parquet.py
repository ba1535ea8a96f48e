"""Read and write Parquet files with Apache Arrow (extra ``parquet``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from kanjo.corpora.formats.cells import cell_to_text
from kanjo.errors import CorpusError
from kanjo.files import atomic_write, os_error_message

_BATCH_ROWS = 50_000


def read_column_names(path: Path) -> list[str]:
    """Return the names of the columns. Raises CorpusError if the file can't be read."""
    return [str(name) for name in _open(path).schema_arrow.names]


def read_rows(path: Path, columns: Sequence[str] | None = None) -> Iterator[tuple[str, ...]]:
    """Yield the rows as text, one batch in memory at a time; "" for null and NaN, durations in seconds.

    Args:
        path: The file.
        columns: Names of the columns to read, in this order; None for all.

    Raises:
        CorpusError: The file can't be read or is damaged, or a value is a list, an object or bytes.
    """
    import pyarrow

    with _open(path) as file:
        names = columns or [str(name) for name in file.schema_arrow.names]
        try:
            for batch in file.iter_batches(_BATCH_ROWS, columns=columns):
                yield from zip(*(_column_to_text(batch.column(name), name) for name in names), strict=True)
        except CorpusError as error:
            raise CorpusError(f"{path}: {error}") from None
        except (pyarrow.ArrowException, OSError) as error:
            raise CorpusError(
                f"{path}: the Parquet file is damaged ({_one_line(error)}); write or copy it again"
            ) from error


def write_rows(path: Path, columns: Mapping[str, Sequence[Any]]) -> None:
    """Write columns atomically: names that end in ``_s`` as numbers, all others as text.

    Raises:
        KanjoError: The file can't be written.
    """
    pyarrow, parquet = _import_arrow()
    types = {name: pyarrow.float64() if name.endswith("_s") else pyarrow.string() for name in columns}
    table = pyarrow.table({name: pyarrow.array(values, types[name]) for name, values in columns.items()})
    with atomic_write(path) as temporary:
        parquet.write_table(table, temporary)


def _column_to_text(column: Any, name: str) -> list[str]:
    import pyarrow

    values = column.to_pylist()
    if pyarrow.types.is_duration(column.type):
        nanoseconds = column.cast(pyarrow.duration("ns")).cast(pyarrow.int64()).to_pylist()
        values = [None if value is None else value / 1e9 for value in nanoseconds]
    return [cell_to_text(value, name) for value in values]


def _open(path: Path) -> Any:
    pyarrow, parquet = _import_arrow()
    try:
        return parquet.ParquetFile(path)
    except pyarrow.ArrowException as error:
        raise CorpusError(f"{path}: not a Parquet file ({_one_line(error)})") from error
    except OSError as error:
        raise CorpusError(f"can't read {path}: {os_error_message(error)}") from error


def _import_arrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise CorpusError("Parquet needs Apache Arrow: pip install 'kanjo[parquet]'") from error
    return pyarrow, parquet


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
