"""kanjo predict with an adaptation profile."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.clips import SENTENCES
from tests.shell import run_kanjo


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """20 recordings with speech, and one that can't be decoded."""
    folder = tmp_path / "in"
    folder.mkdir()
    for n in range(20):
        shutil.copy(SENTENCES[n % len(SENTENCES)], folder / f"{n:02}.flac")
    (folder / "empty.wav").write_bytes(b"")
    return folder


def test_predict_adapt_writes_a_profile_that_gives_the_same_predictions(folder: Path, tmp_path: Path) -> None:
    source = tmp_path / "source.json"
    adapted = run_kanjo("predict", folder, "-f", "csv", "--adapt", "--save-adaptation", source)
    assert adapted.returncode == 1  # the empty file
    assert "kanjo: adapted to 20 recordings" in adapted.stderr
    assert f"adaptation profile written to {source}" in adapted.stderr
    assert json.loads(source.read_text())["clips"] == 20
    again = run_kanjo("predict", SENTENCES[0], "-f", "csv", "--adaptation", source)
    without = run_kanjo("predict", SENTENCES[0], "-f", "csv")
    assert again.returncode == 0 and again.stdout != without.stdout
    assert again.stdout.splitlines()[1].split(",")[1:4] == adapted.stdout.splitlines()[1].split(",")[1:4]


def test_predict_adapt_with_few_recordings_is_refused(folder: Path, tmp_path: Path) -> None:
    (folder / "00.flac").unlink()
    result = run_kanjo("predict", folder, "--adapt", "-o", tmp_path / "out.csv")
    assert result.returncode == 1 and not (tmp_path / "out.csv").exists()
    assert result.stderr.strip() == (
        "kanjo: adaptation needs at least 20 recordings with speech; here are 19 (recordings in all: 20)"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--adapt", "--adaptation", "a.json"), "leave out --adaptation"),
        (("--adapt", "--speaker", "ana"), "can't be combined with --speaker"),
        (("--save-adaptation", "a.json"), "--save-adaptation writes the profile of --adapt"),
        (("--adapt", "--save-adaptation", "a.txt"), "expected a name that ends in .json"),
        (("--adapt", "--engine", "ray"), "--adapt runs on this machine"),
    ],
)
def test_predict_with_options_that_exclude_each_other_is_a_usage_error(options: tuple[str, ...], message: str) -> None:
    result = run_kanjo("predict", SENTENCES[0], *options)
    assert result.returncode == 2 and message in " ".join(result.stderr.split())


def test_predict_with_a_damaged_profile_says_so_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"kind": "adaptation", "format_version": 1}')
    result = run_kanjo("predict", SENTENCES[0], "--adaptation", tmp_path / "a.json")
    assert result.returncode == 1 and len(result.stderr.splitlines()) == 1
    assert "damaged adaptation profile" in result.stderr
