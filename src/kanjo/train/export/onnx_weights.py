"""Reads weights out of an ONNX graph: of published encoders, and of kanjo's own exported models.

Exporters and quantizers change weights. They fold batch norms into convolutions, transpose the matrices of dense layers
and take their names away, reorder the gates of LSTMs, and store int8 or fp16. This module reverses these changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

Array = npt.NDArray[Any]
_BIAS, _WEIGHT = ".bias", ".weight"
_DEQUANTIZED = "_DequantizeLinear_Output"
_QUANTIZED = "_quantized"
#: ONNX orders the gates of an LSTM as input, output, forget, cell; PyTorch as input, forget, cell, output.
_LSTM_GATES = [0, 2, 3, 1]


@dataclass(frozen=True)
class OnnxGraph:
    """Nodes and constants of an ONNX graph.

    Attributes:
        nodes: The nodes in topological order.
        constants: Constants by name. Those that are stored in int8 or fp16 are in float32, under the names that they
            had before.
        quantized: Names of the constants that are stored in int8.
    """

    nodes: tuple[onnx.NodeProto, ...]
    constants: Mapping[str, Array]
    quantized: frozenset[str]


@dataclass(frozen=True)
class ConvBatchNorm:
    """A convolution, the batch norm that follows it, and their names in the model."""

    conv_name: str
    conv: nn.Conv2d
    norm_name: str
    norm: nn.BatchNorm2d


def read_onnx_graph(path: Path) -> OnnxGraph:
    """Read a graph and convert its constants to float32.

    Raises:
        Exception: Any exception of onnx, for a file that is not an ONNX model.
    """
    graph = onnx.load(path).graph
    constants: dict[str, Array] = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    quantized = set()
    for node in graph.node:
        if node.op_type == "Cast" and node.input[0] in constants:  # stored in fp16
            constants[node.output[0]] = constants[node.input[0]].astype(np.float32)
        elif node.op_type == "DequantizeLinear" and node.input[0] in constants:  # static int8
            axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
            values, scale, zero_point = (constants[name] for name in node.input)
            name = node.output[0].removesuffix(_DEQUANTIZED)
            constants[node.output[0]] = constants[name] = _dequantize(values, scale, zero_point, axis)
            quantized.add(name)
        elif node.op_type == "MatMulInteger" and node.input[1].endswith(_QUANTIZED):  # dynamic int8, scale per output
            name = node.input[1].removesuffix(_QUANTIZED)
            values, scale, zero_point = (constants[name + end] for end in (_QUANTIZED, "_scale", "_zero_point"))
            constants[name] = _dequantize(values, scale, zero_point, axis=1)
            quantized.add(name)
    return OnnxGraph(tuple(graph.node), constants, frozenset(quantized))


def read_onnx_weights(path: Path) -> dict[str, Tensor]:
    """Read the named weights of a published graph, in float32 and under the module's original names.

    The matrix of a dense layer loses its name when it is exported. It gets the name of the bias that is added to the
    product. A matrix without a bias that has the same input as a query projection is named "k_proj", because Whisper's
    key projection is the only one without a bias. Matrices are transposed to PyTorch's (outputs, inputs).

    Raises:
        Exception: Any exception of onnx, for a file that is not an ONNX model.
    """
    graph = read_onnx_graph(path)
    weights = {name: value for name, value in graph.constants.items() if name.endswith((_BIAS, _WEIGHT))}
    producers = {output: node for node in graph.nodes for output in node.output}
    consumers = {name: node for node in graph.nodes for name in node.input}
    products = [node for node in graph.nodes if node.op_type == "MatMul"]
    biases = {node.output[0]: _added_bias(node.output[0], consumers, weights) for node in products}
    unnamed: list[tuple[str, Array]] = []
    for node in products:
        if node.input[1] not in graph.constants:
            continue
        matrix = graph.constants[node.input[1]].T
        bias = biases[node.output[0]]
        if bias:
            weights[bias.removesuffix(_BIAS) + _WEIGHT] = matrix
        else:
            unnamed.append((_unquantized_source(node.input[0], producers), matrix))
    for source, matrix in unnamed:
        for node in products:
            bias = biases[node.output[0]]
            if bias.endswith("q_proj.bias") and _unquantized_source(node.input[0], producers) == source:
                weights[bias.replace("q_proj.bias", "k_proj.weight")] = matrix
    return {name: torch.tensor(np.array(value, np.float32)) for name, value in weights.items()}


def match_weights(graph: OnnxGraph, model: nn.Module) -> dict[str, Tensor]:
    """Find the weights of a model in a graph that kanjo exported.

    Each batch norm, which is folded into the convolution before it, becomes an identity with the convolution's bias.

    Args:
        graph: The exported graph.
        model: A model with the architecture that was exported.

    Returns:
        The part of the model's state dict that the graph contains.
    """
    state = model.state_dict()
    weights = _named_weights(graph, state)
    weights |= _identity_batch_norms(graph, model)
    weights |= _lstm_weights(graph, model)
    weights |= _unnamed_matrices(graph, state, missing=state.keys() - weights.keys())
    weights |= _zero_biases(graph, state, missing=state.keys() - weights.keys())
    return weights


def conv_batch_norm_pairs(model: nn.Module) -> Iterator[ConvBatchNorm]:
    """Yield each 2D convolution that is directly followed by a batch norm in the same parent module."""
    for parent_name, parent in model.named_modules():
        children = list(parent.named_children())
        for (conv_name, conv), (norm_name, norm) in pairwise(children):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                yield ConvBatchNorm(f"{parent_name}.{conv_name}", conv, f"{parent_name}.{norm_name}", norm)


def _dequantize(values: Array, scale: Array, zero_point: Array, axis: int) -> Array:
    """Convert integers to float32. ``scale`` and ``zero_point`` are scalars, or have one value along ``axis``."""
    shape = [-1 if n == axis and scale.ndim else 1 for n in range(values.ndim)]
    scale, zero_point = (value.astype(np.float32).reshape(shape) for value in (scale, zero_point))
    return (values.astype(np.float32) - zero_point) * scale


def _unquantized_source(name: str, producers: Mapping[str, onnx.NodeProto]) -> str:
    """Return the value that a quantized value was computed from."""
    while name in producers and producers[name].op_type in ("QuantizeLinear", "DequantizeLinear"):
        name = producers[name].input[0]
    return name


def _added_bias(name: str, consumers: Mapping[str, onnx.NodeProto], weights: Mapping[str, Array]) -> str:
    """Return the name of the bias that is added to a product, or "" if there is none."""
    node = consumers.get(name)
    while node is not None and node.op_type in ("QuantizeLinear", "DequantizeLinear"):
        node = consumers.get(node.output[0])
    if node is None or node.op_type != "Add":
        return ""
    return next((value for value in node.input if value in weights and value.endswith(_BIAS)), "")


def _named_weights(graph: OnnxGraph, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights that still have their names.

    The quantizer turns dense layers into MatMul or MatMulInteger and transposes their matrices.
    """
    transposed = {node.input[1] for node in graph.nodes if node.op_type == "MatMul"} | graph.quantized
    weights = {}
    for name, expected in state.items():
        if name in graph.constants:
            value = torch.tensor(graph.constants[name])
            value = value.T.contiguous() if name in transposed else value
            if value.shape == expected.shape:
                weights[name] = value
    return weights


