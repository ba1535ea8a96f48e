"""Looking before training: what it would cost, and which learning rate to begin with."""

from __future__ import annotations

import io
import math
import resource
import sys
import tempfile
import time
import warnings
from contextlib import redirect_stderr
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import lightning as L
import numpy as np
import torch
from lightning.pytorch.tuner.tuning import Tuner
from torch.nn import functional as F

from kanjo.errors import KanjoError, RecipeError
from kanjo.splits import Fold
from kanjo.train.data import Windows, loader
from kanjo.train.fit import begun
from kanjo.train.material import Material
from kanjo.train.module import System, system_of
from kanjo.train.network_sections import DcnnBlstmSection
from kanjo.train.optimise import in_bf16, keep_freed_memory, silence_lightning

_STEPS = 3


@dataclass(frozen=True)
class Cost:
    """What a run would take on this machine: ``minutes`` for all epochs (it may stop earlier), a refit's too; ``peak_mb`` of memory."""

    parameters: int
    steps: int
    seconds_a_step: float
    minutes: float
    peak_mb: float


@dataclass(frozen=True)
class Rates:
    """A learning-rate range test (Smith 2017, arXiv 1506.01186): smoothed loss at each rate, and where it falls most steeply."""

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    suggested: float


def cost(material: Material, fold: Fold, threads: int = 0) -> Cost:
    """Measure a few steps of training and of validation. For networks of one stage. Raises RecipeError."""
    _one_stage(material)
    if threads:
        torch.set_num_threads(threads)
    keep_freed_memory()
    if material.recipe.training.optimizer == "lbfgs":
        return _heads_cost(material, fold)
    system, module, batches, checks = begun(material, fold, Path(), None, False)
    module.train()
    optimizer = torch.optim.AdamW([p for p in module.parameters() if p.requires_grad], 1e-9)
    bf16 = in_bf16(material.recipe.training.precision)
    taken = []
    for batch in islice(batches, _STEPS + 1):
        started = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            logits, targets = module.training_logits(batch)
        F.cross_entropy(logits.float(), targets).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
        taken.append(time.perf_counter() - started)
    module.eval()
    checked = []
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        for batch in islice(checks, _STEPS):
            started = time.perf_counter()
            module.logits(batch)
            checked.append(time.perf_counter() - started)
    step = float(np.median(taken[1:] or taken))  # the first makes what the others find made
    seconds = len(batches) * step + len(checks) * float(np.median(checked))
    if material.recipe.training.refit:
        seconds += len(batches) * step * (1 + len(fold.validation) / len(fold.train))
    return Cost(_parameters(system), len(batches), step, material.recipe.training.epochs * seconds / 60, _peak_mb())


def _heads_cost(material: Material, fold: Fold) -> Cost:
    """Of heads on a frozen encoder: to hear every utterance once, and each varied version, for all folds; the fit takes seconds."""
    recipe, training = material.recipe, material.recipe.training
    system = system_of(recipe, len(material.emotions)).eval()
    few = Windows(material.pack, fold.train[: (_STEPS + 1) * training.batch_size], material.labels, recipe.audio.window)
    taken = []
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=in_bf16(training.precision)):
        for batch in loader(few, training.batch_size, shuffle=False):
            started = time.perf_counter()
            system(batch["signal"])
            taken.append(time.perf_counter() - started)
    step = float(np.median(taken[1:] or taken))
    steps = math.ceil(len(material.rows) * (1 + training.versions) / training.batch_size)
    return Cost(_parameters(system), steps, step, steps * step / 60, _peak_mb())


def _parameters(system: System) -> int:
    return sum(p.numel() for p in system.parameters())


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)


def learning_rates(material: Material, fold: Fold, threads: int = 0, steps: int = 100) -> Rates:
    """Train for ``steps`` steps while the rate climbs from 1e-6 to 1. Nothing of it is kept. Raises RecipeError, KanjoError."""
    _one_stage(material)
    if material.recipe.training.optimizer == "lbfgs":
        raise RecipeError(
            f"{material.recipe.name} is fitted by L-BFGS, which finds how far to go by itself: there is no rate to look for"
        )
    if threads:
        torch.set_num_threads(threads)
    _, module, batches, _ = begun(material, fold, Path(), None, False)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), redirect_stderr(io.StringIO()):
        silence_lightning()  # its progress bar, which knows no switch, goes where stderr goes
        trainer = L.Trainer(
            max_epochs=1 + steps // max(1, len(batches)),
            precision="bf16-mixed" if in_bf16(material.recipe.training.precision) else "32-true",
            default_root_dir=folder,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
        )
        found = Tuner(trainer).lr_find(
            module,
            train_dataloaders=batches,
            min_lr=1e-6,
            max_lr=1.0,
            num_training=steps,
            early_stop_threshold=4.0,
            update_attr=False,
        )
        suggested = found.suggestion() if found is not None else None
    if found is None or suggested is None:
        raise KanjoError(f"{steps} steps are too few to tell a learning rate from another")
    return Rates(tuple(found.results["lr"]), tuple(found.results["loss"]), float(suggested))


def _one_stage(material: Material) -> None:
    if isinstance(material.recipe.network, DcnnBlstmSection):
        raise RecipeError(f"{material.recipe.name} has two stages; what is measured has one")
