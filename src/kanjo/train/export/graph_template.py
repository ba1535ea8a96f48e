"""The graph of the previous export, to be filled with other weights.

Exporting a frozen encoder takes ten seconds or more, and the models of all folds differ in their heads only. The
exporter keeps the names of the weights that it does not change. If every weight that differs from the previous export
is such a weight, the graph is the same except for these values.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

#: Batch norms count their batches; the count is not part of a graph.
_COUNTER = "num_batches_tracked"


@dataclass(frozen=True)
class GraphTemplate:
    """An exported graph.

    Attributes:
        structure: Describes everything about the model but its weights.
        graph: The serialized graph.
        other_weights: Weights that the graph does not have under their names: they must not differ.
    """

    structure: str
    graph: bytes
    other_weights: dict[str, Tensor]


#: The previous export with a description; at most one, because graphs are large.
_templates: list[GraphTemplate] = []


def keep(structure: str, model: onnx.ModelProto, module: nn.Module) -> None:
    """Keep an exported graph.

    Nothing is kept if a weight without a name in the graph equals another weight: the exporter may have merged them.

    Args:
        structure: Describes everything about the model but its weights.
        model: The exported graph.
        module: The module that was exported.
    """
    weights, shapes = _weights(module), {item.name: tuple(item.dims) for item in model.graph.initializer}
    other = {name: value.clone() for name, value in weights.items() if shapes.get(name) != tuple(value.shape)}
    if any(torch.equal(value, weights[name]) for value in other.values() for name in weights.keys() - other.keys()):
        return
    _templates[:] = [GraphTemplate(structure, model.SerializeToString(), other)]


def fill(structure: str, module: nn.Module) -> bytes | None:
    """Return the kept graph with the weights of a module.

    Args:
        structure: Describes everything about the model but its weights.
        module: The module that would be exported.

    Returns:
        The serialized graph; None if the kept graph is of another structure, or can't be filled.
    """
    if not _templates or _templates[0].structure != structure:
        return None
    template, weights = _templates[0], _weights(module)
    if not all(name in weights and torch.equal(value, weights[name]) for name, value in template.other_weights.items()):
        return None
    return with_weights(onnx.load_from_string(template.graph), module)


def with_weights(model: onnx.ModelProto, module: nn.Module) -> bytes:
    """Serialize a graph with the weights of a module that the graph has under their names."""
    weights = _weights(module)
    for item in model.graph.initializer:
        value = weights.get(item.name)
        if value is not None and tuple(item.dims) == tuple(value.shape):
            item.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(value.numpy()), item.name))
    return bytes(model.SerializeToString())


def _weights(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name."""
    named = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    return {name: value.detach() for name, value in named.items() if not name.endswith(_COUNTER)}
