"""Training in two stages: the commands on a tiny corpus, and overfitting real clips."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from kanjo.errors import RecipeError
from kanjo.experiments.run_folder import RunFolder
from kanjo.train.cost_estimate import estimate_cost
from kanjo.train.data.experiment_data import ExperimentData, train_val_datasets
from kanjo.train.data.segment_feature_cache import segment_feature_datasets
from kanjo.train.fit import build_training_run
from kanjo.train.models.emotion_model import EmotionModel, build_emotion_model
from kanjo.train.tasks.base import TaskPaths
from kanjo.train.tasks.two_stage import count_segments, find_stage1_weights, stage1_key, train_stage1
from tests.conftest import read_table, train_arguments
from tests.shell import run_kanjo
from tests.train.training import eight_clips, fit_in, load_data

#: The published recipe with windows of one second, small images and few epochs.
TINY = """
name: tiny-dcnn
corpora: [ravdess]
split: {protocol: speaker_kfold, n_folds: 4}
audio: {window_s: 1.0, hop_s: 0.5}
features:
  {n_fft: 400, hop_length: 160, n_mels: 64, fmin: 20, fmax: 8000, mel_scale: htk, with_deltas: true,
   normalization: image}
model:
  {type: dcnn-blstm-attention, weights: none, segment: {size: 63}, lstm_units: 16, dense_units: [32, 16]}
stage1:
  {epochs: 2, batch_size: 16, optimizer: adam, lr_schedule: exponential, lr_gamma: 0.7, min_lr_fraction: 0.1}
training:
  {epochs: 3, batch_size: 8, optimizer: adam, learning_rate: 3.0e-3, lr_schedule: exponential, lr_gamma: 0.9}
