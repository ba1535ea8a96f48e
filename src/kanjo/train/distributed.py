"""Train one model in several processes (``torchrun``).

Each process gets a part of every batch. Batch norms use the statistics of the whole batch, and scores use the
predictions of all processes, so that the result is the same as that of one process.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist
from torch.utils.data import BatchSampler, Sampler


def rank_and_size() -> tuple[int, int]:
    """Return this process's rank and the number of processes, from torchrun's environment variables (else 0 and 1)."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def local_size() -> int:
    """Return the number of processes on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


class DistributedBatchSampler(Sampler[list[int]]):
    """Samples this process's part of each batch: every ``n_processes``-th item.

    Args:
        batches: Sampler of the whole batches.
        rank: Rank of this process.
        n_processes: Number of processes.
        even: Give all processes the same number of batches, as training needs it: leave out a last batch with fewer
            items than processes. Otherwise only the processes that get no item leave it out.
    """

    def __init__(self, batches: BatchSampler, rank: int, n_processes: int, even: bool) -> None:
        self.batches, self.rank, self.n_processes, self.even = batches, rank, n_processes, even
        self.batch_size, self.drop_last = batches.batch_size, batches.drop_last

    def __iter__(self) -> Iterator[list[int]]:
        for batch in self.batches:
            if len(batch) >= self._min_items:
                yield batch[self.rank :: self.n_processes]

    def __len__(self) -> int:
        sampler: Any = self.batches.sampler
        last = 0 if self.batches.drop_last else len(sampler) % self.batches.batch_size
        return len(self.batches) - (0 < last < self._min_items)

    @property
    def _min_items(self) -> int:
        """Fewest items of a batch that this process takes part in."""
        return self.n_processes if self.even else self.rank + 1


def is_distributed() -> bool:
    """Whether several processes are training together now."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def all_reduce_sum(values: Tensor) -> Tensor:
    """Sum a tensor over all processes."""
    if not is_distributed():
        return values
    total = values.detach().clone()
    dist.all_reduce(total)
    return total


def all_gather(values: Sequence[Tensor]) -> list[list[Tensor]]:
    """Collect the tensors of each process, on the CPU; their lengths may differ."""
    own = [value.detach().cpu() for value in values]
    if not is_distributed():
        return [own]
    collected: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(collected, own)
    return collected


def loss_scale(n_items: int, device: torch.device) -> float:
    """Return the factor on this process's mean loss that makes the mean over processes the mean over all items.

    Args:
        n_items: Items of this process.
        device: Device that the processes communicate on.
    """
    if not is_distributed():
        return 1.0
    return float(n_items * dist.get_world_size() / all_reduce_sum(torch.tensor(float(n_items), device=device)))
