"""Mean embeddings of speakers, for models with speaker conditioning.

Standardizing by a speaker's own clips improves a linear classifier more than any other change (9 points of UAR on
RAVDESS). A model with speaker conditioning has two linear layers: one classifies the embedding, the other the
difference between the embedding and the speaker's mean embedding. Both are trained on every clip. In prediction, the
second one is used where the speaker is enrolled. See
:class:`kanjo.train.models.embedding_classifier.EmbeddingClassifier`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kanjo.train.distributed import all_reduce_sum

#: Weight of a speaker's mean when one more clip is added. About the last 20 clips count, the number that a speaker is
#: enrolled with at most.
MOMENTUM = 0.95


class RunningSpeakerMeans(nn.Module):
    """Running means of the embeddings of speakers during training.

    Args:
        n_speakers: Number of speakers.
        embedding_size: Size D of the embeddings.
    """

    means: Tensor
    counts: Tensor

    def __init__(self, n_speakers: int, embedding_size: int) -> None:
        super().__init__()
        self.register_buffer("means", torch.zeros(n_speakers, embedding_size))
        self.register_buffer("counts", torch.zeros(n_speakers))

    def lookup(self, speaker: Tensor) -> tuple[Tensor, Tensor]:
        """Return the means of speakers.

        Args:
            speaker: Numbers of speakers, (B,); -1: unknown.

        Returns:
            Means (B, D), and whether there is one, bool (B, 1).
        """
        index = speaker.clamp(min=0)
        has_mean = (speaker >= 0) & (self.counts[index] > 0)
        return self.means[index], has_mean.unsqueeze(1)

    @torch.no_grad()
    def update(self, embedding: Tensor, speaker: Tensor) -> None:
        """Add embeddings (B, D) of speakers (B,). Those of unknown speakers (-1) are ignored."""
        valid = speaker >= 0
        ones = torch.ones_like(speaker[valid], dtype=self.counts.dtype)
        n = torch.zeros_like(self.counts).index_add_(0, speaker[valid], ones)
        total = torch.zeros_like(self.means).index_add_(0, speaker[valid], embedding[valid].to(self.means.dtype))
        sums = all_reduce_sum(torch.cat([n.unsqueeze(1), total], 1))
        n, total = sums[:, 0], sums[:, 1:]
        old_weight = torch.where(self.counts > 0, MOMENTUM**n, torch.zeros_like(n)).unsqueeze(1)
        new_mean = total / n.clamp(min=1).unsqueeze(1)
        updated = old_weight * self.means + (1 - old_weight) * new_mean
        self.means.copy_(torch.where(n.unsqueeze(1) > 0, updated, self.means))
        self.counts += n


def leave_one_out_speaker_mean(embeddings: Tensor, speaker: Tensor) -> tuple[Tensor, Tensor]:
    """Compute for each clip the mean embedding of its speaker's other clips.

    Args:
        embeddings: Embeddings of all clips, (U, D).
        speaker: Number of each clip's speaker, (U,); -1: unknown.

    Returns:
        Means (U, D), 0 where there is none, and whether the speaker is known and has other clips, bool (U, 1).
    """
    known = speaker >= 0
    n_speakers = int(speaker.max()) + 1 if bool(known.any()) else 1
    index = speaker.clamp(min=0)
    counts = torch.bincount(speaker[known], minlength=n_speakers).to(embeddings.dtype)
    total = torch.zeros(n_speakers, embeddings.shape[1], dtype=embeddings.dtype, device=embeddings.device)
    total.index_add_(0, speaker[known], embeddings[known])
    n_others = counts[index] - 1
    has_mean = (known & (n_others > 0)).unsqueeze(1)
    mean = (total[index] - embeddings) / n_others.clamp(min=1).unsqueeze(1)
    return torch.where(has_mean, mean, torch.zeros_like(mean)), has_mean
