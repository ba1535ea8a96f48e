"""DCNN-BLSTM with attention: its parts against what they claim to be, and masking."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from kanjo.errors import RecipeError
from kanjo.train.config.loading import load_recipe
from kanjo.train.models import pretrained_weights
from kanjo.train.models.alexnet import AlexNet
from kanjo.train.models.dcnn_blstm import MaskedLstm, SelfAttention, UtteranceHead, inside, masked_mean
from kanjo.train.models.layers.segments import Segments, resize_matrix
from kanjo.train.tasks.base import System, system_of
from tests.corpora_fixtures import RATE, tone

#: torchvision.models.alexnet().state_dict(), as torchvision 0.21 prints it.
TORCHVISION = {
    "features.0.weight": (64, 3, 11, 11), "features.0.bias": (64,),
    "features.3.weight": (192, 64, 5, 5), "features.3.bias": (192,),
    "features.6.weight": (384, 192, 3, 3), "features.6.bias": (384,),
    "features.8.weight": (256, 384, 3, 3), "features.8.bias": (256,),
    "features.10.weight": (256, 256, 3, 3), "features.10.bias": (256,),
    "classifier.1.weight": (4096, 9216), "classifier.1.bias": (4096,),
    "classifier.4.weight": (4096, 4096), "classifier.4.bias": (4096,),
    "classifier.6.weight": (1000, 4096), "classifier.6.bias": (1000,),
}  # fmt: skip


def _published(seed: int = 0) -> dict[str, Tensor]:
    """Random weights in torchvision's names and shapes, of a size that keeps activations alive."""
    generator = torch.Generator().manual_seed(seed)
    return {
        key: torch.randn(shape, generator=generator) * (np.prod(shape[1:]) ** -0.5 if len(shape) > 1 else 0.01)
        for key, shape in TORCHVISION.items()
    }


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "alexnet.pth"
    torch.save(_published(), path)
    return path


@pytest.fixture(scope="module")
def system() -> System:
    torch.manual_seed(0)
    return system_of(load_recipe("dcnn-blstm-attention", ["network.weights=none"]), 5).eval()


@pytest.mark.parametrize(("n_in", "n_out"), [(64, 227), (64, 64), (100, 40), (7, 227)])
def test_resizing_is_torchs_interpolation(n_in: int, n_out: int) -> None:
    image = torch.randn(2, 3, n_in, 64)
    matrix = resize_matrix(n_in, n_out)
    expected = F.interpolate(image, (n_out, 64), mode="bilinear", antialias=True)
    torch.testing.assert_close(matrix @ image, expected, atol=1e-5, rtol=0)


def test_segments_are_cut_and_resized_as_published() -> None:
    segments = Segments(64, 401)
    features = torch.randn(2, 3, 64, 401)
    found = segments(features)
    assert found.shape == (2, 11, 3, 227, 227)
    for s in range(11):
        by_torch = F.interpolate(features[..., 32 * s : 32 * s + 64], (227, 227), mode="bilinear", antialias=True)
        torch.testing.assert_close(found[:, s], by_torch, atol=1e-5, rtol=0)
    picked = segments.pick(features, torch.tensor([1, 0, 1]), torch.tensor([0, 10, 4]))
    torch.testing.assert_close(picked, found[[1, 0, 1], [0, 10, 4]], atol=1e-5, rtol=0)
    assert picked.is_contiguous(memory_format=torch.channels_last)


def test_only_whole_segments_count_and_there_is_always_one() -> None:
    segments = Segments(64, 301)
    frames = torch.tensor([1, 63, 64, 95, 96, 287, 288, 301])
    assert segments.count(frames).tolist() == [1, 1, 1, 1, 2, 7, 8, 8]
    with pytest.raises(ValueError, match="the window has 50 frames, a segment 64"):
        Segments(64, 50)


