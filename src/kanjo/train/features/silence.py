"""Find the part of a clip between its first and its last loud frame, in samples or in spectrogram frames."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from kanjo.audio import Signal


def find_loud_range(power: Tensor, threshold_db: float, valid: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Find the first and the last frame whose power is within ``threshold_db`` of the loudest frame's.

    Args:
        power: Power of each frame, (B, T).
        threshold_db: A frame is loud if its level is at most this many dB below the loudest frame's.
        valid: Which frames are not padding, bool (B, T); None: all of them.

    Returns:
        Indices of the first and of the last loud frame, each int64 (B,).
    """
    loud = power >= power.amax(1, keepdim=True) * 10 ** (-threshold_db / 10)
    if valid is not None:
        loud = loud & valid
    first = torch.argmax(loud.int(), 1)
    last = torch.amax(loud.int() * torch.arange(power.shape[1], device=power.device), 1)
    return first, last


def trim_silence_frames(power: Tensor, n_frames: Tensor, threshold_db: float) -> tuple[Tensor, Tensor]:
    """Remove the frames before the first and after the last loud frame, and move the rest to the start.

    A silent item keeps all its frames.

    Args:
        power: Mel power spectrogram, (B, M, T).
        n_frames: Number of valid frames of each item, int64 (B,).
        threshold_db: See :func:`find_loud_range`.

    Returns:
        The trimmed spectrogram with zeros after the last loud frame, (B, M, T), and the number of frames left, (B,).
    """
    index = torch.arange(power.shape[2], device=power.device)
    first, last = find_loud_range(power.sum(1), threshold_db, index < n_frames.unsqueeze(1))
    n_left = last - first + 1
    source = (index + first.unsqueeze(1)).clamp(max=power.shape[2] - 1)
    moved = power.gather(2, source.unsqueeze(1).expand(-1, power.shape[1], -1))
    return moved * (index < n_left.unsqueeze(1)).unsqueeze(1), n_left


def speech_span(signal: Signal, sample_rate: int, threshold_db: float) -> tuple[int, int]:
    """Find the samples between the first and the last loud frame of 25 ms.

    Args:
        signal: Samples of one clip, (N,).
        sample_rate: Sample rate in Hz.
        threshold_db: See :func:`find_loud_range`.

    Returns:
        Index of the first sample and of the sample after the last one.
    """
    frame_length = max(1, sample_rate // 40)
    n_frames = len(signal) // frame_length
    if n_frames < 2:
        return 0, len(signal)
    power = np.square(signal[: n_frames * frame_length]).reshape(n_frames, frame_length).mean(1)
    first, last = find_loud_range(torch.from_numpy(power)[None], threshold_db)
    return int(first) * frame_length, min(len(signal), (int(last) + 1) * frame_length)
