"""One training run: prepare the data, fit, choose the epoch and the temperature on validation speakers, export."""

from __future__ import annotations

import csv
import io
import json
import logging
import time
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import Tensor

from kanjo import files
from kanjo.corpora import OWN, Manifest, Utterance, find_root, read_corpus, read_manifest
from kanjo.errors import CorpusError, KanjoError, RecipeError
from kanjo.splits import Audit, Fold, audit, make_folds
from kanjo.train.data import Windows, loader
from kanjo.train.module import EmotionModule, System, system_of
from kanjo.train.pack import Pack, items_of, pack
from kanjo.train.recipe import CorpusSection, Recipe

log = logging.getLogger("kanjo")
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Material:
    """What a run is made of: utterances of all corpora with their paths, labels in order, folds, decoded audio."""

    recipe: Recipe
    rows: tuple[Utterance, ...]
    paths: tuple[Path, ...]
    emotions: tuple[str, ...]
    labels: tuple[int, ...]
    folds: tuple[Fold, ...]
    pack: Pack

    def fold(self, index: int) -> Fold:
        """Fold ``index``, from 1. Raises RecipeError for one that is not there."""
        if not 1 <= index <= len(self.folds):
            raise RecipeError(f"split.fold is {index}; {self.recipe.split.protocol} has folds 1 to {len(self.folds)} here")
        return self.folds[index - 1]

    def audit(self, fold: Fold) -> Audit:
        return audit(self.rows, fold, self.pack.fingerprints)


@dataclass(frozen=True)
class Fitted:
    """A fitted system with the weights of its best epoch."""

    system: System
    temperature: float
    best_epoch: int
    validation_uar: float
    minutes: float


def prepare(recipe: Recipe, corpus_root: str | None, progress: Progress | None = None) -> Material:
    """Read the corpora, split them, decode them. Raises CorpusError, RecipeError."""
    manifests = [_corpus(section, corpus_root) for section in recipe.corpora]
    manifests = [manifest.relabelled(recipe.labels.map, recipe.labels.keep) for manifest in manifests]
    items, rows = items_of(manifests)
    found = Counter(row.emotion for row in rows)
    emotions = recipe.labels.keep or tuple(sorted(found))
    absent = [emotion for emotion in emotions if not found[emotion]]
    if absent or len(emotions) < 2:
        raise CorpusError(
            f"{recipe.name}: no utterance of {', '.join(absent) or 'a second emotion'}; found {dict(found) or 'nothing at all'}"
        )
    split = recipe.split
    folds = make_folds(
        rows,
        split.protocol,
        k=split.k,
        seed=split.seed,
        validation=split.validation,
        folds_file=Path(split.folds_file) if split.folds_file else None,
        allow_shared_speakers=split.allow_shared_speakers,
    )
    labels = tuple(emotions.index(row.emotion) for row in rows)
    packed = pack(items, recipe.audio.sample_rate, progress=progress)
    return Material(recipe, tuple(rows), tuple(item.path for item in items), emotions, labels, tuple(folds), packed)


