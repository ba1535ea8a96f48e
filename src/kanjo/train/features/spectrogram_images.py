"""What a network sees of a recording, as arrays to draw."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from kanjo.audio import Signal
from kanjo.train.features.log_mel import LogMel

Pictures = list[npt.NDArray[np.float32]]


def log_mels_of(frontend: LogMel, signals: Sequence[Signal], window: int) -> Pictures:
    """The static channel (M, T) of each signal (N,), cut or padded to ``window`` samples, normalised as the network gets it."""
    batch = torch.zeros(len(signals), window)
    for row, signal in zip(batch, signals, strict=True):
        row[: min(window, len(signal))] = torch.from_numpy(np.asarray(signal[:window], np.float32))
    with torch.inference_mode():
        features, _ = frontend(batch)
    return [feature.numpy() for feature in features[:, 0]]


def segments_of(frontend: LogMel, signal: Signal, frames: int, hop: int) -> Pictures:
    """The whole segments (C, M, ``frames``) of a signal (N,), one every ``hop`` frames, as a network of two stages gets them."""
    with torch.inference_mode():
        features, heard = frontend(torch.from_numpy(np.asarray(signal, np.float32))[None])
    starts = range(0, max(1, int(heard[0]) - frames + 1), hop)
    return [features[0, :, :, start : start + frames].numpy() for start in starts]
