"""Base class of models that compute an utterance embedding and classify it, with or without speaker conditioning."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn


class EmbeddingClassifier(nn.Module, ABC):
    """An embedding and a linear layer, or with speaker conditioning two of them.

    ``output`` classifies the embedding. With speaker conditioning, ``offset`` classifies the difference between the
    embedding and the mean embedding of its speaker; it replaces ``output`` where that mean is given.

    Args:
        embedding_size: Size D of the embedding.
        n_emotions: Number E of emotions.
        dropout: Dropout before the linear layer.
        speaker_conditioning: Accept the mean embedding of the speaker.

    Attributes:
        speaker_size: Size of the mean embedding that the model accepts, 0 without speaker conditioning.

    Shape:
        features (B, C, M, T), number of valid frames (B,), optionally mean embedding of the speaker (B, D) and 1 where
        it is given, else 0 (B, 1) -> logits (B, E), embedding (B, D).
    """

    def __init__(self, embedding_size: int, n_emotions: int, dropout: float, speaker_conditioning: bool) -> None:
        super().__init__()
        self.embedding_size = embedding_size
        self.speaker_size = embedding_size if speaker_conditioning else 0
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(embedding_size, n_emotions)
        self.offset = nn.Linear(embedding_size, n_emotions, bias=False) if speaker_conditioning else None

    @abstractmethod
    def embed(self, features: Tensor, n_frames: Tensor | None = None) -> Tensor:
        """Compute the embedding: features (B, C, M, T), number of valid frames (B,) -> (B, D)."""

    def classify(
        self, embedding: Tensor, speaker_mean: Tensor | None = None, has_speaker_mean: Tensor | None = None
    ) -> Tensor:
        """Compute logits from embeddings.

        Args:
            embedding: Embeddings, (B, D).
            speaker_mean: Mean embeddings of the speakers, (B, D).
            has_speaker_mean: 1 where the mean embedding is given, else 0, (B, 1).

        Returns:
            Logits, (B, E).
        """
        logits: Tensor = self.output(self.dropout(embedding))
        if self.offset is None or speaker_mean is None or has_speaker_mean is None:
            return logits
        speaker_logits: Tensor = self.offset(self.dropout(embedding - speaker_mean))
        return (1 - has_speaker_mean) * logits + has_speaker_mean * speaker_logits

    def forward(
        self,
        features: Tensor,
        n_frames: Tensor | None = None,
        speaker_mean: Tensor | None = None,
        has_speaker_mean: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Compute logits and embeddings."""
        embedding = self.embed(features, n_frames)
        return self.classify(embedding, speaker_mean, has_speaker_mean), embedding
