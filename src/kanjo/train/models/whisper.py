"""The lower layers of Whisper's encoder (Radford et al. 2022, arXiv 2212.04356), for inputs shorter than 30 s.

Whisper's own code pads every input to 30 s. Here the encoder sees the valid frames only: the positions after them are
masked, so that padding changes nothing and short inputs take little time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kanjo.train.features.log_mel import LogMel
from kanjo.train.models.encoder import SpeechEncoder
from kanjo.train.models.layers.pooling import frame_mask, linear_per_step

#: Whisper's sample rate in Hz, mel bands, and samples per frame.
SAMPLE_RATE, N_MELS, HOP_LENGTH = 16_000, 80, 160

#: Inputs are padded to a multiple of this many frames (0.5 s).
_FRAMES_PER_UNIT = 50


@dataclass(frozen=True)
class WhisperSize:
    """The size of an encoder of Whisper.

    Attributes:
        size: Size D of a step.
        n_heads: Number of attention heads.
        n_layers: Number of layers of the published model.
    """

    size: int
    n_heads: int
    n_layers: int


#: Sizes of the published models by name. Those with ".en" were trained on English only.
WHISPER_SIZES = {
    name: size
    for models, size in (
        (("whisper-tiny", "whisper-tiny.en"), WhisperSize(384, 6, 4)),
        (("whisper-base", "whisper-base.en"), WhisperSize(512, 8, 6)),
        (("whisper-small", "whisper-small.en"), WhisperSize(768, 12, 12)),
    )
    for name in models
}


class LinearConvolution(nn.Linear):
    """Convolution with kernel 3 and zero padding, as a linear layer: in int8 it takes a sixth of the time.

    Shape:
        (B, S, C) -> (B, ceil(S / stride), D).
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__(3 * in_channels, out_channels)
        self.stride = stride

    def forward(self, steps: Tensor) -> Tensor:
        """Apply the convolution."""
        padded = F.pad(steps, (0, 0, 1, 1))
        n_steps = steps.shape[1]
        shifted = [padded[:, n : n + n_steps][:, :: self.stride] for n in range(3)]
        return linear_per_step(self, torch.cat(shifted, 2))


