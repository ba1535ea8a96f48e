"""Progress and messages of an experiment: a protocol, so that experiments do not print."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Protocol

from kanjo import files
from kanjo.errors import KanjoError

#: Called with the number of finished items and their total (0: unknown).
Progress = Callable[[int, int], None]

_log = logging.getLogger("kanjo")


class Reporter(Protocol):
    """Receives the progress and the messages of an experiment."""

    @property
    def show_training_progress(self) -> bool:
        """Whether Lightning draws its progress bar."""

    def progress(self, description: str) -> AbstractContextManager[Progress]:
        """A context manager for one long task; its value is called with the task's progress."""

    def message(self, line: str) -> None:
        """Show a message that the user must see."""

    def log(self, line: str) -> None:
        """Show a line of the run's log; a reporter may omit it."""


class NullReporter:
    """Discards everything. For processes other than the first one of a distributed run."""

    show_training_progress = False

    def progress(self, description: str) -> AbstractContextManager[Progress]:
        """A progress callback that does nothing."""
        return nullcontext(lambda done, total: None)

    def message(self, line: str) -> None:
        """Discard the message."""

    def log(self, line: str) -> None:
        """Discard the line."""


class _ReporterHandler(logging.Handler):
    """Passes log records to a reporter."""

    def __init__(self, reporter: Reporter) -> None:
        super().__init__(logging.INFO)
        self.reporter = reporter

    def emit(self, record: logging.LogRecord) -> None:
        self.reporter.log(self.format(record))


@contextmanager
def run_log(path: Path | None, reporter: Reporter) -> Iterator[None]:
    """Write kanjo's log to a file and to a reporter while the block runs.

    Args:
        path: The log file. None in all but the first process of a distributed run.
        reporter: Receives the lines that are not debugging messages.

    Raises:
        KanjoError: The file can't be written.
    """
    handlers: list[logging.Handler] = [_ReporterHandler(reporter)]
    if path is not None:
        handlers.append(_file_handler(path))
    _log.setLevel(logging.DEBUG)
    _log.propagate = False
    for handler in handlers:
        _log.addHandler(handler)
    try:
        yield
    finally:
        for handler in handlers:
            _log.removeHandler(handler)
            handler.close()


@contextmanager
def stage_log(path: Path) -> Iterator[None]:
    """Write the log of one stage of a run to a file of its own, instead of that of the run, while the block runs.

    Args:
        path: The log file of the stage.

    Raises:
        KanjoError: The file can't be written.
    """
    run_files = [handler for handler in _log.handlers if isinstance(handler, _LogFile)]
    stage_file = _file_handler(path)
    for handler in run_files:
        _log.removeHandler(handler)
    _log.addHandler(stage_file)
    try:
        yield
    finally:
        _log.removeHandler(stage_file)
        stage_file.close()
        for handler in run_files:
            _log.addHandler(handler)


class _LogFile(logging.FileHandler):
    """The log file of a run. A line that can't be written, because the disk is full, ends the run."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Raise KanjoError instead of printing a traceback and going on."""
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            raise KanjoError(f"can't write {self.baseFilename}: {files.os_error_message(error)}") from error
        super().handleError(record)

    def close(self) -> None:
        """Close the file. What could not be written then was reported before."""
        with suppress(OSError):
            super().close()


def _file_handler(path: Path) -> logging.FileHandler:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handler = _LogFile(path, encoding="utf-8")
    except OSError as error:
        raise KanjoError(f"can't write {path.parent}: {files.os_error_message(error)}") from error
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    return handler
