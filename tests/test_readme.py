"""What the README says is what happens."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONSOLE = re.findall(r"```console\n\$ (kanjo [^\n]+)\n(.*?)```", README, re.S)
PYTHON = re.findall(r"```python\n(.*?)```", README, re.S)


def _run(command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", *shlex.split(command)], capture_output=True, text=True, cwd=ROOT)


_NUMBER = re.compile(r"\d+(?:\.\d+)?")


def _same(found: str, shown: str) -> None:
    """Equal words, and numbers that another processor's rounding explains: a per cent, or 0.002 of a share."""
    if shown.rstrip().endswith("..."):  # the beginning is shown
        shown = shown.rstrip().removesuffix("...").rstrip()
        found = "\n".join(found.splitlines()[: len(shown.splitlines())])
    assert _NUMBER.sub("#", found).split() == _NUMBER.sub("#", shown).split()
    for one, other in zip(_NUMBER.findall(found), _NUMBER.findall(shown), strict=True):
        assert float(one) == pytest.approx(float(other), abs=0.002 if "." in other else 1), (one, other)


@pytest.mark.parametrize(
    ("command", "shown"),
    [pair for pair in CONSOLE if " predict " in pair[0] or " tools " in pair[0]],
    ids=lambda text: text[:40],
)
def test_predict_commands_print_what_the_readme_shows(command: str, shown: str) -> None:
    done = _run(command)
    assert done.returncode == 0, done.stderr
    _same(done.stdout, shown)


def test_the_check_command_prints_what_the_readme_shows(corpora: Path) -> None:
    command, shown = next(pair for pair in CONSOLE if "corpus check" in pair[0])
    assert _run(command.replace("../shared/corpora", str(corpora))).stdout.splitlines()[1:] == shown.splitlines()[1:]


def test_every_command_is_shown_with_its_output() -> None:
    verbs = {command.split()[1] for command, shown in CONSOLE if shown.strip()}
    assert verbs == {"predict", "corpus", "train", "crossval", "ablate", "compare", "evaluate", "tools"}
    assert "@@" not in README


@pytest.mark.parametrize("code", PYTHON, ids=["six-lines", "stream", "without-kanjo"])
def test_python_runs_as_it_stands(code: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore::ResourceWarning", "-c", code], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_six_lines_is_the_example() -> None:
    example = (ROOT / "examples" / "six_lines.py").read_text(encoding="utf-8")
    for line in PYTHON[0].splitlines()[4:]:
        assert (
            line.replace(
                'Path("examples/recordings").glob("*.flac")', 'Path(__file__).parent.glob("recordings/*.flac")'
            )
            in example
        )
    done = subprocess.run([sys.executable, ROOT / "examples" / "six_lines.py"], capture_output=True, text=True)
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 7


def test_options_named_in_the_readme_exist() -> None:
    helps = {
        verb: _run(f"kanjo {verb} --help").stdout
        for verb in (
            "predict",
            "train",
            "crossval",
            "ablate",
            "evaluate",
            "export",
            "compare",
            "tune",
            "plot mel",
            "corpus manifest",
            "corpus list",
            "baseline",
            "serve",
            "listen",
            "embed",
            "enroll",
            "corpus check",
            "corpus audit",
            "corpus filelists",
            "corpus download",
            "tools normalize",
            "tools hparams",
        )
    }
    everything = " ".join(helps.values())
    for option in set(re.findall(r"(?<=[`\s(])--[a-z][a-z-]+", README)):
        assert option in everything, option


def test_no_machine_or_registry_is_named() -> None:
    tracked = subprocess.run(["git", "ls-files"], capture_output=True, text=True, cwd=ROOT).stdout.split("\n")
    for name in tracked:
        path = ROOT / name
        if (
            path.suffix in (".py", ".md", ".toml", ".yaml", ".txt", ".json", "")
            and path.is_file()
            and name != "tests/test_readme.py"
        ):
            text = path.read_text(encoding="utf-8", errors="replace")
            assert "/work/" not in text and "pypi.org" not in text, name


def test_bundles_fit() -> None:
    folders = [path.parent for path in (ROOT / "src" / "kanjo" / "bundles").glob("*/bundle.json")]
    sizes = {folder.name: sum(path.stat().st_size for path in folder.iterdir()) for folder in folders}
    assert "default" in sizes
    assert all(size <= 6_000_000 for size in sizes.values()) and sum(sizes.values()) <= 20_000_000


def test_the_default_bundle_reproduces_its_card(corpora: Path) -> None:
    """Score the default bundle on its own test speakers, through the command: the card's figure must come out."""
    import json

    facts = json.loads((ROOT / "src" / "kanjo" / "bundles" / "default" / "bundle.json").read_text())
    hits: dict[str, list[int]] = {}
    for name in ("ravdess", "nemo", "emotiontts_ko"):
        done = _run(f"kanjo evaluate default {corpora / name} --format json")
        assert done.returncode == 0, done.stderr
        scores = json.loads(done.stdout)
        for label, row in zip(scores["labels"], scores["confusion"], strict=True):
            right, total = hits.setdefault(label, [0, 0])
            hits[label] = [right + row[scores["labels"].index(label)], total + sum(row)]
    uar = sum(right / total for right, total in hits.values()) / len(hits)
    assert uar == pytest.approx(facts["scores"]["uar"]["value"], abs=0.003)
