"""Weights that are read from a graph equal those that were written to it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from kanjo.train.config.loading import load_recipe
from kanjo.train.export.onnx import export_onnx
from kanjo.train.export.onnx_weights import match_weights, read_onnx_graph, read_onnx_weights
from kanjo.train.export.quantize import quantize_linear_int8, store_weights_fp16
from kanjo.train.models.emotion_model import EmotionModel, build_emotion_model
from kanjo.train.warm_start import load_graph_weights
from tests.graph_fixtures import WINDOW, build_published_graph, build_small_model

SMALL_CNN_LSTM = [
    "audio.window_s=1",
    "audio.hop_s=0.5",
    "features.n_mels=40",
    "model.channels=[8,8,16,16]",
    "model.pools=[[2,2],[2,2],[4,2],[2,2]]",
    "model.lstm_units=16",
]


@pytest.fixture(scope="module")
def cnn_lstm() -> EmotionModel:
    """A CNN-LSTM whose batch norms are not identities."""
    torch.manual_seed(0)
    model = build_emotion_model(load_recipe("cnn-lstm-2d", SMALL_CNN_LSTM), 4).train()
    with torch.no_grad():
        for _ in range(3):
            model(0.1 * torch.randn(8, 16_000))
    return model.eval()


@pytest.mark.parametrize("quantize", [False, True])
def test_read_onnx_weights_published_graph_restores_names(tmp_path: Path, quantize: bool) -> None:
    """Also of the key projection, which has no bias; int8 weights are exact to half a quantization step."""
    model, expected = build_published_graph(quantize)
    onnx.save(model, tmp_path / "graph.onnx")
    weights = read_onnx_weights(tmp_path / "graph.onnx")
    assert weights.keys() == expected.keys()
    for name, value in expected.items():
        tolerance = np.abs(value).max() / 127 / 2 * 1.01 if quantize else 1e-6
        np.testing.assert_allclose(weights[name].numpy(), value, atol=tolerance)


@pytest.mark.parametrize("fp16", [False, True])
def test_match_weights_small_model_gives_its_state_dict(tmp_path: Path, fp16: bool) -> None:
    model = build_small_model()
    graph = export_onnx(model, 1.0, WINDOW, 1.0)
    if fp16:
        graph, n_tensors = store_weights_fp16(graph)
        assert n_tensors == 1
    (tmp_path / "model.onnx").write_bytes(graph)
    weights = match_weights(read_onnx_graph(tmp_path / "model.onnx"), model)
    for name, value in model.model.state_dict().items():
        torch.testing.assert_close(weights[f"model.{name}"], value, atol=1e-3 if fp16 else 0, rtol=0)


def test_load_graph_weights_cnn_lstm_gives_same_logits_with_restored_batch_norms(
    tmp_path: Path, cnn_lstm: EmotionModel
) -> None:
    (tmp_path / "model.onnx").write_bytes(export_onnx(cnn_lstm, 1.0, 16_000))
    torch.manual_seed(1)
    model = build_emotion_model(load_recipe("cnn-lstm-2d", SMALL_CNN_LSTM), 4).eval()
    model.feature_extractor.load_state_dict(cnn_lstm.feature_extractor.state_dict())
    signal = 0.1 * torch.randn(16, 16_000)
    assert load_graph_weights(model, tmp_path / "model.onnx", signal) is False
    with torch.inference_mode():
        torch.testing.assert_close(model(signal)[0], cnn_lstm(signal)[0], atol=1e-4, rtol=0)
        block, features = model.model.blocks[0], model.features(signal)[0]
        torch.testing.assert_close(block.norm.running_mean, block.conv(features).mean((0, 2, 3)), atol=1e-4, rtol=1e-3)


def test_load_graph_weights_int8_and_fp16_whisper_gives_weights_within_one_percent(tmp_path: Path) -> None:
    torch.manual_seed(0)
    recipe = load_recipe("whisper-tiny", ["audio.window_s=1", "audio.hop_s=0.5", "model.layers=[1]"])
    source = build_emotion_model(recipe, 8).eval()
    with torch.no_grad():
        for value in source.model.parameters():  # initial weights of equal value would share one constant
            value.add_(0.01 * torch.randn_like(value))
    graph, n_layers = quantize_linear_int8(export_onnx(source, 1.0, recipe.audio.window, 1.0))
    graph, n_tensors = store_weights_fp16(graph)
    assert n_layers and n_tensors
    (tmp_path / "model.onnx").write_bytes(graph)
    model = build_emotion_model(recipe, 8).eval()
    assert load_graph_weights(model, tmp_path / "model.onnx", 0.1 * torch.randn(2, recipe.audio.window)) is True
    state = model.model.state_dict()
    for name, value in source.model.state_dict().items():
        difference = (state[name] - value).abs().max() / value.abs().max().clamp(min=1e-9)
        assert difference < 0.01, name
