"""Lightning's loop around one module: checkpoints, early stopping, metrics, resuming."""

from __future__ import annotations

import ctypes
import logging
import os
import time
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import EarlyStopping, EMAWeightAveraging, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch.utils.data import DataLoader

from kanjo import files
from kanjo.errors import KanjoError
from kanjo.train.config.schema import TrainingSection
from kanjo.train.distributed import local_size, rank_and_size
from kanjo.train.tasks.base import EmotionModule

log = logging.getLogger("kanjo")


@dataclass(frozen=True)
class Best:
    """The epoch (from 1) whose weights were kept, its validation UAR (NaN: none was measured), and how long all epochs took, those before a resume too."""

    epoch: int
    validation_uar: float
    minutes: float


def checkpoint(run: Path) -> Path:
    """The checkpoint that a run goes on from."""
    return run / "checkpoints" / "last.ckpt"


def _read(path: Path) -> dict[str, Any]:
    return torch.load(path, weights_only=True, map_location="cpu")  # type: ignore[no-any-return]


def keep_freed_memory() -> None:
    """Tell glibc to keep what is freed for what is allocated next; elsewhere, nothing.

    Training allocates the same tens of megabytes in every step. By default each goes back to the system and comes again as
    untouched pages, whose first touch is a tenth to a fifth of a step on a CPU (``make bench-dcnn_epoch``).
    """
    most, trim_threshold, top_pad, mmap_max = 2**31 - 1, -1, -2, -4  # malloc.h
    with suppress(OSError, AttributeError):  # no C library of this kind, or one without mallopt
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(mmap_max, 0)
        libc.mallopt(trim_threshold, most)
        libc.mallopt(top_pad, 64 << 20)


def optimise(
    module: EmotionModule,
    train: DataLoader[Any],
    validation: DataLoader[Any] | None,
    run: Path,
    *,
    items: int,
    unit: str = "clips",
    epochs: int | None = None,
    to_the_end: bool = False,
    resume: bool = False,
    progress: bool = False,
    watchers: Sequence[L.Callback] = (),
) -> Best:
    """Train a module in a folder, and leave it with the weights of the epoch that did best on the validation batches; without any, or ``to_the_end``, of the last.

    Goes on from the folder's last checkpoint when ``resume`` and one is there. ``items``: how many of which
    ``unit`` an epoch has, for the log; ``epochs``: no more than so many of the schedule's; ``watchers``: further callbacks of Lightning's. Raises KanjoError when the folder can't
    be written, KeyboardInterrupt for Ctrl-C.
    """
    training, last = module.training_settings, checkpoint(run)
    watch: dict[str, Any] = {"monitor": "validation/uar", "mode": "max"}
    saving: dict[str, Any] = {"enable_version_counter": False, "save_on_train_epoch_end": True}
    # with weights only, Lightning doesn't ask its averaging for the average
    best = ModelCheckpoint(last.parent, "best", save_weights_only=not training.ema, **watch, **saving)
    newest = ModelCheckpoint(last.parent, last.stem, **saving)  # Lightning's save_last skips epochs that are no best
    stop = EarlyStopping(patience=training.patience, check_on_train_epoch_end=True, **watch)
    history = History(run / "metrics.csv", epochs or training.epochs, items, unit)
    averaging = [EMAWeightAveraging(decay=training.ema)] if training.ema else []
    choosing: list[L.Callback] = [] if validation is None or to_the_end else [stop, best]
    trainer = _trainer(
        training, run, [history, *averaging, *choosing, newest, *watchers], epochs or training.epochs, progress
    )
    log.info("%s on %s, %s", trainer.precision, trainer.strategy.root_device, f"{items:,} {unit} an epoch")
    if trainer.strategy.root_device.type == "cpu":
        keep_freed_memory()
    module.train()  # Lightning leaves modes as it finds them, and features may just have been computed
    with warnings.catch_warnings():
        silence_lightning()
        try:
            trainer.fit(
                module, train, validation, ckpt_path=last if resume and last.is_file() else None, weights_only=True
            )
        except OSError as error:
            raise KanjoError(f"can't write to {run}: {files.reason(error)}") from error
        except SystemExit as error:  # what Lightning makes of Ctrl-C
            if not trainer.interrupted:
                raise
            raise KeyboardInterrupt from error
    state = _read(Path(best.best_model_path or last))
    module.load_state_dict(state["state_dict"])
    module.cpu().float().eval()
    epoch = int(state["epoch"]) + 1
    score = next(row["validation_uar"] for row in history.rows if row["epoch"] == epoch)
    return Best(epoch, score, sum(row["seconds"] for row in history.rows) / 60)


