"""Smaller graphs give almost the same probabilities."""

from __future__ import annotations

import logging

import numpy as np
import onnx
import pytest
import torch

import kanjo
from kanjo import audio, bundle
from kanjo.train.calibration.ood import fit_pca_residual
from kanjo.train.config.loading import load_recipe
from kanjo.train.export.onnx import export_onnx
from kanjo.train.export.onnx_surgery import add_ood_output
from kanjo.train.export.quantize import MAX_PAIR_SUM, quantize_linear_int8, store_weights_fp16
from kanjo.train.models.emotion_model import EmotionModel, build_emotion_model
from tests.clips import TWO_TURNS
from tests.graph_fixtures import max_pair_sum, run_graph

SHORT = ["audio.window_s=1", "audio.hop_s=0.5"]


@pytest.fixture(scope="module")
def whisper() -> EmotionModel:
    """A model with large dense layers."""
    torch.manual_seed(0)
    model = build_emotion_model(load_recipe("whisper-tiny", [*SHORT, "model.layers=[1, 2]"]), 8).eval()
    with torch.no_grad():
        for value in model.model.parameters():
            value.add_(0.01 * torch.randn_like(value))
    return model


@pytest.fixture(scope="module")
def graph(whisper: EmotionModel) -> bytes:
    return export_onnx(whisper, 1.0, whisper.sample_rate, 1.0)


def _max_difference(graph: bytes, other: bytes, speaker_size: int, sample_rate: int) -> float:
    """Return the largest difference of the probabilities, with and without a speaker."""
    signal = audio.load(TWO_TURNS, sample_rate)[None, :sample_rate]
    speaker = np.append(np.random.default_rng(0).normal(size=speaker_size), 1)[None].astype(np.float32)
    differences = []
    for inputs in ({"signal": signal}, {"signal": signal, "speaker": speaker}):
        (probabilities,), (expected,) = (run_graph(content, ["probabilities"], **inputs) for content in (graph, other))
        differences.append(np.abs(probabilities - expected).max())
    return float(max(differences))


def test_int8_and_fp16_of_whisper_are_a_third_of_the_size_with_similar_probabilities(
    whisper: EmotionModel, graph: bytes
) -> None:
    smaller, n_layers = quantize_linear_int8(graph)
    smaller, n_tensors = store_weights_fp16(smaller)
    assert n_layers == 14 and n_tensors and len(smaller) < 0.34 * len(graph)
    assert 0 < max_pair_sum(smaller) <= MAX_PAIR_SUM
    assert _max_difference(smaller, graph, whisper.speaker_size, whisper.sample_rate) < 0.02


def test_store_weights_fp16_keeps_feature_extractor_and_ood_score_in_float32(graph: bytes) -> None:
    (embeddings,) = run_graph(graph, ["embedding"], signal=np.zeros((1, 16_000), np.float32))
    random = np.random.default_rng(0).normal(size=(40, embeddings.shape[1])).astype(np.float32)
    smaller, _ = store_weights_fp16(add_ood_output(graph, fit_pca_residual(random)))
    types = {tensor.name: tensor.data_type for tensor in onnx.load_model_from_string(smaller).graph.initializer}
    assert types["ood.components"] == onnx.TensorProto.FLOAT
    half = {name for name, data_type in types.items() if data_type == onnx.TensorProto.FLOAT16}
    assert half and not {name for name in half if name.startswith("feature_extractor.")}


def test_quantize_linear_int8_restores_root_logger(graph: bytes) -> None:
    quantize_linear_int8(graph)
    assert logging.getLogger().disabled is False


@pytest.mark.slow
def test_store_weights_fp16_of_mobilenet_gives_similar_probabilities() -> None:
    """Its dense layers are too small for int8."""
    torch.manual_seed(0)
    model = build_emotion_model(load_recipe("mobilenet", [*SHORT, "audio.crop_s=0.5"]), 7).eval()
    graph = export_onnx(model, 1.0, model.sample_rate, 1.0)
    smaller, n_tensors = store_weights_fp16(graph)
    assert n_tensors and len(smaller) < len(graph)
    assert _max_difference(smaller, graph, model.speaker_size, model.sample_rate) < 0.05
    assert quantize_linear_int8(graph)[1] == 0


def test_default_bundle_int8_weights_do_not_saturate() -> None:
    graph = kanjo.load().bundle.folder / bundle.GRAPH_FILE
    assert 0 < max_pair_sum(graph.read_bytes()) <= MAX_PAIR_SUM
