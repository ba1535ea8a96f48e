"""Download the corpora that are freely available; verify and unpack them; resume interrupted downloads."""

from __future__ import annotations

import hashlib
import re
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from kanjo.corpora.corpus import Archive, Corpus
from kanjo.corpora.fetch import Progress, fetch_file
from kanjo.corpora.unpack import UNPACKING_PREFIX, DamagedArchiveError, is_archive, unpack
from kanjo.errors import CorpusError, KanjoError
from kanjo.files import atomic_write, os_error_message
from kanjo.locks import LockedError, hold_lock

#: Folder below the corpus folder for archives during the download.
_WORK_FOLDER = ".download"
_N_PARALLEL = 8


def download(
    corpus: Corpus,
    folder: Path,
    progress: Callable[[str], Progress] | None = None,
    wait_s: float = 1.0,
    keep: bool = False,
) -> None:
    """Download the archives of a corpus into ``folder``, verify and unpack them; resume an earlier download.

    Args:
        corpus: The corpus.
        folder: The folder of the corpus.
        progress: Called with the name of a step; returns a callback for the number of bytes done and in total.
        wait_s: Seconds before the second try of a file; doubled for each further one.
        keep: Keep the archives in ``folder/.download``.

    Raises:
        CorpusError: The server refuses or does not deliver a file, or the file is not the published one.
        KanjoError: The disk is full or can't be written.
    """
    work_folder = folder / _WORK_FOLDER
    try:
        with _work_folder_lock(work_folder):
            for archive in corpus.archives:
                _get_archive(archive, folder, wait_s, progress, keep)
            if corpus.list_further_archives:
                archives = list(corpus.list_further_archives(folder))
                on_file = progress(f"{corpus.name}: recordings") if progress else None
                _fetch_single_files(archives, folder, wait_s, on_file)
            if not keep:
                shutil.rmtree(work_folder, ignore_errors=True)
    except LockedError as error:
        raise KanjoError(f"another kanjo command downloads into {folder}; wait until it has finished") from error
    except OSError as error:
        raise KanjoError(f"can't write {folder}: {os_error_message(error)}") from error


@contextmanager
def _work_folder_lock(work_folder: Path) -> Iterator[None]:
    """Keep other commands from downloading into the same folder, and remove what killed ones were unpacking."""
    work_folder.mkdir(parents=True, exist_ok=True)
    with hold_lock(work_folder / ".lock", wait=False):
        for abandoned in work_folder.glob(f"{UNPACKING_PREFIX}*"):
            shutil.rmtree(abandoned, ignore_errors=True)
        yield


def _get_archive(
    archive: Archive, folder: Path, wait_s: float, progress: Callable[[str], Progress] | None, keep: bool
) -> None:
    """Download, verify and unpack an archive; download one that is damaged or not complete once more."""
    name = _display_name(archive)
    on_bytes, on_unpacked = (progress(name), progress(f"unpacking {name}")) if progress else (None, None)
    for is_last in (False, True):
        try:
            path = _fetch_archive(archive, folder / _WORK_FOLDER, wait_s, on_bytes)
            _install(archive, path, folder, on_unpacked, keep)
            return
        except DamagedArchiveError:
            if is_last:
                raise


def _display_name(archive: Archive) -> str:
    words = [word for word in re.split(r"[/?&=:]", archive.url) if word]
    return archive.target.rsplit("/", 1)[-1] or words[-1]


def _fetch_archive(archive: Archive, work_folder: Path, wait_s: float, progress: Progress | None) -> Path:
    """Download a file unless it is complete; verify it. Return its path in the work folder."""
    key = hashlib.sha256(archive.url.encode()).hexdigest()[:12]
    complete_path = work_folder / f"{key}.complete"
    if complete_path.is_file() and not complete_path.with_suffix(".done").exists():
        _verify_digest(archive, complete_path)
    if not complete_path.is_file():
        partial_path = work_folder / f"{key}.part"
        fetch_file(archive.url, partial_path, wait_s, archive.size_bytes, progress)
        _verify_digest(archive, partial_path)
        partial_path.replace(complete_path)
    return complete_path


def _install(archive: Archive, path: Path, folder: Path, progress: Progress | None, keep: bool) -> None:
    """Unpack an archive, or copy another file to its target; do nothing if this was done before."""
    done_path = path.with_suffix(".done")
    if done_path.exists():
        return
    if is_archive(path):
        target = folder / archive.target
        target.mkdir(parents=True, exist_ok=True)
        try:
            unpack(path, target, archive.only, progress)
        except DamagedArchiveError as error:
            path.unlink()  # it must not be used again
            reason = str(error).removeprefix(f"{path.name}: ")
            raise DamagedArchiveError(f"{archive.url}: expected an archive (zip, tar), but {reason}") from error
        except CorpusError:
            path.unlink()
            raise
    elif archive.target:
        with atomic_write(folder / archive.target) as temporary:
            shutil.copyfile(path, temporary)
    else:
        head = path.read_bytes()[:60]
        path.unlink()
        raise CorpusError(
            f"{archive.url}: expected an archive (zip, tar), but the server sent {head!r}; try again, or open the "
            "page in a browser"
        )
    done_path.touch()
    if not keep:
        path.write_bytes(b"")  # an interrupted download of the next archive must not fetch this one again


def _fetch_single_files(archives: Sequence[Archive], folder: Path, wait_s: float, progress: Progress | None) -> None:
    """Download small files in parallel; skip existing ones."""
    n_done, lock = 0, threading.Lock()

    def fetch_one(archive: Archive) -> None:
        nonlocal n_done
        _fetch_single_file(archive, folder, wait_s)
        with lock:
            n_done += 1
            if progress:
                progress(n_done, len(archives))

    with ThreadPoolExecutor(_N_PARALLEL) as pool:
        try:
            for _ in pool.map(fetch_one, archives):
                pass
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _fetch_single_file(archive: Archive, folder: Path, wait_s: float) -> None:
    target = folder / archive.target
    if target.is_file():
        return
    partial_path = folder / _WORK_FOLDER / f"{target.name}.part"
    fetch_file(archive.url, partial_path, wait_s)
    _verify_digest(archive, partial_path)
    if partial_path.read_bytes()[:40].startswith(b"version https://git-lfs"):
        partial_path.unlink()
        raise CorpusError(
            f"{archive.url}: expected a recording, but the server sent a Git LFS pointer; try again later"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    partial_path.replace(target)


def _verify_digest(archive: Archive, path: Path) -> None:
    """Remove the file and raise DamagedArchiveError if its digest is not the published one."""
    if not archive.digest:
        return
    algorithm, _, expected = archive.digest.partition(":")
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    if digest.hexdigest() != expected:
        path.unlink()
        raise DamagedArchiveError(
            f"{archive.url}: the {algorithm} of the file is {digest.hexdigest()}, expected {expected}; "
            "the file was removed. Try again"
        )
