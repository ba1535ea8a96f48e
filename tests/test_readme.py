"""The README: its commands print what it shows, its Python code runs, and its options exist."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONSOLE = re.findall(r"```console\n\$ (kanjo [^\n]+)\n(.*?)```", README, re.S)
SHELL = [
    line.split("  #")[0].strip()
    for block in re.findall(r"```\n(.*?)```", README, re.S)
    for line in block.splitlines()
    if line.startswith("kanjo ")
]
PYTHON = re.findall(r"```python\n(.*?)```", README, re.S)
MAX_LINES = 180
BUILTIN = ROOT / "src" / "kanjo" / "bundle" / "builtin"
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_BAR = re.compile("[▏▎▍▌▋▊▉█]+")


def run_command(command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", *shlex.split(command)], capture_output=True, text=True, cwd=ROOT)


def assert_same_output(output: str, shown: str) -> None:
    """Compare words exactly, and numbers up to the rounding of another processor (1 for percent, else 0.1)."""
    output, shown = _BAR.sub("=", output), _BAR.sub("=", shown)
    assert _NUMBER.sub("#", output).split() == _NUMBER.sub("#", shown).split()
    for value, expected in zip(_NUMBER.findall(output), _NUMBER.findall(shown), strict=True):
        tolerance = 0.1 if "." in expected else 1
        assert float(value) == pytest.approx(float(expected), abs=tolerance), (value, expected)


def test_predict_command_prints_the_shown_output() -> None:
    command, shown = next(pair for pair in CONSOLE if " predict " in pair[0])
    result = run_command(command)
    assert result.returncode == 0, result.stderr
    assert_same_output(result.stdout, shown)


@pytest.mark.slow
def test_evaluate_command_prints_the_shown_output(corpora: Path) -> None:
    command, shown = next(pair for pair in CONSOLE if " evaluate " in pair[0])
    result = run_command(command.replace("corpora/ravdess", str(corpora / "ravdess")))
    assert result.returncode == 0, result.stderr
    assert_same_output(result.stdout, shown)


@pytest.mark.parametrize("code", PYTHON, ids=lambda code: code.splitlines()[0])
def test_python_code_runs(code: str) -> None:
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    assert len(result.stdout.splitlines()) == len(list((ROOT / "examples" / "recordings").glob("*.flac")))


@pytest.mark.parametrize("command", SHELL)
def test_command_and_its_options_exist(command: str) -> None:
    words = shlex.split(command)
    help_text = run_command(f"kanjo {words[1]} --help").stdout
    if words[1] in ("corpus", "tools", "plot"):
        help_text += run_command(f"kanjo {words[1]} {words[2]} --help").stdout
    assert help_text
    for option in (word for word in words if word.startswith("-")):
        assert re.search(rf"(?<![\w-]){re.escape(option)}\b", help_text), option


def test_readme_keeps_its_length_and_shows_two_pictures() -> None:
    assert len(README.splitlines()) <= MAX_LINES
    pictures = re.findall(r"!\[[^\]]{20,}\]\(([^)]+)\)", README)
    assert len(pictures) == 2 and all((ROOT / picture).is_file() for picture in pictures)
    assert "../shared" not in README


def test_tracked_files_name_no_machine_and_no_registry() -> None:
    checks = ("tests/test_readme.py", "tests/test_docs.py")  # they contain the words that they search for
    tracked = subprocess.run(["git", "ls-files"], capture_output=True, text=True, cwd=ROOT).stdout.split("\n")
    for name in tracked:
        path = ROOT / name
        is_text = path.suffix in (".py", ".md", ".toml", ".yaml", ".yml", ".txt", ".json", "")
        if is_text and path.is_file() and name not in checks:
            text = path.read_text(encoding="utf-8", errors="replace")
            assert "/work/" not in text and "pypi.org" not in text, name


def test_builtin_bundles_keep_their_size() -> None:
    sizes = {
        path.parent.name: sum(file.stat().st_size for file in path.parent.iterdir())
        for path in BUILTIN.glob("*/bundle.json")
    }
    assert "default" in sizes
    assert all(size <= 16_000_000 for size in sizes.values()) and sum(sizes.values()) <= 30_000_000


@pytest.mark.slow
def test_builtin_bundle_on_its_test_speakers_reaches_the_uar_of_its_card(corpora: Path) -> None:
    metadata = json.loads((BUILTIN / "default" / "bundle.json").read_text(encoding="utf-8"))
    counts: dict[str, list[int]] = {}
    for name in ("ravdess", "nemo", "emotiontts_ko"):
        result = run_command(f"kanjo evaluate default {corpora / name} --emotions all --format json")
        assert result.returncode == 0, result.stderr
        scores = json.loads(result.stdout)
        for label, row in zip(scores["labels"], scores["confusion_matrix"], strict=True):
            correct, total = counts.setdefault(label, [0, 0])
            counts[label] = [correct + row[scores["labels"].index(label)], total + sum(row)]
    uar = sum(correct / total for correct, total in counts.values()) / len(counts)
    assert uar == pytest.approx(metadata["scores"]["uar"]["value"], abs=0.003)
