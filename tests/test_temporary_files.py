"""Temporary files of killed processes are removed; those of running ones stay."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kanjo import files, temporary_files
from kanjo.locks import open_locked

_WRITE = """
import sys, time
from pathlib import Path
from kanjo.files import atomic_directory, atomic_write
with atomic_write(Path(sys.argv[1]) / "a.txt") as file, atomic_directory(Path(sys.argv[1]) / "folder") as folder:
    file.write_text("half")
    (folder / "b.txt").write_text("half")
    print(flush=True)
    time.sleep(60)
"""


@contextmanager
def _writing_process(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", _WRITE, str(folder)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def _write(path: Path) -> None:
    """Write a file as a new process does, which has removed nothing yet."""
    temporary_files._cleaned.clear()
    files.write_text(path, "new")


def test_temporary_files_of_a_running_process_stay(tmp_path: Path) -> None:
    with _writing_process(tmp_path):
        before = set(tmp_path.iterdir())
        assert len(before) == 2
        _write(tmp_path / "other.txt")
        assert set(tmp_path.iterdir()) == {*before, tmp_path / "other.txt"}


def test_temporary_files_of_a_killed_process_are_removed(tmp_path: Path) -> None:
    with _writing_process(tmp_path):
        pass
    assert len(list(tmp_path.iterdir())) == 2
    _write(tmp_path / "other.txt")
    assert list(tmp_path.iterdir()) == [tmp_path / "other.txt"]


def test_hidden_files_of_other_programs_stay(tmp_path: Path) -> None:
    for name in (".a.txt.abcdefgh", ".a.kanjo", "a.kanjo-abcdefgh", ".kanjo-abcdefgh"):
        (tmp_path / name).write_text("x")
    _write(tmp_path / "a.txt")
    assert len(list(tmp_path.iterdir())) == 5


def test_folder_that_was_being_replaced_is_restored(tmp_path: Path) -> None:
    old = tmp_path / ".bundle.kanjo-old-0123abcd"
    old.mkdir()
    (old / "model").write_text("old")
    _write(tmp_path / "other.txt")
    assert (tmp_path / "bundle" / "model").read_text() == "old" and not old.exists()
    old.mkdir()
    _write(tmp_path / "other.txt")
    assert (tmp_path / "bundle" / "model").read_text() == "old" and not old.exists()


def test_long_names_get_shorter_temporary_names(tmp_path: Path) -> None:
    for name in ("é" * 125 + ".wav", "x" * 255, "x" + "." + "y" * 250):
        files.write_text(tmp_path / "files" / name, "x")
        for content in ("old", "new"):
            with files.atomic_directory(tmp_path / "folders" / name) as folder:
                (folder / content).write_text("x")
    paths = [path.relative_to(tmp_path) for path in tmp_path.rglob("*")]
    assert len(paths) == 2 + 3 + 6 and not any(path.name.startswith(".") for path in paths)


def test_open_locked_replaced_file_is_opened_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between opening and locking, another process may have renamed the file and made a new one."""
    path = tmp_path / "a"
    path.write_text("first")
    calls = []

    def replace_once(descriptor: int) -> bool:
        if not calls:
            path.rename(tmp_path / "renamed")
            path.write_text("second")
        calls.append(descriptor)
        return True

    monkeypatch.setattr("kanjo.locks.try_lock", replace_once)
    descriptor = open_locked(path, os.O_RDWR)
    assert os.read(descriptor, 10) == b"second" and len(calls) == 2
    os.close(descriptor)
