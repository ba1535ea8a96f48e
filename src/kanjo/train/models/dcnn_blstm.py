"""DCNN-BLSTM with attention (Zhang et al. 2021, doi 10.3389/fphys.2021.643202).

A deep CNN computes features of each segment of an utterance. A bidirectional LSTM, self-attention and dense layers
combine the features of the segments. Training has two stages: the CNN alone on single segments, then all that follows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from kanjo.train.models.alexnet import AlexNet
from kanjo.train.models.layers.segments import SegmentSplitter

Attention = Literal["self", "self-sum", "mean"]


def segment_mask(counts: Tensor, n_segments: int) -> Tensor:
    """Mark the first ``counts`` (B,) of ``n_segments`` segments: bool (B, n_segments)."""
    return torch.arange(n_segments, device=counts.device) < counts.unsqueeze(1)


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Compute the mean over the segments in the mask: (B, S, D), mask (B, S) -> (B, D)."""
    weight = mask.unsqueeze(2).to(x.dtype)
    return torch.where(mask.unsqueeze(2), x, 0).sum(1) / weight.sum(1)


class MaskedLstm(nn.Module):
    """LSTM, optionally bidirectional, over sequences of different lengths.

    The backward LSTM starts at the last valid step of each item, so padding has no effect. The result is that of a
    packed sequence, but this form can be exported to ONNX. The outputs after the last valid step are undefined.

    Args:
        n_inputs: Size D of a step.
        units: Units of each LSTM.
        bidirectional: Add a backward LSTM.

    Shape:
        x (B, S, D), number of valid steps (B,) -> (B, S, units), or (B, S, 2 units) if bidirectional.
    """

    def __init__(self, n_inputs: int, units: int, bidirectional: bool = True) -> None:
        super().__init__()
        self.forwards = nn.LSTM(n_inputs, units, batch_first=True)
        self.backwards = nn.LSTM(n_inputs, units, batch_first=True) if bidirectional else None

    def forward(self, x: Tensor, counts: Tensor) -> Tensor:
        """Apply the LSTMs."""
        forward_output, _ = self.forwards(x)
        if self.backwards is None:
            return forward_output  # type: ignore[no-any-return]
        index = torch.arange(x.shape[1], device=x.device)
        # Reverses the valid steps of each item; applied twice, it changes nothing.
        reverse = (counts.unsqueeze(1) - 1 - index).clamp(min=0).unsqueeze(2)  # (B, S, 1)
        backward_output, _ = self.backwards(x.gather(1, reverse.expand(-1, -1, x.shape[2])))
        backward_output = backward_output.gather(1, reverse.expand(-1, -1, backward_output.shape[2]))
        return torch.cat([forward_output, backward_output], 2)


