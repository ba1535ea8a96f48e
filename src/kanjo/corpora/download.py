"""Download the corpora that are freely available; verify and unpack them; resume interrupted downloads."""

from __future__ import annotations

import hashlib
import re
import shutil
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from kanjo.corpora.corpus import Archive, Corpus
from kanjo.corpora.fetch import Progress, fetch_file
from kanjo.corpora.unpack import is_archive, unpack
from kanjo.errors import CorpusError, KanjoError
from kanjo.files import os_error_message

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
        work_folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise KanjoError(f"can't write {folder}: {os_error_message(error)}") from error
    for archive in corpus.archives:
        name = _display_name(archive)
        path = _fetch_archive(archive, work_folder, wait_s, progress(name) if progress else None)
        _install(archive, path, folder, progress(f"unpacking {name}") if progress else None, keep)
    if corpus.list_further_archives:
        archives = list(corpus.list_further_archives(folder))
        _fetch_single_files(archives, folder, wait_s, progress(f"{corpus.name}: recordings") if progress else None)
    if not keep:
        shutil.rmtree(work_folder, ignore_errors=True)


def _display_name(archive: Archive) -> str:
    words = [word for word in re.split(r"[/?&=:]", archive.url) if word]
    return archive.target.rsplit("/", 1)[-1] or words[-1]


def _fetch_archive(archive: Archive, work_folder: Path, wait_s: float, progress: Progress | None) -> Path:
    """Download a file unless it is complete; verify it. Return its path in the work folder."""
    key = hashlib.sha256(archive.url.encode()).hexdigest()[:12]
    complete_path = work_folder / f"{key}.complete"
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
        except CorpusError:
            path.unlink()  # the next download must not use the damaged archive again
            raise
    elif archive.target:
        (folder / archive.target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, folder / archive.target)
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
    """Remove the file and raise CorpusError if its digest is not the published one."""
    if not archive.digest:
        return
    algorithm, _, expected = archive.digest.partition(":")
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    if digest.hexdigest() != expected:
        path.unlink()
        raise CorpusError(
            f"{archive.url}: the {algorithm} of the file is {digest.hexdigest()}, expected {expected}; "
            "the file was removed. Try again"
        )
