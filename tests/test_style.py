"""The style rules of code and documents: plain words, short lines, short functions, no assert for types."""

from __future__ import annotations

import ast
import re
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SRC = ROOT / "src" / "kanjo"
STYLE = Path(__file__).parent / "style"
TEXT_SUFFIXES = {".py", ".yaml", ".js", ".html", ".css", ".md", ".j2"}
SOURCES = sorted(path for path in SRC.rglob("*") if path.suffix in TEXT_SUFFIXES and path.is_file())
#: The texts for users. Their banned words have no exceptions.
DOCUMENTS = [
    *sorted((ROOT / "docs").rglob("*.md")),
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
]
PYTHON = sorted([*SRC.rglob("*.py"), *(ROOT / "tests").rglob("*.py")])
MAX_LINE, MAX_FUNCTION, MAX_FILE = 120, 60, 400


def _entries(name: str) -> list[str]:
    lines = (STYLE / name).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def banned_words(text: str) -> list[tuple[int, str]]:
    """Return the line number and the word of each banned word in a text."""
    words = "|".join(line.partition("->")[0].strip() for line in _entries("banned_words.txt"))
    pattern = re.compile(rf"(?<!\w)(?:{words})(?!\w)", re.IGNORECASE)
    return [
        (number, match.group(0).lower())
        for number, line in enumerate(text.splitlines(), 1)
        for match in pattern.finditer(line)
    ]


def _allowed(path: Path) -> set[str]:
    pairs = [line.split("#")[0].rstrip().split("\t") for line in _entries("allowed_words.txt")]
    return {word for glob, word in pairs if fnmatch(path.relative_to(SRC).as_posix(), glob)}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(SRC).as_posix())
def test_source_file_contains_no_banned_word(path: Path) -> None:
    allowed = _allowed(path)
    found = [(line, word) for line, word in banned_words(path.read_text(encoding="utf-8")) if word not in allowed]
    assert not found, f"{path}: {found}; tests/style/banned_words.txt names the words to write instead"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_document_contains_no_banned_word(path: Path) -> None:
    found = banned_words(path.read_text(encoding="utf-8"))
    assert not found, f"{path}: {found}; tests/style/banned_words.txt names the words to write instead"


def test_banned_words_with_a_banned_word_returns_its_line() -> None:
    assert banned_words("fine\nwhat was Heard here") == [(2, "heard")]
    assert banned_words("a bundle in the box") == [(1, "in the box")]
    assert banned_words("foretold, storytellers") == []


@pytest.mark.parametrize("path", PYTHON, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_python_file_keeps_the_size_limits(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    assert [n for n, line in enumerate(lines, 1) if len(line) > MAX_LINE] == []
    if SRC not in path.parents:
        return
    assert len(lines) <= MAX_FILE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= MAX_FUNCTION, f"{node.name} has {length} lines; at most {MAX_FUNCTION} are allowed"
        assert not isinstance(node, ast.Assert), f"line {node.lineno}: raise an error instead of assert"
