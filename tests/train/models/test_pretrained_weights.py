"""Initial weights: files of all formats, downloads, and files that can't be used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from kanjo.errors import RecipeError
from kanjo.files import sha256
from kanjo.train.models import pretrained_weights
from kanjo.train.models.pretrained_weights import (
    IMAGENET,
    PUBLISHED,
    PublishedWeights,
    fetch_weights,
    get_published_weights,
    read_weights,
    resolve_weights,
)
from tests.graph_fixtures import build_published_graph


class SmallCnn(nn.Module):
    """A model of two layers with names like AlexNet's."""

    def __init__(self, n_classes: int = 8) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3))
        self.classifier = nn.ModuleDict({"6": nn.Linear(4, n_classes)})


def _small_weights() -> dict[str, Tensor]:
    torch.manual_seed(1)
    return SmallCnn(1000).state_dict()


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PublishedWeights:
    """Weights that are published at a local address; torch's cache is empty."""
    path = tmp_path / "small.pth"
    torch.save(_small_weights(), path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv("KANJO_WEIGHTS", raising=False)
    return replace(IMAGENET, url=path.as_uri(), sha256=sha256(path))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_read_weights_file_loads_all_layers_but_the_classifier(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"weights{suffix}"
    save_file(_small_weights(), path) if suffix == ".safetensors" else torch.save(_small_weights(), path)
    model = SmallCnn()
    classifier_weight = model.classifier["6"].weight.detach().clone()
    read_weights(model, str(path))
    assert torch.equal(model.features[0].weight, _small_weights()["features.0.weight"])
    assert torch.equal(model.classifier["6"].weight, classifier_weight)


def test_read_weights_same_number_of_classes_loads_the_classifier(tmp_path: Path) -> None:
    first, second = SmallCnn(), SmallCnn()
    save_file(first.state_dict(), tmp_path / "weights.safetensors")
    read_weights(second, str(tmp_path / "weights.safetensors"))
    assert torch.equal(first.classifier["6"].weight, second.classifier["6"].weight)


def test_read_weights_none_leaves_the_model_unchanged() -> None:
    model = SmallCnn()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    read_weights(model, "none")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_read_weights_onnx_graph_uses_the_part_with_the_parent_prefix(tmp_path: Path) -> None:
    graph, weights = build_published_graph(quantize=False)
    onnx.save(graph, path := tmp_path / "graph.onnx")
    published = PublishedWeights(
        "donor", "the donor", "https://example.org/graph.onnx", "", (), ("layers.",), parent_prefix="trunk."
    )
    model = nn.Module()
    model.conv1 = nn.Conv1d(6, 6, 3)
    read_weights(model, str(path), published)
    np.testing.assert_allclose(model.conv1.weight.detach().numpy(), weights["trunk.conv1.weight"], atol=1e-6)
    model.conv2 = nn.Conv1d(6, 6, 3)
    with pytest.raises(RecipeError, match=r"conv2\.(weight|bias) is missing; expected the weights of the donor"):
        read_weights(model, str(path), published)
    path.write_bytes(b"no graph" * 9)
    with pytest.raises(RecipeError, match="not a file of weights"):
        read_weights(model, str(path), published)


class _RunsCode:
    """An object whose unpickling would call a function."""

    def __reduce__(self) -> Any:
        return (print, ("this must never run",))


_UNUSABLE: dict[str, tuple[Callable[[], Any], str]] = {
    "other-shape": (
        lambda: {**_small_weights(), "features.0.weight": torch.zeros(4, 1, 3, 3)},
        r"features.0.weight has shape \(4, 1, 3, 3\); expected \(4, 3, 3, 3\)",
    ),
    "missing-parameter": (
        lambda: {name: value for name, value in _small_weights().items() if name != "features.0.bias"},
        "features.0.bias is missing",
    ),
    "unknown-parameter": (
        lambda: {**_small_weights(), "layer4.weight": torch.zeros(1)},
        "layer4.weight is unknown; expected the weights of torchvision's AlexNet",
    ),
    "pickled-object": (lambda: {"state_dict": _RunsCode()}, "holds pickled objects, which may run code"),
    "list": (lambda: [1, 2], "holds list; expected a state dict"),
    "other-dict": (lambda: {"epoch": 3}, "holds dict; expected a state dict"),
    "text": (lambda: b"no file of weights", "not a file of weights"),
    "truncated": (lambda: b"PK\x03\x04 and no more", "not a file of weights"),
    "empty": (lambda: b"", "not a file of weights"),
}


@pytest.mark.parametrize("kind", _UNUSABLE)
def test_read_weights_unusable_file_is_an_error_of_one_line(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    create_content, message = _UNUSABLE[kind]
    content, path = create_content(), tmp_path / "weights.pth"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    with pytest.raises(RecipeError, match=message) as caught:
        read_weights(SmallCnn(), str(path))
    assert len(str(caught.value).splitlines()) == 1
    assert "must never run" not in capsys.readouterr().out


@settings(deadline=None)
@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode), st.sampled_from([".pth", ".safetensors"]))
def test_read_state_dict_any_bytes_are_an_error_of_one_line(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, suffix: str
) -> None:
    path = tmp_path_factory.mktemp("bytes") / f"weights{suffix}"
    path.write_bytes(content)
    with pytest.raises(RecipeError) as caught:
        pretrained_weights._read_state_dict(path)
    assert len(str(caught.value).splitlines()) == 1


def test_read_weights_missing_file_error_lists_the_names(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no such file; expected auto, none, imagenet, audioset, whisper-base"):
        read_weights(SmallCnn(), str(tmp_path / "nothing.pth"))


def test_get_published_weights_unknown_name_is_an_error() -> None:
    assert all(get_published_weights(name).name == name for name in PUBLISHED)
    with pytest.raises(RecipeError, match="expected one of imagenet, audioset, whisper-base"):
        get_published_weights(None)


def test_read_weights_by_name_downloads_once(published: PublishedWeights, tmp_path: Path) -> None:
    model = SmallCnn()
    read_weights(model, "imagenet", published)
    assert torch.equal(model.features[0].weight, _small_weights()["features.0.weight"])
    (tmp_path / "small.pth").unlink()
    read_weights(model, "imagenet", published)
    assert resolve_weights("auto", published)[0] == "imagenet"


def test_fetch_weights_folder_of_the_user_is_read_first(
    published: PublishedWeights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "user"
    folder.mkdir()
    (tmp_path / "small.pth").rename(folder / "small.pth")
    monkeypatch.setenv("KANJO_WEIGHTS", str(folder))
    assert fetch_weights(published).keys() == _small_weights().keys()
    (folder / "small.pth").write_bytes(b"other")
    with pytest.raises(RecipeError, match="is not the file that was published"):
        fetch_weights(published)


def test_fetch_weights_download_of_another_file_is_an_error(published: PublishedWeights, tmp_path: Path) -> None:
    content = (tmp_path / "small.pth").read_bytes()
    (tmp_path / "small.pth").write_bytes(content[:-100] + bytes(100))
    with pytest.raises(RecipeError, match="invalid hash value"):
        fetch_weights(published)


def test_fetch_weights_without_network_error_names_the_place_for_a_copy(
    published: PublishedWeights, tmp_path: Path
) -> None:
    (tmp_path / "small.pth").unlink()
    with pytest.raises(RecipeError) as caught:
        fetch_weights(published)
    message = str(caught.value)
    assert len(message.splitlines()) == 1 and "model.weights" in message
    assert f"at {tmp_path / 'torch' / 'hub' / 'checkpoints' / published.file_name}" in message


def test_resolve_weights_auto_without_network_is_none(published: PublishedWeights, tmp_path: Path) -> None:
    (tmp_path / "small.pth").unlink()
    weights, message = resolve_weights("auto", published)
    assert weights == "none" and "random weights, not the paper's" in message
    assert resolve_weights("none", published) == ("none", "")