def test_alexnet_is_torchvisions(published: Path) -> None:
    network = AlexNet(1000).eval()
    assert {key: tuple(value.shape) for key, value in network.state_dict().items()} == TORCHVISION
    assert sum(p.numel() for p in network.parameters()) == 61_100_840
    state = torch.load(published, weights_only=True)
    network.load_state_dict(state)
    images = torch.randn(2, 3, 227, 227)

    def layer(name: str, x: Tensor, **settings: int) -> Tensor:
        return F.relu(F.conv2d(x, state[f"features.{name}.weight"], state[f"features.{name}.bias"], **settings))

    # torchvision's forward, written out: convolution, ReLU, pooling
    x = F.max_pool2d(layer("0", images, stride=4, padding=2), 3, 2)
    x = F.max_pool2d(layer("3", x, padding=2), 3, 2)
    x = layer("8", layer("6", x, padding=1), padding=1)
    x = F.adaptive_avg_pool2d(F.max_pool2d(layer("10", x, padding=1), 3, 2), (6, 6)).flatten(1)
    x = F.linear(F.relu(F.linear(x, *_of(state, 1))), *_of(state, 4))
    torch.testing.assert_close(network.embed(images), x, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(network(images), F.linear(F.relu(x), *_of(state, 6)), atol=1e-4, rtol=1e-4)


def _of(state: dict[str, Tensor], n: int) -> tuple[Tensor, Tensor]:
    return state[f"classifier.{n}.weight"], state[f"classifier.{n}.bias"]


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_published_weights_load_and_the_last_layer_is_ones_own(published: Path, tmp_path: Path, suffix: str) -> None:
    path = published
    if suffix == ".safetensors":
        save_file(_published(), path := tmp_path / "w.safetensors")
    network = AlexNet(8)
    own = network.classifier[6].weight.detach().clone()
    pretrained_weights.read_weights(network, str(path))
    assert torch.equal(network.features[0].weight, _published()["features.0.weight"])
    assert torch.equal(network.classifier[6].weight, own)


def test_weights_of_the_same_emotions_keep_their_last_layer(tmp_path: Path) -> None:
    first, second = AlexNet(8), AlexNet(8)
    save_file(first.state_dict(), tmp_path / "mine.safetensors")
    pretrained_weights.read_weights(second, str(tmp_path / "mine.safetensors"))
    assert torch.equal(first.classifier[6].weight, second.classifier[6].weight)


class _Trap:
    def __reduce__(self) -> Any:
        return (print, ("this must never run",))


_OTHERS: dict[str, tuple[Callable[[], Any], str]] = {
    "shape": (
        lambda: {**_published(), "features.0.weight": torch.zeros(64, 1, 11, 11)},
        r"features.0.weight has shape \(64, 1, 11, 11\), expected",
    ),
    "missing": (
        lambda: {k: v for k, v in _published().items() if k != "features.8.bias"},
        "features.8.bias is missing",
    ),
    "extra": (
        lambda: {**_published(), "layer4.weight": torch.zeros(1)},
        "layer4.weight is unknown; expected torchvision's AlexNet",
    ),
    "pickle": (lambda: {"state_dict": _Trap()}, "holds pickled objects, which may run code"),
    "list": (lambda: [1, 2], "holds list, expected a state dict"),
    "dict": (lambda: {"epoch": 3}, "holds dict, expected a state dict"),
    "noise": (lambda: b"no file of weights", "not a file of weights"),
    "cut": (lambda: b"PK\x03\x04 and no more", "not a file of weights"),
    "empty": (lambda: b"", "not a file of weights"),
}


@pytest.mark.parametrize("kind", _OTHERS)
def test_other_weights_are_refused_in_a_line(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make, said = _OTHERS[kind]
    content, path = make(), tmp_path / "w.pth"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    with pytest.raises(RecipeError, match=said) as caught:
        pretrained_weights.read_weights(AlexNet(8), str(path))
    assert len(str(caught.value).splitlines()) == 1
    assert "must never run" not in capsys.readouterr().out


@settings(deadline=None)
@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode), st.sampled_from([".pth", ".safetensors"]))
def test_any_bytes_are_refused_in_a_line(tmp_path_factory: pytest.TempPathFactory, content: bytes, suffix: str) -> None:
    path = tmp_path_factory.mktemp("bytes") / f"w{suffix}"
    path.write_bytes(content)
    with pytest.raises(RecipeError) as caught:
        pretrained_weights._read(path)
    assert len(str(caught.value).splitlines()) == 1


