"""Training on one fold: what is written, learned, read and resumed."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from kanjo.errors import CorpusError, RecipeError
from kanjo.evaluation.metrics import unweighted_average_recall
from kanjo.train.config.loading import load_recipe
from kanjo.train.data.audio_cache import AudioCache
from kanjo.train.data.datasets import WindowDataset
from kanjo.train.data.experiment_data import load_experiment_data
from kanjo.train.fit import validate
from kanjo.train.tasks.base import PredictedLogits
from tests.conftest import read_table, train_arguments, train_command
from tests.shell import run_kanjo
from tests.train.training import eight_clips, fit_in, load_data


def test_fit_writes_metrics_of_each_epoch_and_learns(tiny_run: Path) -> None:
    rows = read_table(tiny_run / "metrics.csv")
    assert [float(row["epoch"]) for row in rows] == list(range(1, len(rows) + 1))
    assert float(rows[-1]["train_loss"]) < float(rows[0]["train_loss"])
    assert any(path.name.startswith("events.out.tfevents") for path in tiny_run.iterdir())
    log = (tiny_run / "log.txt").read_text(encoding="utf-8")
    assert "best epoch" in log and "test: UAR" in log


def test_fit_tiny_corpus_is_above_chance_on_new_speakers(tiny_run: Path) -> None:
    scores = json.loads((tiny_run / "scores.json").read_text(encoding="utf-8"))
    assert scores["n"] == 16
    assert scores["uar"]["value"] > 0.4, "chance is 0.125"


def test_fit_test_speakers_are_not_in_training_or_validation(tiny_run: Path) -> None:
    speakers: dict[str, set[str]] = {"train": set(), "validation": set(), "test": set()}
    for row in read_table(tiny_run / "split.csv"):
        speakers[row["split"]].add(row["speaker"])
    assert len(speakers["test"]) == 2
    assert not speakers["test"] & (speakers["train"] | speakers["validation"])
    assert not speakers["train"] & speakers["validation"]
    assert {row["speaker"].split("/")[1] for row in read_table(tiny_run / "predictions.csv")} == speakers["test"]


def test_fit_reads_no_test_recording(
    tiny_recipe: Path, tiny_corpora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = load_data(tiny_recipe, tiny_corpora, "training.epochs=1")
    fold, original, read = data.fold(1), AudioCache.signal, set()

    def record(self: AudioCache, index: int) -> np.ndarray:
        read.add(index)
        return original(self, index)

    monkeypatch.setattr(AudioCache, "signal", record)
    fit_in(tmp_path / "run", data, fold)
    assert read == {*fold.train, *fold.validation}
    assert fold.test and not read & set(fold.test)


def test_fit_same_seed_gives_same_weights(tiny_recipe: Path, tiny_corpora: Path, tmp_path: Path) -> None:
    data = load_data(tiny_recipe, tiny_corpora, "training.epochs=1")
    first, second = (fit_in(tmp_path / name, data, data.fold(1)) for name in ("first", "second"))
    for name, value in first.emotion_model.state_dict().items():
        assert torch.equal(second.emotion_model.state_dict()[name], value), name
    assert first.temperature == second.temperature


def test_fit_resume_of_finished_training_gives_same_model(
    tiny_recipe: Path, tiny_corpora: Path, tmp_path: Path
) -> None:
    data = load_data(tiny_recipe, tiny_corpora, "training.epochs=2")
    finished = fit_in(tmp_path / "run", data, data.fold(1))
    resumed = fit_in(tmp_path / "run", data, data.fold(1), resume=True)
    for name, value in finished.emotion_model.state_dict().items():
        assert torch.equal(resumed.emotion_model.state_dict()[name], value), name
    assert len(read_table(tmp_path / "run" / "metrics.csv")) == 2


@pytest.mark.slow
def test_train_killed_process_resumes_and_repeats_at_most_one_epoch(
    tiny_corpora: Path, tiny_recipe: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    command = train_command(tiny_recipe, tiny_corpora, run)
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("epoch 4"):
                break
        os.kill(process.pid, signal.SIGKILL)
    assert not (run / "bundle").exists()
    n_epochs = len(read_table(run / "metrics.csv"))
    assert n_epochs >= 4
    resumed = subprocess.run([*command, "--resume"], capture_output=True, text=True)
    assert resumed.returncode == 0, resumed.stderr
    first = next(line for line in resumed.stderr.splitlines() if line.startswith("epoch "))
    assert int(first.split()[1]) >= n_epochs, "more than one epoch was repeated"
    rows = read_table(run / "metrics.csv")
    assert [float(row["epoch"]) for row in rows] == list(range(1, len(rows) + 1))
    assert (run / "bundle" / "model.onnx").is_file()


@pytest.mark.slow
def test_train_ctrl_c_stops_with_one_line(tiny_corpora: Path, tiny_recipe: Path, tmp_path: Path) -> None:
    command = [*train_command(tiny_recipe, tiny_corpora, tmp_path / "run"), "--set", "training.epochs=900"]
    command += ["--set", "training.early_stopping_patience=900"]
    # A background job of a shell ignores interrupts, and so do its children; this process must not.
    restore_interrupts = functools.partial(signal.signal, signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, preexec_fn=restore_interrupts
    ) as process:
        assert process.stderr is not None
        next(line for line in process.stderr if line.startswith("epoch 2"))
        # Repeated if necessary: an interrupt that Python raises in a finalizer is lost.
        while process.poll() is None:
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=30)
        stderr = process.stderr.read()
    assert process.returncode == 130
    assert f"--resume -o {tmp_path / 'run'}" in stderr.splitlines()[-1]
    assert "Traceback" not in stderr


def test_train_into_used_folder_fails(tiny_corpora: Path, tiny_recipe: Path, tiny_run: Path) -> None:
    arguments = train_arguments(tiny_recipe, tiny_corpora, tiny_run)
    result = run_kanjo(*arguments)
    assert result.returncode == 1 and "is not empty" in result.stderr and "--resume" in result.stderr
    result = run_kanjo(*arguments, "--resume", "--set", "training.epochs=2")
    assert result.returncode == 1 and "another recipe" in result.stderr


def test_fit_cnn_lstm_overfits_eight_clips(ravdess_clips: list[Path], tmp_path: Path) -> None:
    overrides = [
        "augment.mixup_alpha=0",
        "augment.max_speed_change=0",
        "augment.gain_db=0",
        "augment.frequency_masks=0",
        "augment.time_masks=0",
        "audio.placement=start",
        "model.dropout=0",
        "training.label_smoothing=0",
        "audio.window_s=2",
        "audio.hop_s=1",
        "training.epochs=30",
        "training.batch_size=8",
        "training.learning_rate=3e-3",
        "training.early_stopping_patience=30",
    ]
    data, fold = eight_clips("cnn-lstm-2d-long", ravdess_clips, tmp_path, *overrides)
    trained = fit_in(tmp_path / "run", data, fold)
    dataset = WindowDataset(data.audio_cache, fold.train, data.labels, data.recipe.audio.window)
    batch = dataset.__getitems__(range(8))
    with torch.inference_mode():
        logits = trained.emotion_model(batch["signal"])[0]
    assert unweighted_average_recall(batch["label"].numpy(), logits.argmax(1).numpy()) == 1.0


def test_validate_scores_logits_with_and_without_enrollment() -> None:
    labels = torch.tensor([0, 0, 1])
    logits, enrolled_logits = torch.eye(4)[[0, 1, 1]] * 3, torch.eye(4)[[0, 0, 1]] * 3
    result = validate(PredictedLogits(logits, labels, torch.tensor([0, 0, 1]), enrolled_logits))
    assert result.validation_uar == pytest.approx(0.75), "only emotions that occur count"
    assert result.enrolled is not None and result.enrolled.validation_uar == 1.0
    assert result.enrolled.temperature < result.temperature
    assert validate(PredictedLogits(logits, labels)).enrolled is None


def test_load_experiment_data_impossible_recipe_fails(tiny_corpora: Path, tiny_recipe: Path) -> None:
    with pytest.raises(RecipeError, match="--corpus-root"):
        load_experiment_data(load_recipe(str(tiny_recipe)), None)
    with pytest.raises(CorpusError, match="nemo"):
        load_data(tiny_recipe, tiny_corpora, "corpora=[nemo]")
    with pytest.raises(CorpusError, match="boredom"):
        load_data(tiny_recipe, tiny_corpora, "labels.include=[anger, boredom]")
    with pytest.raises(RecipeError, match="split.fold is 9; expected 1 to 4"):
        load_data(tiny_recipe, tiny_corpora).fold(9)


def test_load_experiment_data_labels_are_mapped_and_ordered(tiny_corpora: Path, tiny_recipe: Path) -> None:
    data = load_data(tiny_recipe, tiny_corpora, "labels.map={calm: neutral}", "labels.include=[neutral, anger]")
    assert data.emotions == ("neutral", "anger")
    assert np.bincount(data.labels).tolist() == [16, 8]


def test_load_experiment_data_select_keeps_one_sex(tiny_corpora: Path, tiny_recipe: Path) -> None:
    data = load_data(tiny_recipe, tiny_corpora, "select.sex=female")
    assert {utterance.sex for utterance in data.utterances} == {"female"} and len(data.utterances) == 32
