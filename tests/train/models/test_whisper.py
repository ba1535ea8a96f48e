"""Whisper's encoder with linear heads: its input, padding, time steps, export, and the published weights."""

from __future__ import annotations

import librosa
import numpy as np
import pytest
import torch

from kanjo import audio
from kanjo.errors import RecipeError
from kanjo.inference import onnx_session
from kanjo.train.config.loading import load_recipe
from kanjo.train.export.onnx import ExportGraph, export_onnx
from kanjo.train.models.emotion_model import EmotionModel, build_emotion_model
from kanjo.train.models.encoder import Standardizer
from kanjo.train.models.layers.statistics import block_statistics, mean_and_std, sliding_mean_and_std
from kanjo.train.models.whisper import sinusoids
from tests.clips import TWO_TURNS


@pytest.fixture
def emotion_model() -> EmotionModel:
    """The recipe's model with two layers and random weights."""
    torch.manual_seed(0)
    return build_emotion_model(load_recipe("whisper-tiny", ["model.layers=[1, 2]", "model.ffn_dim=64"]), 8).eval()


def _speech(n_samples: int) -> torch.Tensor:
    return torch.tensor(audio.load(TWO_TURNS, 16_000)[None, :n_samples])


def test_whisper_features_equal_librosas_log_mel() -> None:
    """Away from the ends, where Whisper mirrors the signal, the features are (log10(mel power) + 4) / 4."""
    model = build_emotion_model(load_recipe("whisper-base", ["features.noise_floor_db=null"]), 4)
    signal = _speech(48_000)
    features, n_frames = model.features(signal)
    scaled = signal[0].numpy() / np.sqrt(np.square(signal.numpy()).mean()) * 0.1
    power = librosa.feature.melspectrogram(y=scaled, sr=16_000, n_fft=400, hop_length=160, n_mels=80)[:, :300]
    log_power = np.log10(np.maximum(power, 1e-10))
    expected = (np.maximum(log_power, log_power.max() - 8) + 4) / 4
    assert n_frames.tolist() == [300]
    np.testing.assert_allclose(features[0, 0, :, 2:-2].numpy(), expected[:, 2:-2], atol=2e-3)


def test_whisper_noise_floor_is_the_expected_power_of_white_noise() -> None:
    """Silence with a floor equals the mean of many frames of white noise of that level."""
    floor_db = 25.0
    model = build_emotion_model(load_recipe("whisper-base"), 4)
    noise = torch.randn(1, 16_000 * 20, generator=torch.Generator().manual_seed(0)) * 0.1 * 10 ** (-floor_db / 20)
    power = model.feature_extractor.power(noise)[0].mean(1)
    np.testing.assert_allclose(model.feature_extractor.noise_floor[:, 0], power, rtol=0.1)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["features.normalization=corpus", "features.noise_floor_db=null"], "features.normalization whisper"),
        (["features.hop_length=320"], "features.hop_length 160"),
        (["audio.sample_rate=8000"], "audio.sample_rate 16000"),
        (["model.layers=[1, 7]"], "whisper-base has the layers 1 to 6"),
        (["model.source=whisper-huge"], "source 'whisper-huge'"),
        (["model.ffn_dim=5000"], "ffn_dim 5000: whisper-base has 2048 hidden units"),
    ],
)
def test_whisper_settings_that_do_not_fit_are_errors(overrides: list[str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        build_emotion_model(load_recipe("whisper-base", overrides), 8)


def test_encoder_layers_not_in_ascending_order_are_an_error() -> None:
    with pytest.raises(RecipeError, match="expected different numbers in ascending order"):
        load_recipe("whisper-base", ["model.layers=[2, 1]"])


def test_standardizer_bounds_small_standard_deviations() -> None:
    standardizer = Standardizer(3)
    standardizer.set_statistics(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.0, 1.0, 2.0]))
    torch.testing.assert_close(standardizer(torch.tensor([[1.1, 3.0, 7.0]])), torch.tensor([[1.0, 1.0, 2.0]]))


def test_whisper_loudness_and_padding_change_nothing(emotion_model: EmotionModel) -> None:
    speech = _speech(40_000)
    padded = torch.zeros(2, 64_000)
    padded[0, :40_000], padded[1, :40_000] = speech, speech * 0.1
    with torch.inference_mode():
        expected, embeddings = (emotion_model(signal)[1] for signal in (speech, padded))
    np.testing.assert_allclose(embeddings[0], expected[0], atol=1e-4)
    np.testing.assert_allclose(embeddings[1], expected[0], atol=1e-3)
    assert float(expected.std()) > 0.01


