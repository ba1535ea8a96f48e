"""Graph edits: the outputs of the edited graph equal the formulas in NumPy."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch

from kanjo.train.calibration.ood import PcaResidualScorer, fit_pca_residual, ood_score
from kanjo.train.calibration.temperature import OodTemperature
from kanjo.train.export.onnx import export_onnx
from kanjo.train.export.onnx_surgery import OOD_OUTPUT, add_ood_output
from tests.graph_fixtures import EMBEDDING_SIZE, WINDOW, build_small_model, random_signal, run_graph, softmax

TEMPERATURE, TEMPERATURE_ENROLLED = 0.7, 0.8
OOD_TEMPERATURE = OodTemperature(max_ratio=1.6, exponent=2.5, exponent_enrolled=1.0)


@pytest.fixture(scope="module")
def graph() -> bytes:
    return export_onnx(build_small_model(), TEMPERATURE, WINDOW)


@pytest.fixture(scope="module")
def graph_with_speaker() -> bytes:
    return export_onnx(build_small_model(), TEMPERATURE, WINDOW, TEMPERATURE_ENROLLED)


def _fit_scorer(graph: bytes, *, unit_norm: bool) -> PcaResidualScorer:
    (embeddings,) = run_graph(graph, ["embedding"], signal=random_signal(200))
    return fit_pca_residual(embeddings, unit_norm=unit_norm)


@pytest.mark.parametrize("unit_norm", [True, False])
def test_add_ood_output_gives_scores_of_scorer(graph: bytes, unit_norm: bool) -> None:
    scorer = _fit_scorer(graph, unit_norm=unit_norm)
    signal = random_signal(5, seed=1)
    before = run_graph(graph, ["probabilities", "embedding"], signal=signal)
    edited = add_ood_output(graph, scorer)
    scores, *after = run_graph(edited, [OOD_OUTPUT, "probabilities", "embedding"], signal=signal)
    assert scores.shape == (5,)
    np.testing.assert_allclose(scores, ood_score(scorer, before[1]), rtol=1e-4)
    for value, expected in zip(after, before, strict=True):
        np.testing.assert_array_equal(value, expected)


@pytest.mark.parametrize("has_speaker_input", [True, False])
def test_add_ood_output_with_temperature_divides_logits(
    graph: bytes, graph_with_speaker: bytes, has_speaker_input: bool
) -> None:
    source = graph_with_speaker if has_speaker_input else graph
    scorer = _fit_scorer(source, unit_norm=False)
    edited = add_ood_output(source, scorer, OOD_TEMPERATURE)
    signal, model = random_signal(20, seed=2), build_small_model()
    with torch.inference_mode():
        logits, embedding = (value.numpy() for value in model(torch.from_numpy(signal)))
    probabilities, scores = run_graph(edited, ["probabilities", OOD_OUTPUT], signal=signal)
    ratio = np.clip(scores / scorer.median_score, 1, OOD_TEMPERATURE.max_ratio)[:, None]
    assert ratio.min() == 1 and ratio.max() > 1.2
    np.testing.assert_allclose(probabilities, softmax(logits / (TEMPERATURE * ratio**2.5)), atol=1e-5)
    if has_speaker_input:
        mean = torch.from_numpy(embedding.mean(0))
        with torch.inference_mode():
            logits = model(torch.from_numpy(signal), mean.expand(20, -1), torch.ones(20, 1))[0].numpy()
        speaker = np.append(mean.numpy(), 1)[None].astype(np.float32)
        (probabilities,) = run_graph(edited, ["probabilities"], signal=signal, speaker=speaker)
        np.testing.assert_allclose(probabilities, softmax(logits / (TEMPERATURE_ENROLLED * ratio)), atol=1e-5)


def test_speaker_input_left_out_gives_probabilities_without_enrollment(graph: bytes, graph_with_speaker: bytes) -> None:
    signal = random_signal(3, seed=3)
    (expected,) = run_graph(graph, ["probabilities"], signal=signal)
    (probabilities,) = run_graph(graph_with_speaker, ["probabilities"], signal=signal)
    np.testing.assert_allclose(probabilities, expected, atol=1e-6)


def test_speaker_input_one_row_equals_one_row_per_window(graph_with_speaker: bytes) -> None:
    signal = random_signal(3, seed=4)
    speaker = np.append(np.full(EMBEDDING_SIZE, 0.1), 1)[None].astype(np.float32)
    (one_row,) = run_graph(graph_with_speaker, ["probabilities"], signal=signal, speaker=speaker)
    (three_rows,) = run_graph(graph_with_speaker, ["probabilities"], signal=signal, speaker=speaker.repeat(3, 0))
    np.testing.assert_allclose(one_row, three_rows, atol=1e-6)


def test_add_ood_output_keeps_names_of_constants(graph_with_speaker: bytes) -> None:
    """Built-in graphs have these names too."""
    edited = add_ood_output(graph_with_speaker, _fit_scorer(graph_with_speaker, unit_norm=True), OOD_TEMPERATURE)
    names = {tensor.name for tensor in onnx.load_model_from_string(edited).graph.initializer}
    ood = {"ood.mean", "ood.components", "ood.threshold", "ood.zero", "ood.axis", "ood.min_norm"}
    temperature = {"median", "one", "last", "end", "exponent_plain", "exponent_difference", "max_ratio"}
    assert ood | {f"ood_temperature.{name}" for name in temperature} <= names
