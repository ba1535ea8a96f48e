"""A state dict out of an ONNX graph, int8 or not: for encoders that are published as graphs alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor

Array = npt.NDArray[Any]
_BIAS, _WEIGHT = ".bias", ".weight"


def read_onnx(path: Path) -> dict[str, Tensor]:
    """The graph's named weights in float32, as the module had them that it was exported from.

    What is quantised becomes numbers again (q - zero point) x scale. A dense layer's matrix has lost its name in the export: it is named after the bias
    that is added to its product, or, where there is none, "k_proj", after the query's beside it; and is turned as torch has it, (out, in).
    Raises what onnx raises for a file that is no graph.
    """
    graph = onnx.load(path).graph
    values: dict[str, Array] = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    made = {output: node for node in graph.node for output in node.output}
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in values:
            axis = next((one.i for one in node.attribute if one.name == "axis"), 1)  # 1 is ONNX's default
            quantised, scale, zero = (values[name] for name in node.input)
            values[node.output[0]] = _numbers(quantised, scale, zero, axis)
    found = {name.removesuffix("_DequantizeLinear_Output"): value for name, value in values.items()}
    found = {name: value for name, value in found.items() if name.endswith((_BIAS, _WEIGHT))}
    readers = {name: node for node in graph.node for name in node.input}
    nameless: list[tuple[str, Array]] = []
    for node in graph.node:
        if node.op_type != "MatMul" or node.input[1] not in values:
            continue
        bias = _bias_behind(node.output[0], readers, found)
        if bias:
            found[bias.removesuffix(_BIAS) + _WEIGHT] = values[node.input[1]].T
        else:
            nameless.append((_plain(node.input[0], made), values[node.input[1]].T))
    for source, value in nameless:
        beside = [
            _bias_behind(node.output[0], readers, found)
            for node in graph.node
            if node.op_type == "MatMul" and _plain(node.input[0], made) == source
        ]
        for name in beside:
            if name.endswith("q_proj.bias"):
                found[name.replace("q_proj.bias", "k_proj.weight")] = value
    return {name: torch.tensor(np.array(value, np.float32)) for name, value in found.items()}


def _numbers(quantised: Array, scale: Array, zero: Array, axis: int) -> Array:
    """Quantised integers as numbers, ``scale`` and ``zero`` () or one for each along ``axis``."""
    shape = [-1 if n == axis and scale.ndim else 1 for n in range(quantised.ndim)]
    scale, zero = (one.astype(np.float32).reshape(shape) for one in (scale, zero))
    return (quantised.astype(np.float32) - zero) * scale


def _plain(name: str, made: dict[str, onnx.NodeProto]) -> str:
    """What a value is a rounded copy of."""
    while name in made and made[name].op_type in ("QuantizeLinear", "DequantizeLinear"):
        name = made[name].input[0]
    return name


def _bias_behind(name: str, readers: dict[str, onnx.NodeProto], known: dict[str, Array]) -> str:
    """The bias that is added to a product, or ""."""
    node = readers.get(name)
    while node is not None and node.op_type in ("QuantizeLinear", "DequantizeLinear"):
        node = readers.get(node.output[0])
    if node is None or node.op_type != "Add":
        return ""
    return next((one for one in node.input if one in known and one.endswith(_BIAS)), "")
