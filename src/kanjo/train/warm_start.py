"""Training that starts from a bundle: its weights, from the file beside the graph or out of the graph itself."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from kanjo import bundle
from kanjo.corpora.splits import Fold
from kanjo.errors import BundleError, RecipeError
from kanjo.inference import onnx_session
from kanjo.train.config.loading import recipe_from
from kanjo.train.config.schema import Recipe
from kanjo.train.data.datasets import Windows, loader
from kanjo.train.data.experiment_data import Material
from kanjo.train.models.cnn_lstm import LocalFeatureLearningBlock2d
from kanjo.train.tasks.base import System, system_of

log = logging.getLogger("kanjo")

#: The most that the rebuilt network's probabilities may differ from the bundle's graph's; and where its weights come out of int8, whose inputs the graph rounds too.
_PARITY, _ROUNDED = 1e-4, 0.1
_CLIPS = 64
_PRODUCTS = ("MatMul", "Gemm")
_LAST = ("network.output.weight", "network.output.bias", "network.offset.weight")
#: A convolution and the batch norm behind it, with their names.
Pair = tuple[str, nn.Conv2d, str, nn.BatchNorm2d]


def initialise(system: System, material: Material, fold: Fold) -> None:
    """Give a system the weights of the bundle that its recipe names; of the last layer, those of emotions that both know.

    What was rebuilt is checked against the bundle's graph on training clips.
    Raises RecipeError when the recipe describes another network than the bundle's, BundleError when the weights can't be had.
    """
    recipe = material.recipe
    assert recipe.init is not None, "the caller has looked"
    found = bundle.read(recipe.init)
    theirs = recipe_from(found.facts.recipe, str(found.folder))
    _same_network(recipe, theirs, found.facts.name)
    clips = fold.train[:: max(1, len(fold.train) // _CLIPS)]
    windows = Windows(material.pack, clips, material.labels, recipe.audio.window)
    signal = torch.cat([batch["signal"] for batch in loader(windows, 16, shuffle=False)])
    if (found.folder / bundle.WEIGHTS).is_file():
        donor = restored(found)
        allowed = _PARITY
    else:
        donor = system_of(theirs, len(found.facts.labels)).eval()
        rounded = _unfolded(donor, found.graph, signal)
        allowed = _ROUNDED if rounded else _PARITY
    _check(donor, found, signal, allowed)
    state = donor.state_dict()
    fresh = system.state_dict()
    kept = [name for name in material.emotions if name in found.facts.labels]
    for key in (name for name in _LAST if name in fresh):
        for name in kept:
            fresh[key][material.emotions.index(name)] = state[key][found.facts.labels.index(name)]
        state[key] = fresh[key]
    system.load_state_dict(state)
    log.info("starts from the bundle %s; emotions it knows: %s", found.facts.name, ", ".join(kept) or "none")


def restored(found: bundle.Bundle) -> System:
    """A bundle's system in evaluation mode, with the weights beside its graph. Raises RecipeError where none lie there."""
    weights = found.folder / bundle.WEIGHTS
    if not weights.is_file():
        raise RecipeError(f"{found.folder} has no {bundle.WEIGHTS} beside its graph")
    system = system_of(recipe_from(found.facts.recipe, str(found.folder)), len(found.facts.labels))
    system.load_state_dict(load_file(weights))
    return system.eval()


def inherited(recipe: Recipe) -> list[bundle.Facts]:
    """The facts of the bundle that a recipe starts from, if any: its licence and its training speakers pass on."""
    return [bundle.read(recipe.init).facts] if recipe.init else []


def _same_network(ours: Recipe, theirs: Recipe, name: str) -> None:
    def told(recipe: Recipe) -> dict[str, Any]:
        content = recipe.model_dump(mode="json")
        frontend = {f"frontend.{key}": value for key, value in content["frontend"].items()}
        audio = {f"audio.{key}": content["audio"][key] for key in ("sample_rate", "window_s")}
        layers = recipe.network.model_dump(mode="json", exclude={"dropout", "weights"})
        return {**audio, **frontend, **{f"network.{key}": value for key, value in layers.items()}}

    one, two = told(ours), told(theirs)
    apart = [key for key in {**one, **two} if one.get(key) != two.get(key)]
    if apart:
        said = "; ".join(f"{key} is {one.get(key)}, the bundle's {two.get(key)}" for key in apart[:3])
        raise RecipeError(f"init: the bundle {name} holds another network: {said}")


