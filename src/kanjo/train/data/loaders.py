"""Build data loaders: shuffled, balanced, or divided among several processes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    RandomSampler,
    Sampler,
    SequentialSampler,
    WeightedRandomSampler,
)

from kanjo.train.data.datasets import BatchDataset, WindowDataset
from kanjo.train.distributed import DistributedBatchSampler, rank_and_size


def build_data_loader(
    dataset: BatchDataset[Any],
    batch_size: int,
    *,
    shuffle: bool,
    seed: int = 0,
    balance_classes: bool = False,
    sample_weights: Sequence[float] | None = None,
    distributed: bool = False,
) -> DataLoader[Any]:
    """Build a data loader that works in the main process.

    A window is a slice of a memory-mapped file, so worker processes would cost more time than they save.

    Args:
        dataset: Dataset that assembles its batches itself (``__getitems__``).
        batch_size: Items per batch, over all processes.
        shuffle: Draw items in random order. Without it, the two options for sampling have no effect.
        seed: Seed of the random order.
        balance_classes: Draw items with replacement, each emotion with equal probability.
        sample_weights: Draw items with replacement, with probabilities proportional to these, one for each item.
        distributed: Give each process of a distributed training its part of every batch.
    """
    generator = torch.Generator().manual_seed(seed)
    if balance_classes and shuffle:
        labels = torch.tensor(dataset.item_labels)
        sample_weights = (1 / torch.bincount(labels).double())[labels].tolist()
    sampler = None
    if sample_weights is not None and shuffle:
        sampler = WeightedRandomSampler(sample_weights, len(dataset), generator=generator)
    drop_last = shuffle and _last_batch_has_one_window(dataset, batch_size)
    rank, n_processes = rank_and_size()
    if distributed and n_processes > 1:
        order: Sampler[int] = sampler or (
            RandomSampler(dataset, generator=generator) if shuffle else SequentialSampler(dataset)
        )
        batches = DistributedBatchSampler(BatchSampler(order, batch_size, drop_last), rank, n_processes, even=shuffle)
        # DataLoader draws a number from the generator before the sampler does. Passing the generator keeps the order
        # of the items equal to that of a training in one process.
        return DataLoader(
            dataset,  # type: ignore[arg-type]
            batch_sampler=batches,
            generator=generator,
            collate_fn=_return_batch,
        )
    return DataLoader(
        dataset,  # type: ignore[arg-type]
        batch_size,
        shuffle=shuffle and sampler is None,
        sampler=sampler,
        generator=generator,
        collate_fn=_return_batch,
        drop_last=drop_last,
    )


def _last_batch_has_one_window(dataset: BatchDataset[Any], batch_size: int) -> bool:
    """Whether the last of several batches of windows has one item, which is too few for batch norm."""
    return isinstance(dataset, WindowDataset) and len(dataset) > batch_size and len(dataset) % batch_size == 1


def _return_batch(batch: Any) -> Any:
    """Return the batch that ``__getitems__`` has assembled."""
    return batch
