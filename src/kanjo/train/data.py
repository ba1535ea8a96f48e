"""Batches of windows out of a pack."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from kanjo.audio import Signal
from kanjo.train.augment import at_speed
from kanjo.train.pack import Pack


class Batch(TypedDict):
    """``signal`` float32 (B, N), ``valid`` int64 (B,) samples that are not padding, ``label`` int64 (B,)."""

    signal: Tensor
    valid: Tensor
    label: Tensor


class Windows(Dataset[Batch]):
    """One window of each utterance. In training its place is drawn anew each time, and the speed with it.

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
    ) -> None:
        self.pack, self.indices, self.labels, self.window = pack, indices, labels, window
        self.random, self.speed = random, speed

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


def loader(windows: Windows, batch_size: int, *, shuffle: bool, seed: int = 0) -> DataLoader[Batch]:
    """Batches in the main process: a window is a slice of mapped memory, so workers would cost more than they bring."""
    generator = torch.Generator().manual_seed(seed)
    # a last batch of one clip has no batch statistics to norm by
    drop_last = shuffle and len(windows) % batch_size == 1 and len(windows) > batch_size
    return DataLoader(windows, batch_size, shuffle=shuffle, generator=generator, collate_fn=_whole, drop_last=drop_last)


def _whole(batch: Any) -> Any:
    """``__getitems__`` has put the batch together already."""
    return batch


def _chance() -> float:
    return float(torch.rand(()))
