"""Help texts, exit codes, and old names that are refused."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main

from kanjo.cli import app
from kanjo.cli.renamed import RENAMED_COMMANDS, RENAMED_OPTIONS
from tests.shell import run_kanjo

GROUP: Any = typer.main.get_command(app)
#: The words of each command: ["predict"], ["corpus", "list"].
COMMANDS = [
    [name, *subcommand]
    for name, command in GROUP.commands.items()
    for subcommand in ([[other] for other in command.commands] if hasattr(command, "commands") else [[]])
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_of_each_command_has_an_example(command: list[str]) -> None:
    result = run_kanjo(*command, "--help")
    assert result.returncode == 0
    assert f"Example: kanjo {' '.join(command)}" in " ".join(result.stdout.split())


def test_help_lists_commands_in_groups() -> None:
    text = run_kanjo("--help").stdout
    titles = re.findall(r"^(\w+):$", text, re.M)
    assert titles == ["Options", "Predict", "Train", "Corpora", "Tools"]
    assert re.search(r"^Train:\n  finetune .*\n(?:   .*\n)*  train .*\n(?:   .*\n)*  crossval ", text, re.M)
    assert re.search(r"^Corpora:\n  corpus ", text, re.M)


@pytest.mark.parametrize("command", [(), ("corpus",), ("tools",), ("plot",)])
def test_help_contains_the_whole_description_of_each_command(command: tuple[str, ...]) -> None:
    text = run_kanjo(*command, "--help").stdout
    assert "..." not in text.replace("[ARGS]...", "") and max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("width", [60, 200])
def test_help_fits_into_the_terminal(width: int) -> None:
    command = [sys.executable, "-m", "kanjo", "--help"]
    text = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"COLUMNS": str(width)}).stdout
    assert "..." not in text.replace("[ARGS]...", "") and max(map(len, text.splitlines())) <= min(width, 110)


def test_version_option_prints_the_version() -> None:
    assert re.fullmatch(r"kanjo \d+\.\d+\.\d+\n", run_kanjo("--version").stdout)


@pytest.mark.parametrize(
    "arguments", [["predict", "a.wav", "--format", "xml"], ["predict", "--nonsense"], ["nonsense"], ["train"]]
)
def test_usage_error_exits_with_2(arguments: list[str]) -> None:
    assert run_kanjo(*arguments).returncode == 2


def test_predict_without_a_path_says_what_to_give() -> None:
    result = run_kanjo("predict")
    assert result.returncode == 2 and "give paths, or -" in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict", "x.wav", "--model", "nowhere"], "nowhere: not a bundle"),
        (["train", "cnn-lstm-2"], "did you mean cnn-lstm-2d"),
        (["train", "cnn-lstm-2d", "--set", "training.epoch=3"], "did you mean 'epochs'"),
        (["train", "cnn-lstm-2d", "--corpus-root", "/nowhere"], "ravdess"),
        (["corpus", "check", "ravdes", "."], "did you mean ravdess"),
        (["corpus", "manifest", "nemo", "/nowhere"], "/nowhere: no such folder"),
        (["export", "/nowhere", "-o", "x"], "not a bundle"),
        (["evaluate", "nowhere", "x.csv"], "not a bundle"),
    ],
)
def test_failure_is_one_line_and_exits_with_1(arguments: list[str], message: str, tmp_path: Path) -> None:
    result = run_kanjo(*arguments, cwd=tmp_path)
    assert result.returncode == 1 and result.stdout == ""
    assert message in result.stderr and len(result.stderr.splitlines()) == 1


def test_debug_option_shows_the_traceback() -> None:
    command = [sys.executable, "-m", "kanjo", "--debug", "train", "nothing"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 1 and "Traceback" in result.stderr


@pytest.mark.parametrize("name", RENAMED_OPTIONS)
def test_renamed_option_is_refused_with_its_new_name(name: str) -> None:
    result = run_kanjo("train", "cnn-lstm-2d", *name.split())
    assert result.returncode == 2 and result.stderr == f"kanjo: {RENAMED_OPTIONS[name]}\n"


@pytest.mark.parametrize("name", RENAMED_COMMANDS)
def test_renamed_command_is_refused_with_its_new_name(name: str) -> None:
    result = run_kanjo(*name.split(), "ravdess", "corpora")
    assert result.returncode == 2 and result.stderr == f"kanjo: {RENAMED_COMMANDS[name]}\n"


def test_renamed_option_with_equals_sign_is_refused() -> None:
    assert "is now --stage stage1" in run_kanjo("train", "x", "--stage=finetune").stderr


def test_file_names_after_double_dash_are_not_options() -> None:
    result = run_kanjo("predict", "--", "--all")
    assert result.returncode == 1 and "--all" in result.stdout


def test_kanjo_without_arguments_prints_the_help() -> None:
    result = run_kanjo()
    assert "Traceback" not in result.stderr
    assert "predict" in result.stdout + result.stderr
