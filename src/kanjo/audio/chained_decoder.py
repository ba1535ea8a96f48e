"""Decode several recordings in one file, such as joined MP3 files or a chained Ogg file, as one recording."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import soxr

from kanjo.audio.signals import SampleMatrix, SampleType
from kanjo.audio.soundfile_decoder import SoundfileDecoder
from kanjo.errors import AudioError


class ChainedDecoder:
    """Decodes recordings one behind the other, with the sample rate and the channels of the first one.

    Attributes:
        native_rate: Sample rate in Hz.
        channels: Number of channels.
        frames: Number of frames, or None if it is not known.
        warnings: Defects of the recordings; complete after the last block.
        file: The opened first recording.
    """

    def __init__(self, name: str, openers: Sequence[Callable[[], SoundfileDecoder]], frames: int | None = None) -> None:
        """Open the first recording.

        Args:
            name: Name of the file in messages.
            openers: Functions that open the recordings.
            frames: Number of frames of all, if it is known; at most the actual number.

        Raises:
            AudioError: The first recording can't be opened.
        """
        first = openers[0]()
        self.native_rate, self.channels, self.frames = first.native_rate, first.channels, frames
        self.warnings: list[str] = []
        self.file = first.file
        self._name, self._openers, self._open = name, openers, first

    @property
    def duration_s(self) -> float | None:
        """Seconds according to the headers, or None."""
        return self.frames / self.native_rate if self.frames is not None else None

    def close(self) -> None:
        """Close the recording that is open."""
        self._open.close()

    def blocks(self, dtype: SampleType = "float32") -> Iterator[SampleMatrix]:
        """Yield blocks of samples (N, channels).

        Raises:
            AudioError: The first recording is damaged and no sample can be decoded.
        """
        for index, opener in enumerate(self._openers):
            try:
                if index:
                    self._open.close()
                    self._open = opener()
                for block in self._open.blocks(dtype):
                    yield from self._adapt(block, dtype)
                yield from self._finish_resampling(dtype)
            except AudioError as error:
                if not index:
                    raise
                reason = str(error).removeprefix(f"{self._name}: ")
                self.warnings.append(f"part {index + 1} of {len(self._openers)} in this file is damaged: {reason}")
                continue
            self.warnings += [
                f"part {index + 1} of {len(self._openers)} in this file: {text}" for text in self._open.warnings
            ]

    _resampler: soxr.ResampleStream | None = None

    def _adapt(self, block: SampleMatrix, dtype: SampleType) -> Iterator[SampleMatrix]:
        """Convert a block to the channels and the sample rate of the first recording."""
        if block.shape[1] != self.channels:
            mono = block.mean(axis=1, keepdims=True, dtype=block.dtype)
            block = np.ascontiguousarray(np.repeat(mono, self.channels, axis=1))
        if self._open.native_rate != self.native_rate:
            if self._resampler is None:
                self._resampler = soxr.ResampleStream(
                    self._open.native_rate, self.native_rate, self.channels, dtype=dtype
                )
            block = self._resampler.resample_chunk(block, last=False)
        if len(block):
            yield block

    def _finish_resampling(self, dtype: SampleType) -> Iterator[SampleMatrix]:
        """Yield what the resampler still holds at the end of a recording."""
        if self._resampler is not None:
            tail = self._resampler.resample_chunk(np.zeros((0, self.channels), dtype), last=True)
            self._resampler = None
            if len(tail):
                yield tail
