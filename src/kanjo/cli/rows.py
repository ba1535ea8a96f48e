"""Answers written as they come, so that a run that is stopped goes on where it was: one row lost is one too many of 100,000."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from kanjo.errors import KanjoError
from kanjo.files import reason
from kanjo.inference import writers
from kanjo.inference.prediction import Prediction

#: Formats that can be gone on with: a recording's rows stand by themselves.
RESUMABLE = frozenset(["csv", "jsonl"])


class Rows:
    """``OUTPUT.part``, which becomes ``OUTPUT`` when all is answered. ``done`` holds the files that have their rows.

    ``resume`` goes on with the part of a stopped run, or, where there is none, with ``OUTPUT``. Raises KanjoError: a part is there and
    ``resume`` is not said; it holds something else; the system refuses (full disk, no permission).
    """

    def __init__(self, output: Path, form: str, labels: Sequence[str], resume: bool) -> None:
        self.output, self.form, self.labels = output, form, labels
        self.part = output.with_name(output.name + ".part")
        self.done: set[str] = set()
        try:
            output.parent.mkdir(parents=True, exist_ok=True)
            if resume and not self.part.exists() and output.exists():
                shutil.copyfile(output, self.part)
            if self.part.exists():
                if not resume:
                    raise KanjoError(
                        f"{self.part} is of a run that was stopped: --resume goes on with it; or remove it"
                    )
                self._recover()
            self._stream = self.part.open("ab")
        except OSError as error:
            raise KanjoError(f"can't write {output}: {reason(error)}") from error
        if form == "csv" and not self._stream.tell():
            self._write(writers.csv_row(writers.csv_header(labels)) + "\n")

    def add(self, item: Prediction) -> None:
        """The rows of one recording, in one write."""
        if self.form == "csv":
            self._write("".join(row + "\n" for row in writers.csv_rows(item, self.labels)))
        else:
            self._write(json.dumps(item.as_dict(), ensure_ascii=False) + "\n")

    def write(self, answers: Iterable[Prediction]) -> None:
        """The rows of all recordings, as they come."""
        for item in answers:
            self.add(item)
        self.finish()

    def finish(self) -> None:
        """All is answered: the part becomes the output."""
        try:
            self._stream.close()
            self.part.replace(self.output)
        except OSError as error:
            raise KanjoError(f"can't write {self.output}: {reason(error)}") from error

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text.encode("utf-8", "surrogateescape"))
            self._stream.flush()
        except OSError as error:
            raise KanjoError(f"can't write {self.part}: {reason(error)}; --resume goes on with it") from error

    def _recover(self) -> None:
        """Read what is done, and cut off what a kill left half written."""
        begun, end = 0, 0  # where the last recording's rows begin, and where the whole records end
        last = ""
        with self.part.open("rb") as stream:
            for n, (at, record) in enumerate(_records(stream, quoted=self.form == "csv")):
                end = at + len(record)
                if self.form == "csv":
                    cells = next(csv.reader(io.StringIO(record.decode("utf-8", "surrogateescape"))))
                    if n == 0:
                        self._expect(cells == writers.csv_header(self.labels))
                        begun = end
                        continue
                    self._expect(len(cells) == len(self.labels) + 8)
                    if cells[3] == "recording":
                        begun, last = at, cells[0]
                        self.done.add(last)
                else:
                    begun, last = end, _name(record)
                    self._expect(bool(last))
                    self.done.add(last)
        if self.form == "csv":  # nobody knows whether its last recording's rows are all there: it is answered again
            self.done.discard(last)
            end = begun
        with self.part.open("r+b") as stream:
            stream.truncate(end)

    def _expect(self, so: bool) -> None:
        if not so:
            raise KanjoError(
                f"{self.part} holds something else than this bundle's answers as {self.form}; remove it, or write elsewhere"
            )


def _records(stream: BinaryIO, quoted: bool) -> Iterator[tuple[int, bytes]]:
    """Whole records with the place where each begins: lines, or, ``quoted``, lines up to where all quotation marks are closed."""
    at, held = 0, b""
    for line in stream:
        held += line
        if not line.endswith(b"\n"):
            return
        if quoted and held.count(b'"') % 2:
            continue
        yield at, held
        at, held = at + len(held), b""


def _name(record: bytes) -> str:
    try:
        content = json.loads(record)
    except ValueError:
        return ""
    return str(content.get("file", "")) if isinstance(content, dict) else ""
