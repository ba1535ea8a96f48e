from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kanjo.corpora import CORPORA
from kanjo.corpora.corpus import Archive
from kanjo.corpora.download import download
from kanjo.corpora.fetch import fetch_file
from kanjo.errors import CorpusError, KanjoError
from kanjo.locks import hold_lock
from tests import corpora_fixtures
from tests.corpora.http_server import Handler, Server, make_corpus, read_files


def _n_recordings(folder: Path) -> int:
    return len(list(folder.rglob("*.wav")))


def test_download_fetches_verifies_and_unpacks(server: Server, ravdess_zip: bytes, tmp_path: Path) -> None:
    calls: list[tuple[str, int, int]] = []
    download(
        make_corpus(server, ravdess_zip),
        tmp_path / "r",
        lambda name: lambda done, total: calls.append((name, done, total)),
    )
    assert _n_recordings(tmp_path) == 24
    assert (tmp_path / "r" / "Actor_02" / "03-01-05-01-01-01-02.wav").is_file()
    assert ("speech.zip", len(ravdess_zip), len(ravdess_zip)) in calls and calls[-1][0] == "unpacking speech.zip"
    assert not (tmp_path / "r" / ".download").exists()


def test_download_interrupted_connection_resumes(server: Server, ravdess_zip: bytes, tmp_path: Path) -> None:
    quarter = len(ravdess_zip) // 4
    server.responders["/speech.zip"] = lambda handler: handler.send(ravdess_zip, max_bytes=quarter)
    download(make_corpus(server, ravdess_zip), tmp_path, wait_s=0)
    assert _n_recordings(tmp_path) == 24
    starts = [int(header.removeprefix("bytes=").rstrip("-") or 0) for _, header in server.requests]
    assert len(starts) > 4 and starts == sorted(starts) and starts[1] == quarter


def test_download_server_without_ranges_starts_from_the_beginning(
    server: Server, ravdess_zip: bytes, tmp_path: Path
) -> None:
    def respond(handler: Handler) -> None:
        n_requests = len(server.requests)
        handler.send(ravdess_zip, max_bytes=None if n_requests > 2 else 1000 * n_requests, supports_ranges=False)

    server.responders["/speech.zip"] = respond
    download(make_corpus(server, ravdess_zip), tmp_path, wait_s=0)
    assert _n_recordings(tmp_path) == 24 and len(server.requests) == 3


def test_download_file_that_changed_on_the_server_starts_from_the_beginning(
    server: Server, ravdess_zip: bytes, tmp_path: Path
) -> None:
    def respond(handler: Handler) -> None:
        if len(server.requests) == 1:
            handler.send(bytes(len(ravdess_zip)), max_bytes=5000, etag='"old"')
        else:
            handler.send(ravdess_zip, etag='"new"')

    server.responders["/speech.zip"] = respond
    download(make_corpus(server, ravdess_zip), tmp_path, wait_s=0)
    assert server.requests[1][1] == "bytes=5000-" and _n_recordings(tmp_path) == 24


def test_download_after_a_failure_resumes(server: Server, ravdess_zip: bytes, tmp_path: Path) -> None:
    server.responders["/speech.zip"] = lambda handler: handler.send(
        ravdess_zip, max_bytes=0 if handler.headers.get("Range") else 7000
    )
    corpus = make_corpus(server, ravdess_zip)
    with pytest.raises(CorpusError, match=r"7,000 bytes are kept"):
        download(corpus, tmp_path, wait_s=0)
    del server.responders["/speech.zip"]
    server.requests.clear()
    download(corpus, tmp_path, wait_s=0)
    assert server.requests == [("/speech.zip", "bytes=7000-")]


def test_download_content_length_too_large_is_refused(server: Server, ravdess_zip: bytes, tmp_path: Path) -> None:
    server.responders["/speech.zip"] = lambda handler: handler.send(
        ravdess_zip, content_length=len(ravdess_zip) + 999, supports_ranges=False
    )
    with pytest.raises(CorpusError, match=r"speech.zip: .*\(5 tries\)"):
        download(make_corpus(server, ravdess_zip), tmp_path, wait_s=0)
    assert not _n_recordings(tmp_path)


@pytest.mark.parametrize(("digest", "message"), [(None, "the file was removed"), ("", "expected an archive")])
def test_download_content_length_too_small_is_refused(
    server: Server, ravdess_zip: bytes, tmp_path: Path, digest: str | None, message: str
) -> None:
    corpus = make_corpus(server, ravdess_zip, digest)
    server.responders["/speech.zip"] = lambda handler: handler.send(ravdess_zip, content_length=len(ravdess_zip) - 2000)
    with pytest.raises(CorpusError, match=message):
        download(corpus, tmp_path, wait_s=0)
    assert not _n_recordings(tmp_path)
    del server.responders["/speech.zip"]
    download(corpus, tmp_path, wait_s=0)  # must not use the damaged file again
    assert _n_recordings(tmp_path) == 24


def test_download_temporary_error_is_retried(server: Server, ravdess_zip: bytes, tmp_path: Path) -> None:
    def respond(handler: Handler) -> None:
        handler.send(ravdess_zip) if len(server.requests) > 2 else handler.send_error(503)

    server.responders["/speech.zip"] = respond
    download(make_corpus(server, ravdess_zip), tmp_path, wait_s=0)
    assert len(server.requests) == 3


