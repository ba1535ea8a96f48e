"""What networks over log-mels end in: steps pooled into an embedding, and emotions told from it, with or without the speaker."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn


def within(steps: Tensor, heard: Tensor) -> Tensor:
    """Which of the steps (B, S, D) are no padding, of which each item has ``heard`` (B,): bool (B, S, 1)."""
    n = steps.shape[1]
    return torch.arange(n, device=steps.device).reshape(1, -1, 1) < heard.clamp(max=n).reshape(-1, 1, 1)


def rows(layer: nn.Linear, steps: Tensor) -> Tensor:
    """A dense layer over (B, S, D) as one product of all steps: (B, S, D').

    So it keeps its name in an exported graph, and kanjo.train.export.quantize makes it int8 where it is large.
    """
    found = nn.functional.linear(steps.flatten(0, 1), layer.weight, layer.bias)
    return found.reshape(-1, steps.shape[1], layer.out_features)


class AttentiveStatistics(nn.Module):
    """Mean and deviation over the steps, weighted by learnt attention (Okabe et al. 2018, arXiv 1803.10963): (B, S, D) -> (B, 2 D)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.score = nn.Linear(size, 1)
        nn.init.zeros_(self.score.weight)  # at first, every step counts the same
        nn.init.zeros_(self.score.bias)

    def forward(self, steps: Tensor, inside: Tensor) -> Tensor:
        scores = rows(self.score, steps).masked_fill(~inside, float("-inf"))
        weights = torch.softmax(scores.float(), 1).to(steps.dtype)
        mean = (weights * steps).sum(1)
        spread = (weights * (steps - mean.unsqueeze(1)).square()).sum(1)
        return torch.cat([mean, (spread + 1e-5).sqrt()], 1)


class Told(nn.Module, ABC):
    """A network that embeds first, and tells emotions then: features (B, C, M, T), frames heard (B,) -> logits (B, E), embedding (B, D).

    ``output`` tells them from the embedding; with ``speaker``, ``offset`` from how far it is from its speaker's mean instead. Where the speaker is known,
    ``output`` has no say: on speakers never heard it is what a strange voice misleads.
    """

    def __init__(self, embedding_size: int, n_emotions: int, dropout: float, speaker: bool) -> None:
        super().__init__()
        self.embedding_size = embedding_size
        self.speaker_size = embedding_size if speaker else 0
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(embedding_size, n_emotions)
        self.offset = nn.Linear(embedding_size, n_emotions, bias=False) if speaker else None

    @abstractmethod
    def embed(self, features: Tensor, frames: Tensor | None = None) -> Tensor:
        """Features (B, C, M, T), frames heard (B,) -> what the layers make of them, pooled over time (B, D)."""

    def classify(self, embedding: Tensor, speaker: Tensor | None = None, known: Tensor | None = None) -> Tensor:
        """Embeddings (B, D), their speakers' mean embeddings (B, D), 1 where these are known and 0 elsewhere (B, 1) -> logits (B, E)."""
        logits: Tensor = self.output(self.dropout(embedding))
        if self.offset is None or speaker is None or known is None:
            return logits
        centred: Tensor = self.offset(self.dropout(embedding - speaker))
        return (1 - known) * logits + known * centred

    def forward(
        self, features: Tensor, frames: Tensor | None = None, speaker: Tensor | None = None, known: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        embedding = self.embed(features, frames)
        return self.classify(embedding, speaker, known), embedding
