"""Edits of an exported ONNX graph: the OOD score, the OOD-dependent temperature, optional inputs, removal of traces."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from kanjo.inference.onnx_session import TIME_STEPS
from kanjo.train.calibration.ood import MIN_NORM, PcaResidualScorer
from kanjo.train.calibration.temperature import OodTemperature

OOD_OUTPUT = "ood_score"
#: Operator, inputs, output.
_Step = tuple[str, list[str], str]


def add_ood_output(graph: bytes, scorer: PcaResidualScorer, ood_temperature: OodTemperature | None = None) -> bytes:
    """Add the output ``ood_score`` (B,), computed from the output ``embedding``.

    Args:
        graph: A serialized ONNX model with the outputs ``probabilities`` and ``embedding``.
        scorer: The scorer that the output computes.
        ood_temperature: If given, the logits are also divided by
            ``min(max(1, ood_score / median), max_ratio) ** exponent``.
    """
    model = onnx.load_model_from_string(graph)
    constants = {
        "mean": scorer.mean,
        "components": scorer.components,
        "threshold": np.float32(scorer.threshold),
        "zero": np.float32(0),
        "axis": np.array([1], np.int64),
        "min_norm": MIN_NORM,
    }
    _add_constants(model, "ood", constants)
    for operator, inputs, output in _ood_steps(scorer.unit_norm):
        node = helper.make_node(operator, inputs, [output], name=f"node_{output}")
        if operator.startswith("Reduce"):
            node.attribute.append(helper.make_attribute("keepdims", int(operator == "ReduceL2")))
        model.graph.node.append(node)
    if ood_temperature:
        _add_ood_temperature(model, scorer.median_score, ood_temperature)
    batch = model.graph.output[0].type.tensor_type.shape.dim[0].dim_param
    model.graph.output.append(helper.make_tensor_value_info(OOD_OUTPUT, TensorProto.FLOAT, [batch]))
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def make_input_optional(model: onnx.ModelProto, name: str, default: npt.NDArray[np.float32]) -> None:
    """Give an input a default value. The input may then have 1 row, or as many rows as the batch."""
    value = next(item for item in model.graph.input if item.name == name)
    value.type.tensor_type.shape.dim[0].dim_param = "speakers"
    model.graph.initializer.append(numpy_helper.from_array(default, name))
    del model.graph.value_info[:]  # shapes that were inferred with as many rows as the batch


def pad_length(model: onnx.ModelProto, name: str, unit: int) -> None:
    """Accept inputs (B, N) of any length: pad them with zeros at the end, to a multiple of ``unit`` samples."""
    constants = {
        "unit": np.array([unit], np.int64),
        "axis": np.array([1], np.int64),
        "end": np.array([2], np.int64),
        "none": np.array([0, 0, 0], np.int64),
    }
    _add_constants(model, "pad", constants)
    padded = f"{name}.padded"
    for node in model.graph.node:
        node.input[:] = [padded if value == name else value for value in node.input]
    steps: list[_Step] = [
        ("Shape", [name], "pad.shape"),
        ("Slice", ["pad.shape", "pad.axis", "pad.end"], "pad.length"),
        ("Neg", ["pad.length"], "pad.negative"),
        ("Mod", ["pad.negative", "pad.unit"], "pad.number"),  # has the sign of the unit
        ("Concat", ["pad.none", "pad.number"], "pad.pads"),
        ("Pad", [name, "pad.pads"], padded),
    ]
    nodes = [helper.make_node(kind, inputs, [output], name=f"node_{output}") for kind, inputs, output in steps]
    nodes[4].attribute.append(helper.make_attribute("axis", 0))
    old_nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *old_nodes])
    value = next(item for item in model.graph.input if item.name == name)
    value.type.tensor_type.shape.dim[1].dim_param = "samples"
    del model.graph.value_info[:]  # shapes that were inferred without padding


def remove_traces(model: onnx.ModelProto) -> None:
    """Remove the exporter's stack traces and notes, which depend on the exporting machine and on earlier exports."""
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output):
        del value.metadata_props[:]


def _ood_steps(unit_norm: bool) -> list[_Step]:
    """Nodes from ``embedding`` to the OOD score: sqrt(max(0, squared residual) / threshold)."""
    normalize: list[_Step] = [
        ("ReduceL2", ["embedding", "ood.axis"], "ood.norm"),
        ("Max", ["ood.norm", "ood.min_norm"], "ood.divisor"),
        ("Div", ["embedding", "ood.divisor"], "ood.normalized"),
    ]
    source = "ood.normalized" if unit_norm else "embedding"
    return [
        *(normalize if unit_norm else []),
        ("Sub", [source, "ood.mean"], "ood.centered"),
        ("MatMul", ["ood.centered", "ood.components"], "ood.projection"),
        ("ReduceSumSquare", ["ood.centered", "ood.axis"], "ood.squared_norm"),
        ("ReduceSumSquare", ["ood.projection", "ood.axis"], "ood.projected_norm"),
        ("Sub", ["ood.squared_norm", "ood.projected_norm"], "ood.residual"),
        ("Max", ["ood.residual", "ood.zero"], "ood.positive"),
        ("Div", ["ood.positive", "ood.threshold"], "ood.ratio"),
        ("Sqrt", ["ood.ratio"], OOD_OUTPUT),
    ]


