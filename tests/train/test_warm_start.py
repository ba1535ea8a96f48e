"""Training that starts from a bundle: the weights are those of the bundle, and its license and speakers are kept."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnx.numpy_helper
import pytest
import torch
from safetensors.torch import load_file, save_file

from kanjo import bundle
from kanjo.errors import BundleError, RecipeError
from kanjo.inference import onnx_session
from kanjo.train.config.loading import load_recipe
from kanjo.train.data.experiment_data import ExperimentData, load_experiment_data
from kanjo.train.export.quantize import store_weights_fp16
from kanjo.train.models.emotion_model import EmotionModel, build_emotion_model
from kanjo.train.warm_start import initialize_from_bundle, source_metadata
from tests.conftest import TINY_RECIPE
from tests.corpora_fixtures import write_clip
from tests.shell import run_kanjo


@pytest.fixture(scope="module")
def own_table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of clips with two emotions of the tiny bundle, at its pitches, and one that it does not have."""
    root = tmp_path_factory.mktemp("own")
    lines = ["file,emotion,speaker"]
    for speaker in range(6):
        for n, (emotion, semitone) in enumerate((("happy", 3), ("angry", 5), ("boredom", 9))):
            for take in range(2):
                name = f"{speaker}-{emotion}-{take}.wav"
                write_clip(root / name, 1000 + 10 * speaker + 3 * take + n, 0.5, 150.0 * 1.3**semitone)
                lines.append(f"{name},{emotion},s{speaker}")
    (root / "own.csv").write_text("\n".join(lines) + "\n")
    return root / "own.csv"


@pytest.fixture
def copy(tiny_run: Path, tmp_path: Path) -> Path:
    """A copy of the tiny bundle."""
    return Path(shutil.copytree(tiny_run / "bundle", tmp_path / "copy"))


def _write_recipe(folder: Path, own_table: Path, init_from: Path | str) -> Path:
    path = folder / "warm.yaml"
    text = TINY_RECIPE.replace("name: tiny", "name: warm").replace("epochs: 25", "epochs: 2")
    text = text.replace("corpora: [ravdess]", f"corpora: [{{name: own, path: {own_table}}}]")
    path.write_text(text.replace("n_folds: 4", "n_folds: 3") + f"init_from: {init_from}\n")
    return path


def _initialize(
    folder: Path, own_table: Path, init_from: Path | str, *overrides: str
) -> tuple[EmotionModel, ExperimentData]:
    """Build a model for the table of clips and initialize it from a bundle."""
    data = load_experiment_data(load_recipe(str(_write_recipe(folder, own_table, init_from)), list(overrides)), None)
    model = build_emotion_model(data.recipe, len(data.emotions)).eval()
    initialize_from_bundle(model, data, data.fold(1))
    return model, data


def _store_fp16(folder: Path) -> None:
    """Replace the graph of a bundle by one with weights in fp16."""
    graph, n_tensors = store_weights_fp16((folder / bundle.GRAPH_FILE).read_bytes())
    assert n_tensors
    metadata = replace(bundle.read_bundle(folder).metadata, sha256=hashlib.sha256(graph).hexdigest())
    bundle.write_bundle(folder, graph, metadata)


@pytest.mark.parametrize("source", ["weights", "graph", "fp16"])
def test_initialize_from_bundle_gives_logits_of_bundle(
    copy: Path, own_table: Path, tmp_path: Path, source: str
) -> None:
    """Differences of logits do not depend on the emotions that only one of both has."""
    if source != "weights":
        (copy / bundle.WEIGHTS_FILE).unlink()
    if source == "fp16":
        _store_fp16(copy)
    model, data = _initialize(tmp_path, own_table, copy)
    assert data.emotions == ("anger", "boredom", "happiness")
    source_bundle = bundle.read_bundle(copy)
    signal = 0.1 * torch.randn(4, 16_000, generator=torch.Generator().manual_seed(0))
    session = onnx_session.create_session(source_bundle.graph, 1)
    (probabilities,) = session.run(["probabilities"], {"signal": signal.numpy()})
    logits = source_bundle.metadata.temperature * np.log(probabilities)
    anger, happiness = (source_bundle.metadata.labels.index(name) for name in ("anger", "happiness"))
    with torch.inference_mode():
        actual = model(signal)[0].numpy()
    np.testing.assert_allclose(actual[:, 0] - actual[:, 2], logits[:, anger] - logits[:, happiness], atol=1e-3)


