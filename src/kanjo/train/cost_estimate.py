"""Estimate the time and memory of a training before it starts."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from kanjo.corpora.splits import Fold
from kanjo.train.hardware import keep_freed_memory

if TYPE_CHECKING:
    from kanjo.train.data.experiment_data import ExperimentData
    from kanjo.train.tasks.base import TrainingModule

#: Steps that are measured, after the first, which is slower than the others.
N_MEASURED_STEPS = 3


@dataclass(frozen=True)
class Cost:
    """Cost of a training on this machine.

    Attributes:
        n_parameters: Number of parameters.
        steps_per_epoch: Training steps per epoch.
        seconds_per_step: Duration of a training step.
        minutes: Duration of all epochs, and of a second training on training and validation utterances if the recipe
            wants it. Early stopping may end it sooner.
        peak_memory_mb: Largest memory of the process so far.
        stage1_minutes: Duration of the first of two stages, which ``minutes`` includes; the steps are those of the
            second.
    """

    n_parameters: int
    steps_per_epoch: int
    seconds_per_step: float
    minutes: float
    peak_memory_mb: float
    stage1_minutes: float = 0.0


def estimate_cost(data: ExperimentData, fold: Fold, threads: int = 0) -> Cost:
    """Estimate the cost of training on a fold, by measuring a few steps.

    Args:
        data: Utterances and recipe.
        fold: The fold.
        threads: Number of threads (0: torch's default).
    """
    if threads:
        torch.set_num_threads(threads)
    keep_freed_memory()
    return data.recipe.model.create_task(data, fold).estimate_cost()


def measure_training_step(module: TrainingModule, loader: Iterable[Any], *, bf16: bool) -> float:
    """Measure the seconds of a training step: augmentation, forward and backward pass, and optimizer."""
    module.train()
    optimizer = torch.optim.AdamW([p for p in module.parameters() if p.requires_grad], 1e-9)

    def step(batch: Any) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            logits, targets = module.training_logits(batch)
        F.cross_entropy(logits.float(), targets).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()

    return measure_steps(step, loader)


def measure_validation_step(module: TrainingModule, loader: Iterable[Any], *, bf16: bool) -> float:
    """Measure the seconds of a validation step."""
    module.eval()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        return measure_steps(module.logits, loader)


def measure_steps(step: Callable[[Any], object], batches: Iterable[Any]) -> float:
    """Measure the median seconds of a step over the first batches, without the first batch if there are others."""
    seconds = []
    for batch in islice(batches, N_MEASURED_STEPS + 1):
        start = time.perf_counter()
        step(batch)
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds[1:] or seconds))


def count_parameters(module: nn.Module) -> int:
    """Number of a module's parameters."""
    return sum(parameter.numel() for parameter in module.parameters())


def peak_memory_mb() -> float:
    """Largest memory of this process so far, in MB; NaN on Windows, where Python does not report it."""
    try:
        import resource
    except ImportError:
        return float("nan")
    units_per_mb = 1024**2 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / units_per_mb