def _unfolded(donor: System, graph: Path, signal: Tensor) -> bool:
    """Weights out of an ONNX graph. Its export has put each batch norm into the convolution before it.

    The norm is put back as what changes nothing: the statistics of its own input on ``signal`` (B, N), and a scale and shift that
    undo them. So training, which norms by the batch, starts where the graph stands. Returns whether weights were int8. Raises BundleError.
    """
    model = onnx.load(graph)
    values = {item.name: torch.tensor(onnx.numpy_helper.to_array(item)) for item in model.graph.initializer}
    for node in model.graph.node:  # weights that are stored in fp16
        if node.op_type == "Cast" and node.input[0] in values:
            values[node.output[0]] = values[node.input[0]].float()
    state = donor.state_dict()
    rounded = {name.removesuffix("_quantized") for name in values if name.endswith("_quantized")} & state.keys()
    # the quantiser makes products of dense layers, and transposes their weights, rounded or not
    products = {node.input[1] for node in model.graph.node if node.op_type == "MatMul"}
    for name in products & state.keys() & values.keys():
        values[name] = values[name].T.contiguous()
    for name in rounded:
        whole = values[f"{name}_quantized"].float() - values[f"{name}_zero_point"].float()
        values[name] = (whole * values[f"{name}_scale"]).T.contiguous()
    taken = {key: values[key] for key, value in state.items() if key in values and values[key].shape == value.shape}
    pairs = list(_pairs(donor))
    for convolved, _, normed, norm in pairs:
        bias = values.get(f"{convolved}.weight_bias", torch.zeros(norm.num_features))
        zero, one = torch.zeros_like(bias), torch.ones_like(bias)
        for key, value in (("weight", one), ("bias", bias), ("running_mean", zero), ("running_var", one - norm.eps)):
            taken[f"{normed}.{key}"] = value
        taken[f"{normed}.num_batches_tracked"] = torch.tensor(1)
    if getattr(donor.frontend, "normalization", "") != "corpus":  # then it has no statistics of its own
        taken |= {key: value for key, value in state.items() if key.startswith("frontend.")}
    lstms = [(name, module) for name, module in donor.named_modules() if isinstance(module, nn.LSTM)]
    nodes = [node for node in model.graph.node if node.op_type == "LSTM"]
    for (name, module), node in zip(lstms, nodes, strict=False):
        if module.bidirectional:
            continue
        gates = [0, 2, 3, 1]  # ONNX has them as i o f c, torch as i f c o
        for key, held in (("weight_ih_l0", node.input[1]), ("weight_hh_l0", node.input[2])):
            if held in values:  # small ones were put into ONNX's order at export; large ones stand as torch has them
                taken[f"{name}.{key}"] = values[held].reshape(4, module.hidden_size, -1)[gates].flatten(0, 1)
        if node.input[3] in values:
            halves = values[node.input[3]].reshape(2, 4, module.hidden_size)[:, gates]
            taken[f"{name}.bias_ih_l0"], taken[f"{name}.bias_hh_l0"] = halves.reshape(2, -1)
    for key in sorted(
        set(state) - set(taken)
    ):  # dense layers over steps may stand there transposed, under a name of the exporter's
        if state[key].ndim != 2:
            continue
        turned = [value for name, value in values.items() if name not in state and value.shape == state[key].T.shape]
        if len(turned) == 1:
            taken[key] = turned[0].T.contiguous()
    for key in set(state) - set(taken):  # the exporter leaves out a bias that is nought
        of = [node for node in model.graph.node if node.op_type in _PRODUCTS and node.input[1] == _weight_of(key)]
        if of and not any(_biased(model, node) for node in of):
            taken[key] = torch.zeros_like(state[key])
    missing = sorted(set(state) - set(taken))
    if missing:
        raise BundleError(
            f"{graph}: the weights of {', '.join(missing[:3])} can't be read out of the graph, and no {bundle.WEIGHTS} lies beside it"
        )
    donor.load_state_dict(taken)
    _restore_norms(donor, pairs, signal)
    return bool(rounded)


def _weight_of(bias: str) -> str:
    return f"{bias.removesuffix('.bias')}.weight" if bias.endswith(".bias") else ""


def _biased(model: onnx.ModelProto, product: onnx.NodeProto) -> bool:
    """Whether something that is no other node's output is added to a product, in it or behind it."""
    made = {name for node in model.graph.node for name in node.output}
    behind = [node for node in model.graph.node if node.op_type == "Add" and product.output[0] in node.input]
    return len(product.input) > 2 or any(name not in made for node in behind for name in node.input)


def _pairs(donor: System) -> Iterator[Pair]:
    for name, module in donor.named_modules():
        if isinstance(module, LocalFeatureLearningBlock2d):
            yield f"{name}.conv", module.conv, f"{name}.norm", module.norm
        elif isinstance(module, nn.Sequential) and len(module) > 1:
            convolution, norm = module[0], module[1]
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                yield f"{name}.0", convolution, f"{name}.1", norm


def _restore_norms(donor: System, pairs: Sequence[Pair], signal: Tensor) -> None:
    sums = {norm: torch.zeros(3, norm.num_features, dtype=torch.float64) for *_, norm in pairs}

    def note(norm: nn.BatchNorm2d, x: Tensor) -> None:
        wide = x.double()
        n = x.numel() / x.shape[1]
        sums[norm] += torch.stack(
            [wide.sum((0, 2, 3)), wide.square().sum((0, 2, 3)), torch.full((x.shape[1],), n).double()]
        )

    hooks = [
        convolution.register_forward_hook(lambda _m, _i, x, norm=norm: note(norm, x))
        for _, convolution, _, norm in pairs
    ]
    with torch.inference_mode():
        for part in torch.split(signal, 8):
            donor(part)
    for hook in hooks:
        hook.remove()
    for norm, (total, squares, n) in sums.items():
        mean = total / n
        variance = (squares / n - mean.square()).clamp(min=0)
        assert norm.running_mean is not None and norm.running_var is not None
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        with torch.no_grad():
            norm.weight.copy_((variance + norm.eps).sqrt())
            norm.bias.add_(mean)


def _check(donor: System, found: bundle.Bundle, signal: Tensor, allowed: float) -> None:
    """That a rebuilt system answers as the bundle's graph. Raises BundleError."""
    session = onnx_session.session(found.graph, torch.get_num_threads())
    shares, _, *distance = session.run(None, {"signal": signal.numpy()})
    heat = torch.from_numpy(found.facts.heat(distance[0] if distance else np.zeros(len(shares), np.float32)))
    with torch.inference_mode():
        apart = float(np.abs(torch.softmax(donor(signal)[0] / heat[:, None], 1).numpy() - shares).max())
    if not apart <= allowed:
        raise BundleError(
            f"{found.folder}: its weights don't make its graph's answers (they differ by {apart:.1e}); it is damaged"
        )