def test_a_missing_file_of_weights_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        RecipeError, match="no such file; expected auto, none, imagenet, audioset, smart-turn or a file"
    ):
        pretrained_weights.read_weights(AlexNet(8), str(tmp_path / "nothing.pth"))


@pytest.fixture
def hub(tmp_path: Path, published: Path, monkeypatch: pytest.MonkeyPatch) -> pretrained_weights.Published:
    """The published file at an address of our own."""
    from kanjo.files import sha256

    place = tmp_path / "alexnet.pth"
    place.write_bytes(published.read_bytes())
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    monkeypatch.delenv("KANJO_WEIGHTS", raising=False)
    return replace(pretrained_weights.IMAGENET, url=place.as_uri(), sha256=sha256(place))


def test_imagenet_weights_are_fetched_once_and_checked(hub: pretrained_weights.Published, tmp_path: Path) -> None:
    network = AlexNet(8)
    pretrained_weights.read_weights(network, "imagenet", hub)
    assert torch.equal(network.features[3].weight, _published()["features.3.weight"])
    (tmp_path / "alexnet.pth").unlink()
    pretrained_weights.read_weights(network, "imagenet", hub)  # from torch's cache
    assert pretrained_weights.settled("auto", hub)[0] == "imagenet"


def test_a_folder_of_weights_is_looked_into_first(
    hub: pretrained_weights.Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "alexnet.pth").rename(tmp_path / "mine" / "alexnet.pth")
    monkeypatch.setenv("KANJO_WEIGHTS", str(tmp_path / "mine"))
    pretrained_weights.read_weights(AlexNet(8), "imagenet", hub)
    (tmp_path / "mine" / "alexnet.pth").write_bytes(b"other")
    with pytest.raises(RecipeError, match="not the file that was published"):
        pretrained_weights.read_weights(AlexNet(8), "imagenet", hub)


def test_a_file_that_is_not_the_published_one_is_refused(hub: pretrained_weights.Published, tmp_path: Path) -> None:
    content = (tmp_path / "alexnet.pth").read_bytes()
    (tmp_path / "alexnet.pth").write_bytes(content[:-100] + bytes(100))
    with pytest.raises(RecipeError, match="invalid hash value"):
        pretrained_weights.read_weights(AlexNet(8), "imagenet", hub)


def test_without_a_network_a_line_says_what_to_put_where(hub: pretrained_weights.Published, tmp_path: Path) -> None:
    (tmp_path / "alexnet.pth").unlink()
    with pytest.raises(RecipeError) as caught:
        pretrained_weights.read_weights(AlexNet(8), "imagenet", hub)
    said = str(caught.value)
    assert len(said.splitlines()) == 1
    assert f"at {tmp_path / 'hub' / 'hub' / 'checkpoints' / hub.name}" in said and "network.weights" in said
    choice, why = pretrained_weights.settled("auto")
    assert choice == "none" and "random weights, not the paper's" in why
    assert pretrained_weights.settled("none") == ("none", "")


def test_the_masked_lstm_is_a_packed_blstm() -> None:
    lstm = MaskedLstm(6, 4)
    both = nn.LSTM(6, 4, batch_first=True, bidirectional=True)
    for key, value in lstm.forwards.state_dict().items():
        getattr(both, key).data.copy_(value)
        getattr(both, f"{key}_reverse").data.copy_(lstm.backwards.state_dict()[key])  # type: ignore[union-attr]
    x, counts = torch.randn(3, 7, 6), torch.tensor([7, 1, 4])
    packed, _ = both(nn.utils.rnn.pack_padded_sequence(x, counts, batch_first=True, enforce_sorted=False))
    expected, _ = nn.utils.rnn.pad_packed_sequence(packed, batch_first=True)
    mask = inside(counts, 7).unsqueeze(2)
    torch.testing.assert_close(lstm(x, counts) * mask, expected * mask, atol=1e-6, rtol=0)


