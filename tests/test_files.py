"""Atomic writes."""

from __future__ import annotations

import errno
import hashlib
from pathlib import Path

import pytest

from kanjo import files
from kanjo.errors import KanjoError


def test_atomic_write_replaces_the_file_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "a.txt"
    files.write_text(path, "old")
    with files.atomic_write(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


def test_atomic_write_error_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    files.write_text(path, "old")
    with pytest.raises(ZeroDivisionError), files.atomic_write(path) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_atomic_write_full_disk_raises_kanjo_error(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with (
        pytest.raises(KanjoError, match="can't write .*a.txt: the disk is full; free some space"),
        files.atomic_write(path),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_atomic_directory_replaces_the_folder_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "bundle"
    path.mkdir()
    (path / "old.txt").write_text("old")
    with files.atomic_directory(path) as temporary:
        (temporary / "new.txt").write_text("new")
        assert (path / "old.txt").exists()
    assert [entry.name for entry in path.iterdir()] == ["new.txt"]
    assert list(tmp_path.iterdir()) == [path]


def test_atomic_directory_error_keeps_the_old_folder(tmp_path: Path) -> None:
    path = tmp_path / "bundle"
    path.mkdir()
    with pytest.raises(ZeroDivisionError), files.atomic_directory(path) as temporary:
        (temporary / "new.txt").write_text("new")
        raise ZeroDivisionError
    assert list(path.iterdir()) == []
    assert list(tmp_path.iterdir()) == [path]


def test_atomic_write_below_a_file_raises_kanjo_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(KanjoError, match="can't write"):
        files.write_text(tmp_path / "file" / "a.txt", "x")


def test_sha256_equals_hashlib(tmp_path: Path) -> None:
    content = bytes(range(256)) * 8192  # two blocks
    (tmp_path / "a").write_bytes(content)
    assert files.sha256(tmp_path / "a") == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EACCES, "no permission"),
        (errno.ELOOP, "symbolic link"),
        (errno.EIO, "x"),
    ],
)
def test_os_error_message_describes_the_problem(number: int, message: str) -> None:
    assert message in files.os_error_message(OSError(number, "x"))
