"""A local HTTP server for tests of downloads: it can interrupt connections and send wrong lengths."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from kanjo.corpora import CORPORA, Corpus
from kanjo.corpora.corpus import Archive


@dataclass
class Server:
    """What is served: path -> content, or a function that responds; and the requests (path, Range)."""

    url: str = ""
    content: dict[str, bytes] = field(default_factory=dict)
    responders: dict[str, Callable[[Handler], None]] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)


class Handler(BaseHTTPRequestHandler):
    server: ThreadingHTTPServer
    state: Server

    def do_GET(self) -> None:
        self.state.requests.append((self.path, self.headers.get("Range", "")))
        if self.path in self.state.responders:
            self.state.responders[self.path](self)
        elif self.path in self.state.content:
            self.send(self.state.content[self.path])
        else:
            self.send_error(404)

    def send(
        self,
        content: bytes,
        max_bytes: int | None = None,
        content_length: int | None = None,
        supports_ranges: bool = True,
        etag: str = '"one"',
    ) -> None:
        """Send the requested range of ``content``: at most ``max_bytes``, announced as ``content_length`` bytes."""
        start = 0
        range_header = self.headers.get("Range", "")
        if supports_ranges and range_header and self.headers.get("If-Range") in (None, etag):
            start = int(range_header.removeprefix("bytes=").rstrip("-"))
            if start >= len(content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        rest = content[start:]
        self.send_header("ETag", etag)
        self.send_header("Content-Length", str(len(rest) if content_length is None else content_length))
        self.end_headers()
        self.wfile.write(rest[:max_bytes])
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


def make_zip(files: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """Return a zip of these files."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


def read_files(root: Path) -> dict[str, bytes]:
    """Return the content of all files below a folder by relative path."""
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def make_corpus(server: Server, content: bytes, digest: str | None = None, **changes: object) -> Corpus:
    """Return a RAVDESS whose archive is ``content`` on the server; ``digest`` None: the correct one."""
    server.content.setdefault("/speech.zip", content)
    digest = f"md5:{hashlib.md5(content).hexdigest()}" if digest is None else digest
    archives = (Archive(f"{server.url}/speech.zip", digest, len(content)),)
    return replace(CORPORA["ravdess"], **{"archives": archives, **changes})
