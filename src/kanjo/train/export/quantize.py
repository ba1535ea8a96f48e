"""Makes a bundle's graph smaller: int8 for large dense layers, or fp16 storage for all large weights."""

from __future__ import annotations

import logging
import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

#: Dense layers with at least this many weights are quantized to int8. For smaller layers, the quantization of the input
#: takes more time than the int8 product saves.
MIN_INT8_WEIGHTS = 1 << 16
#: Matrices with at least this many weights are stored in fp16.
MIN_FP16_WEIGHTS = 1024
#: Two neighboring int8 weights of the same sign may have at most this sum, so that 255 times the sum fits into 16 bits.
MAX_PAIR_SUM = 128
_DENSE_OPERATORS = ["MatMul", "Gemm"]
#: Constants of the feature extractor and of the OOD score, whose smallest values are below the range of fp16.
_FP32_PREFIXES = ("feature_extractor.", "ood.")


def quantize_linear_int8(graph: bytes) -> tuple[bytes, int]:
    """Quantize the weights of large dense layers to int8, with one scale for each output.

    The inputs of these layers are quantized at run time (dynamic quantization). Convolutions, LSTMs, the feature
    extractor and small layers stay in float32. The results are the same on processors whose int8 products saturate (see
    :func:`_limit_pair_sums`).

    Returns:
        The graph, and the number of layers that were quantized.
    """
    model = onnx.load_model_from_string(graph)
    del model.graph.value_info[:]  # the quantizer replaces Gemm by MatMul, which makes some of these shapes wrong
    sizes = {tensor.name: math.prod(tensor.dims) for tensor in model.graph.initializer}
    dense = [node for node in model.graph.node if node.op_type in _DENSE_OPERATORS]
    excluded = [
        node.name for node in dense if node.op_type == "MatMul" or sizes.get(node.input[1], 0) < MIN_INT8_WEIGHTS
    ]
    n_quantized = len(dense) - len(excluded)
    excluded += [f"{name}_MatMul" for name in excluded]  # the quantizer's name of a Gemm that it replaced
    with tempfile.TemporaryDirectory() as folder, _root_logger_disabled():
        source, target = Path(folder) / "float32.onnx", Path(folder) / "int8.onnx"
        onnx.save(model, source)
        quantize_dynamic(
            source,
            target,
            op_types_to_quantize=_DENSE_OPERATORS,
            nodes_to_exclude=excluded,
            per_channel=True,
            weight_type=QuantType.QInt8,
        )
        quantized = onnx.load(target)
    _limit_pair_sums(quantized, model)
    return bytes(quantized.SerializeToString()), n_quantized


def store_weights_fp16(graph: bytes) -> tuple[bytes, int]:
    """Store large weights in fp16.

    They are converted to float32 when the graph is loaded. So the file is smaller, and the graph computes in float32 at
    the same speed as before.

    Returns:
        The graph, and the number of tensors that were converted.
    """
    model = onnx.load_model_from_string(graph)
    initializers, casts = [], []
    default_inputs = {value.name for value in model.graph.input}
    for tensor in model.graph.initializer:
        if tensor.name in default_inputs or not _can_be_fp16(tensor):
            initializers.append(tensor)
            continue
        name = f"{tensor.name}.fp16"
        initializers.append(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), name))
        casts.append(helper.make_node("Cast", [name], [tensor.name], name=f"cast_{tensor.name}", to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.initializer.extend(initializers)
    model.graph.node.extend(nodes)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString()), len(casts)


def _can_be_fp16(tensor: onnx.TensorProto) -> bool:
    """Whether a constant is a large float32 matrix outside the feature extractor and the OOD score."""
    is_table = tensor.name.startswith(_FP32_PREFIXES) or ".bands." in tensor.name
    is_large = len(tensor.dims) > 1 and math.prod(tensor.dims) >= MIN_FP16_WEIGHTS
    return tensor.data_type == TensorProto.FLOAT and is_large and not is_table


@contextmanager
def _root_logger_disabled() -> Iterator[None]:
    """Suppress the quantizer's recommendation of a preparation step, which only convolutions need."""
    logger = logging.getLogger()
    was_disabled, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = was_disabled


def _limit_pair_sums(quantized: onnx.ModelProto, original: onnx.ModelProto) -> None:
    """Quantize the int8 matrices again, with scales that keep sums of two products within 16 bits.

    x86 processors without VNNI add the products of two neighboring inputs (0 to 255) and their weights in saturating 16
    bits (instruction VPMADDUBSW). Where both weights are large and have the same sign, the sum is cut off, and the
    result differs from other processors (probabilities by up to 0.26 in a bundle of 2026). Limiting the sum of the two
    weights costs far less precision than halving the range of all weights (the quantizer's reduce_range), because two
    large neighbors of the same sign are rare.

    Args:
        quantized: The quantizer's result. It is changed in place.
        original: The float32 model.
    """
    weights = {tensor.name: tensor for tensor in original.graph.initializer}
    constants = {tensor.name: tensor for tensor in quantized.graph.initializer}
    for node in original.graph.node:
        if node.op_type != "Gemm" or f"{node.input[1]}_quantized" not in constants:
            continue
        name = node.input[1]
        matrix = numpy_helper.to_array(weights[name]).astype(np.float64)
        is_transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
        matrix = matrix.T if is_transposed else matrix
        scale = _pair_limited_scale(matrix)
        values = np.rint(matrix / scale).astype(np.int8)
        constants[f"{name}_quantized"].CopyFrom(numpy_helper.from_array(values, f"{name}_quantized"))
        constants[f"{name}_scale"].CopyFrom(numpy_helper.from_array(scale, f"{name}_scale"))


def _pair_limited_scale(matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Return int8 scales (outputs,) of a matrix (inputs, outputs) that limit the sums of neighboring weights."""
    pairs = np.pad(matrix, ((0, len(matrix) % 2), (0, 0))).reshape(-1, 2, matrix.shape[1])
    pair_sums = np.maximum(pairs.clip(min=0).sum(1), -pairs.clip(max=0).sum(1))
    # Rounding two weights may add 1 to their sum.
    limits = np.maximum(np.abs(matrix).max(0) / 127, pair_sums.max(0) / (MAX_PAIR_SUM - 1))
    scale: npt.NDArray[np.float32] = limits.astype(np.float32)
    scale[scale == 0] = 1
    return scale
