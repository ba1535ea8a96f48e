"""Corpora that may be fetched freely, fetched: what was cut goes on, what is damaged is noticed, what is there stays."""

from __future__ import annotations

import hashlib
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from kanjo.corpora.corpus import Archive, Corpus
from kanjo.corpora.unpack import is_archive, unpack
from kanjo.errors import CorpusError, KanjoError
from kanjo.files import reason

Progress = Callable[[int, int], None]
#: Archives that are not done lie here, below the corpus's folder.
_WORK = ".download"
_BLOCK = 1 << 17
_TRIES, _TRIES_IN_ALL, _TIMEOUT_S = 5, 100, 30.0
_AT_ONCE = 8
_AGAIN = frozenset([408, 425, 429, 500, 502, 503, 504])


class Cut(Exception):
    """The connection ended before the file did; what came is kept, and another try goes on from there."""


def download(
    corpus: Corpus,
    folder: Path,
    progress: Callable[[str], Progress] | None = None,
    wait_s: float = 1.0,
    keep: bool = False,
) -> None:
    """Fetch a corpus's archives into ``folder``, verify and unpack them. What was begun goes on where it stopped.

    ``progress(what)`` gives a callback for bytes done and in all. After a failure the next try waits ``wait_s`` seconds, then
    twice as long each time. ``keep`` leaves the archives in ``folder/.download``. Raises CorpusError when a server refuses,
    gives up, or what it sends is not what was published; KanjoError when the disk is full.
    """
    work = folder / _WORK
    try:
        work.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise KanjoError(f"can't write {folder}: {reason(error)}") from error
    for archive in corpus.archives:
        got = _fetched(archive, work, wait_s, progress(_name(archive)) if progress else None)
        _settled(archive, got, folder, progress(f"unpacking {_name(archive)}") if progress else None, keep)
    if corpus.more:
        _many(list(corpus.more(folder)), folder, wait_s, progress(f"{corpus.name}'s recordings") if progress else None)
    if not keep:
        shutil.rmtree(work, ignore_errors=True)


def _name(archive: Archive) -> str:
    words = [word for word in re.split(r"[/?&=:]", archive.url) if word]
    return archive.place.rsplit("/", 1)[-1] or words[-1]


def _fetched(archive: Archive, work: Path, wait_s: float, progress: Progress | None) -> Path:
    """The file, whole and verified, in the work folder."""
    key = hashlib.sha256(archive.url.encode()).hexdigest()[:12]
    whole = work / f"{key}.whole"
    if not whole.is_file():
        part = work / f"{key}.part"
        fetch(archive.url, part, wait_s, archive.size, progress)
        _verify(archive, part)
        part.replace(whole)
    return whole


