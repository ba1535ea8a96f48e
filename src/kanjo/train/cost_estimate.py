"""Looking before training: what it would cost."""

from __future__ import annotations

import math
import resource
import sys
import time
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from kanjo.corpora.splits import Fold
from kanjo.errors import RecipeError
from kanjo.train.config.models import DcnnBlstmSection
from kanjo.train.data.datasets import Windows, loader
from kanjo.train.data.experiment_data import Material
from kanjo.train.fit import begun
from kanjo.train.tasks.base import System, system_of
from kanjo.train.trainer import in_bf16, keep_freed_memory

_STEPS = 3


@dataclass(frozen=True)
class Cost:
    """What a run would take on this machine: ``minutes`` for all epochs (it may stop earlier), a refit's too; ``peak_mb`` of memory."""

    parameters: int
    steps: int
    seconds_a_step: float
    minutes: float
    peak_mb: float


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


def _one_stage(material: Material) -> None:
    if isinstance(material.recipe.network, DcnnBlstmSection):
        raise RecipeError(f"{material.recipe.name} has two stages; what is measured has one")
