"""MobileNet: the published network to the number, and a network that learns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from kanjo import audio
from kanjo.errors import RecipeError
from kanjo.train.config.loading import load_recipe
from kanjo.train.features.log_mel import mel_filters
from kanjo.train.models.mobilenet import MobileNet, rounded
from kanjo.train.models.pretrained_weights import AUDIOSET, read_weights
from kanjo.train.tasks.base import System, system_of

SPOKEN = Path(__file__).parents[3] / "examples" / "recordings"


@pytest.fixture(scope="module")
def published() -> Path:
    path = Path(__file__).parents[4] / "shared" / "weights" / "mn04_as_mAP_432.pt"
    if not path.is_file():
        pytest.skip(f"EfficientAT's published weights are not at {path}")
    return path


@pytest.fixture(scope="module")
def pretrained(published: Path) -> System:
    system = system_of(load_recipe("mobilenet", []), 8).eval()
    read_weights(system.network, str(published), AUDIOSET)
    return system


def test_channels_are_rounded_as_published() -> None:
    assert [rounded(0.4 * n) for n in (16, 24, 40, 64, 72, 80, 112, 120, 160, 184, 960)] == [
        8,
        16,
        16,
        24,
        32,
        32,
        48,
        48,
        64,
        72,
        384,
    ]


def test_the_published_network_hears_speech(pretrained: System, published: Path) -> None:
    """With the published classifier behind it, our trunk and front end say of a synthetic voice: speech, and speech synthesizer."""
    state = torch.load(published, weights_only=True)
    signal = torch.tensor(audio.load(SPOKEN / "two-moods.flac", 32_000))[None]
    with torch.inference_mode():
        pooled = pretrained.network.features(pretrained.features(signal)[0]).mean((2, 3))  # type: ignore[operator]
        hidden = torch.nn.functional.hardswish(pooled @ state["classifier.2.weight"].T + state["classifier.2.bias"])
        shares = torch.sigmoid(hidden @ state["classifier.5.weight"].T + state["classifier.5.bias"])[0]
        assert set(shares.topk(2).indices.tolist()) == {0, 7}  # AudioSet's "Speech" and "Speech synthesizer"
        assert shares[0] > 0.5


def test_the_trunk_has_every_published_number(pretrained: System, published: Path) -> None:
    state = torch.load(published, weights_only=True)
    own = pretrained.network.features.state_dict(prefix="features.")  # type: ignore[operator]
    assert own.keys() == {key for key in state if key.startswith("features.")}
    assert all(torch.equal(own[key], state[key]) for key in own)
    assert sum(p.numel() for p in pretrained.parameters()) < 700_000


def test_other_weights_are_refused(tmp_path: Path) -> None:
    network = MobileNet(8, (1, 128, 401))
    torch.save({"features.0.0.weight": torch.zeros(8, 1, 3, 3)}, tmp_path / "w.pt")
    with pytest.raises(RecipeError, match="is missing; expected EfficientAT's mn04_as"):
        read_weights(network, str(tmp_path / "w.pt"), AUDIOSET)
    wide = MobileNet(8, (1, 128, 401), width=1.0).state_dict()
    torch.save(wide, tmp_path / "wide.pt")
    with pytest.raises(RecipeError, match="has shape"):
        read_weights(network, str(tmp_path / "wide.pt"), AUDIOSET)
    with pytest.raises(ValueError, match="at least 32 mels and frames"):
        MobileNet(8, (1, 128, 20))


def test_kaldi_filters() -> None:
    """Unit height, neighbours sum to one between the first and the last centre, over mels."""
    filters = mel_filters(32_000, 1024, 128, 0.0, 15_000.0, "kaldi")
    bins = np.arange(513) * 32_000 / 1024
    inside = (bins > 100) & (bins < 14_000)
    np.testing.assert_allclose(filters.sum(0)[inside], 1.0, atol=1e-9)
    assert filters.max() <= 1 and filters[:, bins > 15_000].sum() == 0
    centre = 700 * (np.exp(np.linspace(0, 1127 * np.log1p(15_000 / 700), 130)[100] / 1127) - 1)
    assert abs(bins[filters[99].argmax()] - centre) < 32_000 / 1024


@pytest.mark.parametrize("pooling", ["mean", "attention", "blstm"])
def test_every_part_learns(pooling: str) -> None:
    torch.manual_seed(0)
    network = MobileNet(4, (1, 64, 320), pooling=pooling, lstm_units=16, dropout=0.0)  # type: ignore[arg-type]
    features, frames = torch.randn(3, 1, 64, 320), torch.tensor([320, 160, 20])
    logits, embedding = network(features, frames)
    assert logits.shape == (3, 4) and embedding.shape == (3, network.embedding_size)
    logits.square().sum().backward()
    still = {"attention.score.bias"}  # a softmax doesn't see it
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all()
        assert name in still or parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("pooling", ["mean", "attention"])
def test_steps_behind_the_end_have_no_say(pooling: str) -> None:
    network = MobileNet(4, (1, 64, 320), pooling=pooling).eval()  # type: ignore[arg-type]
    if network.attention is not None:
        torch.nn.init.normal_(network.attention.score.weight)
    network.features = torch.nn.Sequential()  # the trunk's answers are given
    steps, frames = torch.randn(2, 384, 2, 10), torch.tensor([320, 100])
    later = steps.clone()
    later[1, :, :, 4:] += 10  # 100 frames end in the fourth step
    assert torch.equal(network(steps, frames)[0], network(later, frames)[0])
    later[1, :, :, 3] += 10
    assert not torch.equal(network(steps, frames)[0], network(later, frames)[0])
    torch.testing.assert_close(network(steps, None)[0][0], network(steps, frames)[0][0])


def test_it_learns_eight_clips() -> None:
    torch.manual_seed(1)
    network = MobileNet(2, (1, 64, 96), dropout=0.0)
    features = torch.randn(8, 1, 64, 96)
    labels = torch.tensor([0, 1] * 4)
    features[labels == 1, :, :20] += 1.0
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3)
    for _ in range(30):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(features)[0], labels).backward()
        optimizer.step()
    assert (network(features)[0].argmax(1) == labels).all()
