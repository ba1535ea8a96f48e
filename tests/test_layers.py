"""Layers of packages: which package may import which, and which libraries ``import kanjo`` loads."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

SRC = Path(__file__).parent.parent / "src" / "kanjo"
FILES = sorted(SRC.rglob("*.py"))

#: Layers from the lowest to the highest. A package may import packages of lower layers, and the pairs of SAME_LAYER.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("errors", "file_names", "locks", "palette"),
    ("temporary_files",),
    ("files", "folders", "labels", "parsing"),
    ("array_files", "languages"),
    ("audio", "bundle", "corpora"),
    ("inference", "tools"),
    ("__init__",),
    ("evaluation",),
    ("train",),
    ("experiments",),
    ("cli", "server"),
    ("__main__",),
)
#: Imports within one layer that are allowed: (importing package, imported package).
SAME_LAYER = {("corpora", "audio"), ("cli", "server")}
LEVEL = {package: level for level, packages in enumerate(LAYERS) for package in packages}
#: Libraries that only ``kanjo.train`` imports; ``kanjo.server`` may import pydantic, a dependency of FastAPI.
TRAINING_LIBRARIES = {"torch", "lightning", "pydantic", "yaml"}


def _relative_name(path: Path) -> str:
    return path.relative_to(SRC).as_posix()


def _package(path: Path) -> str:
    return path.relative_to(SRC).parts[0].removesuffix(".py")


def _module(path: Path) -> str:
    parts = ["kanjo", *path.relative_to(SRC).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {_module(path) for path in FILES}


def _imported_names(tree: ast.AST) -> set[str]:
    """Return the full names of everything that a syntax tree imports, such as "kanjo.audio.load"."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def _imported_packages(path: Path) -> set[str]:
    """Return the packages of kanjo that a file imports, also inside functions and for type checking."""
    packages = set()
    for name in _imported_names(ast.parse(path.read_text(encoding="utf-8"))):
        parts = name.split(".")
        if parts[0] == "kanjo":
            packages.add(parts[1] if len(parts) > 1 and parts[1] in LEVEL else "__init__")
    return packages


def _modules_imported_at_import_time(path: Path) -> set[str]:
    """Return the modules of kanjo that Python imports when it imports a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    statements = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    modules = set()
    for name in _imported_names(ast.Module(statements, [])):
        module = name if name in MODULES else name.rpartition(".")[0]
        if module in MODULES:
            modules.add(module)
    return modules


@pytest.mark.parametrize("path", FILES, ids=_relative_name)
def test_package_imports_only_lower_layers(path: Path) -> None:
    package = _package(path)
    if package == "__init__":  # the public API re-exports names of inference
        return
    wrong = {
        other
        for other in _imported_packages(path) - {package}
        if LEVEL[other] >= LEVEL[package] and (package, other) not in SAME_LAYER
    }
    assert not wrong, f"{package} may not import {', '.join(sorted(wrong))}"


def test_modules_have_no_import_cycle() -> None:
    graph = {_module(path): _modules_imported_at_import_time(path) for path in FILES if path.name != "__init__.py"}
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"these modules import each other: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("path", FILES, ids=_relative_name)
def test_training_libraries_are_imported_only_by_train(path: Path) -> None:
    package = _package(path)
    if package == "train" or _relative_name(path) == "parsing.py":  # parsing imports PyYAML in a function
        return
    libraries = {name.split(".")[0] for name in _imported_names(ast.parse(path.read_text(encoding="utf-8")))}
    allowed = {"pydantic"} if package == "server" else set()
    assert not libraries & TRAINING_LIBRARIES - allowed


@pytest.mark.parametrize(
    "code",
    ["import kanjo", "import sys; sys.argv = ['kanjo', 'predict', '--help']; import kanjo.cli"],
    ids=["api", "cli"],
)
def test_import_loads_no_heavy_library(code: str) -> None:
    heavy = ("torch", "lightning", "pandas", "matplotlib", "scipy", "sklearn", "jinja2", "onnxruntime")
    code += f"\nimport sys; print([name for name in {heavy} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
