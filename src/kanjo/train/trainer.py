"""Run Lightning's training loop on a module: checkpoints, early stopping, metrics and resuming."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import EarlyStopping, EMAWeightAveraging, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger
from torch.utils.data import DataLoader

from kanjo import files
from kanjo.errors import KanjoError
from kanjo.train.callbacks import AtomicCheckpoints, EpochEndCallback, EpochResult, MetricsHistory
from kanjo.train.config.training import TrainingConfig
from kanjo.train.distributed import local_size, rank_and_size
from kanjo.train.hardware import keep_freed_memory, use_bf16
from kanjo.train.tasks.base import TrainingModule

log = logging.getLogger("kanjo")

_SAVING: dict[str, Any] = {"enable_version_counter": False, "save_on_train_epoch_end": True}


@dataclass(frozen=True)
class TrainingPaths:
    """Where one training writes its files.

    Attributes:
        metrics: CSV file with one row per epoch.
        checkpoints: Folder of the best and the last checkpoint.
        logs: Folder of the TensorBoard event files; its name and its parent's name the run in MLflow.
    """

    metrics: Path
    checkpoints: Path
    logs: Path

    @property
    def last_checkpoint(self) -> Path:
        """The checkpoint that an interrupted training resumes from."""
        return self.checkpoints / "last.ckpt"


@dataclass(frozen=True)
class BestEpoch:
    """The epoch whose weights are kept.

    Attributes:
        epoch: Its number, from 1.
        validation_uar: Its validation UAR (NaN without validation).
        validation_accuracy: Its validation accuracy (NaN without validation).
        minutes: Duration of all epochs, including those before a resume.
    """

    epoch: int
    validation_uar: float
    validation_accuracy: float
    minutes: float


def run_trainer(
    module: TrainingModule,
    train: DataLoader[Any],
    validation: DataLoader[Any] | None,
    paths: TrainingPaths,
    *,
    n_items: int,
    item_name: str = "clips",
    epochs: int | None = None,
    keep_last_epoch: bool = False,
    resume: bool = False,
    progress: bool = False,
    on_epoch_end: Callable[[EpochResult], None] | None = None,
) -> BestEpoch:
    """Train a module, and load the weights of its best epoch.

    The best epoch is that of ``training.best_epoch_metric``, such as the one with the highest validation UAR; without
    validation, or with ``keep_last_epoch``, it is the last. The module is on the CPU and in evaluation mode afterwards.

    Args:
        module: The module.
        train: Training batches.
        validation: Validation batches.
        paths: Where files are written.
        n_items: Items of an epoch, for the log.
        item_name: What the items are, for the log.
        epochs: Most epochs (None: those of the recipe).
        keep_last_epoch: Train all epochs, and keep the last.
        resume: Go on from the last checkpoint, if there is one.
        progress: Show a progress bar.
        on_epoch_end: Called after each epoch, before its checkpoint is written. What it raises ends the training.

    Raises:
        KanjoError: A file can't be written, or the MLflow server can't be reached.
        KeyboardInterrupt: Ctrl-C.
    """
    training, last = module.training_settings, paths.last_checkpoint
    epochs = epochs or training.epochs
    keep_last_epoch = keep_last_epoch or training.keeps_last_epoch
    history = MetricsHistory(paths.metrics, epochs, n_items, item_name)
    best = _best_checkpoint(training, paths)
    callbacks: list[L.Callback] = [history]
    if training.ema_decay:
        callbacks.append(EMAWeightAveraging(decay=training.ema_decay))
    if validation is not None and not keep_last_epoch:
        callbacks += [_early_stopping(training), best]
    # Not ModelCheckpoint's own save_last, which skips epochs that are not the best.
    callbacks.append(ModelCheckpoint(paths.checkpoints, last.stem, **_SAVING))
    if on_epoch_end is not None:
        callbacks.append(EpochEndCallback(on_epoch_end))
    trainer = _build_trainer(training, paths.logs, callbacks, epochs, progress)
    device = trainer.strategy.root_device
    log.info("%s on %s, %s %s per epoch", trainer.precision, device, f"{n_items:,}", item_name)
    if device.type == "cpu":
        keep_freed_memory()
    _fit(trainer, module, train, validation, last if resume and last.is_file() else None, paths)
    epoch = _load_checkpoint(module, Path(best.best_model_path or last))
    kept = next(row for row in history.rows if row["epoch"] == epoch)
    accuracy = kept.get("validation_accuracy", float("nan"))  # missing in checkpoints of earlier versions
    return BestEpoch(epoch, kept["validation_uar"], accuracy, sum(row["seconds"] for row in history.rows) / 60)


def silence_lightning() -> None:
    """Ignore Lightning's warnings that don't apply, such as its advice to use data loader workers."""
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")  # windows are slices of mapped memory
    warnings.filterwarnings("ignore", message=".*Checkpoint directory .* exists and is not empty.*")
    warnings.filterwarnings("ignore", message=".*isinstance\\(treespec, LeafSpec\\).*")
    warnings.filterwarnings("ignore", message=".*`lr_scheduler.step\\(\\)` before `optimizer.step\\(\\)`.*")
    warnings.filterwarnings("ignore", message=".*have no `val_dataloader`.*")
    warnings.filterwarnings("ignore", message=".*GPU available but not used.*")
    for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.ERROR)


def _best_checkpoint(training: TrainingConfig, paths: TrainingPaths) -> ModelCheckpoint:
    # With save_weights_only, Lightning doesn't save the averaged weights.
    metric = _monitored(training.best_epoch_metric)
    return ModelCheckpoint(paths.checkpoints, "best", save_weights_only=not training.ema_decay, **metric, **_SAVING)


def _early_stopping(training: TrainingConfig) -> EarlyStopping:
    metric = _monitored(training.early_stopping_metric)
    return EarlyStopping(patience=training.early_stopping_patience, check_on_train_epoch_end=True, **metric)


def _monitored(metric: str) -> dict[str, Any]:
    """Lightning's arguments for a validation metric: its name in the log, and whether low or high values are good."""
    return {"monitor": f"validation/{metric}", "mode": "min" if metric == "loss" else "max"}