class History(L.Callback):
    """``metrics.csv``, one row an epoch, and a line in the log; after a resume it goes on where the checkpoint stands."""

    columns = ("epoch", "train_loss", "train_uar", "validation_loss", "validation_uar", "learning_rate", "seconds")

    def __init__(self, path: Path, epochs: int, items: int, unit: str) -> None:
        self.path, self.epochs, self.items, self.unit = path, epochs, items, unit
        self.rows: list[dict[str, float]] = []
        self.started = time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.rows = list(state["rows"])

    def on_train_epoch_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self.started = time.monotonic()

    def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        metrics = {key.replace("/", "_"): float(value) for key, value in trainer.callback_metrics.items()}
        seconds = time.monotonic() - self.started
        rate = float(trainer.optimizers[0].param_groups[0]["lr"])
        row = {"epoch": trainer.current_epoch + 1, **metrics, "learning_rate": rate, "seconds": seconds}
        self.rows = [old for old in self.rows if old["epoch"] < row["epoch"]] + [
            {name: row.get(name, float("nan")) for name in self.columns}
        ]
        lines = [",".join(self.columns)] + [",".join(f"{old[name]:.6g}" for name in self.columns) for old in self.rows]
        if trainer.is_global_zero:
            files.write_text(self.path, "\n".join(lines) + "\n")
        checked = ""
        if "validation_uar" in row:
            checked = f"; validation loss {row['validation_loss']:.3f}, UAR {100 * row['validation_uar']:.1f} %"
        log.info(
            "epoch %d of %d: train loss %.3f, UAR %.1f %%%s (%.1f s, %.0f %s/s)",
            row["epoch"], self.epochs, row["train_loss"], 100 * row["train_uar"], checked, seconds, self.items / seconds, self.unit,
        )  # fmt: skip


class WholeCheckpoints(TorchCheckpointIO):
    """Checkpoints written beside and renamed: a kill while one is written leaves the one before."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        with files.written_whole(Path(path)) as temporary:
            super().save_checkpoint(checkpoint, temporary, storage_options)


def _trainer(
    training: TrainingSection, run: Path, callbacks: list[L.Callback], epochs: int, progress: bool
) -> L.Trainer:
    _, size = rank_and_size()
    several: dict[str, Any] = {}
    if size > 1:
        several = {
            "strategy": "ddp",
            "devices": local_size(),
            "num_nodes": size // local_size(),
            "use_distributed_sampler": False,
        }
        several["sync_batchnorm"] = torch.cuda.is_available()  # on the CPU our own does it
    with warnings.catch_warnings():
        silence_lightning()
        return L.Trainer(
            **several,
            max_epochs=epochs,
            precision="bf16-mixed" if in_bf16(training.precision) else "32-true",
            gradient_clip_val=training.gradient_clip or None,
            callbacks=[*callbacks, *([TQDMProgressBar()] if progress else [])],
            logger=_loggers(run),
            plugins=[WholeCheckpoints()],
            default_root_dir=run,
            enable_progress_bar=progress,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            log_every_n_steps=1,
        )


def _loggers(run: Path) -> list[Logger]:
    """TensorBoard, always; and the MLflow server that ``MLFLOW_TRACKING_URI`` names, as MLflow's own tools are told of it."""
    loggers: list[Logger] = [TensorBoardLogger(run, name="", version="")]
    if uri := os.environ.get("MLFLOW_TRACKING_URI"):
        try:
            from mlflow.exceptions import MlflowException
        except ImportError as error:
            raise KanjoError(
                "MLFLOW_TRACKING_URI is set, and MLflow is not installed: pip install 'kanjo[mlflow]'"
            ) from error
        experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME", "kanjo")
        try:
            loggers.append(MLFlowLogger(experiment, run_name=f"{run.parent.name}/{run.name}", tracking_uri=uri))
            _ = loggers[-1].experiment  # type: ignore[attr-defined]  # what can't be reached is said before training, not in it
        except MlflowException as error:
            raise KanjoError(f"MLflow at {uri}: {' '.join(str(error).split())[:300]}") from error
    return loggers


def in_bf16(precision: str) -> bool:
    """Whether "auto", "bf16" or "fp32" means bfloat16 on this machine: automatically where the processor has it."""
    if precision != "auto":
        return precision == "bf16"
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # native on the CPU, not emulated


def silence_lightning() -> None:
    """Advice that doesn't apply: loader workers (ours slices mapped memory), and one that Lightning causes itself."""
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*Checkpoint directory .* exists and is not empty.*")
    warnings.filterwarnings("ignore", message=".*isinstance\\(treespec, LeafSpec\\).*")
    warnings.filterwarnings("ignore", message=".*`lr_scheduler.step\\(\\)` before `optimizer.step\\(\\)`.*")
    warnings.filterwarnings("ignore", message=".*have no `val_dataloader`.*")
    warnings.filterwarnings("ignore", message=".*GPU available but not used.*")
    for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.ERROR)
