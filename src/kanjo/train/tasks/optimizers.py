"""Optimizers and learning-rate schedules of a recipe."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from kanjo.train.config.training import TrainingConfig

ParameterGroups = list[dict[str, Any]]


def _sgd(groups: ParameterGroups, settings: TrainingConfig) -> torch.optim.Optimizer:
    return torch.optim.SGD(groups, settings.learning_rate, momentum=settings.momentum, nesterov=settings.momentum > 0)


def _adam(groups: ParameterGroups, settings: TrainingConfig) -> torch.optim.Optimizer:
    return torch.optim.Adam(groups, settings.learning_rate, fused=True)


def _adamw(groups: ParameterGroups, settings: TrainingConfig) -> torch.optim.Optimizer:
    return torch.optim.AdamW(groups, settings.learning_rate, fused=True)


OPTIMIZERS: dict[str, Callable[[ParameterGroups, TrainingConfig], torch.optim.Optimizer]] = {
    "adam": _adam,
    "adamw": _adamw,
    "sgd": _sgd,
}


def build_optimizer(parameters: Iterable[Tensor], settings: TrainingConfig) -> torch.optim.Optimizer:
    """Build the optimizer; biases and scales (of one dimension) have no weight decay."""
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    matrices = [parameter for parameter in trained if parameter.ndim > 1]
    scales = [parameter for parameter in trained if parameter.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": scales, "weight_decay": 0.0}]
    return OPTIMIZERS[settings.optimizer](groups, settings)


def build_lr_scheduler(
    optimizer: torch.optim.Optimizer, settings: TrainingConfig, count_steps: Callable[[], int]
) -> dict[str, Any] | None:
    """Build Lightning's configuration of the learning-rate schedule (None: a constant rate).

    Args:
        optimizer: The optimizer.
        settings: The recipe's training section.
        count_steps: Returns the number of steps of the whole training; called only if the schedule depends on it.
    """
    if settings.lr_schedule == "constant":
        return None
    if settings.lr_schedule == "exponential":
        return {"scheduler": LambdaLR(optimizer, lambda epoch: _exponential(epoch, settings)), "interval": "epoch"}
    if settings.lr_schedule == "inverse_time":
        return {"scheduler": LambdaLR(optimizer, lambda step: 1 / (1 + settings.lr_decay * step)), "interval": "step"}
    total = count_steps()
    warmup = max(1, round(settings.warmup_fraction * total))
    return {"scheduler": LambdaLR(optimizer, lambda step: _warmup_cosine(step, warmup, total)), "interval": "step"}


def _exponential(epoch: int, settings: TrainingConfig) -> float:
    return max(settings.min_lr_fraction, settings.lr_gamma**epoch)


def _warmup_cosine(step: int, warmup: int, total: int) -> float:
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))
