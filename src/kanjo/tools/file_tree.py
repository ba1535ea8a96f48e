"""Apply a function to every recording of a folder tree, and copy all other files."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kanjo.audio import describe_suffixes, is_recording
from kanjo.errors import KanjoError
from kanjo.files import atomic_write, os_error_message
from kanjo.folders import walk_folders

#: Called with the numbers of processed files and of all files.
Progress = Callable[[int, int], None]
#: Converts one recording: source, target; returns a warning, or "".
Converter = Callable[[Path, Path], str]

_MAX_QUEUED_FILES = 64


@dataclass(frozen=True)
class TreeResult:
    """Numbers of files by what was done with them, warnings, and errors of files that failed.

    Attributes:
        converted: Recordings that were converted.
        copied: Other files that were copied.
        skipped: Files that existed in the target and were not older than their source.
    """

    converted: int
    copied: int
    skipped: int
    warnings: tuple[str, ...]
    errors: tuple[str, ...]


@dataclass(frozen=True)
class _FileResult:
    status: Literal["converted", "copied", "skipped", "failed"]
    message: str = ""


def convert_tree(
    source: Path, target: Path, convert: Converter, jobs: int = 0, progress: Progress | None = None
) -> TreeResult:
    """Convert every recording under ``source`` to the same relative path under ``target``; copy other files.

    Files are written atomically. Files that exist in the target and are not older than their source are skipped, so an
    interrupted conversion resumes. A recording that fails does not stop the others.

    Args:
        source: A folder, or one recording.
        target: A folder; for one recording also a file.
        convert: Converts one recording.
        jobs: Number of threads; 0 for one for each core.
        progress: Called with the numbers of processed files and of all files.

    Raises:
        KanjoError: ``source`` does not exist or has no recordings, or ``target`` is ``source`` or inside it.
    """
    unreadable: list[OSError] = []
    pairs = list(_list_files(source, target, unreadable))
    counts: Counter[str] = Counter()
    warnings: list[str] = []
    errors = [f"{error.filename}: can't read the folder: {os_error_message(error)}" for error in unreadable]
    queue = iter(pairs)
    running: set[Future[_FileResult]] = set()
    n_done = 0
    with ThreadPoolExecutor(jobs or os.cpu_count() or 1) as pool:
        while True:
            while len(running) < _MAX_QUEUED_FILES and (pair := next(queue, None)) is not None:
                running.add(pool.submit(_process_file, *pair, convert))
            if not running:
                break
            finished, running = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                result = future.result()
                counts[result.status] += 1
                if result.message:
                    (errors if result.status == "failed" else warnings).append(result.message)
                n_done += 1
                if progress:
                    progress(n_done, len(pairs))
    return TreeResult(
        converted=counts["converted"],
        copied=counts["copied"],
        skipped=counts["skipped"],
        warnings=tuple(sorted(warnings)),
        errors=tuple(sorted(errors)),
    )


def _list_files(source: Path, target: Path, unreadable: list[OSError]) -> Iterator[tuple[Path, Path]]:
    """Yield the source and the target path of every file; links to folders are followed.

    Args:
        source: A folder, or one recording.
        target: A folder; for one recording also a file.
        unreadable: The errors of subfolders that can't be read are appended.

    Raises:
        KanjoError: There are no recordings, or the target can't be used.
    """
    if not source.exists():
        raise KanjoError(f"{source}: no such file or folder")
    if source.is_file():
        target_file = target / source.name if target.is_dir() else target
        if target_file.resolve() == source.resolve():
            raise KanjoError(f"{target} is the source; choose another target, because originals are not overwritten")
        yield source, target_file
        return
    source_path, target_path = source.resolve(), target.resolve()
    if source_path == target_path or source_path in target_path.parents:
        raise KanjoError(
            f"{target} is {source} or inside it; choose another target, because originals are not overwritten"
        )
    if target.exists() and not target.is_dir():
        raise KanjoError(f"{target} is a file; expected a folder, because {source} is a folder")
    n_recordings = 0
    for folder, names in walk_folders(source, unreadable.append, exclude=target):
        for name in names:
            path = folder / name
            n_recordings += is_recording(path)
            yield path, target / path.relative_to(source)
    if not n_recordings and not unreadable:
        raise KanjoError(f"{source}: no recordings in this folder; {describe_suffixes()}")


def _process_file(path: Path, target: Path, convert: Converter) -> _FileResult:
    """Convert or copy one file, unless the target is up to date."""
    try:
        if path.is_symlink() and not path.exists():
            return _FileResult("failed", f"{path}: the link points to a file that does not exist")
        if target.is_file() and target.stat().st_mtime_ns >= path.stat().st_mtime_ns:
            return _FileResult("skipped")
        with atomic_write(target) as temporary:
            if is_recording(path):
                result = _FileResult("converted", convert(path, temporary))
            else:
                shutil.copy2(path, temporary)
                result = _FileResult("copied")
        return result
    except OSError as error:
        return _FileResult("failed", f"{path}: {os_error_message(error)}")
    except KanjoError as error:  # including AudioError, and a target that can't be written
        return _FileResult("failed", str(error))
