"""Prediction files that are written row by row, so that an interrupted command can resume."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from kanjo.errors import KanjoError
from kanjo.files import os_error_message
from kanjo.inference import writers
from kanjo.inference.prediction import Prediction

#: Formats that can be resumed: the rows of a recording do not depend on other recordings.
RESUMABLE_FORMATS = frozenset(["csv", "jsonl"])
#: Columns of the CSV besides the probabilities, and the position of the column ``part``.
_N_FIXED_COLUMNS, _PART_COLUMN = 8, 3


class ResumableWriter:
    """Writes predictions into ``OUTPUT.part``, which is renamed to ``OUTPUT`` when all are written.

    Args:
        output: The output file.
        form: "csv" or "jsonl".
        labels: The emotions of the predictions.
        resume: Whether to continue the ``.part`` file of an interrupted command, or else the output file.

    Attributes:
        finished_files: The recordings whose rows are in the file already.

    Raises:
        KanjoError: There is a ``.part`` file and ``resume`` is false, the file has other content, or it can't be
            written.
    """

    def __init__(self, output: Path, form: str, labels: Sequence[str], resume: bool) -> None:
        self.output, self.form, self.labels = output, form, labels
        self.part = output.with_name(output.name + ".part")
        self.finished_files: set[str] = set()
        try:
            output.parent.mkdir(parents=True, exist_ok=True)
            if resume and not self.part.exists() and output.exists():
                shutil.copyfile(output, self.part)
            if self.part.exists():
                if not resume:
                    raise KanjoError(
                        f"{self.part} is from an interrupted command: continue it with --resume, or remove it"
                    )
                self._recover()
            self._stream: BinaryIO = self.part.open("ab")
        except OSError as error:
            raise KanjoError(f"can't write {output}: {os_error_message(error)}") from error
        if form == "csv" and not self._stream.tell():
            self._write(writers.csv_row(writers.csv_header(labels)) + "\n")

    def write_all(self, predictions: Iterable[Prediction]) -> None:
        """Write the rows of all recordings as they come, then rename the file."""
        for prediction in predictions:
            self.write(prediction)
        self.close()

    def write(self, prediction: Prediction) -> None:
        """Write all rows of one recording at once."""
        if self.form == "csv":
            self._write("".join(row + "\n" for row in writers.csv_rows(prediction, self.labels)))
        else:
            self._write(json.dumps(prediction.as_dict(), ensure_ascii=False) + "\n")

    def close(self) -> None:
        """Rename the ``.part`` file to the output file."""
        try:
            self._stream.close()
            self.part.replace(self.output)
        except OSError as error:
            raise KanjoError(f"can't write {self.output}: {os_error_message(error)}") from error

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text.encode("utf-8", "surrogateescape"))
            self._stream.flush()
        except OSError as error:
            raise KanjoError(f"can't write {self.part}: {os_error_message(error)}; continue with --resume") from error

    def _recover(self) -> None:
        """Read which recordings are finished, and remove a partly written record at the end."""
        with self.part.open("rb") as stream:
            end = self._recover_csv(stream) if self.form == "csv" else self._recover_jsonl(stream)
        with self.part.open("r+b") as stream:
            stream.truncate(end)

    def _recover_csv(self, stream: BinaryIO) -> int:
        """Where the last recording starts: some of its rows may be missing, so it is predicted again."""
        last_start, last_file = 0, ""
        for n, (offset, record) in enumerate(_read_records(stream, quoted=True)):
            cells = next(csv.reader(io.StringIO(record.decode("utf-8", "surrogateescape"))))
            if n == 0:
                self._check_content(cells == writers.csv_header(self.labels))
                last_start = offset + len(record)
                continue
            self._check_content(len(cells) == len(self.labels) + _N_FIXED_COLUMNS)
            if cells[_PART_COLUMN] == "recording":
                last_start, last_file = offset, cells[0]
                self.finished_files.add(last_file)
        self.finished_files.discard(last_file)
        return last_start

    def _recover_jsonl(self, stream: BinaryIO) -> int:
        """Where the last complete line ends."""
        end = 0
        for offset, record in _read_records(stream, quoted=False):
            content = _parse_line(record)
            file = str(content.get("file", ""))
            probabilities = content.get("probabilities")
            self._check_content(bool(file) and isinstance(probabilities, dict))
            self._check_content(not probabilities or set(probabilities) == set(self.labels))  # a failure has none
            self.finished_files.add(file)
            end = offset + len(record)
        return end

    def _check_content(self, valid: bool) -> None:
        if not valid:
            raise KanjoError(
                f"{self.part} does not contain predictions of this bundle as {self.form}, or has other emotions; "
                "remove it, or choose another output file"
            )


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
        content = json.loads(record)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}
