"""The training loop: callbacks and full disks."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from kanjo.errors import KanjoError
from kanjo.experiments.run_folder import RunFolder
from kanjo.train.callbacks import AtomicCheckpoints, EpochResult
from kanjo.train.fit import fit_without_calibration
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
