"""Training in several processes (``torchrun``): each takes its share of every batch, so that the result is one process's.

Norms use the whole batch's statistics and scores the whole epoch's answers, whichever process they were computed in.
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
    """This process's number and how many there are, as ``torchrun`` has told them; 0 and 1 without it."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def local_size() -> int:
    """How many of the processes run on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


class SharedBatches(Sampler[list[int]]):
    """Of each whole batch, every ``size``-th item from ``rank`` on.

    ``even``: every process has as many batches as the others, as training needs it: a last batch with fewer items than processes
    is left out. Else only those without an item of it do without.
    """

    def __init__(self, whole: BatchSampler, rank: int, size: int, even: bool) -> None:
        self.whole, self.rank, self.size, self.even = whole, rank, size, even
        self.batch_size, self.drop_last = whole.batch_size, whole.drop_last

    def __iter__(self) -> Iterator[list[int]]:
        for batch in self.whole:
            if len(batch) >= self.size or (not self.even and self.rank < len(batch)):
                yield batch[self.rank :: self.size]

    def __len__(self) -> int:
        sampler: Any = self.whole.sampler
        rest = 0 if self.whole.drop_last else len(sampler) % self.whole.batch_size
        return len(self.whole) - (0 < rest < (self.size if self.even else self.rank + 1))


def together() -> bool:
    """Whether processes are training together right now."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def summed(values: Tensor) -> Tensor:
    """The sum over all processes of a tensor; of one process, itself."""
    if not together():
        return values
    total = values.detach().clone()
    dist.all_reduce(total)
    return total


def gathered(values: Sequence[Tensor]) -> list[list[Tensor]]:
    """Each process's tensors, which may differ in length; of one process, its own."""
    mine = [value.detach().cpu() for value in values]
    if not together():
        return [mine]
    found: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(found, mine)
    return found


def scale_of(n: int, device: torch.device) -> float:
    """What a process's mean loss over ``n`` items is multiplied by, so that the processes' mean is the whole batch's mean."""
    if not together():
        return 1.0
    return float(n * dist.get_world_size() / summed(torch.tensor(float(n), device=device)))
