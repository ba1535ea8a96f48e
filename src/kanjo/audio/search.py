"""Find the recordings in a folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from kanjo.audio.formats import AMBIGUOUS_SUFFIXES, HEAD_LENGTH, SUFFIXES, sniff_demuxer
from kanjo.folders import OnError, walk_folders

#: Folders with copies of recordings or deleted ones: those of macOS archives, Synology and Windows.
_SKIPPED_FOLDERS = frozenset(["__MACOSX", "@eaDir", "$RECYCLE.BIN"])


def find_recordings(folder: Path, on_error: OnError | None = None) -> Iterator[Path]:
    """Yield the recordings below a folder, sorted.

    Hidden files and folders (``._a.wav``, ``.ipynb_checkpoints``) and the copies in ``__MACOSX`` are skipped. Links to
    folders are followed; each folder is searched once, so links that form a loop do no harm.

    Args:
        folder: The folder; its own name does not matter.
        on_error: Called for each folder that can't be read; None skips it.
    """
    for parent, names in walk_folders(folder, on_error, _is_searched):
        for name in names:
            if is_recording(parent / name):
                yield parent / name


def is_recording(path: Path) -> bool:
    """Return whether a file in a folder is taken for a recording, by its suffix; hidden files are not.

    Files with a suffix that other kinds of files have as well (``.ts``) are recordings if their first bytes say so.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES or path.name.startswith("."):
        return False
    if suffix not in AMBIGUOUS_SUFFIXES:
        return True
    try:
        with path.open("rb") as stream:
            return sniff_demuxer(stream.read(HEAD_LENGTH)) is not None
    except OSError:
        return True  # opening it reports the error


def describe_suffixes() -> str:
    """Return the suffixes of the files that are taken for recordings, for messages about folders without any."""
    return f"searched for files that end in {', '.join(sorted(SUFFIXES))}"


def _is_searched(name: str) -> bool:
    return not name.startswith(".") and name not in _SKIPPED_FOLDERS
