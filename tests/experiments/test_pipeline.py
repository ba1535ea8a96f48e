"""Training of one fold: dry run, test, validation scores; logging to MLflow."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from kanjo.experiments.pipeline import TrainOptions, train_fold
from kanjo.experiments.run_folder import RunFolder
from kanjo.train.config.loading import load_recipe
from tests.conftest import read_table, train_command
from tests.experiments.conftest import RecordingReporter
from tests.shell import run_kanjo

DRY_RUN = ("--dry-run", "-s", "--set", "split.protocol=speaker_kfold")


def test_train_fold_returns_the_scores_that_it_writes(
    tiny_recipe: Path, tiny_corpora: Path, tmp_path: Path, reporter: RecordingReporter
) -> None:
    recipe, folder = load_recipe(str(tiny_recipe), ["training.epochs=1"]), RunFolder(tmp_path / "run")
    result = train_fold(recipe, str(tiny_corpora), folder, TrainOptions(), reporter)
    assert result.test is not None and result.validation is None
    scores = json.loads(folder.scores.read_text())
    assert scores["uar"]["value"] == result.test.plain.scores.uar.value
    assert scores["n"] == len(read_table(folder.predictions)) == 16
    assert reporter.tasks == ["decoding", "testing"]
    assert reporter.log_lines and not reporter.messages
    log = folder.log.read_text()
    assert all(line in log for line in reporter.log_lines) and "test: UAR" in log


def test_train_fold_skip_test_writes_validation_scores_only(
    tiny_recipe: Path, tiny_corpora: Path, tmp_path: Path, reporter: RecordingReporter
) -> None:
    recipe, folder = load_recipe(str(tiny_recipe), ["training.epochs=1"]), RunFolder(tmp_path / "run")
    result = train_fold(recipe, str(tiny_corpora), folder, TrainOptions(skip_test=True), reporter)
    assert result.validation is not None and result.test is None
    assert json.loads(folder.validation.read_text()) == vars(result.validation)
    assert result.validation.uar == float(read_table(folder.metrics)[-1]["validation_uar"])
    assert not folder.bundle.exists() and not folder.scores.exists()


def test_skip_test_prints_the_validation_uar(tiny_recipe: Path, tiny_corpora: Path, tmp_path: Path) -> None:
    arguments = ("--skip-test", "-s", "--set", "training.epochs=1", "-o", tmp_path / "run")
    result = run_kanjo("train", tiny_recipe, "--corpus-root", tiny_corpora, *arguments)
    assert re.match(r"validation speakers: UAR [\d.]+ % after the last epoch. Best epoch 1", result.stdout)


def test_dry_run_prints_split_and_cost_and_writes_nothing(
    tiny_recipe: Path, tiny_corpora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run_kanjo("train", tiny_recipe, "--corpus-root", tiny_corpora, "--dry-run", "-s")
    assert result.returncode == 0, result.stderr
    assert "speaker-independent: none of the 2 test speakers" in result.stdout
    assert re.search(r"tiny: [\d,]+ parameters, emotions anger, calm", result.stdout)
    assert re.search(r"at most \d+ (s|min) for 25 epochs, \d\.\d GB of memory", result.stdout)
    assert not list(tmp_path.iterdir())


def test_dry_run_with_pretrained_weights_downloads_nothing(tiny_corpora: Path) -> None:
    result = run_kanjo("train", "mobilenet", "--corpus-root", tiny_corpora, *DRY_RUN)
    assert result.returncode == 0, result.stderr
    assert "mobilenet: 528,809 parameters" in result.stdout


def test_dry_run_of_two_stages_estimates_both(tiny_corpora: Path) -> None:
    result = run_kanjo("train", "dcnn-blstm-attention", "--corpus-root", tiny_corpora, *DRY_RUN)
    assert result.returncode == 0, result.stderr
    assert "epochs of stage 1; the steps are those of stage 2" in result.stdout


def test_resume_with_another_recipe_is_refused(tiny_run: Path, tiny_recipe: Path, tiny_corpora: Path) -> None:
    arguments = ("--corpus-root", tiny_corpora, "-o", tiny_run, "--resume", "--set", "training.epochs=2")
    result = run_kanjo("train", tiny_recipe, *arguments)
    assert result.returncode == 1 and "was started with another recipe" in result.stderr


def test_old_run_folder_is_refused_in_one_line(tiny_recipe: Path, tiny_corpora: Path, tmp_path: Path) -> None:
    text = tiny_recipe.read_text().replace("model:", "network:").replace("features:", "frontend:")
    (tmp_path / "recipe.yaml").write_text(text)
    arguments = ("--corpus-root", tiny_corpora, "-o", tmp_path, "--resume")
    result = run_kanjo("train", tiny_recipe, *arguments)
    assert result.returncode == 1 and len(result.stderr.splitlines()) == 1
    assert "network" in result.stderr and "model" in result.stderr


def test_metrics_are_logged_to_mlflow(tiny_recipe: Path, tiny_corpora: Path, tmp_path: Path) -> None:
    pytest.importorskip("mlflow", reason="MLflow is not installed (kanjo[mlflow])")
    from mlflow.tracking import MlflowClient

    uri = f"sqlite:///{tmp_path}/ml.db"
    command = [*train_command(tiny_recipe, tiny_corpora, tmp_path / "run"), "--set", "training.epochs=2"]
    result = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"MLFLOW_TRACKING_URI": uri})
    assert result.returncode == 0, result.stderr
    client = MlflowClient(uri)
    (run,) = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    assert {"train/loss", "validation/uar"} <= set(run.data.metrics)
    assert list((tmp_path / "run").glob("events.out.tfevents.*"))


@pytest.mark.slow
def test_missing_mlflow_is_one_line(tiny_recipe: Path, tiny_corpora: Path, tmp_path: Path) -> None:
    command = [*train_command(tiny_recipe, tiny_corpora, tmp_path / "run"), "-s"]
    environment = os.environ | {"MLFLOW_TRACKING_URI": f"file://{tmp_path}/ml"}
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert result.returncode == 1 and len(result.stderr.strip().splitlines()) == 1
    assert "MLflow" in result.stderr
