"""``kanjo info``."""

from __future__ import annotations

from dataclasses import replace
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


def test_info_of_a_bundle_of_recordings_without_language_names_it_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = read_bundle("default")
    own = {**bundle.metadata.corpora[0], "name": "own", "language": ""}
    metadata = replace(bundle.metadata, corpora=(*bundle.metadata.corpora, own))
    monkeypatch.setattr("kanjo.cli.info.bundle.read_bundle", lambda name: replace(bundle, metadata=metadata))
    lines = [line.split(maxsplit=1) for line in run_kanjo("info").stdout.splitlines()]
    assert ["languages", "en, pl, ko, unknown"] in lines


def test_info_with_unknown_model_fails_in_one_line() -> None:
    result = run_kanjo("info", "--model", "missing")
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1 and "missing" in result.stderr
