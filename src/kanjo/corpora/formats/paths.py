"""Find the recordings that a table names: paths of Windows, other Unicode forms, and paths that start in a parent."""

from __future__ import annotations

import os
import posixpath
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path, PurePosixPath

from kanjo.corpora.manifest import Utterance
from kanjo.errors import CorpusError
from kanjo.file_names import decode_name

#: The paths in EmoBox's tables start two or three folders above the table.
_MAX_LEVELS = 4


class PathResolver:
    """Turns the paths in a table into paths of recordings relative to a folder.

    Args:
        folder: The folder that relative paths start from.
        search_parents: Whether they may start from a parent of this folder instead.
    """

    def __init__(self, folder: Path, search_parents: bool = False) -> None:
        self._folder = str(folder)
        self._prefixes = tuple("../" * n for n in range(_MAX_LEVELS if search_parents else 1))
        self._names: dict[str, frozenset[str]] = {}
        self._names_by_nfc: dict[str, dict[str, list[str]]] = {}
        self._subfolders: dict[str, str | None] = {}
        self._prefixes_of_folder: dict[str, list[str]] = {}

    def clean(self, file: str) -> str:
        """Return a path with forward slashes and without "./"; a backslash stays if the name on disk contains it."""
        if "\\" in file and not self._contains_backslash_name(file):
            file = file.replace("\\", "/")
        return str(PurePosixPath(file)) if "./" in file or "//" in file else file

    def locate(self, utterances: Iterator[Utterance]) -> Iterator[Utterance]:
        """Yield utterances with the paths of their recordings on disk.

        Relative paths start from the nearest folder in which the first existing recording exists: the folder of the
        table or one of its parents.

        Raises:
            CorpusError: A name fits two files in different Unicode forms.
        """
        seen, prefix = [], ""
        utterances = map(self._decode, utterances)
        for row in utterances:
            seen.append(row)
            if (found := self.find_prefix(row.file)) is not None and not is_absolute(row.file):
                prefix = found
                break
        for row in chain(seen, utterances):
            file = row.file if not prefix or is_absolute(row.file) else prefix + row.file
            if not file.isascii():
                file = self._find(file) or file
            yield row if file is row.file else row._replace(file=file)

    def on_disk(self, file: str) -> str:
        """Return a path in the Unicode form and encoding of the disk; unchanged if there is no such file."""
        if "%" in file:
            file = self.decode(file)
        return file if file.isascii() else self._find(file) or file

    def exists(self, file: str) -> bool:
        """Return whether a recording exists, its name in any Unicode form."""
        if file.isascii():
            return os.path.exists(self._join(file))  # noqa: PTH110 - many rows, and this is faster than Path
        return self._find(file) is not None

    def _decode(self, row: Utterance) -> Utterance:
        """Decode a name that kanjo wrote for a name that is not UTF-8, unless a file has the encoded name."""
        return row._replace(file=self.decode(row.file)) if "%" in row.file else row

    def decode(self, file: str) -> str:
        """Return the path that a table states as :func:`kanjo.file_names.encode_name` writes it."""
        decoded = decode_name(file)
        if decoded == file or any(self.exists(prefix + file) for prefix in self._prefixes):
            return file
        return decoded if any(self.exists(prefix + decoded) for prefix in self._prefixes) else file

    def _join(self, path: str) -> str:
        return os.path.join(self._folder, path)  # noqa: PTH118

    def find_prefix(self, file: str) -> str | None:
        """Return what leads to the folder that a path starts from ("", "../", ...); None if no file exists."""
        folder = file[: file.rfind("/") + 1]
        if folder not in self._prefixes_of_folder:
            self._prefixes_of_folder[folder] = [
                prefix for prefix in self._prefixes if self._find_folder((prefix + folder).rstrip("/")) is not None
            ]
        return next((prefix for prefix in self._prefixes_of_folder[folder] if self.exists(prefix + file)), None)

    def _find(self, file: str) -> str | None:
        """Return the path of an existing file; None if it does not exist."""
        end = file.rfind("/") + 1
        folder, name = file[:end].rstrip("/") or file[:end], file[end:]
        if (found_folder := self._find_folder(folder)) is None:
            return None
        found_name = self._find_name(found_folder, name)
        return None if found_name is None else posixpath.join(found_folder, found_name)

    def _find_folder(self, folder: str) -> str | None:
        if folder not in self._subfolders:
            exists = os.path.isdir(self._join(folder))  # noqa: PTH112
            self._subfolders[folder] = folder if exists else None if folder.isascii() else self._find(folder)
        return self._subfolders[folder]

    def _find_name(self, folder: str, name: str) -> str | None:
        names = self._list(folder)
        if name in names:
            return name
        if folder not in self._names_by_nfc:
            groups: dict[str, list[str]] = defaultdict(list)
            for existing in names:
                groups[unicodedata.normalize("NFC", existing)].append(existing)
            self._names_by_nfc[folder] = groups
        matches = self._names_by_nfc[folder].get(unicodedata.normalize("NFC", name), [])
        if len(matches) > 1:
            raise CorpusError(
                f"{self._join(folder)} has {len(matches)} files named {name!r} in different Unicode "
                "forms; rename one of them"
            )
        return matches[0] if matches else None

    def _list(self, folder: str) -> frozenset[str]:
        if folder not in self._names:
            try:
                names = frozenset(os.listdir(self._join(folder)))  # noqa: PTH208
            except OSError:
                names = frozenset()
            self._names[folder] = names
        return self._names[folder]

    def _contains_backslash_name(self, file: str) -> bool:
        if os.sep == "\\":
            return False
        folder = posixpath.dirname(file)
        name = file[len(folder) :].lstrip("/")
        return any(name in self._list(prefix + folder) for prefix in self._prefixes)


def is_absolute(file: str) -> bool:
    """Return whether a path is absolute, also that of Windows ("C:/data/a.wav")."""
    return file.startswith("/") or (file[1:3] == ":/" and file[0].isalpha())


def rebase_paths(utterances: Iterable[Utterance], root: Path) -> Iterator[Utterance]:
    """Yield utterances with the paths of their recordings below ``root``.

    A path without a recording, such as the absolute path of another machine, loses its first folders until a recording
    is found. It stays if there is none.
    """
    n_dropped = 1
    for row in utterances:
        if (root / row.file).exists():
            yield row
            continue
        parts = row.file.split("/")
        # the number of folders that the last path lost comes first, so that the paths of a list are treated alike
        order = (n_dropped, *range(1, len(parts)))
        found = next((n for n in order if n < len(parts) and (root / "/".join(parts[n:])).is_file()), None)
        if found is None:
            yield row
        else:
            n_dropped = found
            yield row._replace(file="/".join(parts[found:]))
