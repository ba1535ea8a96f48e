"""The files of a run, and the folder that a command means."""

from __future__ import annotations

import ast
import os
from pathlib import Path

import pytest

from kanjo.errors import KanjoError, RecipeError
from kanjo.experiments.run_folder import STAGE1, STAGE2, RunFolder, choose_run_folder
from kanjo.train.config.loading import load_recipe
from tests.shell import run_kanjo

SRC = Path(__file__).parents[2] / "src" / "kanjo"
#: Modules that may contain the name of a run's file, because they define it.
DEFINITIONS = {
    "split.csv": {"experiments/run_folder.py"},
    "log.txt": {"experiments/run_folder.py"},
    "metrics.csv": {"experiments/run_folder.py"},
    "predictions.csv": {"experiments/run_folder.py"},
    "scores.json": {"experiments/run_folder.py"},
    "validation.json": {"experiments/run_folder.py"},
    "report.html": {"experiments/run_folder.py"},
    "extractor.safetensors": {"experiments/run_folder.py"},
    "recipe.yaml": {"train/config/loading.py"},
}


@pytest.mark.parametrize("name", DEFINITIONS)
def test_file_name_is_defined_in_one_module(name: str) -> None:
    modules = set()
    for path in SRC.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and node.value == name:
                modules.add(path.relative_to(SRC).as_posix())
    assert modules == DEFINITIONS[name]


@pytest.fixture
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _make_run(name: str, *subfolders: str) -> Path:
    path = Path("runs") / "cnn-lstm-2d" / name
    for subfolder in subfolders or ("",):
        (path / subfolder).mkdir(parents=True)
    (path / "log.txt").touch()
    return path


@pytest.mark.usefixtures("working_folder")
def test_choose_run_folder_without_output_is_new() -> None:
    folder = choose_run_folder(load_recipe("cnn-lstm-2d"), None, False, "fold-1")
    assert folder.path.parent == Path("runs/cnn-lstm-2d") and folder.path.name.endswith("-fold-1")
    assert not folder.path.exists()


@pytest.mark.usefixtures("working_folder")
def test_choose_run_folder_resume_takes_the_latest() -> None:
    _make_run("20260101-000000-fold-1")
    latest = _make_run("20260102-000000-fold-1")
    _make_run("20260103-000000-fold-2")
    assert choose_run_folder(load_recipe("cnn-lstm-2d"), None, True, "fold-1").path == latest


@pytest.mark.usefixtures("working_folder")
def test_choose_run_folder_resume_without_a_run_is_refused() -> None:
    with pytest.raises(RecipeError, match="nothing to resume"):
        choose_run_folder(load_recipe("cnn-lstm-2d"), None, True, "fold-1")


@pytest.mark.usefixtures("working_folder")
def test_choose_run_folder_stage2_takes_the_run_with_stage1_only() -> None:
    _make_run("20260101-000000-fold-1", "stage1")
    waiting = _make_run("20260102-000000-fold-1", "stage1")
    _make_run("20260103-000000-fold-1", "stage1", "checkpoints")
    recipe = load_recipe("cnn-lstm-2d")
    assert choose_run_folder(recipe, None, False, "fold-1", STAGE2).path == waiting


def test_choose_run_folder_with_files_is_refused(tmp_path: Path) -> None:
    recipe = load_recipe("cnn-lstm-2d")
    (tmp_path / "log.txt").touch()
    with pytest.raises(RecipeError, match="is not empty; continue this run with --resume"):
        choose_run_folder(recipe, tmp_path, False, "fold-1")
    assert choose_run_folder(recipe, tmp_path, True, "fold-1").path == tmp_path
    assert choose_run_folder(recipe, tmp_path, False, "fold-1", STAGE1).path == tmp_path


def test_stage1_candidates_are_own_first_then_latest(tmp_path: Path) -> None:
    weights = [RunFolder(tmp_path / name).stage1_weights for name in ("own", "old", "new")]
    for n, path in enumerate(weights):
        path.parent.mkdir(parents=True)
        path.touch()
        os.utime(path, (1000 + n, 1000 + n))
    assert RunFolder(tmp_path / "own").stage1_candidates == [weights[0], weights[2], weights[1]]
    assert RunFolder(tmp_path / "other").stage1_candidates == [weights[2], weights[1], weights[0]]


def test_locked_folder_refuses_a_second_command(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    with folder.locked():
        assert folder.is_empty()
        with pytest.raises(KanjoError, match="another kanjo command uses .*run; wait until it"), folder.locked():
            pass
        (folder.path / "log.txt").write_text("x")
    assert [path.name for path in folder.path.iterdir()] == ["log.txt"]
    with folder.locked():
        pass


def test_locked_folder_that_stays_empty_is_removed(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), RunFolder(tmp_path / "run").locked():
        raise ZeroDivisionError
    assert not (tmp_path / "run").exists()


def test_locked_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(KanjoError, match="can't write .*run"), RunFolder(tmp_path / "file" / "run").locked():
        pass


@pytest.mark.parametrize("command", ["train", "crossval"])
def test_second_command_for_one_run_folder_is_one_line(
    command: str, tiny_recipe: Path, tiny_corpora: Path, tmp_path: Path
) -> None:
    with RunFolder(tmp_path / "run").locked():
        arguments = (command, tiny_recipe, "--corpus-root", tiny_corpora, "-o", tmp_path / "run")
        for resume in ((), ("--resume",)):
            result = run_kanjo(*arguments, "-s", *resume)
            assert result.returncode == 1 and len(result.stderr.splitlines()) == 1
            assert "another kanjo command uses" in result.stderr
        assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]
