"""Arrows point down only: who may import whom, and what `import kanjo` may load."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SRC = Path(__file__).parent.parent / "src" / "kanjo"

#: room -> the rooms it may import. A room's own files may import each other.
MAY = {
    "errors": set(),
    "files": {"errors"},
    "labels": {"errors"},
    "audio": {"errors", "files"},
    "levels": {"audio"},
    "windows": {"audio", "errors"},
    "bundle": {"errors", "files"},
    "corpora": {"errors", "files", "labels", "levels", "audio"},
    "splits": {"errors", "files", "corpora"},
    "prediction": set(),
    "runtime": set(),
    "speakers": {"errors", "files", "bundle", "prediction"},
    "speech": {"errors", "files", "audio", "bundle", "runtime"},
    "segments": {"labels", "prediction", "speech"},
    "hearing": {"errors", "labels", "levels", "audio", "windows", "bundle", "prediction", "segments", "speech", "speakers"},
    "recognizer": {"errors", "runtime", "audio", "windows", "bundle", "prediction", "hearing", "speakers"},
    "stream": {"errors", "audio", "prediction", "hearing", "recognizer", "speakers"},
    "cluster": {"errors", "audio", "prediction", "recognizer"},
    "timeline": {"labels", "prediction"},
    "tools": {"errors", "files", "audio"},
    "evaluation": {"errors", "files", "labels", "audio", "corpora", "splits", "bundle", "prediction", "recognizer", "speakers"},
    "train": {"errors", "files", "labels", "audio", "corpora", "splits", "bundle", "runtime", "__init__"},
    "__init__": {"errors", "prediction", "recognizer", "stream"},
    "__main__": {"cli"},
}
MAY["server"] = {"errors", "files", "audio", "bundle", "prediction", "hearing", "recognizer", "speakers", "stream", "__init__"}
MAY["cli"] = set(MAY) | {"train"}


def _room(path: Path) -> str:
    return path.relative_to(SRC).parts[0].removesuffix(".py")


def _imports(path: Path) -> set[str]:
    """kanjo's rooms that a file imports, anywhere in it: lazily and for typing too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module] if node.module != "kanjo" else [f"kanjo.{alias.name}" for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "kanjo":
                found.add(parts[1] if len(parts) > 1 else "__init__")
    return found


@pytest.mark.parametrize("path", sorted(SRC.rglob("*.py")), ids=lambda path: path.relative_to(SRC).as_posix())
def test_a_file_imports_only_what_lies_below_it(path: Path) -> None:
    room = _room(path)
    too_high = _imports(path) - MAY[room] - {room}
    assert not too_high, f"{room} may not import {too_high}"


@pytest.mark.parametrize("path", sorted(SRC.rglob("*.py")), ids=lambda path: path.relative_to(SRC).as_posix())
def test_only_train_knows_torch(path: Path) -> None:
    if _room(path) in ("train", "cli"):
        return
    if path.name == "hparams.py":  # the tool that edits YAML; it loads PyYAML when it is used
        return
    text = path.read_text(encoding="utf-8")
    for library in ("torch", "lightning", "pydantic", "yaml"):
        if library == "pydantic" and _room(path) == "server":
            continue
        assert f"import {library}" not in text
        assert f"from {library}" not in text


@pytest.mark.parametrize("code", ["import kanjo", "import sys; sys.argv = ['kanjo', 'predict', '--help']; import kanjo.cli"])
def test_importing_kanjo_loads_nothing_heavy(code: str) -> None:
    code += "\nimport sys; print([m for m in ('torch', 'lightning', 'pandas', 'matplotlib', 'scipy', 'onnxruntime') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_house_rules() -> None:
    """Files of 400 lines at most, functions of 60 at most, no catch-all of everything."""
    for path in SRC.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 400, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert (node.end_lineno or 0) - node.lineno < 76, f"{path}:{node.name}"
            if isinstance(node, ast.ExceptHandler):
                assert node.type is not None, path
