"""Bundles that anybody may have written: damaged, hostile or inconsistent ones end in a BundleError of one line."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import kanjo
from kanjo.bundle import BUILTIN_FOLDER, GRAPH_FILE, METADATA_FILE, BundleMetadata, read_bundle, write_bundle
from kanjo.bundle.metadata import parse_metadata
from kanjo.errors import BundleError, KanjoError
from kanjo.inference import onnx_session

_RATE, _SIZE = 1_000, 4
DEFAULT = json.loads((BUILTIN_FOLDER / "default" / METADATA_FILE).read_text(encoding="utf-8"))


def _write(folder: Path, probabilities: list[float], embedding_size: int = _SIZE, **changes: object) -> Path:
    """Write a bundle of 1 s windows whose graph always returns the same values."""
    signal = helper.make_tensor_value_info("signal", TensorProto.FLOAT, [None, _RATE])
    values = {"probabilities": probabilities, "embedding": [0.5] * embedding_size}
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in values]
    constants = [numpy_helper.from_array(np.array([row], np.float32), f"{name}_row") for name, row in values.items()]
    zero = numpy_helper.from_array(np.zeros(1, np.float32), "zero")
    nodes = [
        helper.make_node("ReduceMean", ["signal"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("Mul", ["mean", "zero"], ["zeros"]),
        *(helper.make_node("Add", ["zeros", f"{name}_row"], [name]) for name in values),
    ]
    graph = helper.make_graph(nodes, "constant", [signal], outputs, [*constants, zero])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return _write_model(folder, model.SerializeToString(), **changes)


def _write_model(folder: Path, content: bytes, **changes: object) -> Path:
    import hashlib

    values: dict[str, object] = {"labels": ("anger", "neutral"), "sample_rate": _RATE, "window_s": 1.0, "hop_s": 0.5}
    values |= {"name": "x", "version": "1", "license": "MIT", "sha256": hashlib.sha256(content).hexdigest()} | changes
    return write_bundle(folder, content, BundleMetadata(**values)).folder  # type: ignore[arg-type]


def test_load_constant_graph_predicts_its_probabilities(tmp_path: Path) -> None:
    recognizer = kanjo.load(_write(tmp_path / "b", [0.25, 0.75]))
    np.testing.assert_allclose(recognizer.probabilities(np.zeros((2, _RATE), np.float32)), [[0.25, 0.75]] * 2)


@pytest.mark.parametrize(
    ("probabilities", "changes", "message"),
    [
        ([0.2, 0.3, 0.5], {}, r"probabilities of shape \(1, 3\), but bundle.json has 2 labels"),
        ([0.5, 0.6], {}, "add up to 1.1"),
        ([1.5, -0.5], {}, "add up to 1 for"),
        ([float("nan"), 1.0], {}, "not finite float32 numbers"),
        ([float("inf"), 0.0], {}, "not finite float32 numbers"),
        ([0.5, 0.5], {"speaker_size": 7}, r"embedding of shape \(1, 4\); expected \(1, 7\)"),
        ([0.5, 0.5], {"window_s": 2.0}, "fails for a window of zeros"),
    ],
)
def test_load_graph_that_does_not_fit_its_metadata_raises_one_line(
    tmp_path: Path, probabilities: list[float], changes: dict[str, object], message: str
) -> None:
    with pytest.raises(BundleError, match=message) as caught:
        kanjo.load(_write(tmp_path / "b", probabilities, **changes))
    assert "\n" not in str(caught.value)


def test_load_graph_with_an_endless_loop_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_session, "_MAX_CHECK_S", 0.2)
    with pytest.raises(BundleError, match=r"takes over 0.2 s"):
        kanjo.load(_write_model(tmp_path / "b", _endless_graph()))


def _endless_graph() -> bytes:
    """Return a graph whose outputs wait for a loop of 2**62 iterations."""
    floats, flag = (TensorProto.FLOAT, None), (TensorProto.BOOL, [])
    inputs = (("i", TensorProto.INT64, []), ("go", *flag), ("state", *floats))
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["go_on"]), helper.make_node("Sin", ["state"], ["next"])],
        "body",
        [helper.make_tensor_value_info(*value) for value in inputs],
        [helper.make_tensor_value_info(*value) for value in (("go_on", *flag), ("next", *floats))],
    )
    constants = [numpy_helper.from_array(np.array(2**62), "n"), numpy_helper.from_array(np.array(True), "true")]
    nodes = [
        helper.make_node("Loop", ["n", "true", "signal"], ["probabilities"], body=body),
        helper.make_node("Identity", ["probabilities"], ["embedding"]),
    ]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("probabilities", "embedding")]
    signal = helper.make_tensor_value_info("signal", TensorProto.FLOAT, [None, _RATE])
    graph = helper.make_graph(nodes, "endless", [signal], outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


@pytest.mark.parametrize("length", [b"\x08", b"\x88\x00"], ids=["shortest", "padded"])
def test_read_bundle_external_data_is_refused(tmp_path: Path, length: bytes) -> None:
    tensor = onnx.TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="/etc/passwd")
    graph = helper.make_graph([], "external", [], [], [tensor])
    content = helper.make_model(graph).SerializeToString()
    content = content.replace(b"\x0a\x08location", b"\x0a" + length + b"location")
    with pytest.raises(BundleError, match="keeps weights in other files"):
        read_bundle(_write_model(tmp_path / "b", content))


def test_read_bundle_word_location_elsewhere_is_read(tmp_path: Path) -> None:
    content = b"a name such as relocation, and " + bytes(1 << 20) + b"\x0a\x09locations"
    assert read_bundle(_write_model(tmp_path / "b", content)).metadata.name == "x"


def test_read_bundle_external_data_across_blocks_is_refused(tmp_path: Path) -> None:
    content = bytes((1 << 20) - 5) + b"\x0a\x08location"
    with pytest.raises(BundleError, match="keeps weights in other files"):
        read_bundle(_write_model(tmp_path / "b", content))


def _replace_by_link(path: Path) -> None:
    target = path.parent.parent / "elsewhere"
    path.replace(target)
    path.symlink_to(target)


def _replace_by_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no pipes in folders, and links need a privilege")
@pytest.mark.parametrize(
    ("name", "replace", "message"),
    [
        (GRAPH_FILE, _replace_by_link, "is a link that leaves the bundle"),
        (METADATA_FILE, _replace_by_link, "is a link that leaves the bundle"),
        (GRAPH_FILE, _replace_by_pipe, "not a regular file"),
        (METADATA_FILE, _replace_by_pipe, "contains no bundle.json"),
    ],
    ids=["link-graph", "link-metadata", "pipe-graph", "pipe-metadata"],
)
def test_read_bundle_link_or_pipe_is_refused(
    tmp_path: Path, name: str, replace: Callable[[Path], None], message: str
) -> None:
    folder = _write(tmp_path / "run" / "b", [0.5, 0.5])
    replace(folder / name)
    with pytest.raises(BundleError, match=message):
        read_bundle(folder)


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
def test_read_bundle_link_within_the_bundle_is_read(tmp_path: Path) -> None:
    folder = _write(tmp_path / "b", [0.5, 0.5])
    (folder / GRAPH_FILE).rename(folder / "graph-1.onnx")
    (folder / GRAPH_FILE).symlink_to("graph-1.onnx")
    assert read_bundle(folder).metadata.labels == ("anger", "neutral")


def test_read_bundle_too_large_metadata_is_refused(tmp_path: Path) -> None:
    folder = _write(tmp_path / "b", [0.5, 0.5])
    (folder / METADATA_FILE).write_bytes(b" " * 4_000_001)
    with pytest.raises(BundleError, match="larger than 4 MB"):
        read_bundle(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"window_s": 1e9}, "window_s is 1000000000.0; expected 0.01 to 600 seconds"),
        ({"sample_rate": 10**25}, "sample_rate is 1000.* expected a positive number of Hz"),
        ({"sample_rate": 10**40}, "an integer has more than 30 digits"),
        ({"temperature": 0}, "temperature is 0; expected 0.001 to 1000"),
        ({"min_confidence": 1.5}, "min_confidence is 1.5; expected 0 to 1"),
        ({"min_confidence": float("nan")}, "NaN is not a number of JSON"),
        ({"labels": ["anger", "Anger"]}, "expected at least two different strings"),
        ({"labels": ["anger", "unsure"]}, "labels contains 'unsure'"),
        ({"labels": ["anger", "a\x1b[2J"]}, "labels contains"),
        ({"name": "a\nb"}, r"name is 'a\\nb'; expected one line"),
        ({"ood_temperature": {"median": 0, "max_ratio": 2, "exponent": 1}}, "ood_temperature.median is 0"),
        ({"recipe": {"labels": 5}}, "recipe.labels is 5; expected an object"),
        ({"split": {"train_speakers": 5}}, "split.train_speakers is 5; expected a list of strings"),
        ({"scores": {"uar": 0.5}}, "scores.uar is 0.5; expected numbers for value"),
        ({"robustness": {"noise": 1}}, "robustness.'noise' is 1"),
        ({"speaker_size": -1}, "speaker_size is -1"),
        ({"paper": {}}, "paper.title is None; expected a string"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_parse_metadata_absurd_value_raises_one_line(changes: dict[str, object], message: str) -> None:
    with pytest.raises(BundleError, match=message) as caught:
        parse_metadata(json.dumps(DEFAULT | changes), "bundle.json")
    assert "\n" not in str(caught.value)


def test_load_mutated_bundles_predict_or_raise_one_line(tmp_path: Path) -> None:
    """Change single values of 300 copies of ``bundle.json``, at any depth."""
    rng, folder = random.Random(0), tmp_path / "b"
    folder.mkdir()
    shutil.copyfile(BUILTIN_FOLDER / "default" / GRAPH_FILE, folder / GRAPH_FILE)
    values = [None, True, -1, 0, 1, 2**31, 10**29, 1e-300, 1e300, "", "x" * 5_000, "\n", [], {}, [1], {"a": 1}]
    n_loaded = 0
    for _ in range(300):
        content = json.loads(json.dumps(DEFAULT))
        parent, key = rng.choice(list(_find_places(content)))
        parent[key] = rng.choice(values)
        (folder / METADATA_FILE).write_text(json.dumps(content))
        try:
            bundle = read_bundle(folder)
        except BundleError as error:
            assert "\n" not in str(error)
            continue
        n_loaded += 1
        if n_loaded % 20 == 0:
            try:
                kanjo.load(bundle.folder, threads=1).predict_signal(np.zeros(16_000), 16_000)
            except KanjoError as error:
                assert "\n" not in str(error)
    assert 50 < n_loaded < 300


def _find_places(value: object) -> list[tuple[dict[str, object] | list[object], object]]:
    """Return all containers and keys of a JSON value."""
    if not isinstance(value, dict | list):
        return []
    items = list(value.items()) if isinstance(value, dict) else list(enumerate(value))
    return [place for key, item in items for place in [(value, key), *_find_places(item)]]  # type: ignore[misc]