ablations:
  no attention: [model.attention=mean]
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "tiny-dcnn.yaml"
    path.write_text(TINY, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def folder(recipe: Path, tiny_corpora: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run whose two stages were started by two commands."""
    folder = RunFolder(tmp_path_factory.mktemp("runs") / "first")
    command = train_arguments(recipe, tiny_corpora, folder.path)
    refused = run_kanjo(*command, "--stage", "stage2")
    assert refused.returncode == 1 and "--stage stage1 -o" in refused.stderr
    stage1 = run_kanjo("train", folder, "--corpus-root", tiny_corpora, "--stage", "stage1", "-o", folder)
    assert stage1.returncode == 0, stage1.stderr
    assert f"kanjo train {folder} --stage stage2 -o {folder}" in stage1.stderr
    assert not folder.bundle.exists()
    again = run_kanjo(*command, "--stage", "stage1")
    assert again.returncode == 1 and "is not empty" in again.stderr
    stage2 = run_kanjo(*command, "--stage", "stage2")
    assert stage2.returncode == 0, stage2.stderr
    assert "features of" in stage2.stderr
    return folder


def test_train_each_stage_writes_metrics_and_figures(folder: RunFolder) -> None:
    for stage, n_epochs in ((folder.stage1, 2), (folder, 3)):
        names = {path.name for path in stage.path.iterdir()}
        assert {"metrics.csv", "learning_curves.png", "confusion_matrix.png"} <= names
        assert any(name.startswith("events.out.tfevents") for name in names)
        rates = [float(row["learning_rate"]) for row in read_table(stage.metrics)]
        assert len(rates) == n_epochs
        gamma = {2: 0.7, 3: 0.9}[n_epochs]
        assert rates == pytest.approx([rates[0] * gamma**epoch for epoch in range(n_epochs)], rel=1e-4)
        assert rates[0] == pytest.approx({2: 1e-3, 3: 3e-3}[n_epochs])  # that of the epoch, not of the next
    stage1_log, log = (stage.log.read_text(encoding="utf-8") for stage in (folder.stage1, folder))
    assert "stage 1: best epoch" in stage1_log and "epoch 2 of 2" in stage1_log and "epoch 3 of 3" not in stage1_log
    assert "epoch 3 of 3" in log and "epoch 2 of 2" not in log
    assert str(folder.stage1.log) in log and str(folder.stage1_weights) in log


def test_train_stage1_saves_the_cnn_and_removes_checkpoints(folder: RunFolder) -> None:
    assert not folder.stage1.checkpoints.exists()
    with safe_open(folder.stage1_weights, "pt") as content:
        assert "features.0.weight" in content.keys()  # noqa: SIM118, safe_open is not a mapping
        assert len(content.metadata()["key"]) == 64


def test_train_minutes_are_those_of_both_stages(folder: RunFolder) -> None:
    seconds = [float(row["seconds"]) for stage in (folder.stage1, folder) for row in read_table(stage.metrics)]
    minutes = json.loads(folder.scores.read_text(encoding="utf-8"))["training_minutes"]
    assert len(seconds) == 5 and minutes == pytest.approx(sum(seconds) / 60, abs=1e-3)


def test_train_two_stages_exports_a_bundle_that_predicts(folder: RunFolder, tiny_corpora: Path) -> None:
    metadata = json.loads((folder.bundle / "bundle.json").read_text(encoding="utf-8"))
    assert metadata["export_check"]["largest_difference"] <= 1e-4
    clip = next((tiny_corpora / "ravdess").glob("*/*.wav"))
    result = run_kanjo("predict", "--model", folder, clip, "--format", "json")
    assert result.returncode == 0, result.stderr
    assert list(json.loads(result.stdout)[0]["probabilities"]) == metadata["labels"]


@pytest.mark.slow
def test_ablate_variants_of_stage2_share_stage1(recipe: Path, tiny_corpora: Path, tmp_path: Path) -> None:
    command = ["ablate", recipe, "--corpus-root", tiny_corpora, "-o", tmp_path / "table"]
    command += ["--set", "stage1.epochs=1", "--set", "training.epochs=1"]
    result = run_kanjo(*command)
    assert result.returncode == 0, result.stderr
    rows = read_table(tmp_path / "table" / "ablations.csv")
    assert [row["variant"] for row in rows] == ["original", "no attention"]
    stages = list((tmp_path / "table").glob("*/stage1"))
    assert [path.parent.name for path in stages] == ["original"]
    again = run_kanjo(*command, "--resume")
    assert again.stdout == result.stdout and "epoch 1" not in again.stderr


def test_train_stage1_missing_weights_file_fails(recipe: Path, tiny_corpora: Path, tmp_path: Path) -> None:
    data = load_data(recipe, tiny_corpora, "model.weights=nothing.pth")
    with pytest.raises(RecipeError, match=r"nothing\.pth"):
        train_stage1(data, data.fold(1), RunFolder(tmp_path).stage1_paths)


def test_train_stage1_recipe_without_stage1_fails(recipe: Path, tiny_corpora: Path, tmp_path: Path) -> None:
    data = load_data(recipe, tiny_corpora, "stage1=null")
    with pytest.raises(RecipeError, match="has no stage 1"):
        train_stage1(data, data.fold(1), RunFolder(tmp_path).stage1_paths)


@pytest.mark.slow
@pytest.mark.parametrize("override", ["model.freeze=true", "model.freeze=false"])
def test_estimate_cost_two_stages_adds_up(recipe: Path, tiny_corpora: Path, override: str) -> None:
    data = load_data(recipe, tiny_corpora, override)
    cost = estimate_cost(data, data.fold(1))
    assert 0 < cost.stage1_minutes < cost.minutes and cost.n_parameters > 1e6
    n_train = len(data.fold(1).train)
    assert cost.steps_per_epoch == -(-n_train // data.recipe.training.batch_size)
    without = load_data(recipe, tiny_corpora, override, "stage1=null")
    assert estimate_cost(without, without.fold(1)).stage1_minutes == 0


def test_find_stage1_weights_ignores_settings_of_stage2(
    folder: RunFolder, recipe: Path, tiny_corpora: Path, tmp_path: Path
) -> None:
    data = load_data(recipe, tiny_corpora, "model.attention=mean", "training.epochs=9")
    beside = RunFolder(folder.path.parent / "another").stage1_candidates
    assert find_stage1_weights(data, data.fold(1), beside) == folder.stage1_weights
    assert find_stage1_weights(data, data.fold(1), RunFolder(tmp_path / "elsewhere").stage1_candidates) is None
    assert find_stage1_weights(data, data.fold(2), folder.stage1_candidates) is None


@pytest.mark.parametrize(
    "change",
    ["stage1.epochs=9", "features.with_deltas=false", "augment.max_speed_change=0.1", "labels.include=[anger, calm]"],
)
def test_find_stage1_weights_settings_of_stage1_must_be_equal(
    change: str, folder: RunFolder, recipe: Path, tiny_corpora: Path
) -> None:
    data, other = load_data(recipe, tiny_corpora), load_data(recipe, tiny_corpora, change)
    assert stage1_key(other, other.fold(1)) != stage1_key(data, data.fold(1))
    assert find_stage1_weights(other, other.fold(1), folder.stage1_candidates) is None


def test_segment_feature_datasets_are_computed_once_and_give_the_logits_of_the_model(
    recipe: Path, tiny_corpora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = load_data(recipe, tiny_corpora)
    emotion_model = _build(data).eval()
    windows = train_val_datasets(data, data.fold(1))
    train, validation = segment_feature_datasets(emotion_model, windows, tmp_path, bf16=False)
    batch = validation.__getitems__([0, 3])
    with torch.inference_mode():
        logits = emotion_model.model.head(batch["features"].float(), batch["count"])[0]
        expected = emotion_model(windows[1].__getitems__([0, 3])["signal"])[0]
    torch.testing.assert_close(logits, expected, atol=1e-3, rtol=1e-3)
    assert train.values.dtype == np.float16 and isinstance(train.values, np.memmap)
    monkeypatch.setattr("kanjo.train.data.segment_feature_cache._compute_features", None)
    again, _ = segment_feature_datasets(emotion_model, windows, tmp_path, bf16=False)
    assert np.array_equal(again.values, train.values)


def test_build_training_run_unfrozen_cnn_gets_gradients(recipe: Path, tiny_corpora: Path) -> None:
    data = load_data(recipe, tiny_corpora, "model.freeze=false", "stage1=null")
    run = build_training_run(data, data.fold(1))
    logits, targets = run.module.training_logits(next(iter(run.train_loader)))
    torch.nn.functional.cross_entropy(logits, targets).backward()
    assert run.emotion_model.model.extractor.features[0].weight.grad.abs().max() > 0


def test_build_training_run_starts_from_weights_of_stage1(
    folder: RunFolder, recipe: Path, tiny_corpora: Path, tmp_path: Path
) -> None:
    data = load_data(recipe, tiny_corpora)
    paths = TaskPaths(folder.stage1_weights, tmp_path / "features")
    cnn = build_training_run(data, data.fold(1), task_paths=paths).emotion_model.model.extractor
    for name, value in load_file(folder.stage1_weights).items():
        assert torch.equal(cnn.state_dict()[name], value), name


@pytest.mark.slow
def test_each_stage_overfits_eight_clips(ravdess_clips: list[Path], tmp_path: Path) -> None:
    overrides = [
        "model.weights=none",
        "model.extractor_dropout=0",
        "model.segment.hop=64",
        "stage1.lr_gamma=1",
        "stage1.epochs=4",
        "stage1.batch_size=16",
        "stage1.learning_rate=3e-4",
        "training.lr_gamma=1",
        "training.epochs=30",
        "training.learning_rate=1e-3",
        "training.early_stopping_patience=30",
    ]
    data, fold = eight_clips("dcnn-blstm-attention", ravdess_clips, tmp_path, *overrides)
    repeated = replace(fold, train=10 * fold.train)  # fewer epochs, because a checkpoint has 0.7 GB
    folder = RunFolder(tmp_path / "run")
    stage1 = train_stage1(data, repeated, folder.stage1_paths)
    assert stage1.best.validation_uar > 0.9, "UAR of segments"
    windows = train_val_datasets(data, fold)[0]
    assert len(stage1.labels) == sum(count_segments(_build(data), windows))
    trained = fit_in(folder.path, data, fold, stage1.path)
    assert trained.validation_uar == 1.0
    assert RunFolder(stage1.path.parent).segment_features.is_dir()


def _build(data: ExperimentData) -> EmotionModel:
    return build_emotion_model(data.recipe, len(data.emotions))