def test_attention_is_scaled_dot_product_averaged() -> None:
    attention, x, counts = SelfAttention(8), torch.randn(2, 5, 8), torch.tensor([5, 3])
    found = attention(x, inside(counts, 5))
    for row, count in enumerate(counts.tolist()):
        part = x[row : row + 1, :count]
        expected = F.scaled_dot_product_attention(
            attention.query(part), attention.key(part), attention.value(part)
        ).mean(1)
        torch.testing.assert_close(found[row : row + 1], expected, atol=1e-6, rtol=0)


def test_the_mean_leaves_out_what_is_not_there_even_if_it_is_no_number() -> None:
    x = torch.tensor([[[1.0], [3.0], [float("nan")]]])
    assert masked_mean(x, inside(torch.tensor([2]), 3)).item() == 2.0


@pytest.mark.parametrize("settings", [{}, {"bidirectional": False}, {"attention": "mean"}])
def test_what_stands_behind_the_segments_changes_nothing(settings: dict[str, Any]) -> None:
    head = UtteranceHead(12, 4, lstm_units=6, hidden=(10, 8), **settings).eval()
    x, counts = torch.randn(2, 5, 12), torch.tensor([3, 5])
    logits, embedding = head(x, counts)
    other = torch.where(inside(counts, 5).unsqueeze(2), x, float("nan"))
    torch.testing.assert_close(head(other, counts)[0], logits)
    torch.testing.assert_close(head(x[:1, :3], counts[:1])[0], logits[:1], atol=1e-6, rtol=0)
    assert embedding.shape == (2, 6 if settings.get("bidirectional") is False else 12)
    assert not torch.allclose(head(torch.randn(2, 5, 12), counts)[0], logits)


def test_padding_never_changes_the_answer(system: System) -> None:
    """Half a second to 3.9 s of tone, alone and with zeros behind it up to the window: the same logits."""
    for n in (RATE // 2, RATE, 40_000, 62_000):
        signal = torch.from_numpy(tone(4.0, 300))[None, :n]
        short = load_recipe(
            "dcnn-blstm-attention",
            ["network.weights=none", f"audio.window_s={max(n, 11_000) / RATE}", "audio.hop_s=0.5"],
        )
        alone = system_of(short, 5).eval()
        alone.load_state_dict(system.state_dict())
        with torch.inference_mode():
            padded = system(F.pad(signal, (0, 4 * RATE - n)))
            less = alone(F.pad(signal, (0, max(0, 11_000 - n))))
        torch.testing.assert_close(less[0], padded[0], atol=1e-5, rtol=0)
        torch.testing.assert_close(less[1], padded[1], atol=1e-5, rtol=0)


def test_company_in_the_batch_changes_nothing(system: System) -> None:
    one, other = torch.from_numpy(tone(4.0, 300))[None], torch.from_numpy(tone(4.0, 900, seed=3))[None] * 0.01
    other[:, 20_000:] = 0
    with torch.inference_mode():
        torch.testing.assert_close(system(torch.cat([one, other]))[0][:1], system(one)[0], atol=1e-5, rtol=0)


def test_silence_has_an_answer(system: System) -> None:
    with torch.inference_mode():
        assert torch.isfinite(system(torch.zeros(2, 4 * RATE))[0]).all()


def test_the_static_channel_alone_is_shown_three_times() -> None:
    recipe = load_recipe("dcnn-blstm-attention", ["network.weights=none", "frontend.with_deltas=false"])
    alone = system_of(recipe, 5)
    features, _ = alone.features(torch.from_numpy(tone(4.0))[None])
    assert features.shape == (1, 1, 64, 401)
    coloured = alone.network.coloured(features)  # type: ignore[operator]
    assert coloured.shape == (1, 3, 64, 401) and torch.equal(coloured[:, 0], coloured[:, 2])
