"""Fixtures of the inference tests: a small bundle with a random model, so that no test needs to train one."""

from __future__ import annotations

import hashlib

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import kanjo
from kanjo.bundle import Bundle, BundleMetadata, write_bundle

LABELS = ("anger", "calm", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
EMBEDDING_SIZE = 16
SAMPLE_RATE, WINDOW_S, HOP_S = 16_000, 1.0, 0.5


def _random_graph() -> bytes:
    """A graph with one hidden layer; if ``speaker`` is given, its embedding is subtracted from that of the signal."""
    rng = np.random.default_rng(0)
    n_samples = int(SAMPLE_RATE * WINDOW_S)
    weights = {
        "hidden": rng.normal(0, 8 / np.sqrt(n_samples), (n_samples, EMBEDDING_SIZE)),
        "output": rng.normal(0, 1, (EMBEDDING_SIZE, len(LABELS))),
        "speaker": np.zeros((1, EMBEDDING_SIZE + 1)),
    }
    nodes = [
        helper.make_node("MatMul", ["signal", "hidden"], ["projection"]),
        helper.make_node("Tanh", ["projection"], ["embedding"]),
        helper.make_node("Slice", ["speaker", "zero", "size", "axis"], ["mean"]),
        helper.make_node("Sub", ["embedding", "mean"], ["difference"]),
        helper.make_node("MatMul", ["difference", "output"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=-1),
        helper.make_node("ReduceMax", ["projection"], ["ood_score"], axes=[1], keepdims=0),
    ]
    integers = {"zero": [0], "size": [EMBEDDING_SIZE], "axis": [1]}
    initializers = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    initializers += [numpy_helper.from_array(np.array(value, np.int64), name) for name, value in integers.items()]
    graph = helper.make_graph(
        nodes,
        "test",
        [
            helper.make_tensor_value_info("signal", TensorProto.FLOAT, ["B", n_samples]),
            helper.make_tensor_value_info("speaker", TensorProto.FLOAT, ["S", EMBEDDING_SIZE + 1]),
        ],
        [
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["B", len(LABELS)]),
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["B", EMBEDDING_SIZE]),
            helper.make_tensor_value_info("ood_score", TensorProto.FLOAT, ["B"]),
        ],
        initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


@pytest.fixture(scope="session")
def random_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle with 8 emotions at 16 kHz, windows of 1 s and a hop of 0.5 s, which accepts speaker profiles."""
    graph = _random_graph()
    metadata = BundleMetadata(
        name="random",
        version="0",
        labels=LABELS,
        sample_rate=SAMPLE_RATE,
        window_s=WINDOW_S,
        hop_s=HOP_S,
        sha256=hashlib.sha256(graph).hexdigest(),
        license="MIT",
        speaker_size=EMBEDDING_SIZE,
    )
    return write_bundle(tmp_path_factory.mktemp("bundles") / "random", graph, metadata)


@pytest.fixture(scope="session")
def recognizer(random_bundle: Bundle) -> kanjo.Recognizer:
    """A recognizer with the random model."""
    return kanjo.load(random_bundle.folder)


@pytest.fixture(scope="session")
def default_recognizer() -> kanjo.Recognizer:
    """A recognizer with the built-in bundle, on one core."""
    return kanjo.load(threads=1)
