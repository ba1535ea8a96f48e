"""Downloads against a real server on this machine that cuts connections, lies about lengths and serves damaged archives."""

from __future__ import annotations

import hashlib
import io
import os
import struct
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from kanjo.cli import app
from kanjo.corpora import CORPORA, Corpus
from kanjo.corpora.corpus import Archive
from kanjo.corpora.download import download, fetch
from kanjo.corpora.unpack import unpack
from kanjo.errors import CorpusError, KanjoError
from tests import corpora_fixtures as tiny

Answer = Callable[["_Handler"], None]


@dataclass
class Server:
    """What is served: path -> content, or a function that answers; and what was asked for."""

    url: str = ""
    content: dict[str, bytes] = field(default_factory=dict)
    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)


class _Handler(BaseHTTPRequestHandler):
    server: ThreadingHTTPServer
    state: Server

    def do_GET(self) -> None:
        state = self.state
        state.asked.append((self.path, self.headers.get("Range", "")))
        if self.path in state.answers:
            state.answers[self.path](self)
        elif self.path in state.content:
            self.give(state.content[self.path])
        else:
            self.send_error(404)

    def give(
        self, content: bytes, upto: int | None = None, told: int | None = None, ranges: bool = True, tag: str = '"one"'
    ) -> None:
        """Send content, from where it was asked; ``upto`` bytes of it, saying it were ``told``."""
        start = 0
        asked = self.headers.get("Range", "")
        if ranges and asked and self.headers.get("If-Range") in (None, tag):
            start = int(asked.removeprefix("bytes=").rstrip("-"))
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
        self.send_header("ETag", tag)
        self.send_header("Content-Length", str(len(rest) if told is None else told))
        self.end_headers()
        self.wfile.write(rest[:upto])
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()
    handler = type("Handler", (_Handler,), {"state": state})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        state.url = f"http://127.0.0.1:{http.server_address[1]}"
        thread = threading.Thread(target=http.serve_forever, daemon=True)
        thread.start()
        yield state
        http.shutdown()


