"""Mean and standard deviation of an encoder's steps: over an utterance, and over shorter periods of it.

The steps are added up in blocks of 0.25 s: their number, sum and sum of squares. From these follow mean and standard
deviation of any period of whole blocks, so that results for parts of an utterance need no further encoding.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

#: Steps per second that all supported encoders have.
STEPS_PER_SECOND = 50
#: Length of a block in seconds. Two blocks are 25 steps: 13 in the first one, 12 in the second one.
BLOCK_S = 0.25
_STEPS_IN_TWO_BLOCKS, _STEPS_IN_FIRST_BLOCK = 25, 13
_MIN_VARIANCE = 1e-5


class BlockStatistics(NamedTuple):
    """Statistics of K blocks, after the mean of the utterance was subtracted.

    Attributes:
        mean: Mean of the utterance, (B, D).
        n_steps: Number of valid steps in each block, (B, K).
        total: Sum of the steps in each block, (B, K, D).
        total_squares: Sum of their squares, (B, K, D).
    """

    mean: Tensor
    n_steps: Tensor
    total: Tensor
    total_squares: Tensor


def block_statistics(steps: Tensor, mask: Tensor) -> BlockStatistics:
    """Add up steps in blocks of 0.25 s.

    Args:
        steps: (B, S, D).
        mask: Which steps are valid, bool (B, S, 1).
    """
    valid = mask.to(steps.dtype)
    mean = (steps * valid).sum(1) / valid.sum(1)
    centered = (steps - mean.unsqueeze(1)) * valid
    return BlockStatistics(mean, _sum_blocks(valid).squeeze(2), _sum_blocks(centered), _sum_blocks(centered.square()))


def mean_and_std(statistics: BlockStatistics) -> Tensor:
    """Compute mean and standard deviation of the utterance: (B, 2 D)."""
    n = statistics.n_steps.sum(1, keepdim=True)
    variance = statistics.total_squares.sum(1) / n
    return torch.cat([statistics.mean, (variance + _MIN_VARIANCE).sqrt()], 1)


def sliding_mean_and_std(statistics: BlockStatistics, n_neighbors: int) -> Tensor:
    """Compute mean and standard deviation around each block.

    Args:
        statistics: Statistics of K blocks.
        n_neighbors: Number of blocks on each side that count together with a block.

    Returns:
        (B, K, 2 D). Blocks without valid steps near them get the statistics of zeros.
    """
    n = _sum_neighbors(statistics.n_steps.unsqueeze(2), n_neighbors).clamp(min=1)
    offset = _sum_neighbors(statistics.total, n_neighbors) / n
    variance = _sum_neighbors(statistics.total_squares, n_neighbors) / n - offset.square()
    std = (variance.clamp(min=0) + _MIN_VARIANCE).sqrt()
    return torch.cat([statistics.mean.unsqueeze(1) + offset, std], 2)


def _sum_blocks(values: Tensor) -> Tensor:
    """Add up the steps of each block: (B, S, D) -> (B, K, D)."""
    b, n_steps, size = values.shape
    padded = F.pad(values, (0, 0, 0, -n_steps % _STEPS_IN_TWO_BLOCKS))
    pairs = padded.reshape(b, -1, _STEPS_IN_TWO_BLOCKS, size)
    sums = torch.stack([pairs[:, :, :_STEPS_IN_FIRST_BLOCK].sum(2), pairs[:, :, _STEPS_IN_FIRST_BLOCK:].sum(2)], 2)
    return sums.reshape(b, -1, size)


def _sum_neighbors(values: Tensor, n_neighbors: int) -> Tensor:
    """Add to each block the ``n_neighbors`` blocks on either side: (B, K, D) -> (B, K, D)."""
    size = 2 * n_neighbors + 1
    means = F.avg_pool1d(
        values.transpose(1, 2), size, stride=1, padding=n_neighbors
    )  # divides by size at the ends, too
    return size * means.transpose(1, 2)
