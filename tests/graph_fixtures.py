"""What tests ask of a graph."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper


def largest_pair(graph: bytes) -> int:
    """The most that two neighbouring int8 weights of one sign come to, along the products' sum, in all int8 layers; 0 without any."""
    model, found = onnx.load_model_from_string(graph), 0
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "MatMulInteger":
            weights = numpy_helper.to_array(stored[node.input[1]]).astype(int)
            assert len(weights) % 2 == 0 and np.abs(weights).max() <= 127
            pairs = weights.reshape(-1, 2, weights.shape[1])
            found = max(found, int(pairs.clip(min=0).sum(1).max()), int(-pairs.clip(max=0).sum(1).min()))
    return found