class SelfAttention(nn.Module):
    """Multi-head self-attention over the valid steps: steps (B, S, D), mask (B, S, 1) -> (B, S, D).

    Args:
        size: Size D of a step.
        n_heads: Number of heads.
    """

    def __init__(self, size: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads, self.head_size = n_heads, size // n_heads
        self.q_proj = nn.Linear(size, size)
        self.k_proj = nn.Linear(size, size, bias=False)
        self.v_proj = nn.Linear(size, size)
        self.out_proj = nn.Linear(size, size)

    def forward(self, steps: Tensor, mask: Tensor) -> Tensor:
        """Apply the attention."""
        projections = (self.q_proj, self.k_proj, self.v_proj)
        query, key, value = (self._split_heads(linear_per_step(projection, steps)) for projection in projections)
        scores = (query @ key.transpose(2, 3)) * self.head_size**-0.5
        scores = scores.float().masked_fill(~mask[:, None, :, 0].unsqueeze(2), float("-inf"))
        attended = torch.softmax(scores, 3).to(value.dtype) @ value
        return linear_per_step(self.out_proj, attended.transpose(1, 2).flatten(2))

    def _split_heads(self, steps: Tensor) -> Tensor:
        """(B, S, D) -> (B, heads, S, D / heads)."""
        return steps.reshape(-1, steps.shape[1], self.n_heads, self.head_size).transpose(1, 2)


class EncoderLayer(nn.Module):
    """Transformer layer with pre-normalization: steps (B, S, D), mask (B, S, 1) -> (B, S, D).

    Args:
        size: Size D of a step.
        n_heads: Number of attention heads.
        ffn_dim: Number of hidden units.
    """

    def __init__(self, size: int, n_heads: int, ffn_dim: int) -> None:
        super().__init__()
        self.self_attn_layer_norm = nn.LayerNorm(size)
        self.self_attn = SelfAttention(size, n_heads)
        self.final_layer_norm = nn.LayerNorm(size)
        self.fc1 = nn.Linear(size, ffn_dim)
        self.fc2 = nn.Linear(ffn_dim, size)

    def forward(self, steps: Tensor, mask: Tensor) -> Tensor:
        """Apply the layer."""
        steps = steps + self.self_attn(self.self_attn_layer_norm(steps), mask)
        hidden = F.gelu(linear_per_step(self.fc1, self.final_layer_norm(steps)))
        return steps + linear_per_step(self.fc2, hidden)


class WhisperEncoder(SpeechEncoder):
    """Two convolutions and the lower transformer layers, with 50 steps per second.

    Args:
        size: Size of the published model.
        n_frames: Number of frames of the longest input.
        n_layers: Number of transformer layers.
        ffn_dim: Number of each layer's hidden units that are kept: those with the largest weights. None: all.

    Shape:
        log-mel spectrogram (B, 1, M, T), number of valid frames (B,) -> for each layer (B, ceil(T / 2), D); mask of the
        valid steps, bool (B, ceil(T / 2), 1).
    """

    positions: Tensor

    def __init__(self, size: WhisperSize, n_frames: int, n_layers: int, ffn_dim: int | None = None) -> None:
        super().__init__(size.size)
        self.ffn_dim = ffn_dim or 4 * size.size
        self.conv1 = LinearConvolution(N_MELS, size.size, 1)
        self.conv2 = LinearConvolution(size.size, size.size, 2)
        n_steps = math.ceil(n_frames / _FRAMES_PER_UNIT) * _FRAMES_PER_UNIT // 2
        self.register_buffer("positions", sinusoids(n_steps, size.size), persistent=False)
        self.layers = nn.ModuleList(EncoderLayer(size.size, size.n_heads, self.ffn_dim) for _ in range(n_layers))

    def forward(self, features: Tensor, n_frames: Tensor) -> tuple[list[Tensor], Tensor]:
        """Compute the steps of all layers, and their mask."""
        frames = features[:, 0].transpose(1, 2)
        mask = frame_mask(frames, n_frames)
        frames = F.gelu(self.conv1(frames)) * mask  # the second convolution sees zeros after the last valid frame
        steps = F.gelu(self.conv2(frames))
        steps = steps + self.positions[: steps.shape[1]]
        mask = mask[:, ::2]
        outputs = []
        for layer in self.layers:
            steps = layer(steps, mask)
            outputs.append(steps)
        return outputs, mask

    def parts(self) -> list[list[nn.Module]]:
        """List the modules of each layer; the convolutions belong to the first one."""
        return [[self.conv1, self.conv2, self.layers[0]], *([layer] for layer in self.layers[1:])]

    def convert_published_weights(self, published: dict[str, Tensor]) -> dict[str, Tensor]:
        """Convert published weights to the shapes of this encoder.

        Convolutions become linear layers, and of each layer's hidden units the ``ffn_dim`` with the largest weights
        are kept. Missing weights are not an error here.
        """
        weights = {name: value.float() for name, value in published.items()}
        for name in ("conv1.weight", "conv2.weight"):
            if name in weights and weights[name].ndim == 3:
                weights[name] = weights[name].transpose(1, 2).flatten(1)
        for n in range(len(self.layers)):
            fc1_weight, fc1_bias, fc2_weight = (
                f"layers.{n}.{name}" for name in ("fc1.weight", "fc1.bias", "fc2.weight")
            )
            if not {fc1_weight, fc1_bias, fc2_weight} <= weights.keys():
                continue
            importance = weights[fc1_weight].norm(dim=1) * weights[fc2_weight].norm(dim=0)
            kept = importance.topk(min(len(importance), self.ffn_dim)).indices.sort().values
            weights[fc1_weight], weights[fc1_bias] = weights[fc1_weight][kept], weights[fc1_bias][kept]
            weights[fc2_weight] = weights[fc2_weight][:, kept]
        return weights


def build_whisper_encoder(
    source: str, layers: Sequence[int], feature_extractor: nn.Module, n_frames: int, ffn_dim: int | None = None
) -> WhisperEncoder:
    """Build the encoder of a published model, with random weights.

    Args:
        source: Name of the model.
        layers: Numbers of the layers that are used, from 1.
        feature_extractor: Computes the features.
        n_frames: Number of frames of the longest input.
        ffn_dim: Number of hidden units that are kept (None: all).

    Raises:
        ValueError: There is no such model or layer, or the features are not Whisper's.
    """
    if source not in WHISPER_SIZES:
        raise ValueError(f"source {source!r} is unknown; expected one of {', '.join(WHISPER_SIZES)}")
    size = WHISPER_SIZES[source]
    if max(layers) > size.n_layers:
        raise ValueError(f"layers {list(layers)}: {source} has the layers 1 to {size.n_layers}")
    is_whispers_input = (
        isinstance(feature_extractor, LogMel)
        and feature_extractor.normalization == "whisper"
        and (feature_extractor.sample_rate, feature_extractor.n_mels) == (SAMPLE_RATE, N_MELS)
        and feature_extractor.power.hop_length == HOP_LENGTH
    )
    if not is_whispers_input:
        raise ValueError(
            f"{source} needs audio.sample_rate {SAMPLE_RATE}, features.normalization whisper, features.n_mels {N_MELS} "
            f"and features.hop_length {HOP_LENGTH}"
        )
    if ffn_dim is not None and ffn_dim > 4 * size.size:
        raise ValueError(f"ffn_dim {ffn_dim}: {source} has {4 * size.size} hidden units")
    return WhisperEncoder(size, n_frames, max(layers), ffn_dim)


def sinusoids(n_steps: int, size: int) -> Tensor:
    """Compute the encoder's positional embeddings (n_steps, size): sines, then cosines.

    Their periods are 2 pi to 20,000 pi steps.
    """
    frequencies = torch.exp(-math.log(10_000) / (size // 2 - 1) * torch.arange(size // 2))
    angles = torch.arange(n_steps)[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], 1)