def fit(material: Material, fold: Fold, run: Path, *, resume: bool = False, threads: int = 0, progress: bool = False) -> Fitted:
    """Train on one fold in the run folder; go on from its last epoch when ``resume``. Raises KanjoError, RecipeError.

    The epoch is chosen by validation UAR and the temperature by validation cross-entropy; test utterances are not read.
    ``threads``: cores that torch may use (0: all).
    """
    if threads:
        torch.set_num_threads(threads)
    recipe, training = material.recipe, material.recipe.training
    L.seed_everything(training.seed, verbose=False)
    system = system_of(recipe, len(material.emotions))
    train, validation = _sides(material, fold)
    last = run / "checkpoints" / "last.ckpt"
    going_on = resume and last.is_file()
    if recipe.frontend.normalization == "corpus" and not going_on:
        system.frontend.fit_statistics(*_statistics(system, material, fold))
    weights = _class_weights(material, fold) if training.class_weights else None
    module = EmotionModule(system, len(material.emotions), training, recipe.augment, weights)
    watch: dict[str, Any] = {"monitor": "validation/uar", "mode": "max"}
    saving: dict[str, Any] = {"enable_version_counter": False, "save_on_train_epoch_end": True}
    best = ModelCheckpoint(run / "checkpoints", "best", **watch, **saving)
    newest = ModelCheckpoint(run / "checkpoints", last.stem, **saving)  # Lightning's save_last skips epochs that are no best
    stop = EarlyStopping(patience=training.patience, check_on_train_epoch_end=True, **watch)
    history = History(run / "metrics.csv", training.epochs, len(fold.train))
    trainer = _trainer(recipe, run, [history, stop, best, newest], progress)
    log.info("%s", _describe(system, material, trainer))
    started = time.monotonic()
    batches = loader(train, training.batch_size, shuffle=True, seed=training.seed)
    with warnings.catch_warnings():
        _silence_lightning()
        try:
            trainer.fit(
                module,
                batches,
                loader(validation, training.batch_size, shuffle=False),
                ckpt_path=last if going_on else None,
                weights_only=True,
            )
        except OSError as error:
            raise KanjoError(f"can't write to {run}: {files.reason(error)}") from error
        except SystemExit as error:  # what Lightning makes of Ctrl-C
            if not trainer.interrupted:
                raise
            raise KeyboardInterrupt from error
    minutes = (time.monotonic() - started) / 60
    state = torch.load(best.best_model_path, weights_only=True, map_location="cpu")
    module.load_state_dict(state["state_dict"])
    system.cpu().float().eval()
    logits, labels = predicted_logits(system, validation)
    score = float(best.best_model_score) if best.best_model_score is not None else float("nan")
    fitted = Fitted(system, fit_temperature(logits, labels), int(state["epoch"]) + 1, score, minutes)
    log.info(
        "best epoch %d, validation UAR %.1f %%, temperature %.2f, %.1f minutes",
        fitted.best_epoch, 100 * score, fitted.temperature, minutes,
    )  # fmt: skip
    return fitted


def predicted_logits(system: System, windows: Windows) -> tuple[Tensor, Tensor]:
    """Logits (U, E) and labels (U,) over windows, in evaluation mode and float32."""
    system.eval()
    with torch.inference_mode():
        found = [(system(batch["signal"])[0].float(), batch["label"]) for batch in loader(windows, 32, shuffle=False)]
    logits, labels = zip(*found, strict=True)
    return torch.cat(logits), torch.cat(labels)


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """The temperature that minimises cross-entropy (Guo et al. 2017, arXiv 1706.04599), by search from 0.05 to 20."""
    grid = torch.logspace(np.log10(0.05), np.log10(20), 400)
    losses = torch.stack([torch.nn.functional.cross_entropy(logits / t, labels) for t in grid])
    return float(grid[losses.argmin()])


def write_split(path: Path, material: Material, fold: Fold) -> None:
    """``split.csv``: every utterance, its emotion, and the side it is on in this fold."""
    side = {i: name for name, part in (("train", fold.train), ("validation", fold.validation), ("test", fold.test)) for i in part}
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["corpus", "file", "speaker", "emotion", "split"])
    for i, row in enumerate(material.rows):
        writer.writerow([row.corpus, row.file, row.speaker, row.emotion, side.get(i, "")])
    files.write_text(path, buffer.getvalue())


class History(L.Callback):
    """``metrics.csv``, one row an epoch, and a line in the log; after a resume it goes on where the checkpoint stands."""

    columns = ("epoch", "train_loss", "train_uar", "validation_loss", "validation_uar", "learning_rate", "seconds")

    def __init__(self, path: Path, epochs: int, clips: int) -> None:
        self.path, self.epochs, self.clips = path, epochs, clips
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
        files.write_text(self.path, "\n".join(lines) + "\n")
        log.info(
            "epoch %d of %d: train loss %.3f, UAR %.1f %%; validation loss %.3f, UAR %.1f %% (%.1f s, %.0f clips/s)",
            row["epoch"], self.epochs, row["train_loss"], 100 * row["train_uar"], row["validation_loss"],
            100 * row["validation_uar"], seconds, self.clips / seconds,
        )  # fmt: skip


