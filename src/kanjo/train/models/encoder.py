"""A frozen speech encoder with linear heads: mean and standard deviation of its layers over time, then two heads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from kanjo.train.features.log_mel import full_frame_counts
from kanjo.train.models.embedding_classifier import EmbeddingClassifier
from kanjo.train.models.layers.pooling import linear_per_step
from kanjo.train.models.layers.statistics import (
    BlockStatistics,
    block_statistics,
    mean_and_std,
    sliding_mean_and_std,
)

_EPSILON = 1e-9
#: Blocks of 0.25 s on each side that count for a time step: the result of a time step is that of 1.25 s around it.
N_NEIGHBORS = 2


class SpeechEncoder(nn.Module, ABC):
    """A pre-trained encoder with 50 steps per second.

    Args:
        size: Size of a step of each layer.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    @abstractmethod
    def forward(self, features: Tensor, n_frames: Tensor) -> tuple[list[Tensor], Tensor]:
        """Compute the steps of all layers, from the lowest.

        Args:
            features: Output of the feature extractor, (B, C, M, T).
            n_frames: Number of valid frames, (B,).

        Returns:
            For each layer the steps (B, S, D), and the mask of the valid steps, bool (B, S, 1).
        """

    @abstractmethod
    def parts(self) -> list[list[nn.Module]]:
        """List for each layer the modules that it adds to those of the layers below."""

    def convert_published_weights(self, published: dict[str, Tensor]) -> dict[str, Tensor]:
        """Convert published weights to the shapes of this encoder."""
        return published


class Standardizer(nn.Module):
    """Standardize with the mean and the standard deviation of the training set: (..., D) -> (..., D)."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("deviation", torch.ones(size))

    def set_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Store the mean and the standard deviation of the training set, each (D,)."""
        self.mean.copy_(mean)
        self.deviation.copy_(std.clamp(min=float(std.median()) / 10 + _EPSILON))

    def forward(self, x: Tensor) -> Tensor:
        """Subtract the mean and divide by the standard deviation."""
        return (x - self.mean) / self.deviation


class EncoderClassifier(EmbeddingClassifier):
    """A speech encoder, mean and standard deviation over time, standardization and linear heads.

    Args:
        encoder: The encoder; its layers from 1 to the highest of ``layers``.
        layers: Numbers of the layers, from 1, whose steps are pooled and concatenated.
        n_emotions: Number E of emotions.
        speaker_conditioning: Accept the mean embedding of the speaker, see
            :class:`kanjo.train.models.embedding_classifier.EmbeddingClassifier`.

    Shape:
        features (B, C, M, T), number of valid frames (B,) -> logits (B, E), embedding (B, 2 L D) for L layers with
        steps of size D: the means of all layers, then their standard deviations.
    """

    def __init__(
        self, encoder: SpeechEncoder, layers: Sequence[int], n_emotions: int, speaker_conditioning: bool = False
    ) -> None:
        size = encoder.size * len(layers)
        super().__init__(2 * size, n_emotions, 0.0, speaker_conditioning)
        self.encoder, self.layer_numbers = encoder, tuple(layers)
        self.norm = Standardizer(2 * size)

    def embed(self, features: Tensor, n_frames: Tensor | None = None) -> Tensor:
        """Compute the embedding: features (B, C, M, T), number of valid frames (B,) -> (B, 2 L D)."""
        return self.standardize(self.pooled_statistics(features, n_frames))

    def pooled_statistics(self, features: Tensor, n_frames: Tensor | None = None) -> Tensor:
        """Compute mean and standard deviation of the steps, before they are standardized: (B, 2 L D)."""
        return mean_and_std(self._block_statistics(features, n_frames))

    def standardize(self, pooled_statistics: Tensor) -> Tensor:
        """Compute the embedding from the pooled statistics: (..., 2 L D) -> (..., 2 L D)."""
        return self.norm(pooled_statistics)  # type: ignore[no-any-return]

    def classify_time_steps(
        self,
        features: Tensor,
        n_frames: Tensor | None = None,
        speaker_mean: Tensor | None = None,
        has_speaker_mean: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Compute logits (B, E), embeddings (B, 2 L D), and the logits of time steps of 0.25 s (B, K, E).

        The arguments are those of :meth:`forward`.
        """
        statistics = self._block_statistics(features, n_frames)
        utterance, steps = mean_and_std(statistics), sliding_mean_and_std(statistics, N_NEIGHBORS)
        # One product of the utterance and its time steps: a weight that occurs twice in a graph can't be quantized.
        embeddings = self.standardize(torch.cat([utterance.unsqueeze(1), steps], 1))
        logits = linear_per_step(self.output, embeddings)
        if self.offset is not None and speaker_mean is not None and has_speaker_mean is not None:
            # speaker_mean may have one row for the whole batch, so it is subtracted before the rows are flattened.
            speaker_logits = linear_per_step(self.offset, embeddings - speaker_mean.unsqueeze(1))
            has_mean = has_speaker_mean.unsqueeze(1)
            logits = (1 - has_mean) * logits + has_mean * speaker_logits
        return logits[:, 0], embeddings[:, 0], logits[:, 1:]

    def convert_published_weights(self, published: dict[str, Tensor]) -> dict[str, Tensor]:
        """Convert published weights of the encoder to those of this model."""
        prefix = "encoder."
        encoder = {name.removeprefix(prefix): value for name, value in published.items()}
        return {f"{prefix}{name}": value for name, value in self.encoder.convert_published_weights(encoder).items()}

    def layer_statistics(self, features: Tensor, n_frames: Tensor) -> list[BlockStatistics]:
        """Compute the statistics of each layer of the encoder: features (B, C, M, T), number of valid frames (B,)."""
        outputs, mask = self.encoder(features, n_frames)
        return [block_statistics(steps.float(), mask) for steps in outputs]

    def _block_statistics(self, features: Tensor, n_frames: Tensor | None) -> BlockStatistics:
        n_valid = full_frame_counts(features) if n_frames is None else n_frames
        outputs, mask = self.encoder(features, n_valid)
        steps = torch.cat([outputs[number - 1] for number in self.layer_numbers], 2)
        return block_statistics(steps.float(), mask)