def test_whisper_layers_are_concatenated_means_then_deviations() -> None:
    torch.manual_seed(0)
    both = build_emotion_model(load_recipe("whisper-tiny", ["model.layers=[1, 2]"]), 4).eval()
    second = build_emotion_model(load_recipe("whisper-tiny", ["model.layers=[2]"]), 4).eval()
    second.model.encoder.load_state_dict(both.model.encoder.state_dict())
    signal = _speech(48_000)
    with torch.inference_mode():
        all_values, last_values = (model(signal)[1].reshape(2, -1) for model in (both, second))
    assert all_values.shape == (2, 768)
    torch.testing.assert_close(all_values[:, 384:], last_values, atol=1e-5, rtol=1e-5)


def test_block_statistics_give_mean_and_deviation_of_any_blocks() -> None:
    steps = torch.randn(2, 60, 3) * 2 + 5
    mask = (torch.arange(60) < torch.tensor([[60], [31]])).unsqueeze(2)
    statistics = block_statistics(steps, mask)
    assert statistics.n_steps.tolist() == [[13, 12, 13, 12, 10, 0], [13, 12, 6, 0, 0, 0]]
    for row, n in enumerate((60, 31)):
        expected = torch.cat([steps[row, :n].mean(0), (steps[row, :n].var(0, correction=0) + 1e-5).sqrt()])
        torch.testing.assert_close(mean_and_std(statistics)[row], expected)
    around_second = sliding_mean_and_std(statistics, 1)[0, 1]
    part = steps[0, :38]
    expected = torch.cat([part.mean(0), (part.var(0, correction=0) + 1e-5).sqrt()])
    torch.testing.assert_close(around_second, expected, atol=1e-4, rtol=1e-4)


def test_classify_time_steps_short_utterance_has_the_same_result_as_its_steps(emotion_model: EmotionModel) -> None:
    """All blocks of 0.6 s are neighbors, so that each time step covers the whole utterance."""
    torch.nn.init.normal_(emotion_model.model.output.weight)
    signal = _speech(9_600)
    with torch.inference_mode():
        logits, embedding, step_logits = emotion_model.model.classify_time_steps(*emotion_model.features(signal))
        expected_logits, expected_embedding = emotion_model(signal)
    torch.testing.assert_close(logits, expected_logits, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(embedding, expected_embedding)
    torch.testing.assert_close(step_logits[0, :3], expected_logits.expand(3, -1), atol=2e-3, rtol=1e-3)


def test_whisper_convert_published_weights_keeps_largest_hidden_units() -> None:
    model = build_emotion_model(load_recipe("whisper-tiny", ["model.layers=[1]", "model.ffn_dim=2"]), 4).model
    fc1, fc2 = torch.zeros(4, 384), torch.ones(384, 4)
    fc1[:, 0] = torch.tensor([1.0, 4.0, 2.0, 3.0])
    published = {
        "conv1.weight": torch.arange(384 * 80 * 3.0).reshape(384, 80, 3),
        "layers.0.fc1.weight": fc1,
        "layers.0.fc1.bias": torch.arange(4.0),
        "layers.0.fc2.weight": fc2,
    }
    converted = model.convert_published_weights(published)
    assert converted["encoder.layers.0.fc1.bias"].tolist() == [1.0, 3.0]
    assert converted["encoder.layers.0.fc1.weight"][:, 0].tolist() == [4.0, 3.0]
    assert converted["encoder.layers.0.fc2.weight"].shape == (384, 2)
    torch.testing.assert_close(converted["encoder.conv1.weight"][0, :80], published["conv1.weight"][0, :, 0])


def test_sinusoids_are_whispers_positions() -> None:
    positions = sinusoids(3, 4)
    torch.testing.assert_close(positions[1], torch.tensor([0.8415, 0.0001, 0.5403, 1.0]), atol=1e-4, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("n_samples", [5_000, 40_001, 128_000])
def test_whisper_exported_to_onnx_equals_torch(emotion_model: EmotionModel, n_samples: int) -> None:
    """Inputs of any length are padded to half a second inside the graph."""
    session = onnx_session.create_session(export_onnx(emotion_model, 1.0, 128_000, 1.0), 1)
    signal = np.zeros((2, n_samples), np.float32)
    signal[0] = np.resize(audio.load(TWO_TURNS, 16_000), n_samples)
    names = ["probabilities", "embedding", "time_step_probabilities"]
    probabilities, embedding, steps = session.run(names, {"signal": signal})
    padded = np.pad(signal, ((0, 0), (0, -n_samples % 8_000)))
    with torch.inference_mode():
        expected = ExportGraph(emotion_model, 1.0, 1.0).eval()(torch.tensor(padded))
    np.testing.assert_allclose(probabilities, expected[0].numpy(), atol=1e-5)
    np.testing.assert_allclose(embedding[0], expected[1].numpy()[0], atol=2e-3)
    np.testing.assert_allclose(steps[0], expected[2].numpy()[0], atol=1e-5)
    assert np.isfinite(probabilities[1]).all(), "silence has probabilities"
