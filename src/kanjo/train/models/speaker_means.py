"""What a network knows of a speaker: the mean of their embeddings, kept while it trains, and made of a few clips afterwards.

Standardising by a speaker's own clips is worth more to a linear machine than any other change (9 points on RAVDESS). Here the network's head is
two parts, which both learn from every training clip: one tells emotions from the embedding, one from how far that is from its speaker's mean. Afterwards
the second answers where the speaker is known, and the first where not.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kanjo.train.distributed import summed

#: Of a speaker's mean, what each further clip leaves as it was: about the last 20 clips count, as many as one may be enrolled with.
MOMENTUM = 0.95


class Voices(nn.Module):
    """Running means of ``n`` speakers' embeddings (D,), as the network makes them at the time."""

    means: Tensor
    counts: Tensor

    def __init__(self, n: int, embedding_size: int) -> None:
        super().__init__()
        self.register_buffer("means", torch.zeros(n, embedding_size))
        self.register_buffer("counts", torch.zeros(n))

    def of(self, speaker: Tensor) -> tuple[Tensor, Tensor]:
        """Speakers (B,), -1 for nobody -> means (B, D), and whether anything is known of them, bool (B, 1)."""
        place = speaker.clamp(min=0)
        known = (speaker >= 0) & (self.counts[place] > 0)
        return self.means[place], known.unsqueeze(1)

    @torch.no_grad()
    def update(self, embedding: Tensor, speaker: Tensor) -> None:
        """Take in embeddings (B, D) of speakers (B,); those of nobody (-1) are left out."""
        kept = speaker >= 0
        n = torch.zeros_like(self.counts).index_add_(
            0, speaker[kept], torch.ones_like(speaker[kept], dtype=self.counts.dtype)
        )
        total = torch.zeros_like(self.means).index_add_(0, speaker[kept], embedding[kept].to(self.means.dtype))
        found = summed(torch.cat([n.unsqueeze(1), total], 1))
        n, total = found[:, 0], found[:, 1:]
        stays = torch.where(self.counts > 0, MOMENTUM**n, torch.zeros_like(n)).unsqueeze(1)
        fresh = total / n.clamp(min=1).unsqueeze(1)
        self.means.copy_(torch.where(n.unsqueeze(1) > 0, stays * self.means + (1 - stays) * fresh, self.means))
        self.counts += n


def others_mean(embeddings: Tensor, speaker: Tensor) -> tuple[Tensor, Tensor]:
    """For each clip, its speaker's mean over their other clips: embeddings (U, D), speakers (U,) -> (U, D), whether there are any (U, 1)."""
    n = int(speaker.max()) + 1 if len(speaker) else 0
    counts = torch.bincount(speaker.clamp(min=0), minlength=n).to(embeddings.dtype)
    total = torch.zeros(n, embeddings.shape[1], dtype=embeddings.dtype).index_add_(0, speaker.clamp(min=0), embeddings)
    others = counts[speaker.clamp(min=0)] - 1
    mean = (total[speaker.clamp(min=0)] - embeddings) / others.clamp(min=1).unsqueeze(1)
    return mean, ((speaker >= 0) & (others > 0)).unsqueeze(1)