def _zipped(files: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


def _folder(root: Path, above: str = "") -> dict[str, bytes]:
    return {
        f"{above}{path.relative_to(root).as_posix()}": path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A zip of a tiny RAVDESS of three actors."""
    return _zipped(_folder(tiny.ravdess(tmp_path_factory.mktemp("r"), actors=3)))


def _corpus(server: Server, content: bytes, digest: str | None = None, **changes: object) -> Corpus:
    server.content.setdefault("/speech.zip", content)
    digest = f"md5:{hashlib.md5(content).hexdigest()}" if digest is None else digest
    archives = (Archive(f"{server.url}/speech.zip", digest, len(content)),)
    return replace(CORPORA["ravdess"], **{"archives": archives, **changes})


def _files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_corpus_is_fetched_verified_and_unpacked(server: Server, speech: bytes, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    download(_corpus(server, speech), tmp_path / "r", lambda what: lambda done, total: seen.append((what, done, total)))
    assert len(list(tmp_path.rglob("*.wav"))) == 24
    assert (tmp_path / "r" / "Actor_02" / "03-01-05-01-01-01-02.wav").is_file()
    assert ("speech.zip", len(speech), len(speech)) in seen and seen[-1][0] == "unpacking speech.zip"
    assert not (tmp_path / "r" / ".download").exists()


def test_a_cut_connection_goes_on_where_it_stopped(server: Server, speech: bytes, tmp_path: Path) -> None:
    server.answers["/speech.zip"] = lambda handler: handler.give(speech, upto=len(speech) // 4)
    download(_corpus(server, speech), tmp_path, wait_s=0)
    assert len(list(tmp_path.rglob("*.wav"))) == 24
    starts = [int(asked.removeprefix("bytes=").rstrip("-") or 0) for _, asked in server.asked]
    assert len(starts) > 4 and starts == sorted(starts) and starts[1] == len(speech) // 4


def test_a_server_that_knows_no_ranges_starts_anew(server: Server, speech: bytes, tmp_path: Path) -> None:
    def answer(handler: _Handler) -> None:
        handler.give(speech, upto=None if len(server.asked) > 2 else 1000 * len(server.asked), ranges=False)

    server.answers["/speech.zip"] = answer
    download(_corpus(server, speech), tmp_path, wait_s=0)
    assert len(list(tmp_path.rglob("*.wav"))) == 24 and len(server.asked) == 3


def test_a_file_that_changed_meanwhile_starts_anew(server: Server, speech: bytes, tmp_path: Path) -> None:
    old = bytes(len(speech))

    def answer(handler: _Handler) -> None:
        if len(server.asked) == 1:
            handler.give(old, upto=5000, tag='"old"')
        else:
            handler.give(speech, tag='"new"')

    server.answers["/speech.zip"] = answer
    download(_corpus(server, speech), tmp_path, wait_s=0)
    assert server.asked[1][1] == "bytes=5000-" and len(list(tmp_path.rglob("*.wav"))) == 24


def test_what_a_killed_download_left_is_used(server: Server, speech: bytes, tmp_path: Path) -> None:
    server.answers["/speech.zip"] = lambda handler: handler.give(
        speech, upto=7000 if not handler.headers.get("Range") else 0
    )
    corpus = _corpus(server, speech)
    with pytest.raises(CorpusError, match=r"7,000 bytes are kept, the next try goes on from there"):
        download(corpus, tmp_path, wait_s=0)
    del server.answers["/speech.zip"]
    server.asked.clear()
    download(corpus, tmp_path, wait_s=0)
    assert server.asked == [("/speech.zip", "bytes=7000-")]


def test_a_server_that_promises_more_than_it_has(server: Server, speech: bytes, tmp_path: Path) -> None:
    server.answers["/speech.zip"] = lambda handler: handler.give(speech, told=len(speech) + 999, ranges=False)
    with pytest.raises(CorpusError, match=r"speech.zip: .*\(5 tries\)"):
        download(_corpus(server, speech), tmp_path, wait_s=0)
    assert not list(tmp_path.rglob("*.wav"))


@pytest.mark.parametrize("digest", [None, ""])
def test_a_server_that_says_less_than_it_has(server: Server, speech: bytes, tmp_path: Path, digest: str | None) -> None:
    server.answers["/speech.zip"] = lambda handler: handler.give(speech, told=len(speech) - 2000)
    with pytest.raises(CorpusError, match="what came was removed, try again" if digest is None else "no archive"):
        download(_corpus(server, speech, digest), tmp_path, wait_s=0)
    assert not list(tmp_path.rglob("*.wav"))
    del server.answers["/speech.zip"]
    download(_corpus(server, speech, digest), tmp_path, wait_s=0)  # nothing of the bad one is used again
    assert len(list(tmp_path.rglob("*.wav"))) == 24


def test_an_overloaded_server_is_asked_again_and_one_that_refuses_is_not(
    server: Server, speech: bytes, tmp_path: Path
) -> None:
    def answer(handler: _Handler) -> None:
        handler.give(speech) if len(server.asked) > 2 else handler.send_error(503)

    server.answers["/speech.zip"] = answer
    corpus = _corpus(server, speech)
    download(corpus, tmp_path, wait_s=0)
    assert len(server.asked) == 3
    server.answers["/speech.zip"] = lambda handler: handler.send_error(403)
    server.asked.clear()
    with pytest.raises(CorpusError, match="the server answers 403 Forbidden; look at the page yourself"):
        download(corpus, tmp_path / "again", wait_s=0)
    assert len(server.asked) == 1


def test_no_server_at_all_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"http://127.0.0.1:9/x.zip: .*\(5 tries\)") as caught:
        fetch("http://127.0.0.1:9/x.zip", tmp_path / "x.part", wait_s=0)
    assert len(str(caught.value).splitlines()) == 1


def test_a_page_instead_of_an_archive(server: Server, tmp_path: Path) -> None:
    page = b"<html>Sign in</html>"
    with pytest.raises(CorpusError, match="no archive .* came, but b'<html>Sign in"):
        download(_corpus(server, page), tmp_path, wait_s=0)


def test_files_one_by_one(server: Server, tmp_path: Path) -> None:
    """As CREMA-D's: a list names the recordings, some of which are there already, and one is a pointer of git-lfs."""
    source = tiny.tree(tmp_path / "s", *(f"AudioWAV/{n}_DFA_ANG_XX.wav" for n in range(1001, 1013)))
    server.content |= {f"/lfs/{name}": content for name, content in _folder(source).items()}
    names = "".join(f'{n},"{n + 1000}_DFA_ANG_XX"\n' for n in range(1, 13))
    server.content["/list.csv"] = f'"Stimulus_Number","Filename"\n{names}'.encode()

    def more(root: Path) -> Iterator[Archive]:
        for archive in CORPORA["crema-d"].more(root):  # type: ignore[misc]
            assert archive.url.startswith(
                "https://media.githubusercontent.com/media/CheyneyComputerScience/CREMA-D/master/"
            )
            yield replace(archive, url=f"{server.url}/lfs/{archive.place}")

    corpus = replace(
        CORPORA["crema-d"], archives=(Archive(f"{server.url}/list.csv", place="SentenceFilenames.csv"),), more=more
    )
    target = tmp_path / "c"
    place = target / "AudioWAV" / "1001_DFA_ANG_XX.wav"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"mine")
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
    content = server.content["/lfs/AudioWAV/1005_DFA_ANG_XX.wav"]
    server.content["/lfs/AudioWAV/1005_DFA_ANG_XX.wav"] = pointer
    with pytest.raises(CorpusError, match="a pointer of git-lfs came"):
        download(corpus, target, wait_s=0)
    server.content["/lfs/AudioWAV/1005_DFA_ANG_XX.wav"] = content
    server.asked.clear()
    download(corpus, target, wait_s=0)
    assert len(list((target / "AudioWAV").iterdir())) == 12 and place.read_bytes() == b"mine"
    assert len(server.asked) < 13  # what had come was not asked for again


def test_no_room_is_said_before_anything_is_fetched(
    server: Server, speech: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 1000))  # type: ignore[attr-defined]
    with pytest.raises(KanjoError, match=r"GB to fetch, 0.00 GB free; make room"):
        download(_corpus(server, speech), tmp_path, wait_s=0)
    assert not list(tmp_path.rglob("*.part"))


