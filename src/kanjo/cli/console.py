"""Standard input, output and error: characters that they can't print, and streams that are closed."""

from __future__ import annotations

import contextlib
import io
import os
import sys

from kanjo.errors import KanjoError
from kanjo.file_names import ERROR_HANDLER

_STDIN, _STDOUT, _STDERR = 0, 1, 2


def prepare_console() -> None:
    r"""Make the three standard streams usable.

    A character that the encoding of the console does not have is printed as in JSON (``\u017c``), a byte of a file name
    that is not UTF-8 as ``%E9``. A closed stream (``kanjo ... >&-``) is None in Python; results that are written
    to a closed output are an error then, and messages to a closed error output are dropped.
    """
    if sys.stdin is None:
        _occupy(_STDIN, os.O_RDONLY)
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115, PTH123 - open as long as the process
    if sys.stdout is None:
        _occupy(_STDOUT, os.O_RDONLY)
        sys.stdout = io.TextIOWrapper(io.BufferedWriter(_ClosedOutput()), "utf-8", ERROR_HANDLER)
    if sys.stderr is None:
        _occupy(_STDERR, os.O_WRONLY)
        sys.stderr = open(os.devnull, "w", encoding="utf-8", errors=ERROR_HANDLER)  # noqa: SIM115, PTH123
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            with contextlib.suppress(OSError, ValueError):
                stream.reconfigure(errors=ERROR_HANDLER)


def flush_output() -> None:
    """Write the rest of the results, so that an error of the output is reported now and not when Python ends."""
    if sys.stdout is not None and not sys.stdout.closed:
        sys.stdout.flush()


def abandon_output() -> None:
    """Drop results that can't be written, so that Python does not report the error again when it ends."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError, KanjoError):
        with contextlib.suppress(OSError, ValueError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, sys.stdout.fileno())
            os.close(null)
        if not sys.stdout.closed and isinstance(sys.stdout.buffer, io.BufferedWriter):
            sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123


def _occupy(number: int, flags: int) -> None:
    """Open a closed stream's number as the null device, so that the next file that is opened does not get it."""
    with contextlib.suppress(OSError):
        null = os.open(os.devnull, flags)
        if null != number:
            os.dup2(null, number)
            os.close(null)


class _ClosedOutput(io.RawIOBase):
    """A standard output that is closed: writing into it is an error."""

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return _STDOUT

    def write(self, _: object) -> int:
        raise KanjoError(
            "standard output is closed, so the results can't be written; redirect it to a file or /dev/null"
        )
