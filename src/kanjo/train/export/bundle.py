"""Export of a trained model as a bundle: graph, metadata and model card."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save

import kanjo
from kanjo import audio, bundle
from kanjo.bundle.metadata import SPEECH_SEGMENTS, WINDOWS
from kanjo.bundle.model_card import OWN_LICENSE
from kanjo.corpora import CORPORA
from kanjo.corpora.splits import Fold
from kanjo.errors import BundleError
from kanjo.inference import onnx_session
from kanjo.train.calibration.ood import Embeddings, EmbedFunction, PcaResidualScorer, fit_ood_scorer
from kanjo.train.data.datasets import WindowDataset
from kanjo.train.data.embedding_cache import compute_embeddings
from kanjo.train.data.experiment_data import ExperimentData
from kanjo.train.data.loaders import build_data_loader
from kanjo.train.export.onnx import classifies_time_steps, export_onnx
from kanjo.train.export.onnx_surgery import add_ood_output
from kanjo.train.export.verify import MAX_DIFFERENCE, max_probability_difference
from kanjo.train.fit import TrainedModel
from kanjo.train.models.emotion_model import EmotionModel
from kanjo.train.warm_start import source_metadata

#: The graph is compared with PyTorch on this many utterances.
N_VERIFICATION_CLIPS = 100
_VERIFICATION_BATCH_SIZE = 10
#: The sample rate is read from at most this many recordings.
_N_SOURCE_RATES = 200
_OWN_LICENSE = "the license of your own recordings"


def export_bundle(
    data: ExperimentData,
    fold: Fold,
    trained: TrainedModel,
    folder: Path,
    split: dict[str, Any],
    *,
    with_weights: bool = True,
    n_verification_clips: int = N_VERIFICATION_CLIPS,
) -> bundle.Bundle:
    """Write the bundle of a trained model.

    Args:
        data: The experiment's data.
        fold: The fold that the model was trained on.
        trained: The trained model and its temperatures.
        folder: The bundle's folder. It is written completely or not at all.
        split: Description of the split, for the metadata.
        with_weights: Write the PyTorch weights too, so that training can start from the bundle.
        n_verification_clips: The graph is compared with PyTorch on this many utterances.

    Raises:
        BundleError: The probabilities of PyTorch and ONNX Runtime differ by more than 1e-4 on these utterances.
    """
    model = trained.emotion_model
    temperature_enrolled = trained.enrolled.temperature if trained.enrolled else None
    window, structure = data.recipe.audio.window, _structure(data)
    graph = export_onnx(model, trained.temperature, window, temperature_enrolled, structure=structure)
    scorer = _fit_scorer(data, fold, trained, graph)
    graph = add_ood_output(graph, scorer, trained.ood_temperature)
    metadata = _build_metadata(data, fold, trained, scorer, split)
    metadata = replace(metadata, sha256=hashlib.sha256(graph).hexdigest())
    metadata = replace(metadata, export_check=verify_export(model, graph, metadata, data, n_verification_clips))
    weights = None
    if with_weights:
        state = {name: value.contiguous() for name, value in model.state_dict().items()}
        weights = save(state, {"recipe": data.recipe.name, "labels": " ".join(data.emotions)})
    return bundle.write_bundle(folder, graph, metadata, weights)


def verify_export(
    model: EmotionModel,
    graph: bytes,
    metadata: bundle.BundleMetadata,
    data: ExperimentData,
    n_clips: int = N_VERIFICATION_CLIPS,
) -> dict[str, Any]:
    """Compare the graph with the model on utterances of the experiment.

    Returns:
        The number of utterances ``clips`` and ``largest_difference``.

    Raises:
        BundleError: The probabilities differ by more than 1e-4.
    """
    n = len(data.utterances)
    indices = np.linspace(0, n - 1, min(n_clips, n)).astype(int).tolist()
    windows = WindowDataset(data.audio_cache, indices, data.labels, data.recipe.audio.window)
    batches = build_data_loader(windows, _VERIFICATION_BATCH_SIZE, shuffle=False)
    difference = max_probability_difference(model, graph, metadata, (batch["signal"] for batch in batches))
    if not difference <= MAX_DIFFERENCE:
        raise BundleError(
            f"export: probabilities of PyTorch and ONNX Runtime differ by {difference:.1e} on {len(indices)} clips, "
            f"expected at most {MAX_DIFFERENCE:.0e}"
        )
    return {"clips": len(indices), "largest_difference": difference}


def compute_graph_embeddings(graph: bytes, data: ExperimentData, indices: Sequence[int]) -> Embeddings:
    """Compute embeddings (U, D) of the first windows of utterances with an exported graph."""
    windows = WindowDataset(data.audio_cache, indices, data.labels, data.recipe.audio.window)
    session = onnx_session.create_session(graph, torch.get_num_threads())
    batches = build_data_loader(windows, 8, shuffle=False)
    return np.concatenate([session.run(["embedding"], {"signal": batch["signal"].numpy()})[0] for batch in batches])


def lowest_source_rate(paths: Sequence[Path]) -> int:
    """Return the lowest sample rate in Hz of at most 200 evenly spaced recordings."""
    indices = np.linspace(0, len(paths) - 1, min(_N_SOURCE_RATES, len(paths))).astype(int)
    rates = []
    for index in indices:
        with audio.open_audio(paths[index]) as reader:
            rates.append(reader.native_rate)
    return min(rates)


def combined_license(corpora: Sequence[str], *sources: bundle.BundleMetadata) -> str:
    """Join the licenses of the corpora and of the bundles that training started from, each license once."""
    licenses = [license for metadata in sources for license in metadata.license.split("; ")]
    licenses += [CORPORA[name].license if name in CORPORA else _OWN_LICENSE for name in corpora]
    return "; ".join(dict.fromkeys(licenses))


def _structure(data: ExperimentData) -> str:
    """Describe everything about a model with a frozen encoder but its weights; "" for other models."""
    if not data.recipe.model.frozen_encoder:
        return ""
    parts = data.recipe.model_dump(mode="json", include={"model", "features", "audio"})
    return json.dumps([parts, len(data.emotions)])


def _fit_scorer(data: ExperimentData, fold: Fold, trained: TrainedModel, graph: bytes) -> PcaResidualScorer:
    """Fit the OOD scorer of a trained model that was exported as ``graph``."""
    frozen_encoder = data.recipe.model.frozen_encoder
    embed = _cached_embeddings(trained.emotion_model, data) if frozen_encoder else _graph_embeddings(graph, data)
    embed_before_refit = None
    if trained.before_refit is not None:
        if frozen_encoder:
            embed_before_refit = _cached_embeddings(trained.before_refit, data)
        else:
            graph_before_refit = export_onnx(trained.before_refit, 1.0, data.recipe.audio.window)
            embed_before_refit = _graph_embeddings(graph_before_refit, data)
    return fit_ood_scorer(fold, embed, embed_before_refit, unit_norm=not frozen_encoder)


def _graph_embeddings(graph: bytes, data: ExperimentData) -> EmbedFunction:
    """Return a function that computes embeddings with an exported graph."""
    return lambda indices: compute_graph_embeddings(graph, data, indices)


def _cached_embeddings(model: EmotionModel, data: ExperimentData) -> EmbedFunction:
    """Return a function that takes the embeddings of a frozen encoder from the cache."""
    pooled_statistics = compute_embeddings(model, data).pooled_statistics[0]
    return lambda indices: model.model.standardize(pooled_statistics[list(indices)]).detach().numpy()


def _build_metadata(
    data: ExperimentData, fold: Fold, trained: TrainedModel, scorer: PcaResidualScorer, split: dict[str, Any]
) -> bundle.BundleMetadata:
    """Describe the bundle, without the graph's digest."""
    recipe, sources = data.recipe, source_metadata(data.recipe)
    ood_temperature = {}
    if trained.ood_temperature:
        ood_temperature = {"median": scorer.median_score, **asdict(trained.ood_temperature)}
    corpora = [corpus for metadata in sources for corpus in metadata.corpora] + _describe_corpora(data, fold)
    return bundle.BundleMetadata(
        name=recipe.name,
        version=kanjo.__version__,
        labels=data.emotions,
        sample_rate=recipe.audio.sample_rate,
        window_s=recipe.audio.window_s,
        hop_s=recipe.audio.hop_s,
        sha256="",
        license=combined_license([utterance.corpus for utterance in data.utterances], *sources),
        temperature=trained.temperature,
        ood_temperature=ood_temperature,
        speaker_size=trained.emotion_model.speaker_size,
        segmentation=SPEECH_SEGMENTS if classifies_time_steps(trained.emotion_model.model) else WINDOWS,
        min_source_rate=min(recipe.audio.sample_rate, lowest_source_rate([data.paths[i] for i in fold.train])),
        recipe=recipe.model_dump(mode="json"),
        paper=recipe.paper.model_dump() if recipe.paper else None,
        corpora=tuple(_unique(corpora)),
        split=split,
        n_parameters=sum(parameter.numel() for parameter in trained.emotion_model.parameters()),
    )


def _describe_corpora(data: ExperimentData, fold: Fold) -> list[Mapping[str, str]]:
    """Describe what the fold's training and validation utterances contain of each corpus."""
    speakers_by_corpus: dict[str, list[str]] = {}
    for i in (*fold.train, *fold.validation):
        utterance = data.utterances[i]
        speakers_by_corpus.setdefault(utterance.corpus, []).append(utterance.speaker)
    descriptions: list[Mapping[str, str]] = []
    for name, speakers in speakers_by_corpus.items():
        corpus = CORPORA.get(name)
        description = {
            "name": name,
            "title": corpus.title if corpus else name,
            "language": corpus.language if corpus else "",
            "license": corpus.license if corpus else OWN_LICENSE,
            "citation": corpus.citation if corpus else "",
            "utterances": str(len(speakers)),
            "speakers": str(len(set(speakers) - {""})),
        }
        descriptions.append(description)
    return descriptions


def _unique(corpora: Sequence[Mapping[str, str]]) -> list[Mapping[str, str]]:
    """Remove repeated descriptions: a bundle that training starts from may have been trained on the same utterances."""
    return list({tuple(sorted(corpus.items())): corpus for corpus in corpora}.values())