def test_a_folder_that_may_not_be_written(server: Server, speech: bytes, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(KanjoError, match="can't write .*file"):
        download(_corpus(server, speech), tmp_path / "file", wait_s=0)


# archives


def _unpacked(content: bytes, folder: Path, only: str = "") -> set[str]:
    folder.mkdir(exist_ok=True)
    (folder.parent / "a.archive").write_bytes(content)
    unpack(folder.parent / "a.archive", folder, only)
    return _files(folder)


def _tarred(*members: tarfile.TarInfo, compression: str = "gz") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=f"w:{compression}") as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(bytes(member.size)))
    return stream.getvalue()


def _member(name: str, size: int = 3, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = size, kind, link
    return info


@pytest.mark.parametrize("compression", ["", "gz", "bz2", "xz"])
def test_tars_unpack_too(tmp_path: Path, compression: str) -> None:
    content = _tarred(_member("top/a.wav"), _member("top/b/ü.wav"), compression=compression)
    assert _unpacked(content, tmp_path / "o") == {"a.wav", "b/ü.wav"}


def test_only_a_part_and_no_junk(tmp_path: Path) -> None:
    content = _zipped({"R-main/Sound Source/Sad/a.wav": b"1", "R-main/x/b.wav": b"2", "__MACOSX/R-main/._a.wav": b"3"})
    assert _unpacked(content, tmp_path / "o", "Sound Source") == {"Sound Source/Sad/a.wav"}
    with pytest.raises(CorpusError, match="nothing under nowhere in it"):
        _unpacked(content, tmp_path / "o", "nowhere")


def test_unpacking_joins_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "o" / "a").mkdir(parents=True)
    (tmp_path / "o" / "a" / "mine.txt").write_text("mine")
    assert _unpacked(_zipped({"a/b.wav": b"1", "c.txt": b"2"}), tmp_path / "o") == {"a/mine.txt", "a/b.wav", "c.txt"}
    with pytest.raises(CorpusError, match="a is a folder where the archive has a file"):
        _unpacked(_zipped({"a": b"1", "c.txt": b"2"}), tmp_path / "o")


@pytest.mark.parametrize(
    "name", ["../evil.wav", "/tmp/evil.wav", "a/../../evil.wav", "..\\evil.wav", "C:\\evil.wav", "C:evil"]
)
def test_paths_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    for content in (_zipped({"ok.wav": b"1", name: b"2"}), _tarred(_member("ok.wav"), _member(name))):
        with pytest.raises(CorpusError, match="would land outside the folder; refused"):
            _unpacked(content, tmp_path / "o")
        assert _files(tmp_path / "o") == set() and not (tmp_path / "evil.wav").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes) -> None:
    with pytest.raises(CorpusError, match="is a link or a device; refused"):
        _unpacked(_tarred(_member("a.wav"), _member("b", 0, kind, "/etc/passwd")), tmp_path / "o")
    link = zipfile.ZipInfo("b")
    link.external_attr = 0o120777 << 16
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(CorpusError, match="b is a link; refused"):
        _unpacked(stream.getvalue(), tmp_path / "o")


