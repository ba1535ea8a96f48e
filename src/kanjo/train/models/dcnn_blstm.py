"""DCNN-BLSTM with attention (Zhang et al. 2021, doi 10.3389/fphys.2021.643202).

A deep CNN hears an utterance segment by segment; a bidirectional LSTM, self-attention and a small dense network read
what it made of the segments. Two stages train it: the CNN alone on single segments, then all that follows it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from kanjo.train.models.alexnet import AlexNet
from kanjo.train.models.layers.segments import Segments

Attention = Literal["self", "mean"]


def inside(counts: Tensor, n: int) -> Tensor:
    """Which of ``n`` places an item fills: int64 (B,) -> bool (B, n)."""
    return torch.arange(n, device=counts.device) < counts.unsqueeze(1)


class MaskedLstm(nn.Module):
    """An LSTM, or one each way, over sequences of their own lengths: (B, S, D), counts (B,) -> (B, S, units or 2 units).

    The backward one reads each item from its own last step, so what stands behind it changes nothing. (That is what a packed
    sequence does; this exports to ONNX.) Places behind an item's end hold no answer and are for the reader to mask.
    """

    def __init__(self, n_inputs: int, units: int, bidirectional: bool = True) -> None:
        super().__init__()
        self.forwards = nn.LSTM(n_inputs, units, batch_first=True)
        self.backwards = nn.LSTM(n_inputs, units, batch_first=True) if bidirectional else None

    def forward(self, x: Tensor, counts: Tensor) -> Tensor:
        onward, _ = self.forwards(x)
        if self.backwards is None:
            return onward  # type: ignore[no-any-return]
        place = torch.arange(x.shape[1], device=x.device)
        mirror = (
            (counts.unsqueeze(1) - 1 - place).clamp(min=0).unsqueeze(2)
        )  # (B, S, 1); its own inverse inside the counts
        back, _ = self.backwards(x.gather(1, mirror.expand(-1, -1, x.shape[2])))
        return torch.cat([onward, back.gather(1, mirror.expand(-1, -1, back.shape[2]))], 2)


class SelfAttention(nn.Module):
    """Scaled dot-product self-attention, averaged over the places that are filled: (B, S, D), mask (B, S) -> (B, D)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.query, self.key, self.value = nn.Linear(size, size), nn.Linear(size, size), nn.Linear(size, size)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        scores = self.query(x) @ self.key(x).transpose(1, 2) / math.sqrt(x.shape[2])  # (B, S query, S key)
        weights = scores.masked_fill(~mask.unsqueeze(1), -1e9).softmax(2)
        return masked_mean(weights @ self.value(x), mask)


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Mean over the places that are filled: (B, S, D), mask (B, S) -> (B, D)."""
    share = mask.unsqueeze(2).to(x.dtype)
    return torch.where(mask.unsqueeze(2), x, 0).sum(1) / share.sum(1)


class UtteranceHead(nn.Module):
    """What reads the segments' features: (B, S, D), counts (B,) -> logits (B, E), utterance features (B, 2 units)."""

    def __init__(
        self,
        n_inputs: int,
        n_emotions: int,
        *,
        lstm_units: int = 128,
        bidirectional: bool = True,
        attention: Attention = "self",
        hidden: Sequence[int] = (512, 256),
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.lstm = MaskedLstm(n_inputs, lstm_units, bidirectional)
        size = lstm_units * (2 if bidirectional else 1)
        self.attention = SelfAttention(size) if attention == "self" else None
        layers: list[nn.Module] = []
        for place, (n_in, n_out) in enumerate(zip((size, *hidden), hidden, strict=False)):
            layers += [nn.Linear(n_in, n_out), nn.ReLU(), *([nn.Dropout(dropout)] if place == 0 else [])]
        self.dense = nn.Sequential(*layers, nn.Linear((size, *hidden)[-1], n_emotions))
        self.embedding_size = size

    def forward(self, x: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
        mask = inside(counts, x.shape[1])
        # padding's values must not reach the LSTM's input product as NaN or infinity, whatever the extractor made of them
        x = self.lstm(torch.where(mask.unsqueeze(2), x, 0), counts)
        utterance = masked_mean(x, mask) if self.attention is None else self.attention(x, mask)
        return self.dense(utterance), utterance


class DcnnBlstm(nn.Module):
    """The whole system: features (B, C, M, T), frames heard (B,) -> logits (B, E), embedding (B, 2 units).

    C is 3 (static, delta, delta-delta) or 1 (static alone, shown three times). ``segment``: frames, hop and size of :class:`Segments`.
    Raises ValueError for a window too short for a segment.
    """

    def __init__(
        self,
        n_emotions: int,
        input_shape: tuple[int, int, int],
        *,
        segment: dict[str, int] | None = None,
        extractor_dropout: float = 0.5,
        **head: Any,
    ) -> None:
        super().__init__()
        _, mels, steps = input_shape
        self.segments = Segments(mels, steps, **(segment or {}))
        self.extractor = AlexNet(n_emotions, extractor_dropout)
        self.head = UtteranceHead(self.extractor.embedding_size, n_emotions, **head)
        self.embedding_size = self.head.embedding_size

    def forward(self, features: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        images = self.segments(self.coloured(features))  # (B, S, C, size, size)
        x = self.extractor.embed(images.flatten(0, 1))  # (B S, D)
        return self.head(x.reshape(-1, self.segments.n_segments, x.shape[1]), self.segments.count(frames))  # type: ignore[no-any-return]

    def coloured(self, features: Tensor) -> Tensor:
        """Three channels, as of images: (B, 1 or 3, M, T) -> (B, 3, M, T)."""
        return features if features.shape[1] == 3 else features.expand(-1, 3, -1, -1)

    def images(self, features: Tensor, row: Tensor, segment: Tensor) -> Tensor:
        """Segments as the CNN sees them: features (G, C, M, T), row (B,), segment (B,) -> (B, 3, size, size)."""
        return self.segments.pick(self.coloured(features), row, segment)
