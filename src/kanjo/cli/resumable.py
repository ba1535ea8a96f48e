"""Prediction files that are written row by row, so that an interrupted command can resume."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from io import FileIO
from pathlib import Path

from kanjo.cli.written_predictions import merge_recordings, read_written
from kanjo.errors import KanjoError
from kanjo.file_names import ERROR_HANDLER, encode_name
from kanjo.files import atomic_write, os_error_message
from kanjo.inference import writers
from kanjo.inference.prediction import Prediction
from kanjo.locks import LockedError, open_locked

#: Formats that can be resumed: the rows of a recording do not depend on other recordings.
RESUMABLE_FORMATS = frozenset(["csv", "jsonl"])


class ResumableWriter:
    """Writes predictions into ``OUTPUT.part``, which is renamed to ``OUTPUT`` when all are written.

    The ``.part`` file is locked, so that two commands can't write the same file, and rows are only appended to it.
    A recording that failed earlier is predicted again: its new rows are at the end of the ``.part`` file, and in the
    place of its error in the output file.

    Args:
        output: The output file.
        form: "csv" or "jsonl".
        labels: The emotions of the predictions.
        resume: Whether to continue the ``.part`` file of an interrupted command, or else the output file.

    Attributes:
        finished_files: The recordings that the file has predictions of, by their names in the file.
        failed_files: The recordings that the file has errors of.

    Raises:
        KanjoError: Another command writes the file, there is a ``.part`` file and ``resume`` is false, the file has
            other content, or it can't be written.
    """

    def __init__(self, output: Path, form: str, labels: Sequence[str], resume: bool) -> None:
        self.output, self.form, self.labels = output, form, labels
        self.part = output.with_name(output.name + ".part")
        self.finished_files: set[str] = set()
        self.failed_files: set[str] = set()
        self._n_written: Counter[str] = Counter()
        self._continues = False
        try:
            output.parent.mkdir(parents=True, exist_ok=True)
            self._stream = self._open_part()
            size = os.fstat(self._stream.fileno()).st_size
            try:
                self._start(size, resume)
            except BaseException:
                if not size:
                    self._stream.truncate(0)  # removes a partly written header or copy
                self._release()
                raise
        except OSError as error:
            raise KanjoError(f"can't write {output}: {os_error_message(error)}") from error

    def write_all(self, predictions: Iterable[Prediction]) -> None:
        """Write the rows of all recordings as they come, then rename the file. The lock ends in any case."""
        try:
            for prediction in predictions:
                self.write(prediction)
            self.close()
        finally:
            self._release()

    def write(self, prediction: Prediction) -> None:
        """Write all rows of one recording at once."""
        if self.form == "csv":
            text = "".join(row + "\n" for row in writers.csv_rows(prediction, self.labels))
        else:
            text = json.dumps(prediction.as_dict(), ensure_ascii=False) + "\n"
        try:
            self._append(text.encode("utf-8", ERROR_HANDLER))
        except OSError as error:
            raise KanjoError(f"can't write {self.part}: {os_error_message(error)}; continue with --resume") from error
        self._note(encode_name(prediction.file), bool(prediction.error))

    def close(self) -> None:
        """Rename the ``.part`` file to the output file; leave out rows that later rows replace."""
        try:
            if self._continues and max(self._n_written.values(), default=0) > 1:
                self._write_merged()
                self._remove_part()
                return
            if os.name == "nt":  # Windows does not rename an open file
                self._stream.close()
            self.part.replace(self.output)
            self._stream.close()
        except OSError as error:
            raise KanjoError(f"can't write {self.output}: {os_error_message(error)}; continue with --resume") from error

    def _open_part(self) -> FileIO:
        """Open and lock the ``.part`` file."""
        try:
            descriptor = open_locked(self.part, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        except LockedError as error:
            raise KanjoError(
                f"another kanjo command is writing {self.output}; wait until it has finished, or choose another file"
            ) from error
        return FileIO(descriptor, "r+")

    def _start(self, size: int, resume: bool) -> None:
        """Read what was written earlier, or write the header of a new file."""
        if size and not resume:
            raise KanjoError(f"{self.part} is from an interrupted command: continue it with --resume, or remove it")
        source = self.part if size else self.output
        if resume and source.exists():
            self._continues = True
            written = read_written(source, self.form, self.labels)
            if self.form == "csv" and (source == self.part or written.cut):
                written.drop_last()
            for recording in written.recordings:
                self._note(recording.file, recording.failed)
            if source == self.part:
                self._stream.truncate(written.end)
            else:
                self._copy(source, written.end)
        if self.form == "csv" and not os.fstat(self._stream.fileno()).st_size:
            self._append(f"{writers.csv_row(writers.csv_header(self.labels))}\n".encode())

    def _copy(self, source: Path, n_bytes: int) -> None:
        """Copy the first bytes of a file."""
        with source.open("rb") as stream:
            while block := stream.read(min(1 << 20, n_bytes)):
                self._append(block)
                n_bytes -= len(block)

    def _append(self, content: bytes) -> None:
        view = memoryview(content)
        while view:
            view = view[self._stream.write(view) or 0 :]

    def _note(self, file: str, failed: bool) -> None:
        """Remember what the file has of a recording."""
        self._n_written[file] += 1
        (self.failed_files if failed else self.finished_files).add(file)
        (self.finished_files if failed else self.failed_files).discard(file)

    def _write_merged(self) -> None:
        """Write the output file without the rows that later rows replace."""
        written = read_written(self.part, self.form, self.labels)
        with atomic_write(self.output) as temporary, self.part.open("rb") as source, temporary.open("wb") as target:
            target.write(source.read(written.header_end))
            for recording in merge_recordings(written.recordings):
                source.seek(recording.start)
                target.write(source.read(recording.end - recording.start))

    def _remove_part(self) -> None:
        """Remove the ``.part`` file and end its lock. Windows does not remove an open file."""
        if os.name == "nt":
            self._stream.close()
        self.part.unlink(missing_ok=True)
        self._stream.close()

    def _release(self) -> None:
        """End the lock; remove the ``.part`` file if it is empty."""
        if self._stream.closed:
            return
        with suppress(OSError):
            if not os.fstat(self._stream.fileno()).st_size:
                self._remove_part()
        self._stream.close()
