"""Datasets of fixed-length windows and of segments of windows, read from the audio cache."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol, TypedDict, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from kanjo.audio import Signal
from kanjo.train.data.audio_cache import AudioCache
from kanjo.train.data.augmentation import change_speed, shift_in_time
from kanjo.train.features.silence import speech_span

BatchT_co = TypeVar("BatchT_co", covariant=True)


class BatchDataset(Protocol[BatchT_co]):
    """A dataset that assembles whole batches and lists the labels of its items."""

    def __len__(self) -> int: ...

    def __getitems__(self, indices: Sequence[int]) -> BatchT_co: ...

    @property
    def item_labels(self) -> Sequence[int]:
        """Label of each item, without loading the items."""
        ...


class Batch(TypedDict):
    """A batch of windows.

    ``signal`` float32 (B, N); ``valid`` int64 (B,), the number of samples before the padding; ``label`` int64 (B,);
    ``speaker`` and ``corpus`` int64 (B,), indices as in
    :func:`kanjo.train.data.experiment_data.speaker_and_corpus_ids`, with speaker -1 where the speaker is unknown.
    """

    signal: Tensor
    valid: Tensor
    label: Tensor
    speaker: Tensor
    corpus: Tensor


class SegmentBatch(Batch):
    """A batch of B segments taken from G windows.

    ``signal`` (G, N), ``valid``, ``speaker`` and ``corpus`` (G,) describe the windows; ``label`` int64 (B,) is the
    label of each segment; ``row`` int64 (B,) is its window's index in the batch and ``segment`` int64 (B,) its index
    in the window.
    """

    row: Tensor
    segment: Tensor


class FeatureBatch(TypedDict):
    """Features of segments: ``features`` float16 (B, S, D), zeros after the first ``count`` (B,); ``label`` (B,)."""

    features: Tensor
    count: Tensor
    label: Tensor


class WindowDataset(Dataset[Batch]):
    """One window of fixed length from each utterance.

    An utterance that is longer than the window is cropped: at a random position with ``random_placement``, else in
    the middle. A shorter one is padded with zeros: it is placed at a random position with ``random_placement``, else
    at the start, as in prediction. All random draws come from torch's global generator.

    Args:
        audio_cache: Decoded audio of all utterances.
        indices: Utterances of this dataset.
        labels: Label of every utterance in the cache.
        window: Window length in samples.
        random_placement: Place or crop utterances at a random position.
        max_speed_change: Change the speed by a random factor between 1 - this and 1 + this.
        max_shift: Shift in time by a random number of samples, up to this many in either direction.
        crop: Length in samples of a random crop that replaces the window; 0: no crop. The crop holds as much of the
            speech as possible.
        trim_db: Threshold of :func:`kanjo.train.features.silence.speech_span` that defines the speech for ``crop``;
            None: the whole clip counts as speech.
        speaker_and_corpus: Indices of the speaker and the corpus of every utterance in the cache; empty: not known.
    """

    def __init__(
        self,
        audio_cache: AudioCache,
        indices: Sequence[int],
        labels: Sequence[int],
        window: int,
        *,
        random_placement: bool = False,
        max_speed_change: float = 0.0,
        max_shift: int = 0,
        crop: int = 0,
        trim_db: float | None = None,
        speaker_and_corpus: Sequence[tuple[int, int]] = (),
    ) -> None:
        self.audio_cache, self.indices, self.labels = audio_cache, indices, labels
        self.window = crop or window
        self.random_placement, self.max_speed_change, self.max_shift = random_placement, max_speed_change, max_shift
        self.crop, self.trim_db = crop, trim_db
        self.speaker_and_corpus = speaker_and_corpus
        self._speech_spans: dict[int, tuple[int, int]] = {}

    @property
    def item_labels(self) -> list[int]:
        """Label of each item."""
        return [self.labels[utterance] for utterance in self.indices]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Batch:
        return self.__getitems__([index])

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        signal = np.zeros((len(indices), self.window), np.float32)
        valid = np.zeros(len(indices), np.int64)
        utterances = [self.indices[index] for index in indices]
        for row, utterance in enumerate(utterances):
            clip = self._load_augmented(utterance)
            valid[row] = self._copy_into_window(clip, signal[row])
        speaker_and_corpus = torch.tensor(
            [self.speaker_and_corpus[utterance] if self.speaker_and_corpus else (-1, 0) for utterance in utterances]
        )
        return {
            "signal": torch.from_numpy(signal),
            "valid": torch.from_numpy(valid),
            "label": torch.tensor([self.labels[utterance] for utterance in utterances]),
            "speaker": speaker_and_corpus[:, 0],
            "corpus": speaker_and_corpus[:, 1],
        }

    def _load_augmented(self, utterance: int) -> Signal:
        """Load a clip and apply the random crop, speed change and shift."""
        clip = self.audio_cache.signal(utterance)
        speed = 1 + self.max_speed_change * (2 * _random_uniform() - 1) if self.max_speed_change else 1.0
        if self.crop:
            clip = self._random_crop(clip, utterance, math.ceil(self.crop * speed) + 1)
        if self.max_speed_change:
            clip = change_speed(clip, speed)
        if self.max_shift:
            clip = shift_in_time(clip, round(self.max_shift * (2 * _random_uniform() - 1)))
        return clip

    def _random_crop(self, clip: Signal, utterance: int, length: int) -> Signal:
        """Crop ``length`` samples at a random position that holds as much of the speech as possible.

        A crop may begin before the clip does; it is filled with zeros there. It ends with the clip at the latest.
        """
        if utterance not in self._speech_spans:
            self._speech_spans[utterance] = (
                speech_span(clip, self.audio_cache.sample_rate, self.trim_db) if self.trim_db else (0, len(clip))
            )
        first, end = self._speech_spans[utterance]
        spare = end - first - length
        if spare >= 0:
            start = first + int(_random_uniform() * spare)
        else:
            start = first + spare + int(_random_uniform() * (1 - spare))
        cropped = np.zeros(length, np.float32)
        low, high = max(0, start), min(len(clip), start + length)
        cropped[low - start : high - start] = clip[low:high]
        return cropped[: high - start]

    def _copy_into_window(self, clip: Signal, window: Signal) -> int:
        """Copy a clip into a window of zeros; return the number of samples before the padding at the end."""
        spare = self.window - len(clip)
        if self.random_placement:
            offset = int(_random_uniform() * (abs(spare) + 1))
        else:
            offset = 0 if spare >= 0 else int(0.5 * -spare)
        if spare >= 0:
            window[offset : offset + len(clip)] = clip
            return offset + len(clip)
        window[:] = clip[offset : offset + self.window]
        return self.window


class SegmentDataset(Dataset[SegmentBatch]):
    """Groups of segments of windows, so that a batch holds segments of many utterances.

    An item is a group of at most ``MAX_GROUP_SIZE`` segments of one window: the features of a window are computed
    once for all of them. The segments of a group are far from each other, because neighbors overlap by half.

    Args:
        windows: Dataset of the windows.
        counts: Number of segments in each of the windows.
    """

    MAX_GROUP_SIZE = 4

    def __init__(self, windows: WindowDataset, counts: Sequence[int]) -> None:
        self.windows = windows
        self.groups: list[tuple[int, range]] = []
        for window, count in enumerate(counts):
            n_groups = math.ceil(count / self.MAX_GROUP_SIZE)
            self.groups += [(window, range(first, count, n_groups)) for first in range(n_groups)]
        self.n_segments = sum(counts)
        labels = windows.item_labels
        self.item_labels = [labels[window] for window, _ in self.groups]

    def n_groups(self, n_segments: int) -> int:
        """Number of groups that hold about ``n_segments`` segments, at least 1."""
        return max(1, round(n_segments * len(self.groups) / self.n_segments))

    def __len__(self) -> int:
        return len(self.groups)

    def __getitem__(self, index: int) -> SegmentBatch:
        return self.__getitems__([index])

    def __getitems__(self, indices: Sequence[int]) -> SegmentBatch:
        groups = [self.groups[index] for index in indices]
        batch = self.windows.__getitems__([window for window, _ in groups])
        row = torch.tensor([i for i, (_, segments) in enumerate(groups) for _ in segments])
        segment = torch.tensor([segment for _, segments in groups for segment in segments])
        return {**batch, "label": batch["label"][row], "row": row, "segment": segment}


def _random_uniform() -> float:
    """Draw a number from [0, 1) from torch's global generator."""
    return float(torch.rand(()))
