"""A part of an open file, with other bytes in front of it, as a file of its own."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, BinaryIO


class StreamView(io.RawIOBase):
    """A seekable stream that consists of ``prefix`` and of a part of another stream.

    It lets a decoder read one recording of several in a file, or a file with a corrected header. Errors of the other
    stream end the data, because libsndfile can't pass them on. Closing the view does not close the other stream.
    """

    def __init__(
        self,
        stream: BinaryIO,
        start: int = 0,
        end: int | None = None,
        prefix: bytes = b"",
        on_read: Callable[[], None] | None = None,
    ) -> None:
        """Show the bytes from ``start`` to ``end`` (default: all that follow) behind ``prefix``.

        Args:
            stream: The other stream.
            start: Position of the first byte.
            end: Position behind the last byte.
            prefix: Bytes in front of them.
            on_read: Called before each read; it may raise.
        """
        super().__init__()
        size = stream.seek(0, io.SEEK_END)
        end = size if end is None else min(end, size)
        self._stream, self._start, self._prefix, self._on_read = stream, start, prefix, on_read
        self._size = len(prefix) + max(0, end - start)
        self._position = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Set the position and return it."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Read bytes into a buffer and return their number; 0 at the end."""
        if self._on_read is not None:
            self._on_read()
        target = memoryview(buffer).cast("B")
        n_bytes = max(0, min(len(target), self._size - self._position))
        n_read = 0
        if self._position < len(self._prefix):
            piece = self._prefix[self._position : self._position + n_bytes]
            target[: len(piece)] = piece
            n_read = len(piece)
        if n_read < n_bytes:
            try:
                self._stream.seek(self._start + self._position + n_read - len(self._prefix))
                rest = self._stream.read(n_bytes - n_read)
            except (OSError, ValueError):
                rest = b""
            target[n_read : n_read + len(rest)] = rest
            n_read += len(rest)
        self._position += n_read
        return n_read
