"""The commands ``kanjo tools resample``, ``normalize`` and ``hparams``."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.corpora_fixtures import write_clip, write_clips
from tests.shell import run_kanjo


def _run(*arguments: object, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    return run_kanjo("tools", *arguments, stdin=stdin, **environment)


def test_resample_prints_the_numbers_of_files(tmp_path: Path) -> None:
    source = write_clips(tmp_path / "in", "a.wav")
    (source / "notes.txt").write_text("notes")
    result = _run("resample", source, tmp_path / "out", 8000)
    assert result.returncode == 0, result.stderr
    assert result.stderr.splitlines()[-1].startswith("1 resampled, 1 other files copied, 0 ")
    assert _run("resample", "-s", source, tmp_path / "out", 8000).stderr == ""


def test_resample_failed_recordings_exit_with_1(tmp_path: Path) -> None:
    source = write_clips(tmp_path / "in", "a.wav")
    (source / "empty.wav").write_bytes(b"")
    result = _run("resample", source, tmp_path / "out", 8000)
    assert result.returncode == 1 and "Traceback" not in result.stderr
    assert "empty.wav: the file is empty" in result.stderr
    assert result.stderr.splitlines()[-1] == "kanjo: 1 recordings failed"


def test_normalize_prints_warnings(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.wav", seconds=0.1)
    result = _run("normalize", "--lufs", -23, path, tmp_path / "b.wav")
    assert result.returncode == 0 and "a.wav: too short or too quiet to have a loudness" in result.stderr


def test_normalize_two_levels_are_a_usage_error(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.wav", seconds=0.1)
    assert _run("normalize", "--lufs", -23, "--rms", -20, path, tmp_path / "b.wav").returncode == 2


def test_hparams_prints_the_change(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"train": {"learning_rate": 1e-4}}')
    result = _run("hparams", "-p", path, "-y", "learning_rate", "-v", "5e-6")
    assert result.returncode == 0 and result.stdout == f"{path}: train.learning_rate: 1e-4 -> 5e-6\n"
    assert _run("hparams", "-p", path, "-y", "learning_rate").returncode == 2


def test_hparams_without_name_reads_commands_from_stdin(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"train": {"epochs": 30}}')
    settings = tmp_path / "config" / "kanjo"
    settings.mkdir(parents=True)
    (settings / "config_list").write_text(f"# a comment\n{tmp_path}/*.json\n")
    lines = "%g epochs\nepochs=31\nnothing=3\nwhat\n%q\nepochs=99\n"
    result = _run("hparams", stdin=lines, XDG_CONFIG_HOME=str(tmp_path / "config"))
    assert result.returncode == 0
    assert result.stdout.splitlines() == [f"{path}: epochs = 30", f"{path}: train.epochs: 30 -> 31"]
    assert "no value named nothing" in result.stderr and "expected NAME=VALUE, %g NAME or %q" in result.stderr
    assert '"epochs": 31' in path.read_text()


def test_hparams_without_files_is_refused(tmp_path: Path) -> None:
    result = _run("hparams", XDG_CONFIG_HOME=str(tmp_path / "none"))
    assert result.returncode == 1 and "config_list" in result.stderr


def test_hparams_recipe_with_an_invalid_value_is_refused(tmp_path: Path) -> None:
    from kanjo.train.config.loading import RECIPES_FOLDER

    original = next(RECIPES_FOLDER.rglob("cnn-lstm-2d.yaml")).read_text(encoding="utf-8")
    path = tmp_path / "mine.yaml"
    path.write_text(original, encoding="utf-8")
    refused = _run("hparams", path, "-y", "training.epochs", "-v", "0")
    assert refused.returncode == 1 and "training.epochs: Input should be greater than" in refused.stderr
    assert path.read_text(encoding="utf-8") == original
    assert _run("hparams", path, "-y", "training.epochs", "-v", "3").stdout.endswith("training.epochs: 30 -> 3\n")
    assert path.read_text(encoding="utf-8") == original.replace("epochs: 30", "epochs: 3", 1)
