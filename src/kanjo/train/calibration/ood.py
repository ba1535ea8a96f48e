"""How far a recording is from what a network was trained on: one more output of its graph.

The embeddings of the training windows, each scaled to length 1, lie near a plane of few directions (their principal components). What of an embedding
stands off that plane is small for speech like the training's, of speakers never heard, and large for music, noise, another language or another
channel: the residual of Ndiour et al. 2020 (arXiv 2012.15082), without their Gaussian. Unscaled, it is the loud and the lively that stand off, and of
music or noise, which excite a finetuned network less than speech does, nothing is noticed (a mobilenet: 4 % of music and 5 % of noise, against 99 and 100).
A frozen encoder is the other way round: it was never told to be still for them. Its embeddings are taken as they are (all of music and noise, against none).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from kanjo.corpora.splits import Fold
from kanjo.inference import onnx_session
from kanjo.train.data.datasets import Windows, loader
from kanjo.train.data.experiment_data import Material

DIRECTIONS = 16
#: The distance is 1 where this share of the validation speakers' windows lies nearer.
WITHIN = 0.98
_CLIPS = 1500
#: An embedding's length is taken to be no less.
SHORTEST = np.float32(1e-6)
OUTPUT = "distance"

Embeddings = npt.NDArray[np.float32]
#: Utterances' places -> their embeddings (U, D).
Embed = Callable[[Sequence[int]], Embeddings]


@dataclass(frozen=True)
class Plane:
    """``mean`` (D,), ``directions`` (D, K) orthonormal, ``limit``: the residual's square where the distance is 1; ``usual``: the training's median."""

    mean: Embeddings
    directions: Embeddings
    limit: float
    usual: float
    scaled: bool = True


@dataclass(frozen=True)
class Doubt:
    """The exponent by which answers' temperature grows with the distance, that where the speaker is known, and how far: see kanjo.train.calibration.temperature."""

    plain: float
    enrolled: float
    furthest: float


def plane_for(fold: Fold, embed: Embed, first: Embed | None = None, scaled: bool = True) -> Plane:
    """The plane of training windows, the unit of validation speakers'; of many, 1500 spread evenly.

    ``embed``: what the graph makes of utterances. ``first``: what the same network made of them before it was refitted on validation speakers too; they are
    new only to that one, whose unit is taken.
    ``scaled``: embeddings are scaled to length 1 first; a frozen encoder's aren't, which music and noise excite more than speech does.
    """
    known, held_out = ((first or embed)(spread(indices)) for indices in (fold.train, fold.validation))
    plane = plane_of(known, held_out, scaled)
    if first:
        everybody = embed(spread((*fold.train, *fold.validation)))
        plane = replace(plane_of(everybody, scaled=scaled), limit=plane.limit)
    return plane


def embeddings_of(graph: bytes, material: Material, indices: Sequence[int]) -> Embeddings:
    """Embeddings (U, D) of utterances' first windows, as the graph gives them."""
    windows = Windows(material.pack, indices, material.labels, material.recipe.audio.window)
    session = onnx_session.session(graph, torch.get_num_threads())
    batches = loader(windows, 8, shuffle=False)
    return np.concatenate([session.run(["embedding"], {"signal": batch["signal"].numpy()})[0] for batch in batches])


def spread(indices: Sequence[int]) -> list[int]:
    """At most 1500 of them, spread evenly."""
    return [indices[i] for i in np.linspace(0, len(indices) - 1, min(_CLIPS, len(indices))).astype(int)]


