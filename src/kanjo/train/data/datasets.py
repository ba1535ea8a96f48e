"""Batches of windows out of a pack."""

from __future__ import annotations

import math
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
from kanjo.train.data.audio_cache import Pack
from kanjo.train.data.augmentation import at_speed, shifted
from kanjo.train.distributed import SharedBatches, rank_and_size

T_co = TypeVar("T_co", covariant=True)


class Items(Protocol[T_co]):
    """What a loader reads: batches by places, and each item's label."""

    def __len__(self) -> int: ...

    def __getitems__(self, places: Sequence[int]) -> T_co: ...

    @property
    def label_of(self) -> Sequence[int]: ...


class Batch(TypedDict):
    """``signal`` float32 (B, N), ``valid`` int64 (B,) samples that are not padding, ``label`` int64 (B,).

    ``speaker`` and ``corpus`` int64 (B,) count the run's speakers and corpora; -1 where a speaker is not known.
    """

    signal: Tensor
    valid: Tensor
    label: Tensor
    speaker: Tensor
    corpus: Tensor


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
    window's start, as in prediction, or, in training with ``random`` placement, anywhere in it. With ``crop`` (samples) training hears so
    much of it, anywhere over its speech: see :func:`speech_span` for ``trim_db``. ``people``: each utterance's speaker and corpus, counted.
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
        crop: int = 0,
        trim_db: float | None = None,
        people: Sequence[tuple[int, int]] = (),
    ) -> None:
        self.pack, self.indices, self.labels, self.window = pack, indices, labels, crop or window
        self.random, self.speed, self.shift = random, speed, shift
        self.crop, self.trim_db, self.people = crop, trim_db, people
        self._spans: dict[int, tuple[int, int]] = {}

    @property
    def label_of(self) -> list[int]:
        """Each item's label."""
        return [self.labels[index] for index in self.indices]

    @property
    def speaker_of(self) -> list[int]:
        """Each item's speaker, counted; -1 where it is not known."""
        return [self._person(index)[0] for index in self.indices]

    def _person(self, index: int) -> tuple[int, int]:
        return self.people[index] if self.people else (-1, 0)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, place: int) -> Batch:
        return self.__getitems__([place])

    def __getitems__(self, places: Sequence[int]) -> Batch:
        signal = np.zeros((len(places), self.window), np.float32)
        valid = np.zeros(len(places), np.int64)
        for row, place in enumerate(places):
            clip = self.pack.signal(self.indices[place])
            factor = 1 + self.speed * (2 * _chance() - 1) if self.speed else 1.0
            if self.crop:
                clip = self._cropped(clip, self.indices[place], math.ceil(self.crop * factor) + 1)
            if self.speed:
                clip = at_speed(clip, factor)
            if self.shift:
                clip = shifted(clip, round(self.shift * (2 * _chance() - 1)))
            valid[row] = self._put(clip, signal[row])
        label = torch.tensor([self.labels[self.indices[place]] for place in places])
        people = torch.tensor([self._person(self.indices[place]) for place in places])
        return {
            "signal": torch.from_numpy(signal), "valid": torch.from_numpy(valid), "label": label,
            "speaker": people[:, 0], "corpus": people[:, 1],
        }  # fmt: skip

    def _cropped(self, clip: Signal, index: int, length: int) -> Signal:
        """So many samples that hold as much of the clip's speech as they can, from anywhere in it; silence where the clip has no more."""
        if index not in self._spans:
            self._spans[index] = (
                speech_span(clip, self.pack.sample_rate, self.trim_db) if self.trim_db else (0, len(clip))
            )
        first, last = self._spans[index]
        spare = last - first - length
        start = first + int(_chance() * spare) if spare >= 0 else first + spare + int(_chance() * (1 - spare))
        piece = np.zeros(length, np.float32)
        low, high = max(0, start), min(len(clip), start + length)
        piece[low - start : high - start] = clip[low:high]
        return piece[: high - start]

    def _put(self, clip: Signal, row: Signal) -> int:
        spare = self.window - len(clip)
        share = _chance() if self.random else (0.5 if spare < 0 else 0.0)
        offset = int(share * (abs(spare) + 1)) if self.random else int(share * abs(spare))
        if spare >= 0:
            row[offset : offset + len(clip)] = clip
            return offset + len(clip)
        row[:] = clip[offset : offset + self.window]
        return self.window


def speech_span(clip: Signal, sample_rate: int, within_db: float) -> tuple[int, int]:
    """From the first to the last 25 ms of (N,) whose level is within so many dB of the loudest's: samples, end exclusive."""
    size = max(1, sample_rate // 40)
    n = len(clip) // size
    if n < 2:
        return 0, len(clip)
    power = np.square(clip[: n * size]).reshape(n, size).mean(1)
    loud = np.flatnonzero(power >= power.max() * 10 ** (-within_db / 10))
    return int(loud[0]) * size, min(len(clip), (int(loud[-1]) + 1) * size)


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
    items: Items[Any],
    batch_size: int,
    *,
    shuffle: bool,
    seed: int = 0,
    balanced: bool = False,
    shares: Sequence[float] | None = None,
    shared: bool = False,
) -> DataLoader[Any]:
    """Batches in the main process: a window is a slice of mapped memory, so workers would cost more than they bring.

    ``balanced``: training items are drawn with replacement, each emotion as often as any other; ``shares``: each item as often as
    its share says. ``shared``: of several processes
    that train together each gets its share of every batch.
    """
    generator = torch.Generator().manual_seed(seed)
    # a last batch of one clip has no batch statistics to norm by; networks that read segments norm by none
    drop_last = shuffle and isinstance(items, Windows) and len(items) % batch_size == 1 and len(items) > batch_size
    sampler = None
    if balanced and shuffle:
        labels = torch.tensor(items.label_of)
        shares = (1 / torch.bincount(labels).double())[labels].tolist()
    if shares is not None and shuffle:
        sampler = WeightedRandomSampler(shares, len(items), generator=generator)
    rank, size = rank_and_size()
    if shared and size > 1:
        order: Sampler[int] = sampler or (
            RandomSampler(items, generator=generator) if shuffle else SequentialSampler(items)
        )
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
