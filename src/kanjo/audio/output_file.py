"""A file that libsndfile writes to: no error of the disk is lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import soundfile


class OutputFile:
    """Passes what libsndfile writes to a file, and keeps the first error.

    libsndfile reports a full disk as "System error.", or not at all if its last write fails.

    Args:
        path: Path of the file, whose suffix selects the format.
        stream: The file.
    """

    def __init__(self, path: Path, stream: BinaryIO) -> None:
        self.name, self._stream = str(path), stream
        self.error: OSError | None = None

    def write(self, content: bytes) -> int:
        """Write bytes; return how many were written, 0 after an error."""
        try:
            return self._stream.write(content)
        except OSError as error:
            self.error = self.error or error
            return 0

    def seek(self, offset: int, whence: int = 0) -> int:
        """Change the position; return it."""
        try:
            return self._stream.seek(offset, whence)
        except OSError as error:  # the buffer can't be written
            self.error = self.error or error
            return -1

    def tell(self) -> int:
        """Return the position."""
        return self._stream.tell()


@contextmanager
def open_output(path: Path) -> Iterator[OutputFile]:
    """Open a file that libsndfile writes to.

    Raises:
        OSError: The file can't be written completely.
    """
    stream = path.open("wb")
    output = OutputFile(path, stream)
    try:
        yield output
    except (soundfile.LibsndfileError, AssertionError):  # soundfile asserts that all samples were written
        if output.error is None:
            raise
    finally:
        try:
            stream.close()
        except OSError as error:
            output.error = output.error or error
    if output.error is not None:
        raise output.error