def _settled(archive: Archive, got: Path, folder: Path, progress: Progress | None, keep: bool) -> None:
    """Unpack an archive, or put a plain file into its place."""
    done = got.with_suffix(".done")
    if done.exists():
        return
    if is_archive(got):
        target = folder / archive.place
        target.mkdir(parents=True, exist_ok=True)
        try:
            unpack(got, target, archive.only, progress)
        except CorpusError:
            got.unlink()  # what can't be used is fetched anew the next time
            raise
    elif archive.place:
        (folder / archive.place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(got, folder / archive.place)
    else:
        head = got.read_bytes()[:60]
        got.unlink()
        raise CorpusError(
            f"{archive.url}: no archive (zip, tar) came, but {head!r}; try again, or look at the page yourself"
        )
    done.touch()
    if not keep:
        got.write_bytes(b"")  # its name stays, so that what was stopped doesn't fetch it twice


def _many(archives: Iterable[Archive], folder: Path, wait_s: float, progress: Progress | None) -> None:
    """Small files, several at once; those that are there already are left."""
    todo = list(archives)
    count, lock = 0, threading.Lock()

    def one(archive: Archive) -> None:
        nonlocal count
        place = folder / archive.place
        if not place.is_file():
            part = folder / _WORK / f"{place.name}.part"
            fetch(archive.url, part, wait_s)
            _verify(archive, part)
            if part.read_bytes()[:40].startswith(b"version https://git-lfs"):
                part.unlink()
                raise CorpusError(f"{archive.url}: a pointer of git-lfs came instead of the recording; try again later")
            place.parent.mkdir(parents=True, exist_ok=True)
            part.replace(place)
        with lock:
            count += 1
            if progress:
                progress(count, len(todo))

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        try:
            for _ in pool.map(one, todo):
                pass
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def fetch(url: str, part: Path, wait_s: float = 1.0, size: int = 0, progress: Progress | None = None) -> None:
    """Fetch ``url`` into ``part``, going on from what is there. A try that brings nothing new counts; five of them end it.

    Raises CorpusError for a server that refuses or doesn't deliver, KanjoError for a full disk.
    """
    requests = _requests()
    tries = in_all = 0
    with requests.Session() as session:
        while True:
            before = part.stat().st_size if part.exists() else 0
            try:
                _attempt(session, url, part, size, progress)
                return
            except (Cut, requests.RequestException) as error:
                came = part.stat().st_size if part.exists() else 0
                tries, in_all = 1 if came > before else tries + 1, in_all + 1
                if tries >= _TRIES or in_all >= _TRIES_IN_ALL:
                    kept = f"; {came:,} bytes are kept, the next try goes on from there" if came else ""
                    raise CorpusError(f"{url}: {_line(error)} ({in_all} tries){kept}") from error
                time.sleep(wait_s * 2 ** (tries - 1))
            except OSError as error:
                raise KanjoError(f"can't write {part}: {reason(error)}") from error


def _attempt(session: Any, url: str, part: Path, size: int, progress: Progress | None) -> None:
    have = part.stat().st_size if part.exists() else 0
    mark = part.with_suffix(".mark")  # which version of the file the part is of
    headers = {"Accept-Encoding": "identity"}
    if have and mark.is_file():
        headers |= {"Range": f"bytes={have}-", "If-Range": mark.read_text(encoding="utf-8")}
    with session.get(url, headers=headers, stream=True, timeout=_TIMEOUT_S) as answer:
        if answer.status_code == 416 and have and answer.headers.get("Content-Range", "").endswith(f"/{have}"):
            return  # it was whole already
        if answer.status_code in _AGAIN:
            raise Cut(f"the server answers {answer.status_code} {answer.reason}")
        if answer.status_code == 416:
            part.unlink()
            raise Cut("the file is not the one that was begun")
        if answer.status_code not in (200, 206):
            raise CorpusError(
                f"{url}: the server answers {answer.status_code} {answer.reason}; look at the page yourself"
            )
        goes_on = answer.status_code == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        start = have if goes_on else 0
        told = int(answer.headers.get("Content-Length") or 0)
        total = start + told if told else 0
        _room_for((total or size) - start, part.parent)
        mark.write_text(answer.headers.get("ETag") or answer.headers.get("Last-Modified") or "", encoding="utf-8")
        if not mark.read_text(encoding="utf-8"):
            mark.unlink()
        with part.open("ab" if goes_on else "wb") as out:
            for block in _blocks(answer):
                out.write(block)
                if progress:
                    progress(out.tell(), total or size)
        came = part.stat().st_size
    if total and came != total:
        raise Cut(f"the server promised {total:,} bytes and sent {came:,}")
    mark.unlink(missing_ok=True)


def _blocks(answer: Any) -> Iterator[bytes]:
    """What comes, as it comes: requests' own loop throws a block away that the connection didn't live to fill."""
    from urllib3.exceptions import HTTPError

    try:
        while block := answer.raw.read1(_BLOCK):
            yield block
    except HTTPError as error:
        raise Cut(_line(error)) from error


def _room_for(n: int, folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if n > free:
        raise KanjoError(f"{folder}: {n / 1e9:.2f} GB to fetch, {free / 1e9:.2f} GB free; make room and try again")


def _verify(archive: Archive, part: Path) -> None:
    """Raises CorpusError, and removes the file, when its digest is not the published one."""
    if not archive.digest:
        return
    kind, _, expected = archive.digest.partition(":")
    digest = hashlib.new(kind, usedforsecurity=False)
    with part.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    if digest.hexdigest() != expected:
        part.unlink()
        raise CorpusError(
            f"{archive.url}: its {kind} is {digest.hexdigest()}, published is {expected}; what came was removed, try again"
        )


def _requests() -> Any:
    try:
        import requests
    except ImportError as error:
        raise CorpusError("downloading needs requests: pip install 'kanjo[download]'") from error
    return requests


def _line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) < 200 else f"{text[:200]} ..."