def _load_checkpoint(module: TrainingModule, path: Path) -> int:
    """Load a checkpoint's weights into the module, and return its epoch, from 1."""
    state = torch.load(path, weights_only=True, map_location="cpu")
    module.load_state_dict(state["state_dict"])
    module.cpu().float().eval()
    return int(state["epoch"]) + 1


def _fit(
    trainer: L.Trainer,
    module: TrainingModule,
    train: DataLoader[Any],
    validation: DataLoader[Any] | None,
    checkpoint: Path | None,
    paths: TrainingPaths,
) -> None:
    """Run the training loop, and raise its errors as kanjo's."""
    module.train()  # Lightning keeps the modes of the layers, and computing features may have changed them
    with warnings.catch_warnings():
        silence_lightning()
        try:
            trainer.fit(module, train, validation, ckpt_path=checkpoint, weights_only=True)
        except OSError as error:
            raise KanjoError(f"can't write to {paths.logs}: {files.os_error_message(error)}") from error
        except SystemExit as error:  # Lightning turns Ctrl-C into this
            if not trainer.interrupted:
                raise
            raise KeyboardInterrupt from error


def _build_trainer(
    training: TrainingConfig, logs: Path, callbacks: list[L.Callback], epochs: int, progress: bool
) -> L.Trainer:
    _, n_processes = rank_and_size()
    distributed: dict[str, Any] = {}
    if n_processes > 1:
        distributed = {
            "strategy": "ddp",
            "devices": local_size(),
            "num_nodes": n_processes // local_size(),
            "use_distributed_sampler": False,
            "sync_batchnorm": torch.cuda.is_available(),  # on the CPU, kanjo.train.models.layers does it
        }
    with warnings.catch_warnings():
        silence_lightning()
        return L.Trainer(
            **distributed,
            max_epochs=epochs,
            precision="bf16-mixed" if use_bf16(training.precision) else "32-true",
            gradient_clip_val=training.gradient_clip_norm or None,
            callbacks=[*callbacks, *([TQDMProgressBar()] if progress else [])],
            logger=_build_loggers(logs),
            plugins=[AtomicCheckpoints()],
            default_root_dir=logs,
            enable_progress_bar=progress,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            log_every_n_steps=1,
        )


def _build_loggers(logs: Path) -> list[Logger]:
    """TensorBoard, and MLflow if its environment variable ``MLFLOW_TRACKING_URI`` is set."""
    loggers: list[Logger] = [TensorBoardLogger(logs, name="", version="")]
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    if not uri:
        return loggers
    try:
        from mlflow.exceptions import MlflowException
    except ImportError as error:
        raise KanjoError(
            "MLFLOW_TRACKING_URI is set, but MLflow is not installed: pip install 'kanjo[mlflow]'"
        ) from error
    experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME", "kanjo")
    try:
        mlflow = MLFlowLogger(experiment, run_name=f"{logs.parent.name}/{logs.name}", tracking_uri=uri)
        _ = mlflow.experiment  # connects now, so that an unreachable server is an error before training
    except MlflowException as error:
        raise KanjoError(f"MLflow at {uri}: {' '.join(str(error).split())[:300]}") from error
    return [*loggers, mlflow]
