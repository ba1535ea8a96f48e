"""Features cut along time into overlapping segments, each resized to the square image that a deep CNN expects."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def resize_matrix(n_in: int, n_out: int) -> Tensor:
    """Bilinear resampling of ``n_in`` points to ``n_out`` as a matrix (n_out, n_in): antialiased, centres aligned.

    It is what ``torch.nn.functional.interpolate`` does along one axis, read off an identity image.
    """
    identity = torch.eye(n_in).reshape(1, 1, n_in, n_in)
    return F.interpolate(identity, (n_out, n_in), mode="bilinear", antialias=True)[0, 0]


class Segments(nn.Module):
    """Segments of ``frames`` frames every ``hop``, resized to ``size`` x ``size`` (Zhang et al. 2021: 64, 32, 227).

    Only whole segments count, and an utterance's padding adds none: an utterance of V frames has
    1 + max(0, V - frames) // hop of them, however long the window around it is.
    """

    rows: Tensor
    columns: Tensor

    def __init__(self, n_mels: int, n_frames: int, frames: int = 64, hop: int = 32, size: int = 227) -> None:
        super().__init__()
        if n_frames < frames:
            raise ValueError(f"the window has {n_frames} frames, a segment {frames}; expected at least one segment")
        self.frames, self.hop = frames, hop
        self.n_segments = 1 + (n_frames - frames) // hop
        self.register_buffer("rows", resize_matrix(n_mels, size), persistent=False)
        self.register_buffer("columns", resize_matrix(frames, size), persistent=False)

    def count(self, frames: Tensor) -> Tensor:
        """Segments of utterances of so many frames: int64 (B,) -> (B,), from 1 to the window's number."""
        return (1 + (frames - self.frames).clamp(min=0) // self.hop).clamp(max=self.n_segments)

    def forward(self, features: Tensor) -> Tensor:
        """Every segment, padding's too: (B, C, M, T) -> (B, S, C, size, size)."""
        taller = self.rows @ features  # (B, C, size, T)
        cut = torch.stack([taller[..., self.hop * s : self.hop * s + self.frames] for s in range(self.n_segments)], 1)
        return cut @ self.columns.T

    def pick(self, features: Tensor, row: Tensor, segment: Tensor) -> Tensor:
        """These segments of these items: features (G, C, M, T), row (B,), segment (B,) -> (B, C, size, size).

        They come out with channels innermost (channels_last), as a CNN on a CPU wants them: the last product writes them so.
        """
        cut = features.unfold(3, self.frames, self.hop)[row, :, :, segment]  # (B, C, M, frames)
        cut = cut @ self.columns.T  # (B, C, M, size)
        b, c, m, size = cut.shape
        images = self.rows @ cut.permute(0, 2, 3, 1).reshape(b, m, size * c)  # (B, size, size C)
        return images.reshape(b, -1, size, c).permute(0, 3, 1, 2)