class SelfAttention(nn.Module):
    """Scaled dot-product self-attention, averaged or summed over the valid segments.

    Args:
        size: Size D of a segment.
        total: Sum instead of averaging.

    Shape:
        x (B, S, D), mask (B, S) -> (B, D).
    """

    def __init__(self, size: int, total: bool = False) -> None:
        super().__init__()
        self.total = total
        self.query, self.key, self.value = nn.Linear(size, size), nn.Linear(size, size), nn.Linear(size, size)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Apply the attention and the mean or sum."""
        scores = self.query(x) @ self.key(x).transpose(1, 2) / math.sqrt(x.shape[2])  # (B, S query, S key)
        weights = scores.masked_fill(~mask.unsqueeze(1), -1e9).softmax(2)
        values = weights @ self.value(x)
        return torch.where(mask.unsqueeze(2), values, 0).sum(1) if self.total else masked_mean(values, mask)


class UtteranceHead(nn.Module):
    """LSTM, attention and dense layers over the features of segments.

    Args:
        n_inputs: Size D of the features of a segment.
        n_emotions: Number E of emotions.
        lstm_units: Units of each LSTM.
        lstm_layers: Layers of LSTMs, one after the other.
        bidirectional: Add a backward LSTM.
        attention: "self", "self-sum" for the sum over the segments after it, or "mean" for the plain mean.
        dense_units: Units of the dense layers before the output.
        dropout: Dropout after the first dense layer.

    Shape:
        x (B, S, D), number of segments (B,) -> logits (B, E), embedding (B, units of the LSTMs).
    """

    def __init__(
        self,
        n_inputs: int,
        n_emotions: int,
        *,
        lstm_units: int = 128,
        lstm_layers: int = 1,
        bidirectional: bool = True,
        attention: Attention = "self",
        dense_units: Sequence[int] = (512, 256),
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.lstm = MaskedLstm(n_inputs, lstm_units, bidirectional)
        self.embedding_size = lstm_units * (2 if bidirectional else 1)
        upper = [MaskedLstm(self.embedding_size, lstm_units, bidirectional) for _ in range(lstm_layers - 1)]
        self.upper_lstms = nn.ModuleList(upper)
        total = attention == "self-sum"
        self.attention = None if attention == "mean" else SelfAttention(self.embedding_size, total)
        sizes = (self.embedding_size, *dense_units)
        layers: list[nn.Module] = []
        for i, (n_in, n_out) in enumerate(zip(sizes, dense_units, strict=False)):
            layers += [nn.Linear(n_in, n_out), nn.ReLU()]
            if i == 0:
                layers.append(nn.Dropout(dropout))
        self.dense = nn.Sequential(*layers, nn.Linear(sizes[-1], n_emotions))

    def forward(self, x: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
        """Compute logits and embeddings."""
        mask = segment_mask(counts, x.shape[1])
        # Features of padding may be NaN or infinite. They must not reach the matrix product of the LSTM.
        x = self.lstm(torch.where(mask.unsqueeze(2), x, 0), counts)
        for lstm in self.upper_lstms:
            x = lstm(x, counts)
        utterance = masked_mean(x, mask) if self.attention is None else self.attention(x, mask)
        return self.dense(utterance), utterance


class DcnnBlstm(nn.Module):
    """The whole model: segments, AlexNet and :class:`UtteranceHead`.

    Args:
        n_emotions: Number E of emotions.
        input_shape: Channels, mel bands and frames (C, M, T) of the features. C is 3 (static, delta, delta-delta) or
            1 (static, repeated three times).
        segment: Arguments ``frames``, ``hop`` and ``size`` of
            :class:`kanjo.train.models.layers.segments.SegmentSplitter`.
        extractor_dropout: Dropout of AlexNet.
        **head: Arguments of :class:`UtteranceHead`.

    Raises:
        ValueError: The window is shorter than a segment.

    Shape:
        features (B, C, M, T), number of valid frames (B,) -> logits (B, E), embedding (B, D).
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
        _, n_mels, n_frames = input_shape
        self.segments = SegmentSplitter(n_mels, n_frames, **(segment or {}))
        self.extractor = AlexNet(n_emotions, extractor_dropout)
        self.head = UtteranceHead(self.extractor.embedding_size, n_emotions, **head)
        self.embedding_size = self.head.embedding_size

    def forward(self, features: Tensor, n_frames: Tensor) -> tuple[Tensor, Tensor]:
        """Compute logits and embeddings."""
        images = self.segments(self.to_three_channels(features))  # (B, S, C, size, size)
        x = self.extractor.embed(images.flatten(0, 1))  # (B S, D)
        x = x.reshape(-1, self.segments.n_segments, x.shape[1])
        return self.head(x, self.segments.count(n_frames))  # type: ignore[no-any-return]

    def to_three_channels(self, features: Tensor) -> Tensor:
        """Repeat a single channel three times: (B, 1 or 3, M, T) -> (B, 3, M, T)."""
        return features if features.shape[1] == 3 else features.expand(-1, 3, -1, -1)

    def images(self, features: Tensor, row: Tensor, segment: Tensor) -> Tensor:
        """Compute the CNN's input for some segments.

        Args:
            features: Features of G items, (G, C, M, T).
            row: Index of the item of each segment, (B,).
            segment: Index of the segment in its item, (B,).

        Returns:
            Images, (B, 3, size, size).
        """
        return self.segments.select_segments(self.to_three_channels(features), row, segment)