def _add_ood_temperature(model: onnx.ModelProto, median: float, ood_temperature: OodTemperature) -> None:
    """Divide the logits before the final softmax by the OOD-dependent factor."""
    constants = {
        "median": np.float32(median),
        "one": np.float32(1),
        "last": np.array([-1], np.int64),
        "end": np.array([np.iinfo(np.int64).max], np.int64),
        "exponent_plain": np.float32(ood_temperature.exponent),
        "exponent_difference": np.float32(ood_temperature.exponent_enrolled - ood_temperature.exponent),
        "max_ratio": np.float32(ood_temperature.max_ratio),
    }
    _add_constants(model, "ood_temperature", constants)
    softmax = next(node for node in model.graph.node if "probabilities" in node.output)
    has_speaker_input = any(value.name == "speaker" for value in model.graph.input)
    steps = _ood_temperature_steps(softmax.input[0], has_speaker_input)
    new_nodes = [helper.make_node(kind, inputs, [output], name=f"node_{output}") for kind, inputs, output in steps]
    softmaxes = [(softmax, "ood_temperature.logits")]
    for step_softmax in (node for node in model.graph.node if TIME_STEPS in node.output):
        steps = _time_step_temperature_steps(step_softmax.input[0])
        new_nodes += [helper.make_node(kind, inputs, [output], name=f"node_{output}") for kind, inputs, output in steps]
        softmaxes.append((step_softmax, "ood_temperature.time_step_logits"))
    replaced = [node for node, _ in softmaxes]
    old_nodes = [node for node in model.graph.node if node not in replaced]
    new_softmaxes = []
    for node, logits in softmaxes:
        new_softmaxes.append(onnx.NodeProto())
        new_softmaxes[-1].CopyFrom(node)
        new_softmaxes[-1].input[0] = logits
    del model.graph.node[:]
    model.graph.node.extend([*old_nodes, *new_nodes, *new_softmaxes])


def _ood_temperature_steps(logits: str, has_speaker_input: bool) -> list[_Step]:
    """Nodes from the OOD score and ``logits`` to the divided logits.

    The last column of ``speaker`` is 1 with enrollment and 0 without: it selects between the two exponents.
    """
    select_exponent: list[_Step] = [
        ("Slice", ["speaker", "ood_temperature.last", "ood_temperature.end", "ood.axis"], "ood_temperature.enrolled"),
        ("Mul", ["ood_temperature.enrolled", "ood_temperature.exponent_difference"], "ood_temperature.added"),
        ("Add", ["ood_temperature.added", "ood_temperature.exponent_plain"], "ood_temperature.exponent"),
    ]
    exponent = "ood_temperature.exponent" if has_speaker_input else "ood_temperature.exponent_plain"
    limits = ["ood_temperature.one", "ood_temperature.max_ratio"]
    return [
        ("Div", [OOD_OUTPUT, "ood_temperature.median"], "ood_temperature.ratio"),
        ("Clip", ["ood_temperature.ratio", *limits], "ood_temperature.clipped_ratio"),
        ("Unsqueeze", ["ood_temperature.clipped_ratio", "ood.axis"], "ood_temperature.base"),
        *(select_exponent if has_speaker_input else []),
        ("Pow", ["ood_temperature.base", exponent], "ood_temperature.factor"),
        ("Div", [logits, "ood_temperature.factor"], "ood_temperature.logits"),
    ]


def _time_step_temperature_steps(logits: str) -> list[_Step]:
    """Nodes that divide the logits of time steps (B, K, E) by the utterance's factor (B, 1)."""
    return [
        ("Unsqueeze", ["ood_temperature.factor", "ood.axis"], "ood_temperature.time_step_factor"),
        ("Div", [logits, "ood_temperature.time_step_factor"], "ood_temperature.time_step_logits"),
    ]


def _add_constants(model: onnx.ModelProto, prefix: str, constants: Mapping[str, npt.ArrayLike]) -> None:
    """Add constants to the graph as ``prefix.name``."""
    model.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(value), f"{prefix}.{name}") for name, value in constants.items()
    )
