from __future__ import annotations

import os
from pathlib import Path

import pytest

from kanjo.folders import walk_folders


def _walk(root: Path, **options: object) -> list[str]:
    return [
        (folder / name).relative_to(root).as_posix()
        for folder, names in walk_folders(root, **options)  # type: ignore[arg-type]
        for name in names
    ]


def _touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_walk_folders_follows_links_and_visits_each_folder_once(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    _touch(root / "b" / "1", outside / "2", outside / "deep" / "3")
    (root / "a").symlink_to(root / "b")  # is visited under its own path
    (root / "b" / "up").symlink_to(root)
    (outside / "back").symlink_to(root)
    (root / "c").symlink_to(outside)
    (root / "d").symlink_to(outside)
    (root / "e").symlink_to(outside / "deep")
    assert _walk(root) == ["b/1", "c/2", "c/deep/3"]


def test_walk_folders_lists_broken_links_and_no_pipes(tmp_path: Path) -> None:
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    os.mkfifo(tmp_path / "pipe")
    assert _walk(tmp_path) == ["dangling", "loop"]


def test_walk_folders_leaves_out_unwanted_and_excluded_folders(tmp_path: Path) -> None:
    _touch(tmp_path / ".git" / "1", tmp_path / "out" / "2", tmp_path / "a" / "3")
    (tmp_path / "a" / "link").symlink_to(tmp_path / "out")
    files = _walk(tmp_path, is_wanted=lambda name: not name.startswith("."), exclude=tmp_path / "out")
    assert files == ["a/3"]


def test_walk_folders_goes_on_after_a_folder_that_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _touch(tmp_path / "a" / "1", tmp_path / "b" / "2")
    scandir = os.scandir

    def refuse(path: Path) -> object:  # chmod does not stop root
        if Path(path).name == "a":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    errors: list[OSError] = []
    assert _walk(tmp_path, on_error=errors.append) == ["b/2"]
    assert [error.filename for error in errors] == [str(tmp_path / "a")]
