"""Predictions as a Parquet file: the columns of the CSV file, with types. Needs the extra ``parquet``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

from kanjo.errors import requires_extra
from kanjo.files import atomic_write
from kanjo.inference import writers
from kanjo.inference.prediction import Prediction

#: Name of the format.
PARQUET = "parquet"
#: Recordings whose rows are written together; they are held in memory.
_RECORDINGS_PER_GROUP = 1000
#: Columns of text; the others are numbers.
_TEXT_COLUMNS = frozenset(["file", "part", "emotion", "warnings", "error"])


def require_pyarrow() -> Any:
    """Import pyarrow.

    Raises:
        KanjoError: It is not installed.
    """
    with requires_extra("parquet", "Parquet files need pyarrow"):
        import pyarrow
        import pyarrow.parquet
    return pyarrow


def write_parquet(output: Path, predictions: Iterable[Prediction], labels: Sequence[str]) -> None:
    """Write predictions, completely or not at all.

    The rows and columns are those of :func:`kanjo.inference.writers.csv_lines`. Cells that are empty there are null.

    Args:
        output: The file.
        predictions: Predictions, which may be computed while the file is written.
        labels: Emotions of the predictions.

    Raises:
        KanjoError: pyarrow is not installed, or the file can't be written.
    """
    pyarrow = require_pyarrow()
    header = writers.csv_header(labels)
    schema = pyarrow.schema(
        [(name, pyarrow.string() if name in _TEXT_COLUMNS else pyarrow.float64()) for name in header]
    )
    remaining = iter(predictions)
    with atomic_write(output) as temporary, pyarrow.parquet.ParquetWriter(temporary, schema) as writer:
        while group := list(islice(remaining, _RECORDINGS_PER_GROUP)):
            rows = chain.from_iterable(writers.table_rows(prediction, labels) for prediction in group)
            columns = [
                [_parse(cell, name) for cell in cells]
                for name, cells in zip(header, zip(*rows, strict=True), strict=True)
            ]
            writer.write_table(pyarrow.table(columns, schema=schema))


def _parse(cell: str, column: str) -> str | float | None:
    if not cell:
        return None
    return cell if column in _TEXT_COLUMNS else float(cell)