def _identity_batch_norms(graph: OnnxGraph, model: nn.Module) -> dict[str, Tensor]:
    """Batch norms that only add the bias of the convolution into which they were folded."""
    weights = {}
    for pair in conv_batch_norm_pairs(model):
        bias = torch.zeros(pair.norm.num_features)
        if f"{pair.conv_name}.weight_bias" in graph.constants:
            bias = torch.tensor(graph.constants[f"{pair.conv_name}.weight_bias"])
        ones = torch.ones_like(bias)
        weights[f"{pair.norm_name}.weight"] = ones
        weights[f"{pair.norm_name}.bias"] = bias
        weights[f"{pair.norm_name}.running_mean"] = torch.zeros_like(bias)
        weights[f"{pair.norm_name}.running_var"] = ones - pair.norm.eps
        weights[f"{pair.norm_name}.num_batches_tracked"] = torch.tensor(1)
    return weights


def _lstm_weights(graph: OnnxGraph, model: nn.Module) -> dict[str, Tensor]:
    """Weights of one-directional LSTMs, with the gates in PyTorch's order.

    The exporter reorders the gates of small matrices. Large matrices keep PyTorch's order and their names.
    """
    weights = {}
    lstms = [(name, module) for name, module in model.named_modules() if isinstance(module, nn.LSTM)]
    nodes = [node for node in graph.nodes if node.op_type == "LSTM"]
    for (name, lstm), node in zip(lstms, nodes, strict=False):
        if lstm.bidirectional:
            continue
        for key, source in (("weight_ih_l0", node.input[1]), ("weight_hh_l0", node.input[2])):
            if source in graph.constants:
                gates = torch.tensor(graph.constants[source]).reshape(4, lstm.hidden_size, -1)
                weights[f"{name}.{key}"] = gates[_LSTM_GATES].flatten(0, 1)
        if node.input[3] in graph.constants:
            biases = torch.tensor(graph.constants[node.input[3]]).reshape(2, 4, lstm.hidden_size)[:, _LSTM_GATES]
            weights[f"{name}.bias_ih_l0"], weights[f"{name}.bias_hh_l0"] = biases.reshape(2, -1)
    return weights


def _unnamed_matrices(graph: OnnxGraph, state: Mapping[str, Tensor], missing: set[str]) -> dict[str, Tensor]:
    """Matrices of dense layers over time steps, which lost their names, if only one constant has the shape."""
    weights = {}
    for key in missing:
        if state[key].ndim != 2:
            continue
        shape = tuple(state[key].T.shape)
        candidates = [value for name, value in graph.constants.items() if name not in state and value.shape == shape]
        if len(candidates) == 1:
            weights[key] = torch.tensor(candidates[0]).T.contiguous()
    return weights


def _zero_biases(graph: OnnxGraph, state: Mapping[str, Tensor], missing: set[str]) -> dict[str, Tensor]:
    """Biases of dense layers that the exporter left out because they are zero."""
    weights = {}
    for key in missing:
        matrix = key.removesuffix(_BIAS) + _WEIGHT
        products = [node for node in graph.nodes if node.op_type in ("MatMul", "Gemm") and node.input[1] == matrix]
        if key.endswith(_BIAS) and products and not any(_has_bias(graph, node) for node in products):
            weights[key] = torch.zeros_like(state[key])
    return weights


def _has_bias(graph: OnnxGraph, product: onnx.NodeProto) -> bool:
    """Whether a constant is added to a product, by its own node or by an Add node that follows it."""
    computed = {name for node in graph.nodes for name in node.output}
    additions = [node for node in graph.nodes if node.op_type == "Add" and product.output[0] in node.input]
    return len(product.input) > 2 or any(name not in computed for node in additions for name in node.input)
