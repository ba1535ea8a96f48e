"""Completion in the shell, by the real command and a real bash."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kanjo.cli.completion import SHELLS
from tests.shell import run_kanjo

_SCRIPT = "#!{python}\nimport sys\nsys.argv[0] = 'kanjo'\nfrom kanjo.cli import main\nmain()\n"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An environment in which ``kanjo`` is a command."""
    folder = tmp_path / "bin"
    folder.mkdir()
    command = folder / "kanjo"
    command.write_text(_SCRIPT.format(python=sys.executable), encoding="utf-8")
    command.chmod(0o755)
    return os.environ | {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


def _complete(line: str, environment: dict[str, str]) -> list[str]:
    """Return what the script of ``kanjo --show-completion bash`` completes for a line."""
    if os.name == "nt" or not shutil.which("bash"):
        pytest.skip("bash is not installed")
    words = line.split(" ")
    code = (
        'eval "$(kanjo --show-completion bash)"; '
        f"COMP_WORDS=({' '.join(word or repr('') for word in words)}); COMP_CWORD={len(words) - 1}; "
        r'_kanjo_completion kanjo; printf "%s\n" "${COMPREPLY[@]}"'
    )
    result = subprocess.run(["bash", "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert result.stderr == ""
    return result.stdout.split()


@pytest.mark.parametrize(
    ("line", "completions"),
    [
        ("kanjo pre", ["predict"]),
        ("kanjo predict --min", ["--min-confidence"]),
        ("kanjo predict --model s", ["small"]),
        ("kanjo train cnn-lstm-2d-n", ["cnn-lstm-2d-nemo"]),
        ("kanjo corpus ch", ["check"]),
        ("kanjo nonsense x", []),
    ],
)
def test_bash_completes_commands_options_and_names(
    line: str, completions: list[str], environment: dict[str, str]
) -> None:
    assert _complete(line, environment) == completions


@pytest.mark.parametrize("shell", SHELLS)
def test_show_completion_prints_the_script_of_each_shell(shell: str) -> None:
    result = run_kanjo("--show-completion", shell)
    assert result.returncode == 0 and "_KANJO_COMPLETE" in result.stdout and "kanjo" in result.stdout


def test_show_completion_of_another_shell_is_refused() -> None:
    result = run_kanjo("--show-completion", "tcsh")
    assert result.returncode == 2 and "expected bash, zsh, fish or powershell" in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    ("instruction", "message"),
    [("complete_bash", "unset it"), ("complete_tcsh", "not supported"), ("nonsense", "Invalid completion")],
)
def test_completion_request_that_is_not_complete_prints_one_line(instruction: str, message: str) -> None:
    result = run_kanjo(_KANJO_COMPLETE=instruction)
    assert result.returncode == 1 and message in result.stderr and len(result.stderr.splitlines()) == 1
