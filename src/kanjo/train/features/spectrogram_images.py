"""Compute the log-mel spectrograms that a model receives, as arrays for figures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from kanjo.audio import Signal
from kanjo.train.features.log_mel import LogMel

Image = npt.NDArray[np.float32]


def log_mel_images(feature_extractor: LogMel, signals: Sequence[Signal], window: int) -> list[Image]:
    """Compute the normalized log-mel spectrogram (M, T) of each signal (N,).

    Args:
        feature_extractor: Feature extractor of the model.
        signals: Signals, which are cut or zero-padded to the window.
        window: Window length in samples.
    """
    with torch.inference_mode():
        features, _ = feature_extractor(_pad(signals, window))
    return [static.numpy() for static in features[:, 0]]


def decibel_images(feature_extractor: LogMel, signals: Sequence[Signal], window: int) -> list[Image]:
    """Compute the log-mel spectrogram (M, T) of each signal (N,) in dB, before it is normalized and trimmed.

    Args:
        feature_extractor: Feature extractor of the model.
        signals: Signals, which are cut or zero-padded to the window.
        window: Window length in samples.
    """
    with torch.inference_mode():
        return [image.numpy() for image in feature_extractor.decibels(_pad(signals, window))]


def segment_images(feature_extractor: LogMel, signal: Signal, segment_frames: int, hop_frames: int) -> list[Image]:
    """Compute the segments (C, M, segment_frames) that a two-stage model receives from a signal (N,).

    Args:
        feature_extractor: Feature extractor of the model.
        signal: Samples.
        segment_frames: Segment length in frames.
        hop_frames: Hop between segments in frames.
    """
    with torch.inference_mode():
        features, n_frames = feature_extractor(torch.from_numpy(np.asarray(signal, np.float32))[None])
    starts = range(0, max(1, int(n_frames[0]) - segment_frames + 1), hop_frames)
    return [features[0, :, :, start : start + segment_frames].numpy() for start in starts]


def _pad(signals: Sequence[Signal], window: int) -> torch.Tensor:
    batch = torch.zeros(len(signals), window)
    for row, signal in zip(batch, signals, strict=True):
        row[: min(window, len(signal))] = torch.from_numpy(np.asarray(signal[:window], np.float32))
    return batch
