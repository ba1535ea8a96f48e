"""Finding, reading and writing bundles."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import kanjo
from kanjo.bundle import (
    CARD_FILE,
    GRAPH_FILE,
    METADATA_FILE,
    WEIGHTS_FILE,
    Bundle,
    BundleMetadata,
    find_bundle_folder,
    read_bundle,
    update_metadata,
    write_bundle,
)
from kanjo.errors import BundleError

GRAPH = b"content of a graph"


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """A bundle whose graph is never loaded."""
    digest = hashlib.sha256(GRAPH).hexdigest()
    metadata = BundleMetadata("small", "1", ("anger", "neutral"), 16_000, 1.0, 0.5, digest, "MIT")
    return write_bundle(tmp_path / "run" / "bundle", GRAPH, metadata, b"weights")


def _replace_values(folder: Path, **changes: object) -> None:
    path = folder / METADATA_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_write_bundle_then_read_bundle_returns_the_same(bundle: Bundle) -> None:
    assert read_bundle(bundle.folder) == bundle
    assert bundle.graph.read_bytes() == GRAPH
    assert (bundle.folder / WEIGHTS_FILE).read_bytes() == b"weights"
    assert (bundle.folder / CARD_FILE).read_text().startswith("# small 1\n")


def test_find_bundle_folder_accepts_a_run_folder(bundle: Bundle) -> None:
    assert find_bundle_folder(bundle.folder.parent) == bundle.folder


def test_find_bundle_folder_accepts_a_built_in_name() -> None:
    assert find_bundle_folder("default") == kanjo.load().bundle.folder


def test_read_bundle_changed_graph_raises(bundle: Bundle) -> None:
    bundle.graph.write_bytes(GRAPH + b"!")
    with pytest.raises(BundleError, match=r"model.onnx was changed or damaged \(sha256 .*; copy the bundle again"):
        read_bundle(bundle.folder)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / GRAPH_FILE).unlink(), "can't read model.onnx"),
        (lambda folder: (folder / METADATA_FILE).write_text("{"), "not valid JSON"),
        (lambda folder: (folder / METADATA_FILE).write_bytes(b"\xff"), "not UTF-8 text"),
        (lambda folder: (folder / METADATA_FILE).write_text('{"format_version": 1}'), "bundle format 1"),
        (lambda folder: _replace_values(folder, format_version=99), "bundle format 99"),
        (lambda folder: _replace_values(folder, hop_s=7.0), "hop_s is 7.0"),
        (lambda folder: (folder / METADATA_FILE).unlink(), "the folder contains no bundle.json"),
        (lambda folder: shutil.rmtree(folder), "no such folder"),
    ],
    ids=["no-graph", "no-json", "no-text", "format-1", "format-99", "invalid-value", "no-metadata", "no-folder"],
)
def test_read_bundle_damaged_folder_raises_one_line(
    bundle: Bundle, damage: Callable[[Path], object], message: str
) -> None:
    damage(bundle.folder)
    with pytest.raises(BundleError, match=message) as caught:
        read_bundle(bundle.folder)
    assert len(str(caught.value).splitlines()) == 1


def test_read_bundle_file_instead_of_a_folder_raises(bundle: Bundle) -> None:
    with pytest.raises(BundleError, match="this is a file; expected the folder of a bundle"):
        read_bundle(bundle.graph)


def test_read_bundle_unknown_name_lists_the_built_in_bundles() -> None:
    with pytest.raises(BundleError, match=r"nothing: not a bundle .*; built-in bundles: .*default"):
        read_bundle("nothing")


def test_update_metadata_rewrites_the_model_card(bundle: Bundle) -> None:
    update_metadata(bundle.folder, replace(bundle.metadata, name="renamed"))
    assert read_bundle(bundle.folder).metadata.name == "renamed"
    assert (bundle.folder / CARD_FILE).read_text().startswith("# renamed")
