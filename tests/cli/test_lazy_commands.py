"""Commands are imported when they are used; values keep the types of their options."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from kanjo.cli import app
from kanjo.cli.lazy_commands import COMMANDS
from tests.corpora_fixtures import write_clip
from tests.shell import run_kanjo

#: Runs kanjo, then prints the imported modules as the last line.
SCRIPT = """
import atexit, sys
atexit.register(lambda: print(*sys.modules))
from kanjo.cli import main
main()
"""


def imported_modules(*arguments: object) -> set[str]:
    command = [sys.executable, "-c", SCRIPT, *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(result.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("options", [[], ["--format", "json", "--silent"]], ids=["plain", "options"])
def test_predict_imports_no_module_that_it_does_not_need(options: list[str], tmp_path: Path) -> None:
    modules = imported_modules("predict", write_clip(tmp_path / "a.wav", seconds=1.0), *options)
    assert {"kanjo.cli.predict", "onnxruntime"} <= modules
    others = {f"kanjo.cli.{module}" for _, module, _ in COMMANDS.values()} - {"kanjo.cli.predict"}
    packages = {f"kanjo.{name}" for name in ("corpora", "evaluation", "experiments", "server", "tools", "train")}
    libraries = {"pydantic", "rich", "av", "pyarrow", "importlib.metadata", "torch", "matplotlib"}
    assert not modules & (others | packages | libraries)


def test_help_of_a_command_imports_no_other_command() -> None:
    modules = imported_modules("train", "--help")
    assert "kanjo.cli.train" in modules and not modules & {"kanjo.cli.predict", "kanjo.cli.corpus", "pydantic"}


def test_command_names_are_known_without_import() -> None:
    code = "import sys, typer, kanjo.cli; print(*typer.main.get_command(kanjo.cli.app).commands, *sys.modules)"
    words = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert words[: len(COMMANDS)] == list(COMMANDS) and "kanjo.cli.predict" not in words


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_its_name(name: str) -> None:
    group: Any = typer.main.get_command(app)
    assert group.commands[name].name == name


def test_mistyped_command_is_refused_with_a_suggestion() -> None:
    result = run_kanjo("predic", "a.wav")
    assert result.returncode == 2 and "No such command 'predic'. Did you mean 'predict'?" in result.stderr


def test_values_have_the_types_of_their_options(monkeypatch: pytest.MonkeyPatch) -> None:
    command: Any = typer.main.get_command(app)
    predict = command.commands["predict"]
    values: dict[str, Any] = {}
    monkeypatch.setattr(predict, "callback", lambda **given: values.update(given))
    arguments = ["predict", "a.wav", "b.wav", "--window", "2", "-o", "out.csv", "-j", "3", "--resume"]
    assert CliRunner().invoke(app, arguments, env={"RAY_ADDRESS": "here"}).exit_code == 0
    assert list(values["paths"]) == ["a.wav", "b.wav"] and values["output"] == Path("out.csv")
    assert (values["window"], values["jobs"]) == (2.0, 3) and type(values["window"]) is float
    assert values["resume"] is True and values["silent"] is False
    assert (values["model"], values["address"], values["hop"], values["plot"]) == ("default", "here", None, None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict", "--window", "abc"], "Invalid value for '--window'"),
        (["predict", "--jobs", "-1"], "Invalid value for '--jobs' / '-j'"),
        (["train"], "Missing argument 'RECIPE'"),
        (["embed", "a.wav"], "Missing option '-o' / '--output'"),
    ],
)
def test_values_that_are_not_valid_are_refused(arguments: list[str], message: str) -> None:
    result = run_kanjo(*arguments)
    assert result.returncode == 2 and message in " ".join(result.stderr.split())
