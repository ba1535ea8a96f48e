"""Download one file over HTTP, and resume an interrupted download."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from kanjo.errors import CorpusError, KanjoError
from kanjo.files import os_error_message

#: Called with the number of bytes done and in total.
Progress = Callable[[int, int], None]

_BLOCK_BYTES = 1 << 17
_MAX_TRIES_WITHOUT_PROGRESS, _MAX_TRIES, _TIMEOUT_S = 5, 100, 30.0
#: HTTP status codes after which another try may succeed.
_TEMPORARY_ERRORS = frozenset([408, 425, 429, 500, 502, 503, 504])


class _IncompleteDownload(Exception):
    """The connection ended before the file was complete; another try can resume."""


def fetch_file(
    url: str, partial_path: Path, wait_s: float = 1.0, size_bytes: int = 0, progress: Progress | None = None
) -> None:
    """Download ``url`` to ``partial_path``; resume if the file exists. Stop after five tries without new bytes.

    Args:
        url: Address of the file.
        partial_path: Where the file is written. After a failure it keeps what was received.
        wait_s: Seconds before the second try; doubled for each further one.
        size_bytes: Expected size, for servers that do not send it; 0 if unknown.
        progress: Called with the number of bytes done and in total.

    Raises:
        CorpusError: The server refuses, or does not deliver the complete file.
        KanjoError: The disk is full or can't be written.
    """
    requests = _import_requests()
    n_without_progress = n_tries = 0
    with requests.Session() as session:
        while True:
            before = _size(partial_path)
            try:
                _download_rest(session, url, partial_path, size_bytes, progress)
                return
            except (_IncompleteDownload, requests.RequestException) as error:
                received = _size(partial_path)
                n_without_progress = 1 if received > before else n_without_progress + 1
                n_tries += 1
                if n_without_progress >= _MAX_TRIES_WITHOUT_PROGRESS or n_tries >= _MAX_TRIES:
                    hint = f"; {received:,} bytes are kept, and the next download resumes there" if received else ""
                    raise CorpusError(f"{url}: {_one_line(error)} ({n_tries} tries){hint}") from error
                time.sleep(wait_s * 2 ** (n_without_progress - 1))
            except OSError as error:
                raise KanjoError(f"can't write {partial_path}: {os_error_message(error)}") from error


def _download_rest(session: Any, url: str, partial_path: Path, size_bytes: int, progress: Progress | None) -> None:
    """Append the missing bytes in one request, or start from the beginning if the server can't resume."""
    existing = _size(partial_path)
    etag_path = partial_path.with_suffix(".etag")  # which revision of the file the existing bytes belong to
    headers = {"Accept-Encoding": "identity"}
    if existing and etag_path.is_file():
        headers |= {"Range": f"bytes={existing}-", "If-Range": etag_path.read_text(encoding="utf-8")}
    with session.get(url, headers=headers, stream=True, timeout=_TIMEOUT_S) as response:
        content_range = response.headers.get("Content-Range", "")
        if response.status_code == 416 and existing and content_range.endswith(f"/{existing}"):
            return  # the file was already complete
        _check_status(response, url, partial_path)
        resumes = response.status_code == 206 and content_range.startswith(f"bytes {existing}-")
        start = existing if resumes else 0
        content_length = int(response.headers.get("Content-Length") or 0)
        total = start + content_length if content_length else 0
        _check_free_space((total or size_bytes) - start, partial_path.parent)
        _write_etag(etag_path, response.headers)
        n_bytes = start
        with partial_path.open("ab" if resumes else "wb") as output:
            for block in _read_blocks(response):
                output.write(block)
                n_bytes += len(block)
                if progress:
                    progress(n_bytes, total or size_bytes)
    received = _size(partial_path)
    if total and received != total:
        raise _IncompleteDownload(f"the server announced {total:,} bytes, but sent {received:,}")
    etag_path.unlink(missing_ok=True)


def _check_status(response: Any, url: str, partial_path: Path) -> None:
    """Raise for a status other than success: _IncompleteDownload if another try may succeed, else CorpusError."""
    status = f"HTTP {response.status_code} {response.reason}"
    if response.status_code in _TEMPORARY_ERRORS:
        raise _IncompleteDownload(f"the server responded with {status}")
    if response.status_code == 416:
        partial_path.unlink()
        raise _IncompleteDownload("the file on the server changed during the download")
    if response.status_code not in (200, 206):
        raise CorpusError(f"{url}: the server responded with {status}; open the page in a browser")


def _write_etag(path: Path, headers: Any) -> None:
    etag = headers.get("ETag") or headers.get("Last-Modified")
    if etag:
        path.write_text(etag, encoding="utf-8")
    else:
        path.unlink(missing_ok=True)


def _read_blocks(response: Any) -> Iterator[bytes]:
    """Yield bytes as they arrive: the loop of requests drops a block that the connection did not complete."""
    from urllib3.exceptions import HTTPError

    try:
        while block := response.raw.read1(_BLOCK_BYTES):
            yield block
    except HTTPError as error:
        raise _IncompleteDownload(_one_line(error)) from error


def _check_free_space(n_bytes: int, folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if n_bytes > free:
        raise KanjoError(
            f"{folder}: {n_bytes / 1e9:.2f} GB to download, {free / 1e9:.2f} GB free; free some space and try again"
        )


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _import_requests() -> Any:
    try:
        import requests
    except ImportError as error:
        raise CorpusError("downloading needs requests: pip install 'kanjo[download]'") from error
    return requests


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) < 200 else f"{text[:200]} ..."