def plane_of(known: Embeddings, held_out: Embeddings | None = None, scaled: bool = True) -> Plane:
    """The plane of training embeddings (U, D), ``scaled`` to length 1 or as they are, and how far from it held-out ones (V, D; default: these) lie."""
    held_out = known if held_out is None else held_out
    if scaled:
        known, held_out = (
            part / np.maximum(np.linalg.norm(part, axis=1, keepdims=True), SHORTEST) for part in (known, held_out)
        )
    mean = known.mean(0)
    _, _, axes = np.linalg.svd(known - mean, full_matrices=False)
    directions = np.ascontiguousarray(axes[: max(1, min(DIRECTIONS, len(axes) // 2))].T)
    own, theirs = (_residual(part - mean, directions) for part in (known, held_out))
    return Plane(
        mean, directions, max(float(np.quantile(theirs, WITHIN)), 1e-9), max(float(np.median(own)), 1e-9), scaled
    )


def strangeness(plane: Plane, embeddings: Embeddings) -> Embeddings:
    """How far embeddings (U, D), not scaled, stand off the plane (U,): 1 is as far as the median of its own."""
    found: Embeddings = np.sqrt(
        np.maximum(_residual(embeddings - plane.mean, plane.directions), 0) / np.float32(plane.usual)
    )
    return found


def _residual(centred: Embeddings, directions: Embeddings) -> Embeddings:
    found: Embeddings = np.square(centred).sum(1) - np.square(centred @ directions).sum(1)
    return found


def with_distance(graph: bytes, plane: Plane, doubt: Doubt | None = None) -> bytes:
    """The graph with nodes behind ``embedding`` that give ``distance``: the residual's length, in units of the limit's; with ``doubt``, of what is
    further than usual the probabilities are flatter."""
    model = onnx.load_model_from_string(graph)
    constants = {"mean": plane.mean, "directions": plane.directions, "limit": np.float32(plane.limit)}
    constants |= {"zero": np.float32(0), "axis": np.array([1], np.int64), "shortest": SHORTEST}
    model.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(value), f"familiar.{name}") for name, value in constants.items()
    )
    steps = [
        ("Sub", ["embedding", "familiar.mean"], "familiar.centred"),
        ("MatMul", ["familiar.centred", "familiar.directions"], "familiar.within"),
        ("ReduceSumSquare", ["familiar.centred", "familiar.axis"], "familiar.whole"),
        ("ReduceSumSquare", ["familiar.within", "familiar.axis"], "familiar.part"),
        ("Sub", ["familiar.whole", "familiar.part"], "familiar.residual"),
        ("Max", ["familiar.residual", "familiar.zero"], "familiar.positive"),
        ("Div", ["familiar.positive", "familiar.limit"], "familiar.ratio"),
        ("Sqrt", ["familiar.ratio"], OUTPUT),
    ]
    if plane.scaled:
        steps[:1] = [
            ("ReduceL2", ["embedding", "familiar.axis"], "familiar.length"),
            ("Max", ["familiar.length", "familiar.shortest"], "familiar.scale"),
            ("Div", ["embedding", "familiar.scale"], "familiar.unit"),
            ("Sub", ["familiar.unit", "familiar.mean"], "familiar.centred"),
        ]
    for operator, inputs, output in steps:
        node = helper.make_node(operator, inputs, [output], name=f"node_{output}")
        if operator.startswith("Reduce"):
            node.attribute.append(helper.make_attribute("keepdims", int(operator == "ReduceL2")))
        model.graph.node.append(node)
    if doubt:
        _doubting(model, plane, doubt)
    batch = model.graph.output[0].type.tensor_type.shape.dim[0].dim_param
    model.graph.output.append(helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [batch]))
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _doubting(model: onnx.ModelProto, plane: Plane, doubt: Doubt) -> None:
    """Divide what ``probabilities`` are the softmax of by min(max(1, distance / usual), furthest)^doubt."""
    softmax = next(node for node in model.graph.node if "probabilities" in node.output)
    takes = any(value.name == "speaker" for value in model.graph.input)
    constants = {"usual": np.float32(usual_of(plane)), "one": np.float32(1), "last": np.array([-1], np.int64)}
    constants |= {"end": np.array([np.iinfo(np.int64).max], np.int64), "plain": np.float32(doubt.plain)}
    constants |= {"more": np.float32(doubt.enrolled - doubt.plain), "furthest": np.float32(doubt.furthest)}
    model.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(value), f"doubt.{name}") for name, value in constants.items()
    )
    steps = [
        ("Div", [OUTPUT, "doubt.usual"], "doubt.ratio"),
        ("Clip", ["doubt.ratio", "doubt.one", "doubt.furthest"], "doubt.further"),
        ("Unsqueeze", ["doubt.further", "familiar.axis"], "doubt.base"),
        ("Slice", ["speaker", "doubt.last", "doubt.end", "familiar.axis"], "doubt.known"),
        ("Mul", ["doubt.known", "doubt.more"], "doubt.added"),
        ("Add", ["doubt.added", "doubt.plain"], "doubt.exponent"),
    ]
    power = "doubt.exponent" if takes else "doubt.plain"
    steps = [*(steps if takes else steps[:3]), ("Pow", ["doubt.base", power], "doubt.heat")]
    steps.append(("Div", [softmax.input[0], "doubt.heat"], "doubt.logits"))
    kept = [node for node in model.graph.node if node is not softmax]
    behind = onnx.NodeProto()
    behind.CopyFrom(softmax)
    behind.input[0] = "doubt.logits"
    del model.graph.node[:]
    model.graph.node.extend(
        [*kept, *(helper.make_node(kind, given, [made], name=f"node_{made}") for kind, given, made in steps), behind]
    )


def usual_of(plane: Plane) -> float:
    """The distance, as the graph gives it, of the training's median."""
    return float(np.sqrt(plane.usual / plane.limit))
