"""Export of a bundle: the graph equals the PyTorch model, and the metadata describe it. The model is not trained."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from kanjo import bundle
from kanjo.errors import BundleError
from kanjo.train.calibration.ood import fit_ood_scorer
from kanjo.train.calibration.temperature import OodTemperature
from kanjo.train.config.loading import load_recipe
from kanjo.train.data.datasets import WindowDataset
from kanjo.train.data.experiment_data import ExperimentData, load_experiment_data
from kanjo.train.export import bundle as export
from kanjo.train.export.bundle import combined_license, compute_graph_embeddings, export_bundle
from kanjo.train.export.onnx import ExportGraph, export_onnx
from kanjo.train.export.onnx_surgery import OOD_OUTPUT, add_ood_output
from kanjo.train.fit import TrainedModel, build_training_run
from kanjo.train.models.emotion_model import build_emotion_model
from kanjo.train.warm_start import initialize_from_bundle, load_bundle_model
from tests.graph_fixtures import run_graph

SPLIT = {"protocol": "speaker_kfold", "fold": 1}
FROZEN_ENCODER = [
    "split.protocol=speaker_kfold",
    "split.n_folds=4",
    "model.weights=none",
    "audio.window_s=1",
    "audio.hop_s=0.5",
    "model.layers=[1]",
    "training.precision=fp32",
    "training.n_augmented_copies=0",
]


@pytest.fixture(scope="module")
def data(tiny_recipe: Path, tiny_corpora: Path) -> ExperimentData:
    return load_experiment_data(load_recipe(str(tiny_recipe)), str(tiny_corpora))


@pytest.fixture(scope="module")
def trained(data: ExperimentData) -> TrainedModel:
    torch.manual_seed(0)
    model = build_emotion_model(data.recipe, len(data.emotions)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return TrainedModel(model, temperature=1.5, best_epoch=1, validation_uar=0.5, minutes=0.0)


@pytest.fixture(scope="module")
def exported(data: ExperimentData, trained: TrainedModel, tmp_path_factory: pytest.TempPathFactory) -> bundle.Bundle:
    return export_bundle(data, data.fold(1), trained, tmp_path_factory.mktemp("exported") / "bundle", SPLIT)


@pytest.mark.parametrize("batch_size", [1, 2, 7])
def test_export_bundle_graph_equals_saved_pytorch_model(exported: bundle.Bundle, batch_size: int) -> None:
    module = ExportGraph(load_bundle_model(exported), exported.metadata.temperature).eval()
    signal = np.random.default_rng(batch_size).normal(0, 0.1, (batch_size, 16_000)).astype(np.float32)
    with torch.inference_mode():
        expected = module(torch.from_numpy(signal))
    graph = exported.graph.read_bytes()
    probabilities, embedding = run_graph(graph, ["probabilities", "embedding"], signal=signal)
    np.testing.assert_allclose(probabilities, expected[0].numpy(), atol=1e-4)
    np.testing.assert_allclose(embedding, expected[1].numpy(), atol=1e-3)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)


def test_export_bundle_metadata_describes_model_and_data(exported: bundle.Bundle, data: ExperimentData) -> None:
    metadata = bundle.read_bundle(exported.folder).metadata
    assert metadata.labels == data.emotions and metadata.split == SPLIT and metadata.temperature == 1.5
    assert metadata.export_check["clips"] == 64 and metadata.export_check["largest_difference"] <= 1e-4
    assert metadata.license == "CC BY-NC-SA 4.0" and metadata.min_source_rate == 16_000
    (corpus,) = metadata.corpora
    assert (corpus["name"], corpus["speakers"], corpus["utterances"]) == ("ravdess", "6", "48")


def test_export_bundle_graph_has_no_paths_of_exporting_machine(exported: bundle.Bundle) -> None:
    content = exported.graph.read_bytes()
    assert b"site-packages" not in content and str(Path.cwd()).encode() not in content
    assert not onnx.load_from_string(content).graph.metadata_props, "notes that depend on earlier exports"


def test_export_bundle_with_other_temperature_fails_and_writes_nothing(
    data: ExperimentData, trained: TrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_onnx = export.export_onnx
    monkeypatch.setattr(export, "export_onnx", lambda model, t, *rest, **options: export_onnx(model, 3 * t, *rest))
    with pytest.raises(BundleError, match=r"PyTorch and ONNX Runtime differ by .* on 64 clips"):
        export_bundle(data, data.fold(1), trained, tmp_path / "bundle", SPLIT)
    assert not (tmp_path / "bundle").exists()


def test_export_bundle_with_ood_temperature_is_verified_described_and_can_start_training(
    data: ExperimentData, trained: TrainedModel, tmp_path: Path
) -> None:
    calibrated = replace(trained, ood_temperature=OodTemperature(1.6, 2.5, 1.0))
    exported = export_bundle(data, data.fold(1), calibrated, tmp_path / "bundle", SPLIT)
    ood_temperature = exported.metadata.ood_temperature
    median = ood_temperature["median"]
    assert ood_temperature == {"median": median, "max_ratio": 1.6, "exponent": 2.5, "exponent_enrolled": 1.0}
    assert f"min(max(1, ood_score / {median:.2f}), 1.60)^2.5" in (exported.folder / bundle.CARD_FILE).read_text()
    warm_data = replace(data, recipe=data.recipe.model_copy(update={"init_from": str(exported.folder)}))
    model = build_emotion_model(data.recipe, len(data.emotions)).eval()
    initialize_from_bundle(model, warm_data, data.fold(1))
    for name, value in trained.emotion_model.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], value)


def test_combined_license_lists_each_license_once(exported: bundle.Bundle) -> None:
    assert combined_license(["own", "ravdess"], exported.metadata) == (
        "CC BY-NC-SA 4.0; the license of your own recordings"
    )


def test_export_bundle_frozen_encoder_fits_ood_scorer_to_cached_embeddings(
    tiny_corpora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cached embeddings give the same scorer as the embeddings of the exported graph."""
    monkeypatch.setenv("KANJO_CACHE", str(tmp_path / "cache"))
    data = load_experiment_data(load_recipe("whisper-tiny", FROZEN_ENCODER), str(tiny_corpora))
    fold = data.fold(1)
    model = build_training_run(data, fold).emotion_model.eval()
    trained = TrainedModel(model, temperature=1.0, best_epoch=1, validation_uar=0.5, minutes=0.0)
    exported = export_bundle(data, fold, trained, tmp_path / "bundle", SPLIT)
    graph = export_onnx(model, 1.0, data.recipe.audio.window)
    scorer = fit_ood_scorer(fold, partial(compute_graph_embeddings, graph, data), unit_norm=False)
    windows = WindowDataset(data.audio_cache, fold.validation, data.labels, data.recipe.audio.window)
    signal = windows.__getitems__(range(len(windows)))["signal"].numpy()
    (expected,) = run_graph(add_ood_output(graph, scorer), [OOD_OUTPUT], signal=signal)
    (scores,) = run_graph(exported.graph.read_bytes(), [OOD_OUTPUT], signal=signal)
    np.testing.assert_allclose(scores, expected, atol=0.02)
