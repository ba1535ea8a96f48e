"""Read which recordings a file of predictions contains, so that an interrupted command can continue it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from kanjo.errors import KanjoError
from kanjo.inference import writers

#: Columns of the CSV besides the probabilities, and the position of the column ``part``.
_N_FIXED_COLUMNS, _PART_COLUMN = 8, 3


@dataclass(frozen=True)
class WrittenRecording:
    """The rows of one recording.

    Attributes:
        file: Name of the recording, in the form of :func:`kanjo.file_names.encode_name`.
        failed: Whether the row is an error.
        start: Position of the first byte.
        end: Position after the last byte.
    """

    file: str
    failed: bool
    start: int
    end: int


@dataclass
class WrittenPredictions:
    """The content of a file of predictions.

    Attributes:
        header_end: Position after the header.
        recordings: The recordings, in the order of the file.
        end: Position after the last complete record; the bytes after it belong to a partly written one.
        cut: Whether there are such bytes.
    """

    header_end: int = 0
    recordings: list[WrittenRecording] = field(default_factory=list)
    end: int = 0
    cut: bool = False

    def drop_last(self) -> None:
        """Drop the last recording, whose rows may not all be there."""
        if self.recordings:
            self.end = self.recordings.pop().start


def read_written(path: Path, form: str, labels: Sequence[str]) -> WrittenPredictions:
    """Read a file of predictions.

    Args:
        path: The file.
        form: "csv" or "jsonl".
        labels: The emotions of the predictions.

    Raises:
        KanjoError: The file has other content.
        OSError: The file can't be read.
    """
    with path.open("rb") as stream:
        reader = _read_csv if form == "csv" else _read_jsonl
        content = reader(stream, labels)
        size = stream.seek(0, io.SEEK_END)
    if content is None:
        raise KanjoError(
            f"{path} does not contain predictions of this bundle as {form}, or has other emotions; "
            "remove it, or choose another output file"
        )
    content.cut = size > content.end
    return content


def merge_recordings(recordings: Iterable[WrittenRecording]) -> Iterator[WrittenRecording]:
    """Yield the last rows of each recording, in the order in which the recordings occur first."""
    last: dict[str, WrittenRecording] = {}
    for recording in recordings:
        last[recording.file] = recording  # a dictionary keeps the position of a key that exists
    yield from last.values()


def _read_csv(stream: BinaryIO, labels: Sequence[str]) -> WrittenPredictions | None:
    """Read a CSV file; None if it has other content."""
    content = WrittenPredictions()
    file, failed, start = "", False, 0
    for n, (offset, record) in enumerate(_read_records(stream, quoted=True)):
        cells = next(csv.reader(io.StringIO(record.decode("utf-8", "surrogateescape"), newline="")), [])
        if n == 0:
            if cells != writers.csv_header(labels):
                return None
            content.header_end = offset + len(record)
        elif len(cells) != len(labels) + _N_FIXED_COLUMNS:
            return None
        elif cells[_PART_COLUMN] == "recording":
            if file:
                content.recordings.append(WrittenRecording(file, failed, start, offset))
            file, failed, start = cells[0], bool(cells[-1]), offset
        content.end = offset + len(record)
    if file:
        content.recordings.append(WrittenRecording(file, failed, start, content.end))
    return content


def _read_jsonl(stream: BinaryIO, labels: Sequence[str]) -> WrittenPredictions | None:
    """Read JSON Lines; None if they have other content."""
    content = WrittenPredictions()
    for offset, record in _read_records(stream, quoted=False):
        line = _parse_line(record)
        file, probabilities = str(line.get("file", "")), line.get("probabilities")
        if not file or not isinstance(probabilities, dict):
            return None
        if probabilities and set(probabilities) != set(labels):  # a failure has none
            return None
        content.end = offset + len(record)
        content.recordings.append(WrittenRecording(file, bool(line.get("error")), offset, content.end))
    return content


def _read_records(stream: BinaryIO, quoted: bool) -> Iterator[tuple[int, bytes]]:
    """Complete records with their offsets. If ``quoted``, a record continues until all quotation marks are closed."""
    offset, record = 0, b""
    for line in stream:
        record += line
        if not line.endswith(b"\n"):
            return
        if quoted and record.count(b'"') % 2:
            continue
        yield offset, record
        offset, record = offset + len(record), b""


def _parse_line(record: bytes) -> dict[str, Any]:
    """The content of a JSON line, an empty dictionary for other content."""
    try:
        content = json.loads(record)  # not parse_json, whose limits a recording of ten hours exceeds
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
