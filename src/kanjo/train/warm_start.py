"""Training that starts from a bundle's weights.

The weights are read from ``weights.safetensors`` in the bundle's folder, or from the ONNX graph if this
file is missing.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from kanjo import bundle
from kanjo.corpora.splits import Fold
from kanjo.errors import BundleError, RecipeError
from kanjo.train.config.loading import parse_recipe
from kanjo.train.config.schema import Recipe
from kanjo.train.data.datasets import WindowDataset
from kanjo.train.data.experiment_data import ExperimentData
from kanjo.train.data.loaders import build_data_loader
from kanjo.train.export.onnx_weights import ConvBatchNorm, conv_batch_norm_pairs, match_weights, read_onnx_graph
from kanjo.train.export.verify import MAX_DIFFERENCE, max_probability_difference
from kanjo.train.models.emotion_model import EmotionModel, build_emotion_model

log = logging.getLogger("kanjo")

#: Weights from an int8 graph may change the probabilities more, because the graph rounds activations too.
_MAX_DIFFERENCE_INT8 = 0.1
#: About so many training utterances are used to restore batch norms and to compare probabilities.
_N_UTTERANCES = 64
#: An int8 graph runs one utterance at a time, so fewer are compared.
_N_INT8_UTTERANCES = 16
#: Layers with one row for each emotion.
_CLASSIFIER_WEIGHTS = ("model.output.weight", "model.output.bias", "model.offset.weight")
_FEATURE_EXTRACTOR = "feature_extractor."
#: At most one model, by the digest of its graph and the recordings that it was checked on.
_kept_models: dict[tuple[str, str], EmotionModel] = {}


def initialize_from_bundle(model: EmotionModel, data: ExperimentData, fold: Fold) -> None:
    """Copy the weights of the bundle that the recipe names (``init_from``) into a model.

    The rows of the classifier are copied for the emotions that both have; the other rows keep their values. The weights
    are checked: the bundle's graph must give the same probabilities on training utterances.

    Raises:
        RecipeError: The recipe's model or features differ from the bundle's.
        BundleError: The weights can't be read, or they don't belong to the bundle's graph.
    """
    recipe = data.recipe
    if recipe.init_from is None:
        raise ValueError("initialize_from_bundle: the recipe has no init_from; set it to a bundle")
    source = bundle.read_bundle(recipe.init_from)
    source_recipe = parse_recipe(source.metadata.recipe, str(source.folder))
    _check_same_architecture(recipe, source_recipe, source.metadata.name)
    source_model = _load_source_model(source, source_recipe, data, fold)
    _copy_weights(source_model, source.metadata.labels, model, data.emotions)
    shared = [name for name in data.emotions if name in source.metadata.labels]
    log.info("starts from the bundle %s; shared emotions: %s", source.metadata.name, ", ".join(shared) or "none")


def _load_source_model(source: bundle.Bundle, source_recipe: Recipe, data: ExperimentData, fold: Fold) -> EmotionModel:
    """Load the model of a bundle, and check that its graph gives the same probabilities on training utterances.

    The last model that was read from a graph is kept, because all folds of a run start from it; not if it has batch
    norms, which depend on the fold.

    Raises:
        BundleError: The weights can't be read, or they don't belong to the bundle's graph.
    """
    key = (source.metadata.sha256, data.audio_cache.folder.name)
    if key in _kept_models:
        return _kept_models[key]
    indices = fold.train[:: max(1, len(fold.train) // _N_UTTERANCES)]
    windows = WindowDataset(data.audio_cache, indices, data.labels, data.recipe.audio.window)
    signal = torch.cat([batch["signal"] for batch in build_data_loader(windows, 16, shuffle=False)])
    max_difference = MAX_DIFFERENCE
    has_weights = (source.folder / bundle.WEIGHTS_FILE).is_file()
    if has_weights:
        model = load_bundle_model(source)
    else:
        model = build_emotion_model(source_recipe, len(source.metadata.labels)).eval()
        if load_graph_weights(model, source.graph, signal):
            max_difference = _MAX_DIFFERENCE_INT8
            signal = signal[:: max(1, len(signal) // _N_INT8_UTTERANCES)]
    difference = max_probability_difference(model, source.graph, source.metadata, [signal])
    if not difference <= max_difference:
        raise BundleError(
            f"{source.folder}: its weights and its graph give different probabilities (difference {difference:.1e}); "
            "the bundle is damaged, make it again"
        )
    if not has_weights and not any(True for _ in conv_batch_norm_pairs(model)):
        _kept_models.clear()
        _kept_models[key] = model
    return model


def load_bundle_model(source: bundle.Bundle) -> EmotionModel:
    """Load a bundle's model, in evaluation mode, from its file of PyTorch weights.

    Raises:
        RecipeError: The bundle has no such file.
    """
    weights = source.folder / bundle.WEIGHTS_FILE
    if not weights.is_file():
        raise RecipeError(f"{source.folder} has no {bundle.WEIGHTS_FILE}; train the bundle again to get one")
    recipe = parse_recipe(source.metadata.recipe, str(source.folder))
    model = build_emotion_model(recipe, len(source.metadata.labels))
    model.load_state_dict(load_file(weights))
    return model.eval()


def load_graph_weights(model: EmotionModel, graph: Path, signal: Tensor) -> bool:
    """Load the weights of an exported ONNX graph into a model with the same architecture.

    The export folds batch norms into convolutions. They are restored so that the outputs stay the same: with the
    statistics of their inputs on ``signal``, and a scale and shift that reverse the normalization. So training, which
    normalizes by the batch, starts from the graph's outputs.

    Args:
        model: The model, in evaluation mode.
        graph: Path of the graph.
        signal: Training windows (B, N).

    Returns:
        Whether the graph stores weights in int8.

    Raises:
        BundleError: The graph does not contain all weights.
    """
    content = read_onnx_graph(graph)
    weights, state = match_weights(content, model), model.state_dict()
    if getattr(model.feature_extractor, "normalization", "") != "corpus":  # then it has no statistics of a corpus
        weights |= {name: value for name, value in state.items() if name.startswith(_FEATURE_EXTRACTOR)}
    missing = sorted(state.keys() - weights.keys())
    if missing:
        raise BundleError(
            f"{graph}: the weights {', '.join(missing[:3])} can't be read from the graph, and there is no "
            f"{bundle.WEIGHTS_FILE} in its folder; use a bundle that has this file"
        )
    model.load_state_dict(weights)
    _restore_batch_norms(model, signal)
    return bool(content.quantized & state.keys())


def source_metadata(recipe: Recipe) -> list[bundle.BundleMetadata]:
    """Return the metadata of the bundle that training starts from, if any.

    Its license and its training speakers apply to the new bundle too.
    """
    return [bundle.read_bundle(recipe.init_from).metadata] if recipe.init_from else []


def _check_same_architecture(recipe: Recipe, source_recipe: Recipe, name: str) -> None:
    """Check that two recipes have the same model and features.

    Raises:
        RecipeError: They differ. The message has the first three keys that differ.
    """
    settings, source_settings = _architecture(recipe), _architecture(source_recipe)
    keys = {**settings, **source_settings}
    different = [key for key in keys if settings.get(key) != source_settings.get(key)]
    if different:
        details = "; ".join(
            f"{key} is {settings.get(key)}, expected {source_settings.get(key)}" for key in different[:3]
        )
        raise RecipeError(f"init_from: the bundle {name} has another model or other features: {details}")


def _architecture(recipe: Recipe) -> dict[str, Any]:
    """Return the settings that determine names, shapes and inputs of the weights."""
    content = recipe.model_dump(mode="json")
    audio = {f"audio.{key}": content["audio"][key] for key in ("sample_rate", "window_s")}
    features = {f"features.{key}": value for key, value in content["features"].items()}
    # A model without speaker conditioning can start from one that has it: the second head is left out.
    layers = recipe.model.model_dump(mode="json", exclude={"dropout", "weights", "speaker_conditioning"})
    return {**audio, **features, **{f"model.{key}": value for key, value in layers.items()}}


def _copy_weights(
    source: EmotionModel, source_labels: Sequence[str], target: EmotionModel, target_labels: Sequence[str]
) -> None:
    """Copy all weights; of the classifier, only the rows of emotions that both models have."""
    state, target_state = source.state_dict(), target.state_dict()
    shared = [label for label in target_labels if label in source_labels]
    for name in _CLASSIFIER_WEIGHTS:
        old = state.pop(name, None)
        if name in target_state:
            for label in shared if old is not None else ():
                target_state[name][target_labels.index(label)] = old[source_labels.index(label)]
            state[name] = target_state[name]
    target.load_state_dict(state)


def _restore_batch_norms(model: EmotionModel, signal: Tensor) -> None:
    """Set batch norms that are identities to the statistics of their inputs, without changing their outputs."""
    pairs = list(conv_batch_norm_pairs(model))
    for pair, (mean, variance) in zip(pairs, _conv_output_statistics(model, pairs, signal), strict=True):
        norm = pair.norm
        if norm.running_mean is None or norm.running_var is None:
            raise TypeError(f"{pair.norm_name} has no running statistics; set track_running_stats to true")
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        with torch.no_grad():
            norm.weight.copy_((variance + norm.eps).sqrt())
            norm.bias.add_(mean)


def _conv_output_statistics(
    model: EmotionModel, pairs: Sequence[ConvBatchNorm], signal: Tensor
) -> list[tuple[Tensor, Tensor]]:
    """Compute mean and variance (C,) of each convolution's outputs, in float64."""
    sums = [torch.zeros(3, pair.norm.num_features, dtype=torch.float64) for pair in pairs]

    def add_output(total: Tensor, output: Tensor) -> None:
        values = output.double()
        count = torch.full((output.shape[1],), output.numel() / output.shape[1]).double()
        total += torch.stack([values.sum((0, 2, 3)), values.square().sum((0, 2, 3)), count])

    handles = [
        pair.conv.register_forward_hook(lambda _module, _inputs, output, total=total: add_output(total, output))
        for pair, total in zip(pairs, sums, strict=True)
    ]
    with torch.inference_mode():
        for part in torch.split(signal, 8):
            model(part)
    for handle in handles:
        handle.remove()
    statistics = []
    for total, squares, count in sums:
        mean = total / count
        statistics.append((mean, (squares / count - mean.square()).clamp(min=0)))
    return statistics
