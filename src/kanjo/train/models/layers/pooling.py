"""Layers over the time steps of an utterance: masks, linear layers and pooling."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def frame_mask(steps: Tensor, n_valid: Tensor) -> Tensor:
    """Mark the steps that are not padding.

    Args:
        steps: (B, S, D).
        n_valid: Number of valid steps of each item, (B,). Numbers over S count as S.

    Returns:
        bool (B, S, 1).
    """
    n_steps = steps.shape[1]
    return torch.arange(n_steps, device=steps.device).reshape(1, -1, 1) < n_valid.clamp(max=n_steps).reshape(-1, 1, 1)


def linear_per_step(layer: nn.Linear, steps: Tensor) -> Tensor:
    """Apply a linear layer to (B, S, D) as one product of all steps: (B, S, D').

    In this form the weight keeps its name in an exported graph, and kanjo.train.export.quantize can make it int8.
    """
    output = nn.functional.linear(steps.flatten(0, 1), layer.weight, layer.bias)
    return output.reshape(-1, steps.shape[1], layer.out_features)


class AttentiveStatisticsPooling(nn.Module):
    """Mean and standard deviation over the steps, weighted by attention (Okabe et al. 2018, arXiv 1803.10963).

    Args:
        size: Size D of a step.

    Shape:
        steps (B, S, D), mask of the valid steps bool (B, S, 1) -> (B, 2 D).
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.score = nn.Linear(size, 1)
        nn.init.zeros_(self.score.weight)  # before training, all steps have the same weight
        nn.init.zeros_(self.score.bias)

    def forward(self, steps: Tensor, mask: Tensor) -> Tensor:
        """Pool the steps."""
        scores = linear_per_step(self.score, steps).masked_fill(~mask, float("-inf"))
        weights = torch.softmax(scores.float(), 1).to(steps.dtype)
        mean = (weights * steps).sum(1)
        variance = (weights * (steps - mean.unsqueeze(1)).square()).sum(1)
        return torch.cat([mean, (variance + 1e-5).sqrt()], 1)
