"""A bundle's graph with its fully connected layers in int8: most of a deep CNN's size lies there."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic


def int8_linear(graph: bytes) -> tuple[bytes, int]:
    """The graph with int8 weights (one scale an output) in its Gemm nodes, and how many these are.

    Activations are quantised as they come (dynamic quantisation). Convolutions, LSTM and front end stay in float32.
    """
    model = onnx.load_model_from_string(graph)
    del model.graph.value_info[:]  # the exporter's shapes; the quantiser turns Gemm into MatMul, which changes some
    products = [node.name for node in model.graph.node if node.op_type == "MatMul"]
    layers = sum(node.op_type == "Gemm" for node in model.graph.node)
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
                nodes_to_exclude=products,
                per_channel=True,
                weight_type=QuantType.QInt8,
            )
            return quantised.read_bytes(), layers
    finally:
        logger.disabled = before
