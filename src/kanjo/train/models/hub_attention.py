"""Layers that replace those of transformers, with the same weights: in forms that export well."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from kanjo.train.models.layers.pooling import linear_per_step


class StepLinear(nn.Linear):
    """A linear layer that multiplies all steps at once: in this form it can be quantized to int8.

    Shape:
        (B, S, D) or (N, D) -> (B, S, D') or (N, D').
    """

    def forward(self, steps: Tensor) -> Tensor:
        """Apply the layer."""
        return linear_per_step(self, steps) if steps.ndim == 3 else super().forward(steps)


class GatedAttention(nn.Module):
    """Self-attention of WavLM (Chen et al. 2022, arXiv 2110.13900): a position bias, scaled by a gate for each step.

    Args:
        attention: The layer of transformers with the weights.

    Shape:
        steps (B, S, D), mask (B, S, 1), position bias (H, S, S) -> (B, S, D).
    """

    def __init__(self, attention: Any) -> None:
        super().__init__()
        self.n_heads, self.head_size = int(attention.num_heads), int(attention.head_dim)
        self.q_proj, self.k_proj, self.v_proj = attention.q_proj, attention.k_proj, attention.v_proj
        self.out_proj = attention.out_proj
        self.gate_scale, self.gate = attention.gru_rel_pos_const, attention.gru_rel_pos_linear

    def forward(
        self, hidden_states: Tensor, attention_mask: Tensor, position_bias: Tensor, **_: Any
    ) -> tuple[Tensor, None, Tensor]:
        """Apply the attention, and return what transformers' layer expects: steps, weights, position bias."""
        query, key, value = (
            split_heads(layer(hidden_states), self.n_heads) for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        gate = self._gates(split_heads(hidden_states, self.n_heads))
        scores = (query @ key.transpose(2, 3)) * self.head_size**-0.5 + gate * position_bias
        scores = scores.float().masked_fill(~attention_mask[:, None, :, 0].unsqueeze(2), float("-inf"))
        attended = torch.softmax(scores, 3).to(value.dtype) @ value
        return self.out_proj(attended.transpose(1, 2).flatten(2)), None, position_bias

    def _gates(self, heads: Tensor) -> Tensor:
        """Compute the gates of all heads and steps: (B, H, S, D / H) -> (B, H, S, 1)."""
        projected = heads @ self.gate.weight.T + self.gate.bias
        gates = projected.reshape(*projected.shape[:3], 2, 4).sum(4)
        update, reset = torch.sigmoid(gates).chunk(2, 3)
        return cast(Tensor, update * (reset * self.gate_scale - 1.0) + 2.0)


class RelativeKeyAttention(nn.Module):
    """Self-attention of w2v-BERT: keys with embeddings of clipped distances (Shaw et al. 2018, arXiv 1803.02155).

    The products of queries and distance embeddings are computed once for each distance, not for each pair of steps.

    Args:
        attention: The layer of transformers with the weights.

    Shape:
        steps (B, S, D), additive mask (B, 1, 1, S) -> (B, S, D).
    """

    def __init__(self, attention: Any) -> None:
        super().__init__()
        self.n_heads, self.head_size = int(attention.num_heads), int(attention.head_size)
        self.left, self.right = attention.left_max_position_embeddings, attention.right_max_position_embeddings
        self.linear_q, self.linear_k, self.linear_v = attention.linear_q, attention.linear_k, attention.linear_v
        self.linear_out, self.distance_embedding = attention.linear_out, attention.distance_embedding

    def forward(self, hidden_states: Tensor, attention_mask: Tensor, **_: Any) -> tuple[Tensor, None]:
        """Apply the attention, and return what transformers' layer expects: steps and weights."""
        query, key, value = (
            split_heads(layer(hidden_states), self.n_heads) for layer in (self.linear_q, self.linear_k, self.linear_v)
        )
        position = torch.arange(hidden_states.shape[1], device=hidden_states.device)
        distance = (position[None, :] - position[:, None]).clamp(-self.left, self.right) + self.left
        by_distance = query @ self.distance_embedding.weight.T
        scores = query @ key.transpose(2, 3)
        scores = scores + by_distance.gather(3, distance.expand(*scores.shape))
        weights = torch.softmax((scores * self.head_size**-0.5).float() + attention_mask, 3)
        attended = weights.to(value.dtype) @ value
        return self.linear_out(attended.transpose(1, 2).flatten(2)), None


def split_heads(steps: Tensor, n_heads: int) -> Tensor:
    """(B, S, D) -> (B, H, S, D / H)."""
    return steps.reshape(*steps.shape[:2], n_heads, -1).transpose(1, 2)
