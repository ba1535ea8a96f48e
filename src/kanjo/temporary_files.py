"""Temporary files beside the files that they become, and the removal of those that killed processes left behind.

A temporary file or folder is locked as long as its process uses it, so one without a lock is abandoned. The names
are ``.NAME.kanjo-RANDOM``, and ``.NAME.kanjo-old-RANDOM`` for a folder that is being replaced.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kanjo.locks import is_at_path, try_lock

#: Longest name of a file in bytes; most file systems allow 255.
_MAX_NAME_BYTES = 255
#: Bytes that are added to a name, besides the suffix.
_ADDED_BYTES = len("..kanjo-old-") + 8
_NAME = re.compile(r"\.(?P<name>.*)\.kanjo-(?P<old>old-)?[a-z0-9_]{8}(\.[^.]*)?", re.DOTALL)
#: Windows can't lock folders; there a folder is abandoned if it was not changed for this time.
_MAX_AGE_S = 86_400.0
#: Folders in which this process has removed the temporary files of killed processes.
_cleaned: set[str] = set()


class Temporary:
    """A temporary file or folder, locked until it is renamed or removed.

    Args:
        target: The path that it will be renamed to.
        is_folder: Whether it is a folder.

    Raises:
        OSError: It can't be made.
    """

    def __init__(self, target: Path, is_folder: bool = False) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_abandoned(target.parent)
        self.target, self.is_folder = target, is_folder
        suffix = "" if is_folder or len(os.fsencode(target.suffix)) > _MAX_NAME_BYTES // 2 else target.suffix
        prefix = f".{_shorten(target.name, suffix)}.kanjo-"
        self._descriptor: int | None = None
        while True:
            if is_folder:
                self.path = Path(tempfile.mkdtemp(prefix=prefix, dir=target.parent))
                self._descriptor = _open_folder(self.path)
            else:
                self._descriptor, name = tempfile.mkstemp(prefix=prefix, suffix=suffix, dir=target.parent)
                self.path = Path(name)
            if self._descriptor is None:
                return
            with suppress(OSError):  # a file system without locks
                try_lock(self._descriptor)
            if is_at_path(self._descriptor, self.path):  # else another process removed it before it was locked
                return
            os.close(self._descriptor)

    def rename(self) -> None:
        """Rename it to its target; an existing file or folder is replaced.

        Raises:
            OSError: It can't be renamed. An existing folder is kept.
        """
        self.path.chmod((0o777 if self.is_folder else 0o666) & ~_umask())
        if os.name == "nt":  # Windows does not rename an open file
            self._close()
        if self.is_folder:
            _replace_folder(self.path, self.target)
        else:
            self.path.replace(self.target)
        self._close()

    def remove(self) -> None:
        """Remove it, unless it was renamed."""
        if self.is_folder:
            shutil.rmtree(self.path, ignore_errors=True)
        else:
            if os.name == "nt":
                self._close()
            self.path.unlink(missing_ok=True)
        self._close()

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def remove_abandoned(folder: Path) -> None:
    """Remove the temporary files of killed processes from a folder, once per process and folder."""
    key = os.path.abspath(folder)  # noqa: PTH100
    if key in _cleaned:
        return
    _cleaned.add(key)
    with suppress(OSError), os.scandir(folder) as entries:
        found = [(entry, match) for entry in entries if (match := _NAME.fullmatch(entry.name))]
        for entry, match in found:
            with suppress(OSError):
                if not entry.is_dir(follow_symlinks=False):
                    _remove_abandoned_file(Path(entry.path))
                elif match["old"]:
                    _restore_or_remove(Path(entry.path), folder / match["name"])
                else:
                    _remove_abandoned_folder(Path(entry.path))


def _remove_abandoned_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    try:
        if try_lock(descriptor) and is_at_path(descriptor, path):
            if os.name == "nt":
                os.close(descriptor)
                descriptor = -1
            path.unlink()
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def _remove_abandoned_folder(path: Path) -> None:
    descriptor = _open_folder(path)
    if descriptor is None:
        if time.time() - path.stat().st_mtime > _MAX_AGE_S:
            shutil.rmtree(path, ignore_errors=True)
        return
    try:
        if try_lock(descriptor):
            shutil.rmtree(path, ignore_errors=True)
    finally:
        os.close(descriptor)


def _restore_or_remove(old: Path, target: Path) -> None:
    """Rename a folder back if its process was killed between the two renames, else remove it."""
    with _folder_lock(old.parent):
        if target.exists():
            shutil.rmtree(old, ignore_errors=True)
        else:
            old.replace(target)


def _replace_folder(source: Path, target: Path) -> None:
    """Rename a folder; an existing target is moved away first, and moved back after an error."""
    with _folder_lock(target.parent):
        if not target.exists():
            source.replace(target)
            return
        if not target.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        old = target.with_name(f".{_shorten(target.name)}.kanjo-old-{secrets.token_hex(4)}")
        target.replace(old)
        try:
            source.replace(target)
        except OSError:
            old.replace(target)
            raise
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def _folder_lock(folder: Path) -> Iterator[None]:
    """Let one process at a time exchange the folders in a folder; does nothing where folders can't be locked."""
    descriptor = _open_folder(folder)
    if descriptor is None:
        yield
        return
    try:
        with suppress(OSError):
            while not try_lock(descriptor):
                time.sleep(0.01)
        yield
    finally:
        os.close(descriptor)


def _open_folder(path: Path) -> int | None:
    """Open a folder, so that it can be locked; None on Windows."""
    if sys.platform == "win32":
        return None
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY)


def _shorten(name: str, suffix: str = "") -> str:
    """Shorten the name of a file so that the name of its temporary file is not too long."""
    n_bytes = _MAX_NAME_BYTES - _ADDED_BYTES - len(os.fsencode(suffix))
    encoded = os.fsencode(name)
    return encoded[:n_bytes].decode("utf-8", "ignore") if len(encoded) > n_bytes else name


def _umask() -> int:
    """Return the umask of this process, which can be read only by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
