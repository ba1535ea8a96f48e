"""The training loop: callbacks and full disks."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch.utils.data import DataLoader

from kanjo.errors import KanjoError
from kanjo.experiments.run_folder import RunFolder
from kanjo.train.callbacks import AtomicCheckpoints, EpochResult
from kanjo.train.config.training import TrainingConfig
from kanjo.train.fit import fit_without_calibration
from kanjo.train.tasks.base import TrainingModule
from kanjo.train.trainer import run_trainer
from tests.conftest import read_table, train_arguments
from tests.train.training import load_data


def test_run_trainer_reports_each_epoch_after_its_metrics(
    tiny_recipe: Path, tiny_corpora: Path, tmp_path: Path
) -> None:
    data = load_data(tiny_recipe, tiny_corpora, "training.epochs=2")
    paths = RunFolder(tmp_path).training_paths
    results: list[EpochResult] = []

    def on_epoch_end(result: EpochResult) -> None:
        row = read_table(paths.metrics)[-1]
        assert float(row["validation_uar"]) == pytest.approx(result.validation_uar, abs=1e-5)
        assert float(row["validation_accuracy"]) == pytest.approx(result.validation_accuracy, abs=1e-5)
        results.append(result)

    best = fit_without_calibration(data, data.fold(1), paths, on_epoch_end)
    assert [(result.epoch, result.n_epochs) for result in results] == [(1, 2), (2, 2)]
    assert best.validation_uar == max(result.validation_uar for result in results)


def test_run_trainer_exception_of_callback_ends_training(tiny_recipe: Path, tiny_corpora: Path, tmp_path: Path) -> None:
    data = load_data(tiny_recipe, tiny_corpora, "training.epochs=3")
    paths = RunFolder(tmp_path).training_paths

    class Pruned(Exception):
        pass

    def prune(result: EpochResult) -> None:
        raise Pruned

    with pytest.raises(Pruned):
        fit_without_calibration(data, data.fold(1), paths, prune)
    assert len(read_table(paths.metrics)) == 1


def test_run_trainer_ctrl_c_raises_keyboard_interrupt(tiny_recipe: Path, tiny_corpora: Path, tmp_path: Path) -> None:
    data = load_data(tiny_recipe, tiny_corpora, "training.epochs=3")

    def interrupt(result: EpochResult) -> None:
        raise KeyboardInterrupt

    handler = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(KeyboardInterrupt):
            fit_without_calibration(data, data.fold(1), RunFolder(tmp_path).training_paths, interrupt)
    finally:
        signal.signal(signal.SIGINT, handler)  # Lightning ignores further interrupts


def test_run_trainer_full_disk_fails(
    tiny_recipe: Path, tiny_corpora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = load_data(tiny_recipe, tiny_corpora, "training.epochs=1")

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(AtomicCheckpoints, "save_checkpoint", fail)
    with pytest.raises(KanjoError, match="can't write to"):
        fit_without_calibration(data, data.fold(1), RunFolder(tmp_path).training_paths, lambda _: None)


@pytest.mark.slow
def test_train_full_disk_fails_in_one_line_and_leaves_no_incomplete_checkpoint(
    tiny_corpora: Path, tiny_recipe: Path, tmp_path: Path
) -> None:
    """A limit on the size of files replaces a full disk."""
    run = tmp_path / "run"
    code = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (30000, 30000))\nfrom kanjo.cli import main; main()"
    )
    load_data(tiny_recipe, tiny_corpora)  # fills the audio cache
    arguments = [*train_arguments(tiny_recipe, tiny_corpora, run), "--set", "training.epochs=1"]
    started = time.monotonic()
    result = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert result.returncode == 1, result.stderr
    assert "can't write" in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr
    assert list((run / "checkpoints").glob("*")) == []
    assert time.monotonic() - started < 120


def test_atomic_checkpoints_on_a_full_disk_say_so_and_keep_the_previous_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "last.ckpt"
    AtomicCheckpoints().save_checkpoint({"epoch": 1}, path)

    def fail(*arguments: object) -> None:
        raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534")

    monkeypatch.setattr(TorchCheckpointIO, "save_checkpoint", fail)
    with pytest.raises(RuntimeError, match="unexpected pos"):
        AtomicCheckpoints().save_checkpoint({"epoch": 2}, path)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=0))
    with pytest.raises(KanjoError, match=r"last\.ckpt: the disk is full"):
        AtomicCheckpoints().save_checkpoint({"epoch": 2}, path)
    assert torch.load(path, weights_only=True) == {"epoch": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]


class _ScriptedModule(TrainingModule):
    """Predicts logits that depend on the epoch only, so that all metrics of each epoch are known."""

    #: In each epoch, the logit of class 1 (that of class 0 is 0) for three items of class 0 and one of class 1.
    #: Epoch 1 has the highest accuracy, 2 the highest UAR, 3 the lowest loss.
    SCRIPT = ((-1.0, -1.0, -1.0, -9.0), (-1.0, 5.0, 5.0, 1.0), (0.1, 0.1, 0.1, -0.1), (9.0, 9.0, 9.0, -9.0))

    def __init__(self, settings: TrainingConfig) -> None:
        super().__init__(2, settings, None)
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def logits(self, batch: Any) -> torch.Tensor:
        logit = torch.tensor(self.SCRIPT[self.current_epoch])[batch["item"]]
        return torch.stack([torch.zeros_like(logit), logit], 1) + 0 * self.weight


def _run_script(folder: Path, **settings: Any) -> tuple[int, list[dict[str, str]]]:
    """Train on the script; return the kept epoch and the metrics."""
    items = [{"item": torch.tensor(n), "label": torch.tensor(label)} for n, label in enumerate((0, 0, 0, 1))]
    loader: DataLoader[Any] = DataLoader(items, batch_size=2)  # type: ignore[arg-type]
    training = TrainingConfig(epochs=4, precision="fp32", **settings)
    paths = RunFolder(folder).training_paths
    best = run_trainer(_ScriptedModule(training), loader, loader, paths, n_items=4)
    return best.epoch, read_table(paths.metrics)


def test_run_trainer_writes_accuracy_and_uar_of_each_epoch(tmp_path: Path) -> None:
    _, rows = _run_script(tmp_path, lr_schedule="constant")
    for part in ("train", "validation"):
        assert [float(row[f"{part}_accuracy"]) for row in rows] == [0.75, 0.5, 0.0, 0.0]
        assert [float(row[f"{part}_uar"]) for row in rows] == pytest.approx([0.5, 2 / 3, 0, 0], rel=1e-4)


@pytest.mark.parametrize(("metric", "epoch"), [("uar", 2), ("accuracy", 1), ("loss", 3), ("last", 4)])
def test_run_trainer_keeps_the_epoch_of_the_metric(metric: str, epoch: int, tmp_path: Path) -> None:
    kept, rows = _run_script(tmp_path, lr_schedule="constant", best_epoch_metric=metric)
    assert kept == epoch and len(rows) == 4


def test_run_trainer_stops_by_the_early_stopping_metric(tmp_path: Path) -> None:
    options: dict[str, Any] = {"lr_schedule": "constant", "early_stopping_metric": "loss"}
    assert len(_run_script(tmp_path / "one", early_stopping_patience=1, **options)[1]) == 2
    assert len(_run_script(tmp_path / "two", early_stopping_patience=2, **options)[1]) == 4


@pytest.mark.parametrize(
    ("settings", "rates"),
    [
        ({"lr_schedule": "exponential", "lr_gamma": 0.5}, [1.0, 0.5, 0.25, 0.125]),
        # two steps per epoch: the rate of the second
        ({"lr_schedule": "inverse_time", "lr_decay": 1.0}, [1 / 2, 1 / 4, 1 / 6, 1 / 8]),
        ({"lr_schedule": "constant"}, [1.0] * 4),
    ],
)
def test_run_trainer_learning_rate_is_that_of_the_epoch(
    settings: dict[str, Any], rates: list[float], tmp_path: Path
) -> None:
    _, rows = _run_script(tmp_path, optimizer="sgd", learning_rate=1.0, early_stopping_patience=9, **settings)
    assert [float(row["learning_rate"]) for row in rows] == pytest.approx(rates, rel=1e-4)