class WholeCheckpoints(TorchCheckpointIO):
    """Checkpoints written beside and renamed: a kill while one is written leaves the one before."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        with files.written_whole(Path(path)) as temporary:
            super().save_checkpoint(checkpoint, temporary, storage_options)


def _corpus(section: CorpusSection, corpus_root: str | None) -> Manifest:
    if section.path is None and corpus_root is None:
        raise RecipeError(f"where is {section.name}? Give --corpus-root, set KANJO_CORPORA, or name its path in the recipe")
    path = Path(section.path) if section.path else find_root(section.name, Path(str(corpus_root)))
    if section.name == "manifest":
        return read_manifest(path)
    if section.name == OWN and section.path is None:
        raise RecipeError("corpus 'own' needs a path: {name: own, path: my.csv}")
    return read_corpus(section.name, path)


def _sides(material: Material, fold: Fold) -> tuple[Windows, Windows]:
    audio, augment = material.recipe.audio, material.recipe.augment
    random = audio.placement == "random"
    train = Windows(material.pack, fold.train, material.labels, audio.window, random=random, speed=augment.speed)
    return train, Windows(material.pack, fold.validation, material.labels, audio.window)


def _class_weights(material: Material, fold: Fold) -> Tensor:
    """Inverse frequency over the training utterances, of mean 1."""
    counts = Counter(material.labels[i] for i in fold.train)
    absent = [emotion for i, emotion in enumerate(material.emotions) if not counts[i]]
    if absent:
        raise CorpusError(f"fold {fold.index}: no training utterance of {', '.join(absent)}; the network could not learn it")
    weights = torch.tensor([1 / counts[i] for i in range(len(material.emotions))], dtype=torch.float32)
    return weights / weights.mean()


def _statistics(system: System, material: Material, fold: Fold) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each channel and mel over the training frames, padding left out; at most 2000 utterances."""
    step = max(1, len(fold.train) // 2000)
    windows = Windows(material.pack, fold.train[::step], material.labels, material.recipe.audio.window)
    total, squares, n = torch.zeros(()), torch.zeros(()), 0
    with torch.inference_mode():
        for batch in loader(windows, 32, shuffle=False):
            features = system.frontend.features(batch["signal"]).double()
            frames = batch["valid"] // system.frontend.power.hop_length + 1
            mask = (torch.arange(features.shape[3])[None] < frames[:, None])[:, None, None]
            total = total + (features * mask).sum((0, 3))
            squares = squares + (features.square() * mask).sum((0, 3))
            n += int(frames.clamp(max=features.shape[3]).sum())
    mean = total / n
    return mean.float(), (squares / n - mean.square()).clamp(min=0).sqrt().float()


def _trainer(recipe: Recipe, run: Path, callbacks: list[L.Callback], progress: bool) -> L.Trainer:
    with warnings.catch_warnings():
        _silence_lightning()
        return L.Trainer(
            max_epochs=recipe.training.epochs,
            precision="bf16-mixed" if _bf16(recipe.training.precision) else "32-true",
            gradient_clip_val=recipe.training.gradient_clip or None,
            callbacks=[*callbacks, *([TQDMProgressBar()] if progress else [])],
            logger=TensorBoardLogger(run, name="", version=""),
            plugins=[WholeCheckpoints()],
            default_root_dir=run,
            enable_progress_bar=progress,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            log_every_n_steps=1,
        )


def _bf16(precision: str) -> bool:
    if precision != "auto":
        return precision == "bf16"
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # native on the CPU, not emulated


def _silence_lightning() -> None:
    """Advice that doesn't apply: loader workers (ours slices mapped memory), and one that Lightning causes itself."""
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*Checkpoint directory .* exists and is not empty.*")
    warnings.filterwarnings("ignore", message=".*isinstance\\(treespec, LeafSpec\\).*")
    warnings.filterwarnings("ignore", message=".*`lr_scheduler.step\\(\\)` before `optimizer.step\\(\\)`.*")
    warnings.filterwarnings("ignore", message=".*GPU available but not used.*")
    for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.ERROR)


def _describe(system: System, material: Material, trainer: L.Trainer) -> str:
    n = sum(p.numel() for p in system.parameters())
    shape = (system.frontend.channels, system.frontend.n_mels, system.frontend.n_frames(material.recipe.audio.window))
    what = json.dumps(list(material.emotions))
    device = trainer.strategy.root_device
    return f"{material.recipe.name}: {n:,} parameters, input {shape}, emotions {what}, {trainer.precision} on {device}"
