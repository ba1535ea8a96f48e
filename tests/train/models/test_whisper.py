"""Whisper's encoder: its input, gradients, export, and the published weights."""

from __future__ import annotations

import os
from pathlib import Path

import librosa
import numpy as np
import onnx
import pytest
import torch

from kanjo import audio
from kanjo.errors import RecipeError
from kanjo.inference import onnx_session
from kanjo.train.config.loading import load_recipe
from kanjo.train.export.onnx import ExportGraph, export_onnx
from kanjo.train.features.log_mel import LogMel
from kanjo.train.models.emotion_model import EmotionModel, build_emotion_model
from kanjo.train.models.encoder import Standardizer, band_conversion_matrices
from kanjo.train.models.pretrained_weights import SMART_TURN, read_weights
from kanjo.train.models.whisper import sinusoids

RECORDING = Path(__file__).parents[3] / "examples" / "recordings" / "two-moods.flac"


@pytest.fixture
def emotion_model() -> EmotionModel:
    """The recipe's model with random weights."""
    torch.manual_seed(0)
    return build_emotion_model(load_recipe("whisper-linear"), 8).eval()


@pytest.mark.parametrize(("n_bands", "tolerance_db"), [(40, 1.0), (80, 1.6)])
def test_band_conversion_matrices_give_librosas_bands(n_bands: int, tolerance_db: float) -> None:
    """librosa's bands at 16 kHz and -30 dB, computed from 128 Kaldi bands at 32 kHz.

    The lowest of 80 bands are narrower than the bins of the feature extractor, hence the higher tolerance.
    """
    feature_extractor = LogMel(
        32_000,
        1024,
        320,
        128,
        win_length=800,
        fmax=15_000,
        mel_scale="kaldi",
        preemphasis=0.97,
        normalization="audioset",
    )
    mels, loudness = band_conversion_matrices(feature_extractor, n_bands, -30.0)
    speech = audio.load(RECORDING, 16_000)
    rms = float(np.sqrt(np.square(speech).mean()))
    expected = librosa.feature.melspectrogram(
        y=speech / rms * 10 ** (-30 / 20), sr=16_000, n_fft=400, hop_length=160, n_mels=n_bands
    )
    features, _ = feature_extractor(torch.tensor(audio.load(RECORDING, 32_000))[None])
    power = torch.exp(5 * features[0, 0] - 4.5) - 1e-5
    level = float((loudness @ power).mean())
    assert 10 * np.log10(level) == pytest.approx(20 * np.log10(rms) + 30, abs=0.5)
    bands = (mels @ power).numpy() / level
    n_frames = min(bands.shape[1], expected.shape[1])
    expected = expected[:, :n_frames]
    difference_db = 10 * np.log10(np.maximum(bands[:, :n_frames], 1e-9) / expected)[expected > expected.max() * 1e-4]
    assert abs(np.median(difference_db)) < 0.2 and np.percentile(np.abs(difference_db), 80) < tolerance_db


@pytest.mark.parametrize("override", ["features.normalization=corpus", "features.hop_length=512"])
def test_whisper_other_features_are_an_error(override: str) -> None:
    with pytest.raises(RecipeError, match="normalization must be audioset, and features.hop_length must be 10 ms"):
        build_emotion_model(load_recipe("whisper-linear", [override]), 8)


def test_standardizer_bounds_small_standard_deviations() -> None:
    standardizer = Standardizer(3)
    standardizer.set_statistics(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.0, 1.0, 2.0]))
    torch.testing.assert_close(standardizer(torch.tensor([[1.1, 3.0, 7.0]])), torch.tensor([[1.0, 1.0, 2.0]]))


def test_whisper_loudness_and_padding_change_nothing(emotion_model: EmotionModel) -> None:
    speech = torch.tensor(audio.load(RECORDING, 32_000)[:80_000])
    padded = torch.zeros(2, 128_000)
    padded[0, :80_000], padded[1, :80_000] = speech, speech * 0.25
    with torch.inference_mode():
        expected, embeddings = (emotion_model(signal)[1] for signal in (speech[None], padded))
    np.testing.assert_allclose(embeddings[0], expected[0], atol=1e-4)
    np.testing.assert_allclose(embeddings[1], expected[0], atol=0.02)  # quiet bands are nearer to the log-mel's floor
    assert float(expected.std()) > 0.01


def test_whisper_all_layers_get_a_gradient() -> None:
    emotion_model = build_emotion_model(load_recipe("whisper-linear"), 4).train()
    model = emotion_model.model
    logits, embedding = model(*emotion_model.features(torch.randn(4, 80_000) * 0.05))
    assert logits.shape == (4, 4) and embedding.shape == (4, 768)
    logits.square().sum().backward()
    with_gradient = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    encoder = {name for name, _ in model.named_parameters() if name.startswith(("conv", "layers."))}
    assert encoder and {"output.weight", "attention.score.weight", *encoder} <= with_gradient
    assert sum(p.numel() for p in model.parameters()) < 2e6


