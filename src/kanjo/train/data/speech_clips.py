"""Speech segments of utterances, cut as in prediction: what a frozen encoder gets in training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from kanjo.audio import Signal
from kanjo.inference.speech_splitter import split_speech
from kanjo.train.config.training import AugmentConfig
from kanjo.train.data.audio_cache import AudioCache
from kanjo.train.data.augmentation import augment_signal, change_speed

#: Shortest segment in seconds that a shift of its ends may leave.
_MIN_SEGMENT_S = 0.3
#: Shortest and longest random crop in seconds.
_MIN_CROP_S, _MAX_CROP_S = 0.6, 1.4
#: Lengths in a batch are rounded up to a multiple of this many seconds.
_LENGTH_UNIT_S = 0.5


@dataclass(frozen=True)
class SpeechBatch:
    """Segments of similar length.

    Attributes:
        utterance: Utterance of each segment, (B,).
        signal: Samples, padded with zeros, (B, N).
        valid: Number of samples before the padding, (B,).
    """

    utterance: list[int]
    signal: Tensor
    valid: Tensor


class SpeechClips:
    """The speech segments of all utterances of an audio cache.

    Args:
        audio_cache: Decoded audio of all utterances.
        max_length: Longest segment in samples.
    """

    def __init__(self, audio_cache: AudioCache, max_length: int) -> None:
        self.audio_cache, self.max_length = audio_cache, max_length
        self._spans: dict[int, list[tuple[int, int]]] = {}

    def spans(self, utterance: int) -> list[tuple[int, int]]:
        """First sample, and sample after the last one, of each segment."""
        if utterance not in self._spans:
            clip = self.audio_cache.signal(utterance)
            windows = split_speech(clip, self.audio_cache.sample_rate, self.max_length)
            self._spans[utterance] = [(window.start, window.start + window.valid) for window in windows]
        return self._spans[utterance]

    def segment(self, utterance: int, index: int, augment: AugmentConfig | None = None) -> Signal:
        """One segment of an utterance.

        Args:
            utterance: Index of the utterance.
            index: Index of the segment in the utterance.
            augment: Shift both ends, crop, and change the speed, at random; None: none of these.
        """
        clip, (start, end) = self.audio_cache.signal(utterance), self.spans(utterance)[index]
        if augment is None:
            return clip[start:end]
        rate = self.audio_cache.sample_rate
        first, stop = (
            int(np.clip(sample + augment.max_shift_s * rate * _random_number(), 0, len(clip)))
            for sample in (start, end)
        )
        if stop - first < _MIN_SEGMENT_S * rate:
            first, stop = start, end
        if augment.short_crop_prob and float(torch.rand(())) < augment.short_crop_prob:
            length = int(rate * (_MIN_CROP_S + (_MAX_CROP_S - _MIN_CROP_S) * float(torch.rand(()))))
            first += int(max(0, stop - first - length) * float(torch.rand(())))
            stop = min(stop, first + length)
        speed = 1 + augment.max_speed_change * _random_number()
        return change_speed(clip[first:stop], speed)[: self.max_length] if speed != 1 else clip[first:stop]

    def batches(
        self, utterances: Sequence[int], batch_size: int, augment: AugmentConfig | None = None
    ) -> Iterator[SpeechBatch]:
        """Yield the segments of utterances in batches of similar length.

        Args:
            utterances: Indices of the utterances.
            batch_size: Most segments in a batch.
            augment: Augmentation of training clips; None: none.
        """
        items = [(end - start, i, k) for i in utterances for k, (start, end) in enumerate(self.spans(i))]
        items.sort()
        unit = int(_LENGTH_UNIT_S * self.audio_cache.sample_rate)
        for first in range(0, len(items), batch_size):
            batch = items[first : first + batch_size]
            segments = [self.segment(i, k, augment) for _, i, k in batch]
            valid = torch.tensor([len(segment) for segment in segments])
            length = -(-int(valid.max()) // unit) * unit
            signal = torch.zeros(len(batch), length)
            for row, segment in zip(signal, segments, strict=True):
                row[: len(segment)] = torch.from_numpy(np.ascontiguousarray(segment))
            if augment is not None:
                signal = augment_signal(signal, valid, augment, self.audio_cache.sample_rate)
                signal = signal * (torch.arange(length) < valid.unsqueeze(1))
            yield SpeechBatch([i for _, i, _ in batch], signal, valid)


def _random_number() -> float:
    """Draw a number from [-1, 1) from torch's global generator."""
    return 2 * float(torch.rand(())) - 1
