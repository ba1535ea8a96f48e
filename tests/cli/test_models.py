"""kanjo models and kanjo recipes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.shell import run_kanjo

RECIPES = Path(__file__).parents[2] / "src" / "kanjo" / "recipes"


def test_models_lists_the_builtin_models_with_the_values_of_their_cards(tmp_path: Path) -> None:
    result = run_kanjo("models", cwd=tmp_path)
    assert result.returncode == 0
    lines = result.stdout.splitlines()
    assert lines[0] == "default (used without --model)" and "small" in lines
    assert "anger, disgust, fear" in lines[1] and re.search(r"\d+\.\d MB, .*UAR \d\d\.\d % \[", lines[2])
    assert "license: CC BY-NC-SA 4.0" in lines[3]
    assert "no models of your own in runs" in result.stderr and "--model MODEL" in result.stderr


def test_models_finds_those_of_runs_and_each_name_can_be_used(tmp_path: Path, tiny_run: Path) -> None:
    runs = tmp_path / "runs"
    shutil.copytree(tiny_run / "bundle", runs / "tiny" / "20260101-120000-fold-1" / "bundle")
    shutil.copytree(tiny_run / "bundle", runs / "exported")
    broken = runs / "broken" / "bundle"
    broken.mkdir(parents=True)
    (broken / "bundle.json").write_text("{")
    rows = json.loads(run_kanjo("models", "-f", "json", cwd=tmp_path).stdout)
    own = {row["model"]: row for row in rows if row["folder"]}
    assert list(own) == [
        str(Path("runs", "broken")),
        str(Path("runs", "exported")),
        str(Path("runs", "tiny", "20260101-120000-fold-1")),
    ]
    assert "not valid JSON" in own[str(Path("runs", "broken"))]["error"]
    for name, row in own.items():
        if not row["error"]:
            assert run_kanjo("info", "-m", name, cwd=tmp_path).returncode == 0
            assert row["uar"] is None or 0 <= row["uar"]["value"] <= 1
    text = run_kanjo("models", runs, cwd=tmp_path).stdout
    assert f"{runs / 'exported'}\n" in text and "error: " in text


def test_models_in_a_missing_folder_is_one_line() -> None:
    result = run_kanjo("models", "nowhere")
    assert result.returncode == 1 and result.stderr == (
        "kanjo: nowhere: no such folder; expected a folder with runs or bundles\n"
    )


def test_models_marks_the_builtin_default_only(tmp_path: Path, tiny_run: Path) -> None:
    shutil.copytree(tiny_run / "bundle", tmp_path / "default")
    result = run_kanjo("models", ".", cwd=tmp_path)
    assert result.stdout.count("used without --model") == 1
    name = str(Path("x", "default")).replace("x", ".")
    assert name in result.stdout.splitlines()
    assert "tiny" in run_kanjo("info", "-m", name, cwd=tmp_path).stdout


def test_recipes_lists_each_recipe_with_its_description() -> None:
    result = run_kanjo("recipes", "-f", "json")
    rows = {row["name"]: row["description"] for row in json.loads(result.stdout)}
    assert list(rows) == sorted(path.stem for path in RECIPES.rglob("*.yaml")) and all(rows.values())
    assert rows["whisper-base"] == "linear heads on the four lower layers of Whisper-base's encoder, frozen"


def test_recipes_descriptions_equal_those_that_yaml_reads() -> None:
    yaml = pytest.importorskip("yaml", reason="PyYAML is in the extra train")
    rows = json.loads(run_kanjo("recipes", "-f", "json").stdout)
    contents = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in RECIPES.rglob("*.yaml")}
    assert {row["name"]: row["description"] for row in rows} == {
        name: content["description"] for name, content in contents.items()
    }


@pytest.mark.parametrize("width", [40, 60, 80])
@pytest.mark.parametrize("command", ["models", "recipes"])
def test_list_fits_into_the_terminal(command: str, width: int) -> None:
    lines = run_kanjo(command, COLUMNS=str(width)).stdout.splitlines()
    assert max(map(len, lines)) <= width


@pytest.mark.parametrize("command", ["models", "recipes"])
def test_list_needs_the_core_packages_only(command: str) -> None:
    blocked = ["torch", "yaml", "pydantic", "sklearn", "matplotlib", "jinja2", "lightning"]
    code = f"import sys\nfor name in {blocked}: sys.modules[name] = None\nfrom kanjo.cli import main\nmain()"
    result = subprocess.run([sys.executable, "-c", code, command], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
