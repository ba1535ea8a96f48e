"""A folder made anew beside itself: recordings changed, everything else copied, what is done already left alone."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from kanjo.audio import SUFFIXES
from kanjo.errors import AudioError, KanjoError
from kanjo.files import reason, written_whole

Progress = Callable[[int, int], None]
#: What changes one recording: source, where to write; the answer is a warning, or "".
Change = Callable[[Path, Path], str]


@dataclass(frozen=True)
class Mirrored:
    """How many recordings were changed, other files copied, and files left because they were there; warnings, failures."""

    changed: int
    copied: int
    there: int
    warnings: tuple[str, ...]
    failed: tuple[str, ...]


def mirror(source: Path, target: Path, change: Change, jobs: int = 0, progress: Progress | None = None) -> Mirrored:
    """Every file under ``source`` to the same place under ``target``; a single file to ``target`` (into it, if a folder).

    Files are written beside and renamed, and one that is there and no older than its source is left: what was stopped
    goes on. One bad recording never stops the rest. Raises KanjoError when ``target`` is ``source`` or lies within it.
    """
    pairs = list(_pairs(source, target))
    counts = {"changed": 0, "copied": 0, "there": 0}
    warnings: list[str] = []
    failed: list[str] = []
    todo, running, done = iter(pairs), set[Future[tuple[str, str]]](), 0
    with ThreadPoolExecutor(jobs or os.cpu_count() or 1) as pool:
        while True:
            while len(running) < 64 and (pair := next(todo, None)) is not None:
                running.add(pool.submit(_one, *pair, change))
            if not running:
                return Mirrored(**counts, warnings=tuple(sorted(warnings)), failed=tuple(sorted(failed)))
            finished, running = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                what, said = future.result()
                if what == "failed":
                    failed.append(said)
                else:
                    counts[what] += 1
                    warnings += [said] if said else []
                done += 1
                if progress:
                    progress(done, len(pairs))


def _pairs(source: Path, target: Path) -> Iterator[tuple[Path, Path]]:
    if not source.exists():
        raise KanjoError(f"{source}: no such file or folder")
    if source.is_file():
        place = target / source.name if target.is_dir() else target
        if place.resolve() == source.resolve():
            raise KanjoError(f"{target} is the source itself; choose another place, the original is not written over")
        yield source, place
        return
    ours, theirs = source.resolve(), target.resolve()
    if ours == theirs or ours in theirs.parents:
        raise KanjoError(
            f"{target} is {source} or lies within it; choose another place, originals are not written over"
        )
    if target.exists() and not target.is_dir():
        raise KanjoError(f"{target} is a file, expected a folder")
    for where, folders, names in os.walk(source):
        folders.sort()
        for name in sorted(names):
            path = Path(where) / name
            yield path, target / path.relative_to(source)


def _one(path: Path, place: Path, change: Change) -> tuple[str, str]:
    try:
        if path.is_symlink() and not path.exists():
            return "failed", f"{path}: a link that leads nowhere"
        if place.is_file() and place.stat().st_mtime_ns >= path.stat().st_mtime_ns:
            return "there", ""
        sounds = path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
        with written_whole(place) as temporary:
            said = change(path, temporary) if sounds else ""
            if not sounds:
                shutil.copy2(path, temporary)
        return ("changed" if sounds else "copied"), said
    except AudioError as error:
        return "failed", str(error)
    except OSError as error:
        return "failed", f"{path}: {reason(error)}"
    except KanjoError as error:  # a disk that is full, a folder that may not be written
        return "failed", str(error)
