"""MobileNet: the published weights, pooling, and training."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from kanjo import audio
from kanjo.errors import RecipeError
from kanjo.train.config.loading import load_recipe
from kanjo.train.models.emotion_model import EmotionModel, build_emotion_model
from kanjo.train.models.mobilenet import MobileNet, Pooling, make_divisible
from kanjo.train.models.pretrained_weights import AUDIOSET, read_weights
from tests.clips import TWO_TURNS


@pytest.fixture(scope="module")
def pretrained(audioset_file: Path) -> EmotionModel:
    """The recipe's model with EfficientAT's weights."""
    emotion_model = build_emotion_model(load_recipe("mobilenet"), 8).eval()
    read_weights(emotion_model.model, str(audioset_file), AUDIOSET)
    return emotion_model


def test_make_divisible_gives_the_published_channels() -> None:
    channels = [make_divisible(0.4 * n) for n in (16, 24, 40, 64, 72, 80, 112, 120, 160, 184, 960)]
    assert channels == [8, 16, 16, 24, 32, 32, 48, 48, 64, 72, 384]


def test_mobilenet_with_published_classifier_recognizes_synthetic_speech(
    pretrained: EmotionModel, audioset_file: Path
) -> None:
    weights = torch.load(audioset_file, weights_only=True)
    signal = torch.tensor(audio.load(TWO_TURNS, 32_000))[None]
    with torch.inference_mode():
        pooled = pretrained.model.features(pretrained.features(signal)[0]).mean((2, 3))
        hidden = torch.nn.functional.hardswish(pooled @ weights["classifier.2.weight"].T + weights["classifier.2.bias"])
        probabilities = torch.sigmoid(hidden @ weights["classifier.5.weight"].T + weights["classifier.5.bias"])[0]
    assert set(probabilities.topk(2).indices.tolist()) == {0, 7}  # AudioSet's "Speech" and "Speech synthesizer"
    assert probabilities[0] > 0.5


def test_mobilenet_convolutions_have_all_published_parameters(pretrained: EmotionModel, audioset_file: Path) -> None:
    published = torch.load(audioset_file, weights_only=True)
    weights = pretrained.model.features.state_dict(prefix="features.")
    assert weights.keys() == {name for name in published if name.startswith("features.")}
    assert all(torch.equal(weights[name], published[name]) for name in weights)
    assert sum(p.numel() for p in pretrained.parameters()) < 700_000


def test_mobilenet_weights_of_another_model_are_an_error(tmp_path: Path) -> None:
    model = MobileNet(8, (1, 128, 401))
    torch.save({"features.0.0.weight": torch.zeros(8, 1, 3, 3)}, tmp_path / "other.pt")
    with pytest.raises(RecipeError, match="is missing; expected the weights of EfficientAT's mn04_as"):
        read_weights(model, str(tmp_path / "other.pt"), AUDIOSET)
    torch.save(MobileNet(8, (1, 128, 401), width=1.0).state_dict(), tmp_path / "wide.pt")
    with pytest.raises(RecipeError, match="has shape"):
        read_weights(model, str(tmp_path / "wide.pt"), AUDIOSET)


def test_mobilenet_too_few_frames_are_an_error() -> None:
    with pytest.raises(ValueError, match="at least 32 mel bands and frames"):
        MobileNet(8, (1, 128, 20))


@pytest.mark.parametrize("pooling", ["mean", "attention", "blstm"])
def test_mobilenet_all_parameters_get_a_gradient(pooling: Pooling) -> None:
    torch.manual_seed(0)
    model = MobileNet(4, (1, 64, 320), pooling=pooling, lstm_units=16, dropout=0.0)
    logits, embedding = model(torch.randn(3, 1, 64, 320), torch.tensor([320, 160, 20]))
    assert logits.shape == (3, 4) and embedding.shape == (3, model.embedding_size)
    logits.square().sum().backward()
    without_effect = {"attention.score.bias"}  # a softmax is invariant to it
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all()
        assert name in without_effect or parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("pooling", ["mean", "attention"])
def test_mobilenet_steps_of_padding_change_nothing(pooling: Pooling) -> None:
    model = MobileNet(4, (1, 64, 320), pooling=pooling).eval()
    if model.attention is not None:
        torch.nn.init.normal_(model.attention.score.weight)
    model.features = torch.nn.Sequential()  # the input is the output of the convolutions
    steps, n_frames = torch.randn(2, 384, 2, 10), torch.tensor([320, 100])
    changed = steps.clone()
    changed[1, :, :, 4:] += 10  # 100 frames end in the fourth step
    assert torch.equal(model(steps, n_frames)[0], model(changed, n_frames)[0])
    changed[1, :, :, 3] += 10
    assert not torch.equal(model(steps, n_frames)[0], model(changed, n_frames)[0])
    torch.testing.assert_close(model(steps, None)[0][0], model(steps, n_frames)[0][0])


def test_mobilenet_speaker_mean_is_used_only_where_it_is_given() -> None:
    model = MobileNet(4, (1, 32, 32), speaker_conditioning=True).eval()
    embedding, speaker_mean = torch.randn(2, model.speaker_size), torch.randn(2, model.speaker_size)
    logits = model.classify(embedding, speaker_mean, torch.tensor([[1.0], [0.0]]))
    torch.testing.assert_close(logits[0], model.offset(embedding - speaker_mean)[0])  # type: ignore[misc]
    torch.testing.assert_close(logits[1], model.classify(embedding)[1])


def test_mobilenet_overfits_eight_clips() -> None:
    torch.manual_seed(1)
    model = MobileNet(2, (1, 64, 96), dropout=0.0)
    features, labels = torch.randn(8, 1, 64, 96), torch.tensor([0, 1] * 4)
    features[labels == 1, :, :20] += 1.0
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    for _ in range(30):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(features)[0], labels).backward()
        optimizer.step()
    assert (model(features)[0].argmax(1) == labels).all()
