"""Package borders: who may import whom, and what `import kanjo` may load."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SRC = Path(__file__).parent.parent / "src" / "kanjo"
FILES = sorted(SRC.rglob("*.py"))

#: Layers from the lowest to the highest. A package may import packages of lower layers, and those of its own layer that
#: SAME_LAYER names.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("errors",),
    ("files", "labels"),
    ("audio", "bundle", "corpora"),
    ("inference", "tools"),
    ("__init__",),
    ("evaluation",),
    ("train",),
    ("experiments",),
    ("cli", "server"),
    ("__main__",),
)
SAME_LAYER = {("corpora", "audio"), ("cli", "server"), ("experiments", "cli")}
LEVEL = {package: level for level, packages in enumerate(LAYERS) for package in packages}


def _package(path: Path) -> str:
    return path.relative_to(SRC).parts[0].removesuffix(".py")


def _imports(path: Path) -> set[str]:
    """Packages of kanjo that a file imports, anywhere in it: inside functions and for type checking too."""
    packages = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module] if node.module != "kanjo" else [f"kanjo.{alias.name}" for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "kanjo":
                packages.add(parts[1] if len(parts) > 1 and parts[1] in LEVEL else "__init__")
    return packages


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(SRC).as_posix())
def test_imports_of_a_file_point_to_lower_layers(path: Path) -> None:
    package = _package(path)
    if package == "__init__":  # the public API: it re-exports inference
        return
    wrong = {
        other
        for other in _imports(path) - {package}
        if LEVEL[other] >= LEVEL[package] and (package, other) not in SAME_LAYER
    }
    assert not wrong, f"{package} may not import {wrong}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(SRC).as_posix())
def test_heavy_libraries_are_imported_only_in_train(path: Path) -> None:
    package = _package(path)
    if package == "train" or path.name == "hparams.py":  # the tool that edits YAML loads PyYAML when it is used
        return
    allowed = {"pydantic"} if package == "server" else set()
    imported = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            imported.add(node.module.split(".")[0])
    assert not imported & {"torch", "lightning", "pydantic", "yaml"} - allowed


@pytest.mark.parametrize(
    "code", ["import kanjo", "import sys; sys.argv = ['kanjo', 'predict', '--help']; import kanjo.cli"]
)
def test_import_of_kanjo_loads_no_heavy_library(code: str) -> None:
    heavy = ("torch", "lightning", "pandas", "matplotlib", "scipy", "sklearn", "jinja2", "onnxruntime")
    code += f"\nimport sys; print([m for m in {heavy} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_files_and_functions_stay_short() -> None:
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 400, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert (node.end_lineno or 0) - node.lineno < 90, f"{path}:{node.name}"
