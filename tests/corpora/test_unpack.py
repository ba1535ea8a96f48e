from __future__ import annotations

import io
import os
import shutil
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kanjo.corpora.unpack import DamagedArchiveError, _safe_path, unpack
from kanjo.errors import CorpusError, KanjoError
from tests.corpora.http_server import make_zip, read_files


def _unpack(content: bytes, folder: Path, only: str = "") -> set[str]:
    """Unpack an archive with this content; return the files in the folder."""
    folder.mkdir(exist_ok=True)
    (folder.parent / "a.archive").write_bytes(content)
    unpack(folder.parent / "a.archive", folder, only)
    return set(read_files(folder))


def _make_tar(*members: tarfile.TarInfo, compression: str = "gz") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=f"w:{compression}") as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(bytes(member.size)))
    return stream.getvalue()


def _tar_info(name: str, size: int = 3, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = size, kind, link
    return info


@pytest.mark.parametrize("compression", ["", "gz", "bz2", "xz"])
def test_unpack_tar_drops_the_single_top_folder(tmp_path: Path, compression: str) -> None:
    content = _make_tar(_tar_info("top/a.wav"), _tar_info("top/b/ü.wav"), compression=compression)
    assert _unpack(content, tmp_path / "o") == {"a.wav", "b/ü.wav"}


def test_unpack_only_selects_a_folder_and_drops_junk(tmp_path: Path) -> None:
    content = make_zip({"R-main/Sound Source/Sad/a.wav": b"1", "R-main/x/b.wav": b"2", "__MACOSX/R-main/._a.wav": b"3"})
    assert _unpack(content, tmp_path / "o", "Sound Source") == {"Sound Source/Sad/a.wav"}
    with pytest.raises(CorpusError, match="no files in the folder nowhere"):
        _unpack(content, tmp_path / "o", "nowhere")


def test_unpack_merges_existing_folders(tmp_path: Path) -> None:
    (tmp_path / "o" / "a").mkdir(parents=True)
    (tmp_path / "o" / "a" / "existing.txt").write_text("existing")
    files = _unpack(make_zip({"a/b.wav": b"1", "c.txt": b"2"}), tmp_path / "o")
    assert files == {"a/existing.txt", "a/b.wav", "c.txt"}
    with pytest.raises(CorpusError, match="a is a folder, but the archive has a file with this name"):
        _unpack(make_zip({"a": b"1", "c.txt": b"2"}), tmp_path / "o")


@pytest.mark.parametrize(
    "name", ["../evil.wav", "/tmp/evil.wav", "a/../../evil.wav", "..\\evil.wav", "C:\\evil.wav", "C:evil"]
)
def test_unpack_path_outside_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    for content in (make_zip({"ok.wav": b"1", name: b"2"}), _make_tar(_tar_info("ok.wav"), _tar_info(name))):
        with pytest.raises(CorpusError, match="is outside the folder"):
            _unpack(content, tmp_path / "o")
        assert not read_files(tmp_path / "o") and not (tmp_path / "evil.wav").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_unpack_tar_link_or_device_is_refused(tmp_path: Path, kind: bytes) -> None:
    with pytest.raises(CorpusError, match="b is a link or a device"):
        _unpack(_make_tar(_tar_info("a.wav"), _tar_info("b", 0, kind, "/etc/passwd")), tmp_path / "o")


def test_unpack_zip_link_is_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("b")
    link.external_attr = 0o120777 << 16
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(CorpusError, match="b is a link"):
        _unpack(stream.getvalue(), tmp_path / "o")


def test_unpack_archive_bomb_is_refused_before_unpacking(tmp_path: Path) -> None:
    bomb = make_zip({f"{n}.wav": bytes(40_000_000) for n in range(2)}, zipfile.ZIP_DEFLATED)
    with pytest.raises(CorpusError, match="claims to contain 80,000,000 bytes in 2 files"):
        _unpack(bomb, tmp_path / "o")
    assert not read_files(tmp_path / "o")


def test_unpack_member_larger_than_stated_is_refused(tmp_path: Path) -> None:
    """The directory of the zip states 10 bytes; the member has 4 MB of zeros."""
    content = bytearray(make_zip({"a.wav": bytes(4_000_000)}, zipfile.ZIP_DEFLATED))
    offset = content.rindex(b"PK\x01\x02")
    content[offset + 24 : offset + 28] = struct.pack("<I", 10)
    with pytest.raises(CorpusError, match="damaged|larger than"):
        _unpack(bytes(content), tmp_path / "o")
    assert not read_files(tmp_path / "o")


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-30],
        lambda content: content[:60] + os.urandom(40) + content[100:],
        lambda content: content[: len(content) // 2],
    ],
)
def test_unpack_damaged_archive_is_refused_in_one_line(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    noise = os.urandom(50_000)
    for content in (
        make_zip({"a.wav": noise, "b.wav": noise}),
        _make_tar(_tar_info("a.wav", 40_000), _tar_info("b.wav", 40_000)),
    ):
        with pytest.raises(CorpusError, match="a.archive: the archive is damaged") as caught:
            _unpack(damage(content), tmp_path / "o")
        assert len(str(caught.value).splitlines()) == 1
        assert not read_files(tmp_path / "o")


def test_unpack_full_disk_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil._ntuple_diskusage(10**9, 10**9, 1000)  # type: ignore[attr-defined]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(KanjoError, match="GB to unpack, 0.0 GB free"):
        _unpack(make_zip({"a.wav": bytes(2000), "b": b""}), tmp_path / "o")


@given(st.text(max_size=30))
def test_safe_path_is_inside_the_folder_or_refused(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    root = tmp_path_factory.getbasetemp() / "somewhere"
    try:
        path = _safe_path(name, Path("a.zip"))
    except CorpusError as error:
        assert "outside the folder" in str(error)
    else:
        assert Path(os.path.normpath(root / path)).is_relative_to(root)


def _corrupt_middle_header(content: bytes) -> bytes:
    """Damage the header of the second file of a tar; Python takes this for the end of the archive."""
    position = content.index(b"b.wav")
    return content[:position] + b"B" + content[position + 1 :]


def _corrupt_gzip_checksum(content: bytes) -> bytes:
    return content[:-8] + bytes([content[-8] ^ 1]) + content[-7:]


@pytest.mark.parametrize(
    ("compression", "damage"),
    [
        ("gz", _corrupt_gzip_checksum),
        ("gz", lambda content: content[:-8]),
        ("gz", lambda content: content[: len(content) // 2]),
        ("bz2", lambda content: content[:-4]),
        ("xz", lambda content: content[:-4]),
        ("", _corrupt_middle_header),
        ("", lambda content: content[:1024]),  # after the first file
    ],
)
def test_unpack_tar_with_wrong_checksum_or_without_end_is_damaged(
    compression: str, damage: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    content = damage(_make_tar(_tar_info("a.wav"), _tar_info("b.wav"), compression=compression))
    with pytest.raises(DamagedArchiveError, match="damaged or not complete"):
        _unpack(content, tmp_path / "o")
    assert read_files(tmp_path / "o") == {}


def test_unpack_every_flipped_bit_of_a_gzip_is_found_or_harmless(tmp_path: Path) -> None:
    content = _make_tar(_tar_info("a.wav", 300), _tar_info("b.wav", 300))
    for position in range(10, len(content)):  # the 10 bytes before have a time and a name that do not matter
        damaged = bytearray(content)
        damaged[position] ^= 4
        folder = tmp_path / str(position)
        with pytest.raises(DamagedArchiveError):
            _unpack(bytes(damaged), folder)
        assert read_files(folder) == {}


def test_unpack_zip_without_end_is_damaged(tmp_path: Path) -> None:
    content = make_zip({"a.wav": bytes(100), "b.wav": bytes(100)})
    with pytest.raises(DamagedArchiveError, match="the list of its files, which is at the end, is missing"):
        _unpack(content[:-60], tmp_path / "o")
    position = content.index(b"a.wav") + 20
    with pytest.raises(DamagedArchiveError, match="CRC"):
        _unpack(content[:position] + b"x" + content[position + 1 :], tmp_path / "o")