def _remove_weights_and_rename_layer(folder: Path) -> None:
    """Make a weight of the graph impossible to find."""
    (folder / bundle.WEIGHTS_FILE).unlink()
    model = onnx.load(folder / bundle.GRAPH_FILE)
    for item in (*model.graph.initializer, *(node for node in model.graph.node)):
        if isinstance(item, onnx.TensorProto) and item.name == "model.output.bias":
            item.name = "other.bias"
        elif isinstance(item, onnx.NodeProto):
            names = ["other.bias" if name == "model.output.bias" else name for name in item.input]
            del item.input[:]
            item.input.extend(names)
    graph = model.SerializeToString()
    metadata = replace(bundle.read_bundle(folder).metadata, sha256=hashlib.sha256(graph).hexdigest())
    bundle.write_bundle(folder, graph, metadata)


def _damage_weights(folder: Path) -> None:
    """Change all weights of the file beside the graph."""
    state = load_file(folder / bundle.WEIGHTS_FILE)
    damaged = {name: value + 0.1 if value.dtype == torch.float32 else value for name, value in state.items()}
    save_file(damaged, folder / bundle.WEIGHTS_FILE)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_damage_weights, "its weights and its graph give different probabilities"),
        (_remove_weights_and_rename_layer, r"model\.output\.bias can't be read from the graph"),
    ],
)
def test_initialize_from_bundle_damaged_bundle_fails(
    copy: Path, own_table: Path, tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    damage(copy)
    with pytest.raises(BundleError, match=message):
        _initialize(tmp_path, own_table, copy)


def test_initialize_from_bundle_other_architecture_fails(copy: Path, own_table: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"the bundle tiny has another model .*model\.lstm_units is 8, expected 16"):
        _initialize(tmp_path, own_table, copy, "model.lstm_units=8")


def test_initialize_from_bundle_missing_bundle_fails(own_table: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="nowhere"):
        _initialize(tmp_path, own_table, tmp_path / "nowhere")


def test_source_metadata_without_init_from_is_empty() -> None:
    assert source_metadata(load_recipe("cnn-lstm-2d")) == []


def test_train_from_bundle_keeps_its_license_and_speakers(tiny_run: Path, own_table: Path, tmp_path: Path) -> None:
    done = run_kanjo("train", _write_recipe(tmp_path, own_table, tiny_run), "-o", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert "starts from the bundle tiny; shared emotions: anger, happiness" in done.stderr
    metadata, source = (bundle.read_bundle(run).metadata for run in (tmp_path / "run", tiny_run))
    assert metadata.labels == ("anger", "boredom", "happiness")
    assert metadata.license == "CC BY-NC-SA 4.0; the license of your own recordings"
    assert [corpus["name"] for corpus in metadata.corpora] == ["ravdess", "own"]
    assert set(source.split["train_speakers"]) <= set(metadata.split["train_speakers"])


def test_train_from_bundle_that_was_trained_on_test_speakers_reports_leak(
    tiny_run: Path, tiny_corpora: Path, tmp_path: Path
) -> None:
    recipe = tmp_path / "again.yaml"
    recipe.write_text(TINY_RECIPE.replace("epochs: 25", "epochs: 1") + f"init_from: {tiny_run}\n")
    done = run_kanjo("train", recipe, "-o", tmp_path / "run", "--corpus-root", tiny_corpora, "--fold", "2")
    assert done.returncode == 0, done.stderr
    assert "LEAK" in done.stderr and "2 of 2 test speakers" in done.stderr
    leakage = json.loads((tmp_path / "run" / "scores.json").read_text())["leakage"]
    assert any(line.startswith("LEAK") for line in leakage)


@pytest.mark.corpus
@pytest.mark.slow
def test_train_finetune_default_starts_from_built_in_bundle(corpora: Path, tmp_path: Path) -> None:
    """The tutorial's command, shortened: one epoch on Korean clips."""
    settings = ("corpora=[emotiontts]", "training.epochs=1", "training.refit_on_train_val=false")
    options = [word for setting in (*settings, "training.n_augmented_copies=0") for word in ("--set", setting)]
    run = tmp_path / "run"
    done = run_kanjo("train", "finetune-default", "--corpus-root", corpora, "-o", run, *options, "--skip-test")
    assert done.returncode == 0, done.stderr
    assert "starts from the bundle default; shared emotions: anger, happiness, neutral, sadness" in done.stderr
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    initializers = onnx.load(bundle.read_bundle("default").graph).graph.initializer
    source = {
        item.name.removesuffix(".fp16"): onnx.numpy_helper.to_array(item).astype(np.float32) for item in initializers
    }
    mean, weight = (
        next(value.numpy() for name, value in checkpoint.items() if name.endswith(end))
        for end in ("model.norm.mean", "model.output.weight")
    )
    np.testing.assert_allclose(mean, source["model.norm.mean"], atol=1e-3)
    shared = source["model.output.weight"].T[[0, 3, 4, 5]]
    assert 1e-3 < np.abs(weight - shared).max() < np.abs(shared).max()  # trained from the bundle's weights
