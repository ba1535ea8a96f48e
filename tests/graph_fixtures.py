"""Helpers for tests of exported graphs: a model that is exported in a second, and properties of graphs."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from kanjo.inference import onnx_session
from kanjo.train.features.log_mel import Waveform
from kanjo.train.models.emotion_model import EmotionModel

#: Samples, emotions and embedding size of the small model.
WINDOW, N_EMOTIONS, EMBEDDING_SIZE = 400, 4, 8


class SmallClassifier(nn.Module):
    """One dense layer on blocks of raw samples, with speaker conditioning."""

    speaker_size = EMBEDDING_SIZE

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Linear(WINDOW, EMBEDDING_SIZE)
        self.output = nn.Linear(EMBEDDING_SIZE, N_EMOTIONS)
        self.offset = nn.Linear(EMBEDDING_SIZE, N_EMOTIONS, bias=False)

    def forward(
        self, features: Tensor, frames: Tensor, speaker: Tensor | None = None, enrolled: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Compute logits (B, E) and embeddings (B, D)."""
        embedding = self.embedding(features.flatten(1))
        logits = self.output(embedding)
        if speaker is not None and enrolled is not None:
            logits = (1 - enrolled) * logits + enrolled * self.offset(embedding - speaker)
        return logits, embedding


def build_small_model() -> EmotionModel:
    """Build the small model with seeded random weights."""
    torch.manual_seed(0)
    return EmotionModel(Waveform(), SmallClassifier(), WINDOW).eval()


def random_signal(n: int, seed: int = 0) -> npt.NDArray[np.float32]:
    """Return ``n`` windows of noise for the small model (n, WINDOW)."""
    return np.random.default_rng(seed).normal(0, 0.1, (n, WINDOW)).astype(np.float32)


def run_graph(graph: bytes, outputs: list[str], **inputs: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
    """Run a graph on one thread."""
    results: list[npt.NDArray[np.float32]] = onnx_session.create_session(graph, 1).run(outputs, inputs)
    return results


def softmax(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Compute the softmax over the last axis."""
    exponentials = np.exp(logits - logits.max(-1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(-1, keepdims=True))


def max_pair_sum(graph: bytes) -> int:
    """Return the largest sum of two neighboring int8 weights of the same sign, along the products' inner dimension.

    0 for a graph without int8 layers.
    """
    model, largest = onnx.load_model_from_string(graph), 0
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "MatMulInteger":
            weights = numpy_helper.to_array(constants[node.input[1]]).astype(int)
            assert len(weights) % 2 == 0 and np.abs(weights).max() <= 127
            pairs = weights.reshape(-1, 2, weights.shape[1])
            largest = max(largest, int(pairs.clip(min=0).sum(1).max()), int(-pairs.clip(max=0).sum(1).min()))
    return largest


class _PublishedGraph:
    """Builds a graph like those of published encoders, and remembers the weights that are in it."""

    def __init__(self, quantize: bool) -> None:
        self.quantize = quantize
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.weights: dict[str, npt.NDArray[np.float64]] = {}

    def add_constant(self, name: str, value: npt.NDArray[np.float64]) -> str:
        """Add a float32 constant. Returns its name."""
        self.constants.append(numpy_helper.from_array(value.astype(np.float32), name))
        return name

    def add_weight(self, name: str, value: npt.NDArray[np.float64], axis: int) -> str:
        """Add a weight in float32, or in int8 with one scale per index of ``axis``. Returns the name to use it."""
        if not self.quantize:
            return self.add_constant(name, value)
        scale = np.abs(value).max(tuple(n for n in range(value.ndim) if n != axis)) / 127
        shape = [-1 if n == axis else 1 for n in range(value.ndim)]
        integers = np.round(value / scale.astype(np.float32).reshape(shape)).astype(np.int8)
        self.constants.append(numpy_helper.from_array(integers, f"{name}_quantized"))
        self.add_constant(f"{name}_scale", scale)
        self.constants.append(numpy_helper.from_array(np.zeros(len(scale), np.int8), f"{name}_zero_point"))
        inputs = [f"{name}_{part}" for part in ("quantized", "scale", "zero_point")]
        output = f"{name}_DequantizeLinear_Output"
        self.nodes.append(helper.make_node("DequantizeLinear", inputs, [output], axis=axis))
        return output


def build_published_graph(quantize: bool) -> tuple[onnx.ModelProto, dict[str, npt.NDArray[np.float64]]]:
    """Build a graph as exporters write it: a convolution, and three dense layers whose matrices have no names.

    Returns:
        The model, and its weights by the names that they had in PyTorch.
    """
    random, size, graph = np.random.default_rng(0), 6, _PublishedGraph(quantize)
    conv_weight, conv_bias = random.normal(size=(size, size, 3)), random.normal(size=size)
    graph.weights |= {"trunk.conv1.weight": conv_weight, "trunk.conv1.bias": conv_bias}
    bias = graph.add_constant("trunk.conv1.bias", conv_bias)
    weight = graph.add_weight("trunk.conv1.weight", conv_weight, axis=0)
    graph.nodes.append(helper.make_node("Conv", ["x", weight, bias], ["c"]))
    graph.nodes.append(helper.make_node("Transpose", ["c"], ["steps"], perm=[0, 2, 1]))
    outputs = []
    for n, projection in enumerate(("q_proj", "k_proj", "v_proj")):
        name, output = f"trunk.layers.0.self_attn.{projection}", f"product_{n}"
        matrix = random.normal(size=(size, size))
        graph.weights[f"{name}.weight"] = matrix.T
        graph.nodes.append(helper.make_node("MatMul", ["steps", graph.add_weight(f"val_{n}", matrix, 1)], [output]))
        if projection != "k_proj":
            graph.weights[f"{name}.bias"] = random.normal(size=size)
            bias = graph.add_constant(f"{name}.bias", graph.weights[f"{name}.bias"])
            graph.nodes.append(helper.make_node("Add", [output, bias], [f"sum_{n}"]))
            output = f"sum_{n}"
        outputs.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, None))
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, size, 5])]
    content = helper.make_graph(graph.nodes, "published", inputs, outputs, graph.constants)
    return helper.make_model(content, opset_imports=[helper.make_opsetid("", 17)]), graph.weights
