"""Walk through the folders below a folder, with links to folders, and without running in circles."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

#: Called with the error of each folder that can't be read.
OnError = Callable[[OSError], None]
#: Device and number of a folder: the same for all links to it.
_FolderId = tuple[int, int]


def walk_folders(
    root: Path,
    on_error: OnError | None = None,
    is_wanted: Callable[[str], bool] = lambda name: True,
    exclude: Path | None = None,
) -> Iterator[tuple[Path, list[str]]]:
    """Yield each folder below a folder, the folder itself first, with the sorted names of its files.

    Links to folders are followed. Each folder is visited once: under its own path if it is below ``root``, else under
    the first link to it. So links that lead back to a parent folder do no harm. Pipes, sockets and devices are left
    out.

    Args:
        root: The folder.
        on_error: Called for each folder that can't be read; None skips it.
        is_wanted: Whether a folder with this name is visited; ``root`` always is.
        exclude: A folder that is not visited, under any path.
    """
    walk = _Walk(root, on_error, is_wanted)
    if exclude is not None and (excluded := _folder_id(exclude)):
        walk.visited.add(excluded)
    yield from walk.run()


class _Walk:
    """One walk: which folders it has visited."""

    def __init__(self, root: Path, on_error: OnError | None, is_wanted: Callable[[str], bool]) -> None:
        self._root, self._on_error, self._is_wanted = root, on_error, is_wanted
        self.visited: set[_FolderId] = set()
        self._real: set[_FolderId] | None = None

    def run(self) -> Iterator[tuple[Path, list[str]]]:
        """Visit the folders in depth; an own stack, because folders can be nested more deeply than functions."""
        stack = [(self._root, False)]
        while stack:
            folder, below_link = stack.pop()
            entries = self._list(folder, self._on_error)
            if entries is None:
                continue
            yield folder, [entry.name for entry in entries if _is_file(entry)]
            for entry in reversed(entries):
                if _is_folder(entry) and self._is_wanted(entry.name):
                    is_link = below_link or entry.is_symlink()
                    stack.append((folder / entry.name, is_link))
            while stack and not self._is_new(*stack[-1]):
                stack.pop()

    def _is_new(self, folder: Path, below_link: bool) -> bool:
        """Whether a folder still has to be visited; remember it."""
        folder_id = _folder_id(folder)
        if folder_id is None:  # its error is reported when it is listed
            return True
        if folder_id in self.visited or (below_link and folder_id in self._real_folders()):
            return False
        self.visited.add(folder_id)
        return True

    def _real_folders(self) -> set[_FolderId]:
        """The folders below the root that are visited without following links; found when the first link occurs."""
        if self._real is None:
            self._real = set()
            stack = [self._root]
            while stack:
                folder = stack.pop()
                if folder_id := _folder_id(folder):
                    self._real.add(folder_id)
                stack += [
                    folder / entry.name
                    for entry in self._list(folder, None) or ()
                    if entry.is_dir(follow_symlinks=False) and self._is_wanted(entry.name)
                ]
        return self._real

    def _list(self, folder: Path, on_error: OnError | None) -> list[os.DirEntry[str]] | None:
        try:
            with os.scandir(folder) as entries:
                return sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            if on_error is not None:
                on_error(error)
            return None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads back to itself
        return False


def _is_file(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a file or a dangling link. Pipes, sockets and devices are neither: reading them can block."""
    try:
        if entry.is_file():
            return True
        return entry.is_symlink() and not entry.is_dir() and not Path(entry.path).exists()
    except OSError:  # a link that leads back to itself; its error is reported when the file is opened
        return True


def _folder_id(folder: Path) -> _FolderId | None:
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
