"""``kanjo info``."""

from __future__ import annotations

from pathlib import Path

import pytest

import kanjo
from kanjo.bundle import read_bundle
from tests.shell import run_kanjo


def test_info_prints_versions_model_and_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KANJO_SPEAKERS", str(tmp_path / "speakers"))
    output = run_kanjo("info").stdout
    metadata = read_bundle("default").metadata
    for text in (
        kanjo.__version__,
        metadata.sha256,
        metadata.license,
        "CPUExecutionProvider",
        str(tmp_path / "speakers"),
    ):
        assert text in output


def test_info_with_unknown_model_fails_in_one_line() -> None:
    result = run_kanjo("info", "--model", "missing")
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1 and "missing" in result.stderr
