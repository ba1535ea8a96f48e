"""Atomic writes: a file or folder is written under a temporary name, then renamed, so it is never incomplete."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TextIO

from kanjo.errors import KanjoError
from kanjo.file_names import ERROR_HANDLER
from kanjo.temporary_files import Temporary


def os_error_message(error: OSError) -> str:
    """Describe an error of the operating system in words that help the user."""
    if error.errno == errno.ENOSPC:
        return "the disk is full; free some space and try again"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "no permission"
    if error.errno == errno.ELOOP:
        return "a symbolic link that leads back to itself"
    return error.strerror or str(error)


def user_folder(variable: str, below_home: str, remedy: str) -> Path:
    """Return the folder of an XDG variable, or its default in the user's home folder.

    Args:
        variable: The variable, such as "XDG_CACHE_HOME".
        below_home: Path of the default below the home folder.
        remedy: What to set if there is no home folder.

    Raises:
        KanjoError: The variable is not set, and the user has no home folder.
    """
    if folder := os.environ.get(variable):
        return Path(folder)
    try:
        return Path.home() / below_home
    except RuntimeError as error:
        raise KanjoError(f"this user has no home folder; set HOME, or {remedy}") from error


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of ``path``; rename it to ``path`` at the end, or remove it after an error.

    Temporary files of killed processes in the folder are removed.

    Raises:
        KanjoError: The file can't be written, for example because the disk is full.
    """
    with _temporary(path, is_folder=False) as temporary:
        yield temporary


@contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """Yield a temporary folder; rename it to ``path`` at the end, replacing an existing folder.

    Raises:
        KanjoError: The folder can't be written, for example because the disk is full.
    """
    with _temporary(path, is_folder=True) as temporary:
        yield temporary


@contextmanager
def _temporary(path: Path, is_folder: bool) -> Iterator[Path]:
    try:
        temporary = Temporary(path, is_folder)
    except OSError as error:
        raise KanjoError(f"can't write {path}: {os_error_message(error)}") from error
    try:
        yield temporary.path
        temporary.rename()
    except OSError as error:
        raise KanjoError(f"can't write {path}: {os_error_message(error)}") from error
    finally:
        temporary.remove()


@contextmanager
def atomic_text(path: Path) -> Iterator[TextIO]:
    """Yield a temporary file for UTF-8 text with its own line ends; see :func:`atomic_write`.

    Bytes of file names that are not UTF-8 are written as ``%E9``.

    Raises:
        KanjoError: The file can't be written.
    """
    with (
        atomic_write(path) as temporary,
        temporary.open("w", encoding="utf-8", errors=ERROR_HANDLER, newline="") as stream,
    ):
        yield stream


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text, completely or not at all; bytes of file names that are not UTF-8 are written as ``%E9``.

    Raises:
        KanjoError: The file can't be written.
    """
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors=ERROR_HANDLER)


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading; a pipe, device or socket would block or never end, so it is refused.

    Raises:
        OSError: The file can't be read, or is not a regular file.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file but a folder, pipe or device; expected a file")
    return os.fdopen(descriptor, "rb")


def read_bytes(path: Path, max_bytes: int) -> bytes:
    """Read a regular file of limited size.

    Raises:
        OSError: The file can't be read, is not a regular file, or is too large.
    """
    with open_regular(path) as stream:
        content = stream.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise OSError(errno.EFBIG, f"larger than {max_bytes / 1e6:g} MB, the limit for such a file")
    return content


def sha256(path: Path) -> str:
    """Compute the SHA-256 of a file in hexadecimal.

    Raises:
        OSError: The file can't be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
