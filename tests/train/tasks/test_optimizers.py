"""Optimizers and learning-rate schedules."""

from __future__ import annotations

import pytest
import torch

from kanjo.train.config.training import TrainingConfig
from kanjo.train.tasks.optimizers import build_lr_scheduler, build_optimizer


def _optimizer(settings: TrainingConfig) -> torch.optim.Optimizer:
    parameters = [torch.nn.Parameter(torch.ones(2, 2)), torch.nn.Parameter(torch.ones(2))]
    return build_optimizer([*parameters, torch.nn.Parameter(torch.ones(3), requires_grad=False)], settings)


@pytest.mark.parametrize(
    ("name", "kind"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW), ("sgd", torch.optim.SGD)]
)
def test_build_optimizer_decays_matrices_only_and_leaves_frozen_parameters_out(name: str, kind: type) -> None:
    optimizer = _optimizer(TrainingConfig(optimizer=name, weight_decay=0.5))  # type: ignore[arg-type]
    assert type(optimizer) is kind
    groups = [([p.ndim for p in group["params"]], group["weight_decay"]) for group in optimizer.param_groups]
    assert groups == [([2], 0.5), ([1], 0.0)]


def _rates(settings: TrainingConfig, n_steps: int) -> tuple[str, list[float]]:
    optimizer = _optimizer(settings)
    configuration = build_lr_scheduler(optimizer, settings, lambda: n_steps)
    assert configuration is not None
    rates = []
    for _ in range(n_steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        configuration["scheduler"].step()
    return configuration["interval"], rates


def test_build_lr_scheduler_cosine_warms_up_linearly_and_falls_to_zero() -> None:
    interval, rates = _rates(TrainingConfig(learning_rate=1.0, warmup_fraction=0.2), 10)
    assert interval == "step"
    assert rates[:3] == pytest.approx([0.5, 1.0, 1.0])
    assert rates[2:] == sorted(rates[2:], reverse=True) and rates[-1] < 0.05


def test_build_lr_scheduler_exponential_stops_at_lowest_rate() -> None:
    settings = TrainingConfig(learning_rate=1.0, lr_schedule="exponential", lr_gamma=0.5, min_lr_fraction=0.2)
    interval, rates = _rates(settings, 4)
    assert interval == "epoch" and rates == pytest.approx([1.0, 0.5, 0.25, 0.2])


def test_build_lr_scheduler_constant_is_none_and_counts_no_steps() -> None:
    settings = TrainingConfig(lr_schedule="constant")

    def count_steps() -> int:
        raise AssertionError

    assert build_lr_scheduler(_optimizer(settings), settings, count_steps) is None


def test_build_lr_scheduler_inverse_time_is_the_decay_of_keras() -> None:
    settings = TrainingConfig(optimizer="sgd", learning_rate=1e-4, lr_schedule="inverse_time", lr_decay=1e-2)
    interval, rates = _rates(settings, 5)
    assert interval == "step"
    assert rates == pytest.approx([1e-4 / (1 + 1e-2 * iterations) for iterations in range(5)], rel=1e-9)
