"""Several networks as one: each hears the same features, and the mean of their answers is the answer (Hansen & Salamon 1990, doi 10.1109/34.58871)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from kanjo.train.networks.pooling import Embedded, Told


class Committee(Embedded):
    """Members' probabilities, each at its own temperature, averaged: features (B, C, M, T), frames heard (B,) -> logits (B, E), embedding (B, D).

    Logits are the logarithm of the mean. The embedding is the members' side by side: what their layers hear first, then their functionals; so is a
    speaker's mean, if all members take one. ``temperatures`` (members, 2): without and with the speaker known.
    """

    temperatures: Tensor

    def __init__(self, members: Sequence[Told]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.pooled = [member.pooled_size for member in members]
        self.beside = [member.embedding_size - member.pooled_size for member in members]
        self.pooled_size, self.embedding_size = sum(self.pooled), sum(self.pooled) + sum(self.beside)
        self.speaker_size = self.embedding_size if all(member.speaker_size for member in members) else 0
        self.register_buffer("temperatures", torch.ones(len(members), 2))

    def embed(self, features: Tensor, frames: Tensor | None = None) -> Tensor:
        found = [member.embed(features, frames) for member in self._told()]
        parts = [torch.split(one, [n, rest], 1) for one, n, rest in zip(found, self.pooled, self.beside, strict=True)]
        return torch.cat([*(pooled for pooled, _ in parts), *(rest for _, rest in parts)], 1)

    def classify(self, embedding: Tensor, speaker: Tensor | None = None, known: Tensor | None = None) -> Tensor:
        means = [None] * len(self.members) if speaker is None else self._parted(speaker)
        shares = []
        for member, temperature, own, mean in zip(self._told(), self.temperatures, self._parted(embedding), means, strict=True):
            warmth = (
                temperature[0] if mean is None or known is None else temperature[0] + known * (temperature[1] - temperature[0])
            )
            shares.append(torch.log_softmax(member.classify(own, mean, known) / warmth, 1))
        return torch.logsumexp(torch.stack(shares), 0)

    def places(self, member: int) -> list[int]:
        """Where a member's own embedding stands in the committee's."""
        everything = torch.arange(self.embedding_size)[None]
        return [int(place) for place in self._parted(everything)[member][0]]

    def _parted(self, embedding: Tensor) -> list[Tensor]:
        """Side by side (B, D) -> each member's own."""
        parts = torch.split(embedding, [*self.pooled, *self.beside], 1)
        n = len(self.members)
        return [torch.cat([parts[i], parts[n + i]], 1) for i in range(n)]

    def _told(self) -> list[Told]:
        return [member for member in self.members if isinstance(member, Told)]
