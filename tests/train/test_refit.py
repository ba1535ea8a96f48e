"""The second training, on training and validation utterances together."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from kanjo.experiments.run_folder import RunFolder
from kanjo.train.data.audio_cache import AudioCache
from kanjo.train.data.experiment_data import ExperimentData
from kanjo.train.fit import TrainedModel
from tests.conftest import read_table, train_arguments
from tests.shell import run_kanjo
from tests.train.training import fit_in, load_data

SETTINGS = ["training.refit_on_train_val=true", "training.epochs=3", "training.ema_decay=0.9"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return RunFolder(tmp_path_factory.mktemp("refit") / "run")


@pytest.fixture(scope="module")
def data(tiny_recipe: Path, tiny_corpora: Path) -> ExperimentData:
    return load_data(tiny_recipe, tiny_corpora, *SETTINGS)


@pytest.fixture(scope="module")
def read_in_refit() -> set[int]:
    """Utterances that are read during the second training."""
    return set()


@pytest.fixture(scope="module")
def trained(folder: RunFolder, data: ExperimentData, read_in_refit: set[int]) -> Iterator[TrainedModel]:
    original = AudioCache.signal

    def record(self: AudioCache, index: int) -> np.ndarray:
        if folder.refit.path.is_dir():
            read_in_refit.add(index)
        return original(self, index)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AudioCache, "signal", record)
        yield fit_in(folder.path, data, data.fold(1))


def _last_checkpoint(folder: RunFolder) -> dict[str, object]:
    return torch.load(folder.training_paths.last_checkpoint, weights_only=True)  # type: ignore[no-any-return]


def test_refit_trains_on_all_utterances_but_the_test_ones(
    trained: TrainedModel, data: ExperimentData, folder: RunFolder, read_in_refit: set[int]
) -> None:
    fold = data.fold(1)
    assert trained.before_refit is not None
    assert read_in_refit == {*fold.train, *fold.validation}
    n_batches = -(-len(read_in_refit) // data.recipe.training.batch_size)
    assert _last_checkpoint(folder.refit)["global_step"] == 3 * n_batches


def test_refit_metrics_have_all_epochs_without_validation(trained: TrainedModel, folder: RunFolder) -> None:
    rows = read_table(folder.refit.metrics)
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert {row["validation_uar"] for row in rows} == {"nan"}
    assert all(0 <= float(row["train_uar"]) <= 1 and float(row["train_loss"]) > 0 for row in rows)


def test_refit_with_cosine_schedule_keeps_last_epoch_of_both_trainings(
    trained: TrainedModel, folder: RunFolder
) -> None:
    assert not list(folder.path.rglob("best.ckpt"))
    assert trained.best_epoch == 3
    validation_uar = float(read_table(folder.metrics)[-1]["validation_uar"])
    assert trained.validation_uar == pytest.approx(validation_uar, abs=1e-5)
    state = _last_checkpoint(folder.refit)["state_dict"]
    assert isinstance(state, dict) and trained.before_refit is not None
    weights, before = (model.state_dict() for model in (trained.emotion_model, trained.before_refit))
    torch.testing.assert_close(weights["model.output.weight"], state["emotion_model.model.output.weight"])
    assert not torch.equal(weights["model.output.weight"], before["model.output.weight"])


def test_refit_resume_of_finished_training_gives_same_model(
    trained: TrainedModel, data: ExperimentData, folder: RunFolder
) -> None:
    again = fit_in(folder.path, data, data.fold(1), resume=True)
    for name, value in trained.emotion_model.state_dict().items():
        torch.testing.assert_close(again.emotion_model.state_dict()[name], value)
    assert (again.temperature, again.best_epoch) == (trained.temperature, trained.best_epoch)
    assert again.minutes == pytest.approx(trained.minutes)


def test_refit_with_constant_rate_ends_at_best_epoch_of_first_training(
    tiny_recipe: Path, tiny_corpora: Path, tmp_path: Path
) -> None:
    overrides = ["training.lr_schedule=constant", "training.epochs=6", "training.early_stopping_patience=2"]
    data = load_data(tiny_recipe, tiny_corpora, *SETTINGS, *overrides)
    trained = fit_in(tmp_path / "run", data, data.fold(1))
    assert len(read_table(RunFolder(tmp_path / "run").refit.metrics)) == trained.best_epoch


def test_fit_without_refit_leaves_it_out(data: ExperimentData, tmp_path: Path) -> None:
    assert fit_in(tmp_path / "run", data, data.fold(1), refit=False).before_refit is None
    assert not RunFolder(tmp_path / "run").refit.path.exists()


@pytest.mark.slow
def test_train_with_refit_reports_it_and_lists_all_speakers(
    tiny_recipe: Path, tiny_corpora: Path, tmp_path: Path
) -> None:
    folder = RunFolder(tmp_path / "run")
    overrides = (word for setting in SETTINGS for word in ("--set", setting))
    result = run_kanjo(*train_arguments(tiny_recipe, tiny_corpora, folder.path), *overrides)
    assert result.returncode == 0, result.stderr
    assert "refit on 48 utterances, including the 8 validation utterances" in result.stderr
    metadata = json.loads((folder.bundle / "bundle.json").read_text(encoding="utf-8"))
    assert len(metadata["split"]["train_speakers"]) == 6