def test_bombs_are_refused_before_they_burst(tmp_path: Path) -> None:
    bomb = _zipped({f"{n}.wav": bytes(40_000_000) for n in range(2)}, zipfile.ZIP_DEFLATED)
    with pytest.raises(
        CorpusError, match="claim to hold 80,000,000 in 2 files; no corpus of speech shrinks so; refused"
    ):
        _unpacked(bomb, tmp_path / "o")
    assert _files(tmp_path / "o") == set()


def test_an_archive_that_lies_about_a_size(tmp_path: Path) -> None:
    """The directory at its end says 10 bytes; the stream holds 4 MB of zeros."""
    content = bytearray(_zipped({"a.wav": bytes(4_000_000)}, zipfile.ZIP_DEFLATED))
    at = content.rindex(b"PK\x01\x02")
    content[at + 24 : at + 28] = struct.pack("<I", 10)
    with pytest.raises(CorpusError, match="damaged|larger than"):
        _unpacked(bytes(content), tmp_path / "o")
    assert _files(tmp_path / "o") == set()


@pytest.mark.parametrize(
    "damage", [lambda c: c[:-30], lambda c: c[:60] + os.urandom(40) + c[100:], lambda c: c[: len(c) // 2]]
)
def test_a_damaged_archive_is_one_line_and_leaves_nothing(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    noise = os.urandom(50_000)
    for content in (
        _zipped({"a.wav": noise, "b.wav": noise}),
        _tarred(_member("a.wav", 40_000), _member("b.wav", 40_000)),
    ):
        with pytest.raises(CorpusError, match="a.archive: a damaged archive") as caught:
            _unpacked(damage(content), tmp_path / "o")
        assert len(str(caught.value).splitlines()) == 1
        assert _files(tmp_path / "o") == set()


def test_no_room_to_unpack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 1000))  # type: ignore[attr-defined]
    with pytest.raises(KanjoError, match="GB to unpack, 0.0 GB free"):
        _unpacked(_zipped({"a.wav": bytes(2000), "b": b""}), tmp_path / "o")


@given(st.text(max_size=30))
def test_no_name_leads_out(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    from kanjo.corpora.unpack import _inside

    root = tmp_path_factory.getbasetemp() / "somewhere"
    try:
        place = _inside(name, Path("a.zip"))
    except CorpusError as error:
        assert "refused" in str(error)
    else:
        assert Path(os.path.normpath(root / place)).is_relative_to(root)


# the command


def test_the_command_fetches_and_checks(
    server: Server, speech: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = _corpus(server, speech, emotions=dict.fromkeys(CORPORA["ravdess"].emotions, 3), n_speakers=3)
    monkeypatch.setitem(CORPORA, "ravdess", corpus)
    run = CliRunner()
    done = run.invoke(app, ["corpus", "download", "ravdess", str(tmp_path / "r"), "-s"])
    assert done.exit_code == 0, done.output
    assert "ok      utterances                            24" in done.stdout
    assert "CC BY-NC-SA 4.0. Cite: S. R. Livingstone" in done.stderr
    server.asked.clear()
    again = run.invoke(app, ["corpus", "download", "ravdess", str(tmp_path / "r"), "-s"])
    assert again.exit_code == 0 and "is in" in again.stderr and not server.asked
    next((tmp_path / "r").rglob("*.wav")).unlink()
    assert run.invoke(app, ["corpus", "download", "ravdess", str(tmp_path / "r"), "--keep"]).exit_code == 0
    assert len(server.asked) == 1 and len(list((tmp_path / "r" / ".download").glob("*.whole"))) == 1


def test_a_corpus_that_must_be_asked_for(tmp_path: Path) -> None:
    run = CliRunner()
    done = run.invoke(app, ["corpus", "download", "jtes", str(tmp_path / "j")])
    assert (
        done.exit_code == 1
        and "kanjo doesn't fetch Japanese Twitter-based" in done.stderr
        and "Put it into" in done.stderr
    )
    tiny.jtes(tmp_path / "j")
    done = run.invoke(app, ["corpus", "download", "jtes", str(tmp_path / "j"), "-s"])
    assert done.exit_code == 1 and "DIFFERS utterances" in done.stdout


def test_every_address_is_a_whole_one() -> None:
    fetched = {name for name, corpus in CORPORA.items() if corpus.archives}
    assert {"emodb", "ravdess", "crema-d", "nemo", "tess", "ased"} <= fetched
    assert not {"jtes", "esd", "aihub", "iemocap", "studies"} & fetched
    for name in fetched:
        for archive in CORPORA[name].archives:
            assert archive.url.startswith(("https://", "http://emodb")), archive
            assert archive.digest == "" or len(archive.digest.split(":")[1]) in (32, 64)
