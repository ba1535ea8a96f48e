"""A bundle's graph made smaller: fully connected layers in int8, or all large weights in fp16."""

from __future__ import annotations

import logging
import math
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

#: Weights from which on a fully connected layer is worth int8: what it saves is more than what turning its input into int8 takes.
LARGE = 1 << 16
#: The most that two weights of one sign may come to, so that 255 times that is within 16 bits.
_PAIR = 128


def int8_linear(graph: bytes) -> tuple[bytes, int]:
    """The graph with int8 weights (one scale an output) in its large Gemm nodes, and how many these are.

    Activations are quantised as they come (dynamic quantisation). Convolutions, LSTM, front end and small layers stay in float32. The answers are the same
    on processors whose products of bytes saturate (see :func:`_bounded`).
    """
    model = onnx.load_model_from_string(graph)
    del model.graph.value_info[:]  # the exporter's shapes; the quantiser turns Gemm into MatMul, which changes some
    sizes = {tensor.name: math.prod(tensor.dims) for tensor in model.graph.initializer}
    products = [node for node in model.graph.node if node.op_type in ("MatMul", "Gemm")]
    small = [node.name for node in products if node.op_type == "MatMul" or sizes.get(node.input[1], 0) < LARGE]
    layers = len(products) - len(small)
    small += [f"{name}_MatMul" for name in small]  # what the quantiser calls a Gemm when it has turned it
    logger = logging.getLogger()
    before, logger.disabled = logger.disabled, True  # it recommends a preparation that only convolutions need
    try:
        with tempfile.TemporaryDirectory() as folder:
            plain, quantised = Path(folder) / "plain.onnx", Path(folder) / "int8.onnx"
            onnx.save(model, plain)
            quantize_dynamic(
                plain,
                quantised,
                op_types_to_quantize=["MatMul", "Gemm"],
                nodes_to_exclude=small,
                per_channel=True,
                weight_type=QuantType.QInt8,
            )
            smaller = onnx.load(quantised)
            _bounded(smaller, model)
            return smaller.SerializeToString(), layers
    finally:
        logger.disabled = before


def _bounded(quantised: onnx.ModelProto, model: onnx.ModelProto) -> None:
    """Scale the int8 matrices (K, outputs) of ``quantised`` anew, from ``model``'s weights, so that no pair of products leaves 16 bits.

    x86 processors without VNNI add the products of two neighbours along K, activations of 0 to 255 times weights, in saturating 16 bits (VPMADDUBSW): where
    both weights are large and of one sign the sum is cut, and the answer is another than elsewhere, by up to 0.26 of probability in the bundle of 2026.
    Halving every weight's range (the quantiser's reduce_range) costs far more than bounding the pairs does: two large neighbours of one sign are rare.
    """
    given = {tensor.name: tensor for tensor in model.graph.initializer}
    turned = {
        node.input[1]: any(a.name == "transB" and a.i for a in node.attribute)
        for node in model.graph.node
        if node.op_type == "Gemm"
    }
    stored = {tensor.name: tensor for tensor in quantised.graph.initializer}
    for name, transposed in turned.items():
        matrix = stored.get(f"{name}_quantized")
        if matrix is None:
            continue
        weights = numpy_helper.to_array(given[name]).astype(np.float64)
        weights = weights.T if transposed else weights
        pairs = np.pad(weights, ((0, len(weights) % 2), (0, 0))).reshape(-1, 2, weights.shape[1])
        same_sign = np.maximum(pairs.clip(min=0).sum(1), -pairs.clip(max=0).sum(1))
        # rounding two weights may add 1 to what they come to
        scale = np.maximum(np.abs(weights).max(0) / 127, same_sign.max(0) / (_PAIR - 1)).astype(np.float32)
        scale[scale == 0] = 1
        matrix.CopyFrom(numpy_helper.from_array(np.rint(weights / scale).astype(np.int8), matrix.name))
        stored[f"{name}_scale"].CopyFrom(numpy_helper.from_array(scale, f"{name}_scale"))


def fp16_weights(graph: bytes) -> tuple[bytes, int]:
    """The graph with its large weights stored in fp16, and how many tensors these are.

    They are cast back when the graph is loaded, so that it computes in float32 as before, as fast as before: what shrinks is the file.
    The front end's tables stay as they are: a spectrum's smallest values are below what fp16 holds.
    """
    model = onnx.load_model_from_string(graph)
    kept, casts = [], []
    inputs = {
        value.name for value in model.graph.input
    }  # an initializer of that name is what they are where they are left out
    for tensor in model.graph.initializer:
        large = tensor.data_type == TensorProto.FLOAT and len(tensor.dims) > 1 and math.prod(tensor.dims) >= 1024
        table = tensor.name.startswith(("frontend.", "familiar.")) or ".bands." in tensor.name
        if not large or table or tensor.name in inputs:
            kept.append(tensor)
            continue
        half = f"{tensor.name}.fp16"
        kept.append(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), half))
        casts.append(helper.make_node("Cast", [half], [tensor.name], name=f"cast_{tensor.name}", to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.initializer.extend(kept)
    model.graph.node.extend(nodes)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString()), len(casts)
