"""Batches of windows out of a pack."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypedDict, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    RandomSampler,
    Sampler,
    SequentialSampler,
    WeightedRandomSampler,
)

from kanjo.audio import Signal
from kanjo.train.augment import at_speed, shifted
from kanjo.train.pack import Pack
from kanjo.train.shares import SharedBatches, rank_and_size

T_co = TypeVar("T_co", covariant=True)


class Items(Protocol[T_co]):
    """What a loader reads: batches by places, and each item's label."""

    def __len__(self) -> int: ...

    def __getitems__(self, places: Sequence[int]) -> T_co: ...

    @property
    def label_of(self) -> Sequence[int]: ...


class Batch(TypedDict):
    """``signal`` float32 (B, N), ``valid`` int64 (B,) samples that are not padding, ``label`` int64 (B,)."""

    signal: Tensor
    valid: Tensor
    label: Tensor


class SegmentBatch(Batch):
    """Segments of windows: ``row`` and ``segment`` int64 (B,) say which window, and which segment of it, each label is of.

    ``signal`` (G, N) and ``valid`` (G,) are the windows'; ``label`` (B,) is the segments'.
    """

    row: Tensor
    segment: Tensor


class FeatureBatch(TypedDict):
    """``features`` float16 (B, S, D), zeros behind each item's ``count`` int64 (B,), ``label`` int64 (B,)."""

    features: Tensor
    count: Tensor
    label: Tensor


class Windows(Dataset[Batch]):
    """One window of each utterance. In training its place is drawn anew each time, and speed and shift (samples) with it.

    An utterance longer than the window is cropped (in training anywhere, else in the middle); a shorter one stands at the
    window's start, as in prediction, or, in training with ``random`` placement, anywhere in it.
    """

    def __init__(
        self,
        pack: Pack,
        indices: Sequence[int],
        labels: Sequence[int],
        window: int,
        *,
        random: bool = False,
        speed: float = 0.0,
        shift: int = 0,
    ) -> None:
        self.pack, self.indices, self.labels, self.window = pack, indices, labels, window
        self.random, self.speed, self.shift = random, speed, shift

    @property
    def label_of(self) -> list[int]:
        """Each item's label."""
        return [self.labels[index] for index in self.indices]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, place: int) -> Batch:
        return self.__getitems__([place])

    def __getitems__(self, places: Sequence[int]) -> Batch:
        signal = np.zeros((len(places), self.window), np.float32)
        valid = np.zeros(len(places), np.int64)
        for row, place in enumerate(places):
            clip = self.pack.signal(self.indices[place])
            if self.speed:
                clip = at_speed(clip, 1 + self.speed * (2 * _chance() - 1))
            if self.shift:
                clip = shifted(clip, round(self.shift * (2 * _chance() - 1)))
            valid[row] = self._put(clip, signal[row])
        label = np.asarray([self.labels[self.indices[place]] for place in places], np.int64)
        return {"signal": torch.from_numpy(signal), "valid": torch.from_numpy(valid), "label": torch.from_numpy(label)}

    def _put(self, clip: Signal, row: Signal) -> int:
        spare = self.window - len(clip)
        share = _chance() if self.random else (0.5 if spare < 0 else 0.0)
        offset = int(share * (abs(spare) + 1)) if self.random else int(share * abs(spare))
        if spare >= 0:
            row[offset : offset + len(clip)] = clip
            return offset + len(clip)
        row[:] = clip[offset : offset + self.window]
        return self.window


class SegmentWindows(Dataset[SegmentBatch]):
    """Windows by a few of their segments at a time, so that a batch holds segments of many utterances.

    ``counts``: segments of each of the windows. An item is at most ``TOGETHER`` segments of one window, as far apart as can
    be: a window's features are worth computing for more than one, and neighbours overlap by half.
    """

    TOGETHER = 4

    def __init__(self, windows: Windows, counts: Sequence[int]) -> None:
        self.windows = windows
        self.groups = [
            (place, range(first, count, n_groups))
            for place, count in enumerate(counts)
            for n_groups in [-(-count // self.TOGETHER)]
            for first in range(n_groups)
        ]
        self.n_segments = sum(counts)
        labels = windows.label_of
        self.label_of = [labels[place] for place, _ in self.groups]

    def items(self, n_segments: int) -> int:
        """How many items hold about so many segments."""
        return max(1, round(n_segments * len(self.groups) / self.n_segments))

    def __len__(self) -> int:
        return len(self.groups)

    def __getitem__(self, place: int) -> SegmentBatch:
        return self.__getitems__([place])

    def __getitems__(self, places: Sequence[int]) -> SegmentBatch:
        groups = [self.groups[place] for place in places]
        batch = self.windows.__getitems__([window for window, _ in groups])
        row = torch.tensor([i for i, (_, segments) in enumerate(groups) for _ in segments])
        segment = torch.tensor([segment for _, segments in groups for segment in segments])
        return {**batch, "label": batch["label"][row], "row": row, "segment": segment}


def loader(
    items: Items[Any], batch_size: int, *, shuffle: bool, seed: int = 0, balanced: bool = False, shared: bool = False
) -> DataLoader[Any]:
    """Batches in the main process: a window is a slice of mapped memory, so workers would cost more than they bring.

    ``balanced``: training items are drawn with replacement, each emotion as often as any other. ``shared``: of several processes
    that train together each gets its share of every batch.
    """
    generator = torch.Generator().manual_seed(seed)
    # a last batch of one clip has no batch statistics to norm by; networks that read segments norm by none
    drop_last = shuffle and isinstance(items, Windows) and len(items) % batch_size == 1 and len(items) > batch_size
    sampler = None
    if balanced and shuffle:
        labels = torch.tensor(items.label_of)
        share = 1 / torch.bincount(labels).double()
        sampler = WeightedRandomSampler(share[labels].tolist(), len(items), generator=generator)
    rank, size = rank_and_size()
    if shared and size > 1:
        order: Sampler[int] = sampler or (RandomSampler(items, generator=generator) if shuffle else SequentialSampler(items))
        batches = SharedBatches(BatchSampler(order, batch_size, drop_last), rank, size, even=shuffle)
        # the generator too: a loader draws from it before its sampler does, and the order has to be one process's
        return DataLoader(items, batch_sampler=batches, generator=generator, collate_fn=_whole)  # type: ignore[arg-type]
    return DataLoader(
        items,  # type: ignore[arg-type]
        batch_size,
        shuffle=shuffle and sampler is None,
        sampler=sampler,
        generator=generator,
        collate_fn=_whole,
        drop_last=drop_last,
    )


def _whole(batch: Any) -> Any:
    """``__getitems__`` has put the batch together already."""
    return batch


def _chance() -> float:
    return float(torch.rand(()))
