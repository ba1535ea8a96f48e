"""Split features along time into overlapping segments, and resize each to the square image that a deep CNN expects."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def resize_matrix(n_in: int, n_out: int) -> Tensor:
    """Compute the matrix (n_out, n_in) that resamples ``n_in`` points to ``n_out``: bilinear, antialiased.

    It is the result of ``torch.nn.functional.interpolate`` along one axis of an identity matrix.
    """
    identity = torch.eye(n_in).reshape(1, 1, n_in, n_in)
    return F.interpolate(identity, (n_out, n_in), mode="bilinear", antialias=True)[0, 0]


class SegmentSplitter(nn.Module):
    """Segments of ``frames`` frames every ``hop`` frames, resized to ``size`` x ``size``.

    Zhang et al. 2021 use 64, 32 and 227. Only complete segments count, and padding adds none: an utterance of V frames
    has 1 + max(0, V - frames) // hop segments, whatever the length of the window.

    Args:
        n_mels: Number M of mel bands.
        n_frames: Number T of frames in the window.
        frames: Segment length in frames.
        hop: Hop between segments in frames.
        size: Height and width of the resized segments.

    Raises:
        ValueError: The window is shorter than a segment.
    """

    rows: Tensor
    columns: Tensor

    def __init__(self, n_mels: int, n_frames: int, frames: int = 64, hop: int = 32, size: int = 227) -> None:
        super().__init__()
        if n_frames < frames:
            raise ValueError(f"the window has {n_frames} frames; expected at least {frames}, the length of a segment")
        self.frames, self.hop = frames, hop
        self.n_segments = 1 + (n_frames - frames) // hop
        self.register_buffer("rows", resize_matrix(n_mels, size), persistent=False)
        self.register_buffer("columns", resize_matrix(frames, size), persistent=False)

    def count(self, n_frames: Tensor) -> Tensor:
        """Count the segments of utterances of ``n_frames`` frames: int64 (B,) -> (B,), at least 1."""
        return (1 + (n_frames - self.frames).clamp(min=0) // self.hop).clamp(max=self.n_segments)

    def forward(self, features: Tensor) -> Tensor:
        """Compute all segments, including those of padding: (B, C, M, T) -> (B, S, C, size, size)."""
        resized_rows = self.rows @ features  # (B, C, size, T)
        starts = [self.hop * s for s in range(self.n_segments)]
        segments = torch.stack([resized_rows[..., start : start + self.frames] for start in starts], 1)
        return segments @ self.columns.T

    def select_segments(self, features: Tensor, row: Tensor, segment: Tensor) -> Tensor:
        """Compute some segments only.

        The result has the memory format ``channels_last``, which CNNs on a CPU need to be fast: the last matrix
        product writes the channels as the innermost dimension.

        Args:
            features: Features of G items, (G, C, M, T).
            row: Index of the item of each segment, (B,).
            segment: Index of the segment in its item, (B,).

        Returns:
            Segments, (B, C, size, size).
        """
        segments = features.unfold(3, self.frames, self.hop)[row, :, :, segment]  # (B, C, M, frames)
        segments = segments @ self.columns.T  # (B, C, M, size)
        b, c, m, size = segments.shape
        images = self.rows @ segments.permute(0, 2, 3, 1).reshape(b, m, size * c)  # (B, size, size C)
        return images.reshape(b, -1, size, c).permute(0, 3, 1, 2)
