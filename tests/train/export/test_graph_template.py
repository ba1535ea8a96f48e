"""A graph that is filled with other weights equals the export of these weights."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest
import torch

from kanjo.train.config.loading import load_recipe
from kanjo.train.export import graph_template
from kanjo.train.export import onnx as export
from kanjo.train.export.onnx import export_onnx
from kanjo.train.models.emotion_model import EmotionModel, build_emotion_model
from tests.graph_fixtures import run_graph

WINDOW = 16_000


@pytest.fixture(autouse=True)
def no_template() -> Iterator[None]:
    graph_template._templates.clear()
    yield
    graph_template._templates.clear()


def make_model(n_emotions: int = 3) -> EmotionModel:
    torch.manual_seed(0)
    recipe = load_recipe(
        "whisper-tiny", ["model.weights=none", "model.layers=[1]", "audio.window_s=1", "audio.hop_s=1"]
    )
    model = build_emotion_model(recipe, n_emotions).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # the exporter merges equal weights, such as those of new layer norms
            parameter.add_(0.01 * torch.randn_like(parameter))
    return model


def probabilities(graph: bytes, **inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    (result,) = run_graph(graph, ["probabilities"], **inputs)
    return result


def change_heads(model: EmotionModel) -> None:
    with torch.no_grad():
        for parameter in model.model.output.parameters():
            parameter.normal_(generator=torch.Generator().manual_seed(1))


def test_second_export_is_the_graph_of_the_first_with_its_own_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_model()
    first = export_onnx(model, 1.0, WINDOW, 1.5, structure="a")
    change_heads(model)
    with monkeypatch.context() as patch:
        patch.setattr(export, "_run_exporter", None)  # an error if it were called
        second = export_onnx(model, 0.5, WINDOW, 2.5, structure="a")
    graph_template._templates.clear()
    assert second == export_onnx(model, 0.5, WINDOW, 2.5, structure="a"), "another process writes the same bytes"
    signal = np.random.default_rng(0).normal(0, 0.1, (1, WINDOW)).astype(np.float32)
    speaker = np.append(np.ones(model.speaker_size), 1)[None].astype(np.float32)
    plain = export_onnx(model, 0.5, WINDOW, 2.5)
    for inputs in ({"signal": signal}, {"signal": signal, "speaker": speaker}):
        expected = probabilities(plain, **inputs)
        np.testing.assert_allclose(probabilities(second, **inputs), expected, atol=1e-6)
        assert np.abs(probabilities(first, **inputs) - expected).max() > 0.01


def test_other_structure_is_exported_again() -> None:
    export_onnx(make_model(), 1.0, WINDOW, structure="a")
    other = make_model(n_emotions=4)
    graph = export_onnx(other, 1.0, WINDOW, structure="b")
    signal = np.zeros((1, WINDOW), np.float32)
    assert probabilities(graph, signal=signal).shape == (1, 4)


def test_graph_with_merged_weights_is_not_kept() -> None:
    model = make_model()
    attention = model.model.encoder.layers[0].self_attn
    with torch.no_grad():
        attention.q_proj.bias.copy_(attention.v_proj.bias)
    graph = export_onnx(model, 0.5, WINDOW, structure="a")
    assert not graph_template._templates
    signal = np.random.default_rng(0).normal(0, 0.1, (1, WINDOW)).astype(np.float32)
    expected = probabilities(export_onnx(model, 0.5, WINDOW), signal=signal)
    np.testing.assert_allclose(probabilities(graph, signal=signal), expected, atol=1e-6)


def test_weight_that_is_not_in_the_graph_must_be_the_same() -> None:
    model = make_model()
    export_onnx(model, 1.0, WINDOW, structure="a")
    (template,) = graph_template._templates
    assert "feature_extractor.mean" in template.other_weights
    assert graph_template.fill(template.structure, export.ExportGraph(model, 1.0)) is not None
    model.feature_extractor.mean.add_(1)
    assert graph_template.fill(template.structure, export.ExportGraph(model, 1.0)) is None
