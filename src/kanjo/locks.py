"""Locks between processes. A lock belongs to an open file, so it ends with its process, even if that is killed."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

#: Seconds between two tries to get a lock that another process holds.
_POLL_INTERVAL_S = 0.05
#: Errors of file systems that have no locks, such as some network file systems.
_NO_LOCKS = frozenset([errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL])


class LockedError(Exception):
    """Another process, or another thread, holds the lock."""


if sys.platform == "win32":

    def try_lock(descriptor: int) -> bool:
        """Lock an open file without waiting; return False if somebody else has locked it.

        The locked byte is far behind the content, because other processes can't read a locked byte on Windows.
        """
        position = os.lseek(descriptor, 0, os.SEEK_CUR)
        os.lseek(descriptor, 1 << 40, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        finally:
            os.lseek(descriptor, position, os.SEEK_SET)
        return True

else:

    def try_lock(descriptor: int) -> bool:
        """Lock an open file or folder without waiting; return False if somebody else has locked it.

        Raises:
            OSError: The file system has no locks.
        """
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def is_at_path(descriptor: int, path: Path) -> bool:
    """Return whether an open file is still the one at a path: another process may have removed or replaced it."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat(follow_symlinks=False))
    except OSError:
        return False


def open_locked(path: Path, flags: int, wait: bool = False) -> int:
    """Open and lock a file.

    On a file system without locks, the file is only opened.

    Args:
        path: The file.
        flags: Flags of :func:`os.open`.
        wait: Wait until the others have unlocked the file.

    Returns:
        The open file. The lock ends when it is closed.

    Raises:
        LockedError: Somebody else has locked the file, and ``wait`` is false.
        OSError: The file can't be opened.
    """
    while True:
        descriptor = os.open(path, flags | getattr(os, "O_BINARY", 0), 0o666)
        try:
            locked = try_lock(descriptor)
            if locked and is_at_path(descriptor, path.resolve()):
                return descriptor
        except OSError as error:
            if error.errno in _NO_LOCKS:
                return descriptor
            os.close(descriptor)
            raise
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        if not locked:
            if not wait:
                raise LockedError(str(path))
            time.sleep(_POLL_INTERVAL_S)


@contextmanager
def hold_lock(path: Path, wait: bool = True) -> Iterator[None]:
    """Hold the lock of a file that is made for this purpose, and remove the file at the end.

    Args:
        path: The file. A file that a killed process left there does no harm.
        wait: Wait for the lock.

    Raises:
        LockedError: Somebody else holds the lock, and ``wait`` is false.
        OSError: The file can't be made.
    """
    descriptor = open_locked(path, os.O_RDWR | os.O_CREAT, wait)
    try:
        yield
    finally:
        with suppress(OSError):  # Windows does not remove an open file; then the file remains
            path.unlink()
        os.close(descriptor)