def test_download_permanent_error_is_not_retried(server: Server, ravdess_zip: bytes, tmp_path: Path) -> None:
    server.responders["/speech.zip"] = lambda handler: handler.send_error(403)
    with pytest.raises(CorpusError, match="HTTP 403 Forbidden; open the page in a browser"):
        download(make_corpus(server, ravdess_zip), tmp_path, wait_s=0)
    assert len(server.requests) == 1


def test_fetch_file_without_server_fails_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"http://127.0.0.1:9/x.zip: .*\(5 tries\)") as caught:
        fetch_file("http://127.0.0.1:9/x.zip", tmp_path / "x.part", wait_s=0)
    assert len(str(caught.value).splitlines()) == 1


def test_download_web_page_instead_of_an_archive_is_refused(server: Server, tmp_path: Path) -> None:
    page = b"<html>Sign in</html>"
    with pytest.raises(CorpusError, match="expected an archive .* but the server sent b'<html>Sign in"):
        download(make_corpus(server, page), tmp_path, wait_s=0)


def test_download_single_files_skips_existing_ones_and_refuses_lfs_pointers(server: Server, tmp_path: Path) -> None:
    """CREMA-D: a list names the recordings, which are downloaded one by one."""
    names = [f"AudioWAV/{n}_DFA_ANG_XX.wav" for n in range(1001, 1013)]
    source = corpora_fixtures.write_clips(tmp_path / "s", *names)
    server.content |= {f"/lfs/{name}": content for name, content in read_files(source).items()}
    lines = "".join(f'{n},"{n + 1000}_DFA_ANG_XX"\n' for n in range(1, 13))
    server.content["/list.csv"] = f'"Stimulus_Number","Filename"\n{lines}'.encode()

    def list_further_archives(root: Path) -> Iterator[Archive]:
        for archive in CORPORA["crema-d"].list_further_archives(root):  # type: ignore[misc]
            assert archive.url.startswith("https://media.githubusercontent.com/media/CheyneyComputerScience/CREMA-D/")
            yield replace(archive, url=f"{server.url}/lfs/{archive.target}")

    corpus = replace(
        CORPORA["crema-d"],
        archives=(Archive(f"{server.url}/list.csv", target="SentenceFilenames.csv"),),
        list_further_archives=list_further_archives,
    )
    folder = tmp_path / "c"
    existing = folder / "AudioWAV" / "1001_DFA_ANG_XX.wav"
    existing.parent.mkdir(parents=True)
    existing.write_bytes(b"existing")
    content = server.content["/lfs/AudioWAV/1005_DFA_ANG_XX.wav"]
    server.content["/lfs/AudioWAV/1005_DFA_ANG_XX.wav"] = (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
    )
    with pytest.raises(CorpusError, match="sent a Git LFS pointer"):
        download(corpus, folder, wait_s=0)
    server.content["/lfs/AudioWAV/1005_DFA_ANG_XX.wav"] = content
    server.requests.clear()
    download(corpus, folder, wait_s=0)
    assert len(list((folder / "AudioWAV").iterdir())) == 12 and existing.read_bytes() == b"existing"
    assert len(server.requests) < 13


def test_download_full_disk_is_reported_before_the_download(
    server: Server, ravdess_zip: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil._ntuple_diskusage(10**9, 10**9, 1000)  # type: ignore[attr-defined]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(KanjoError, match=r"GB to download, 0.00 GB free; free some space"):
        download(make_corpus(server, ravdess_zip), tmp_path, wait_s=0)
    assert not list(tmp_path.rglob("*.part"))


def test_download_folder_that_is_a_file_is_refused(server: Server, ravdess_zip: bytes, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(KanjoError, match="can't write .*file"):
        download(make_corpus(server, ravdess_zip), tmp_path / "file", wait_s=0)


def _damage_middle(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize("digest", [None, ""])
@pytest.mark.parametrize("damage", [_damage_middle, lambda content: content[:-2000]])
def test_download_damaged_archive_is_fetched_again(
    digest: str | None, damage: Callable[[bytes], bytes], server: Server, ravdess_zip: bytes, tmp_path: Path
) -> None:
    server.responders["/speech.zip"] = lambda handler: handler.send(
        damage(ravdess_zip) if len(server.requests) == 1 else ravdess_zip
    )
    download(make_corpus(server, ravdess_zip, digest), tmp_path, wait_s=0)
    assert len(server.requests) == 2 and _n_recordings(tmp_path) == 24


def test_download_archive_damaged_on_the_disk_is_fetched_again(
    server: Server, ravdess_zip: bytes, tmp_path: Path
) -> None:
    corpus = make_corpus(server, ravdess_zip)
    download(corpus, tmp_path, wait_s=0, keep=True)
    (complete,) = (tmp_path / ".download").glob("*.complete")
    complete.with_suffix(".done").unlink()
    complete.write_bytes(_damage_middle(ravdess_zip))
    (tmp_path / ".download" / ".unpacking.killed").mkdir()
    server.requests.clear()
    download(corpus, tmp_path, wait_s=0)
    assert len(server.requests) == 1 and _n_recordings(tmp_path) == 24
    assert not (tmp_path / ".download").exists()


def test_download_of_two_commands_into_one_folder_is_refused(
    server: Server, ravdess_zip: bytes, tmp_path: Path
) -> None:
    (tmp_path / ".download").mkdir()
    with (
        hold_lock(tmp_path / ".download" / ".lock"),
        pytest.raises(KanjoError, match="another kanjo command downloads"),
    ):
        download(make_corpus(server, ravdess_zip), tmp_path, wait_s=0)
    download(make_corpus(server, ravdess_zip), tmp_path, wait_s=0)
    assert _n_recordings(tmp_path) == 24
