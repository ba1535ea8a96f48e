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


def int8_linear(graph: bytes) -> tuple[bytes, int]:
    """The graph with int8 weights (one scale an output) in its large Gemm nodes, and how many these are.

    Activations are quantised as they come (dynamic quantisation). Convolutions, LSTM, front end and small layers stay in float32.
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
            return quantised.read_bytes(), layers
    finally:
        logger.disabled = before


def fp16_weights(graph: bytes) -> tuple[bytes, int]:
    """The graph with its large weights stored in fp16, and how many tensors these are.

    They are cast back when the graph is loaded, so that it computes in float32 as before, as fast as before: what shrinks is the file.
    The front end's tables stay as they are: a spectrum's smallest values are below what fp16 holds.
    """
    model = onnx.load_model_from_string(graph)
    kept, casts = [], []
    inputs = {value.name for value in model.graph.input}  # an initializer of that name is what they are where they are left out
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