def test_whisper_aggregation_all_concatenates_the_layers() -> None:
    """Each half of the mean and of the standard deviation equals the embedding of a model with that last layer."""
    torch.manual_seed(0)
    all_layers, two_layers, one_layer = (
        build_emotion_model(load_recipe("whisper-linear", overrides), 4).eval()
        for overrides in (["model.layers=2", "model.aggregation=all"], ["model.layers=2"], [])
    )
    encoder = {
        name: value for name, value in all_layers.model.state_dict().items() if name.startswith(("conv", "layers."))
    }
    two_layers.model.load_state_dict(encoder, strict=False)
    one_layer.model.load_state_dict(encoder, strict=False)
    signal = torch.tensor(audio.load(RECORDING, 32_000))[None, :96_000]
    with torch.inference_mode():
        both, second, first = (model(signal)[1].reshape(2, -1) for model in (all_layers, two_layers, one_layer))
    assert both.shape == (2, 768)
    np.testing.assert_allclose(both[:, :384], first, atol=1e-5)
    np.testing.assert_allclose(both[:, 384:], second, atol=1e-5)
    assert (both[:, :384] - both[:, 384:]).abs().mean() > 0.01


def test_whisper_convert_published_weights_keeps_largest_hidden_units() -> None:
    model = build_emotion_model(load_recipe("whisper-linear", ["model.ffn_dim=2"]), 4).model
    fc1, fc2 = torch.zeros(4, 384), torch.ones(384, 4)
    fc1[:, 0] = torch.tensor([1.0, 4.0, 2.0, 3.0])
    published = {
        "conv1.weight": torch.arange(384 * 80 * 3.0).reshape(384, 80, 3),
        "layers.0.fc1.weight": fc1,
        "layers.0.fc1.bias": torch.arange(4.0),
        "layers.0.fc2.weight": fc2,
    }
    converted = model.convert_published_weights(published)
    assert converted["layers.0.fc1.bias"].tolist() == [1.0, 3.0]
    assert converted["layers.0.fc1.weight"][:, 0].tolist() == [4.0, 3.0]
    assert converted["layers.0.fc2.weight"].shape == (384, 2)
    torch.testing.assert_close(converted["conv1.weight"][0, :80], published["conv1.weight"][0, :, 0])


@pytest.mark.slow
def test_whisper_exported_to_onnx_equals_torch(emotion_model: EmotionModel) -> None:
    session = onnx_session.create_session(export_onnx(emotion_model, 1.0, 128_000, 1.0), 1)
    signal = np.zeros((2, 128_000), np.float32)
    signal[0, :96_000] = audio.load(RECORDING, 32_000)[:96_000]
    probabilities, embedding = session.run(["probabilities", "embedding"], {"signal": signal})
    with torch.inference_mode():
        expected = ExportGraph(emotion_model, 1.0, 1.0).eval()(torch.tensor(signal))
    np.testing.assert_allclose(probabilities, expected[0].numpy(), atol=1e-4)
    np.testing.assert_allclose(embedding[0], expected[1].numpy()[0], atol=2e-3)
    assert np.isfinite(probabilities[1]).all(), "silence has probabilities"


def test_whisper_published_weights_equal_the_published_graph() -> None:
    """The convolutions and the first layers give the outputs of the published int8 graph on Whisper's own log-mels."""
    path = Path(os.environ.get("KANJO_WEIGHTS", "")) / SMART_TURN.file_name
    if not path.is_file():
        pytest.skip(f"smart-turn's published weights are not at {path}; KANJO_WEIGHTS names the folder")
    overrides = ["model.layers=2", "model.ffn_dim=1536"]
    model = build_emotion_model(load_recipe("whisper-linear", overrides), 8).eval().model
    read_weights(model, SMART_TURN.name, SMART_TURN)
    speech = audio.load(RECORDING, 16_000)[: 4 * 16_000]
    speech = speech / np.sqrt(np.square(speech).mean())
    power = librosa.feature.melspectrogram(y=speech, sr=16_000, n_fft=400, hop_length=160, n_mels=80)[:, :400]
    log_mel = np.log10(np.maximum(power, 1e-10))
    log_mel = (np.maximum(log_mel, log_mel.max() - 8) + 4) / 4
    graph = onnx.load(path)
    layers = [node.input[0] for node in graph.graph.node if "self_attn_layer_norm.weight" in " ".join(node.input)]
    del graph.graph.output[:]
    graph.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in (layers[0], layers[2]))
    session = onnx_session.create_session(graph.SerializeToString(), 1)
    padded = np.full((1, 80, 800), log_mel.min(), np.float32)
    padded[0, :, :400] = log_mel
    expected_convolutions, expected_layers = session.run(None, {"input_features": padded})
    mask = torch.ones(1, 800, 1, dtype=torch.bool)
    with torch.inference_mode():
        model.register_buffer("positions", sinusoids(400, 384), persistent=False)
        layers_output, _ = model.encode(torch.tensor(10 ** (padded * 4 - 4)), mask)
        model.layers = torch.nn.ModuleList()
        convolutions_output, _ = model.encode(torch.tensor(10 ** (padded * 4 - 4)), mask)
    assert np.corrcoef(convolutions_output.numpy().ravel(), expected_convolutions.ravel())[0, 1] > 0.995
    assert np.corrcoef(layers_output.numpy().ravel(), expected_layers.ravel())[0, 1] > 0.98
