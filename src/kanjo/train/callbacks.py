"""Lightning callbacks: metrics of each epoch, and checkpoints that a killed process leaves intact."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.plugins.io import TorchCheckpointIO

from kanjo import files

log = logging.getLogger("kanjo")
#: PyTorch stops writing up to this far before the end of a full disk.
_MIN_FREE_BYTES = 1 << 20


@dataclass(frozen=True)
class EpochResult:
    """An epoch that has just ended.

    Attributes:
        epoch: Its number, from 1.
        n_epochs: Number of epochs of the training.
        validation_uar: Its validation UAR (NaN without validation).
        validation_accuracy: Its validation accuracy (NaN without validation).
    """

    epoch: int
    n_epochs: int
    validation_uar: float
    validation_accuracy: float


class MetricsHistory(L.Callback):
    """Writes the metrics of each epoch to a CSV file and to the log; after a resume, it continues the earlier rows.

    The learning rate is that of the last step of the epoch.

    Args:
        path: The CSV file.
        epochs: Number of epochs, for the log.
        n_items: Items of an epoch, for the log.
        item_name: What the items are, for the log.
    """

    columns = (
        "epoch",
        "train_loss",
        "train_uar",
        "train_accuracy",
        "validation_loss",
        "validation_uar",
        "validation_accuracy",
        "learning_rate",
        "seconds",
    )

    def __init__(self, path: Path, epochs: int, n_items: int, item_name: str) -> None:
        self.path, self.epochs, self.n_items, self.item_name = path, epochs, n_items, item_name
        self.rows: list[dict[str, float]] = []
        self.start = time.monotonic()
        self.learning_rate = float("nan")

    def state_dict(self) -> dict[str, Any]:
        """Rows to save in a checkpoint."""
        return {"rows": self.rows}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the rows from a checkpoint."""
        self.rows = list(state["rows"])

    def on_train_epoch_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Start the clock."""
        self.start = time.monotonic()

    def on_train_batch_start(self, trainer: L.Trainer, module: L.LightningModule, batch: Any, batch_idx: int) -> None:
        """Keep the learning rate of the step; at the end of the epoch, the schedule is at the next epoch's."""
        self.learning_rate = float(trainer.optimizers[0].param_groups[0]["lr"])

    def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Add the epoch to the file and to the log."""
        row = {
            "epoch": trainer.current_epoch + 1,
            **{name.replace("/", "_"): float(value) for name, value in trainer.callback_metrics.items()},
            "learning_rate": self.learning_rate,
            "seconds": time.monotonic() - self.start,
        }
        earlier = [other for other in self.rows if other["epoch"] < row["epoch"]]
        self.rows = [*earlier, {name: row.get(name, float("nan")) for name in self.columns}]
        if trainer.is_global_zero:
            self._write()
        self._log(row)

    def _write(self) -> None:
        lines = [",".join(self.columns)]
        lines += [",".join(f"{row.get(name, float('nan')):.6g}" for name in self.columns) for row in self.rows]
        files.write_text(self.path, "\n".join(lines) + "\n")

    def _log(self, row: Mapping[str, float]) -> None:
        validation = ""
        if "validation_uar" in row:
            validation = (
                f"; validation loss {row['validation_loss']:.3f}, UAR {100 * row['validation_uar']:.1f} %, "
                f"accuracy {100 * row['validation_accuracy']:.1f} %"
            )
        log.info(
            "epoch %d of %d: train loss %.3f, UAR %.1f %%, accuracy %.1f %%%s (%.1f s, %.0f %s/s)",
            row["epoch"],
            self.epochs,
            row["train_loss"],
            100 * row["train_uar"],
            100 * row["train_accuracy"],
            validation,
            row["seconds"],
            self.n_items / row["seconds"],
            self.item_name,
        )


class AtomicCheckpoints(TorchCheckpointIO):
    """Writes checkpoints under a temporary name first, so that a killed process leaves the previous one intact."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write a checkpoint.

        Raises:
            KanjoError: The file can't be written, for example because the disk is full.
        """
        with files.atomic_write(Path(path)) as temporary:
            try:
                super().save_checkpoint(checkpoint, temporary, storage_options)
            except RuntimeError as error:  # PyTorch's writer hides the error of the operating system
                if shutil.disk_usage(temporary.parent).free > _MIN_FREE_BYTES:
                    raise
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error


class EpochEndCallback(L.Callback):
    """Calls a function after each epoch, before its checkpoint is written."""

    def __init__(self, on_epoch_end: Callable[[EpochResult], None]) -> None:
        self.on_epoch_end = on_epoch_end

    def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Call the function."""
        uar, accuracy = (
            float(trainer.callback_metrics.get(f"validation/{name}", float("nan"))) for name in ("uar", "accuracy")
        )
        self.on_epoch_end(EpochResult(trainer.current_epoch + 1, trainer.max_epochs or 0, uar, accuracy))
