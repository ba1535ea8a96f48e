"""MobileNetV3-Large on log-mel spectrograms, pre-trained on AudioSet.

EfficientAT: Schmid, Koutini & Widmer 2023, arXiv 2211.04772. MobileNetV3: Howard et al. 2019, arXiv 1905.02244. The
convolutional layers have the names and shapes of EfficientAT's published weights. Differences from torchvision's
MobileNetV3 are EfficientAT's: squeeze-and-excitation over channels with a sigmoid instead of a hard sigmoid.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from kanjo.train.features.log_mel import full_frame_counts
from kanjo.train.models.embedding_classifier import EmbeddingClassifier
from kanjo.train.models.layers.pooling import AttentiveStatisticsPooling, frame_mask

Pooling = Literal["mean", "attention", "blstm"]
#: Number of mel bands, and of frames, that the convolutions reduce to one.
STRIDE = 32


class _BlockConfig(NamedTuple):
    """A row of table 1 of Howard et al. 2019, at width 1."""

    kernel: int
    expanded_channels: int
    out_channels: int
    use_squeeze_excitation: bool
    use_hardswish: bool
    stride: int


_MOBILENET_V3_LARGE = (
    _BlockConfig(3, 16, 16, False, False, 1),
    _BlockConfig(3, 64, 24, False, False, 2),
    _BlockConfig(3, 72, 24, False, False, 1),
    _BlockConfig(5, 72, 40, True, False, 2),
    _BlockConfig(5, 120, 40, True, False, 1),
    _BlockConfig(5, 120, 40, True, False, 1),
    _BlockConfig(3, 240, 80, False, True, 2),
    _BlockConfig(3, 200, 80, False, True, 1),
    _BlockConfig(3, 184, 80, False, True, 1),
    _BlockConfig(3, 184, 80, False, True, 1),
    _BlockConfig(3, 480, 112, True, True, 1),
    _BlockConfig(3, 672, 112, True, True, 1),
    _BlockConfig(5, 672, 160, True, True, 2),
    _BlockConfig(5, 960, 160, True, True, 1),
    _BlockConfig(5, 960, 160, True, True, 1),
)


def make_divisible(channels: float) -> int:
    """Round to a multiple of 8, at least 8 and at least 90 % of ``channels``, like torchvision's _make_divisible."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


def _conv_batch_norm(
    in_channels: int,
    out_channels: int,
    kernel: int,
    stride: int = 1,
    groups: int = 1,
    activation: Callable[[], nn.Module] | None = None,
) -> nn.Sequential:
    layers = [
        nn.Conv2d(in_channels, out_channels, kernel, stride, (kernel - 1) // 2, groups=groups, bias=False),
        nn.BatchNorm2d(out_channels, eps=1e-3, momentum=0.01),
    ]
    return nn.Sequential(*layers, *([activation()] if activation else []))


class SqueezeExcitation(nn.Module):
    """Squeeze-and-excitation over channels (Hu et al. 2018): (B, C, M, T) -> (B, C, M, T)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = make_divisible(channels // 4)
        self.fc1, self.fc2 = nn.Linear(channels, squeezed), nn.Linear(squeezed, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Scale the channels."""
        scale = torch.sigmoid(self.fc2(torch.relu(self.fc1(x.mean(dim=(2, 3))))))
        return x * scale.reshape(-1, x.shape[1], 1, 1)


class ConcurrentSqueezeExcitation(nn.Module):
    """A list of one :class:`SqueezeExcitation`, as the parameter names of the published weights require."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conc_se_layers = nn.ModuleList([SqueezeExcitation(channels)])

    def forward(self, x: Tensor) -> Tensor:
        """Scale the channels."""
        return self.conc_se_layers[0](x)  # type: ignore[no-any-return]


class InvertedResidual(nn.Module):
    """Expansion, depthwise convolution, squeeze-and-excitation, projection; with a residual if shapes are equal."""

    def __init__(self, in_channels: int, config: _BlockConfig, width: float) -> None:
        super().__init__()
        activation = nn.Hardswish if config.use_hardswish else nn.ReLU
        expanded = make_divisible(width * config.expanded_channels)
        self.out_channels = make_divisible(width * config.out_channels)
        layers: list[nn.Module] = []
        if expanded != in_channels:
            layers.append(_conv_batch_norm(in_channels, expanded, 1, activation=activation))
        layers.append(
            _conv_batch_norm(expanded, expanded, config.kernel, config.stride, groups=expanded, activation=activation)
        )
        if config.use_squeeze_excitation:
            layers.append(ConcurrentSqueezeExcitation(expanded))
        layers.append(_conv_batch_norm(expanded, self.out_channels, 1))
        self.block = nn.Sequential(*layers)
        self.residual = config.stride == 1 and in_channels == self.out_channels

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        output: Tensor = self.block(x)
        return x + output if self.residual else output


class MobileNet(EmbeddingClassifier):
    """Convolutions of MobileNetV3-Large, pooling over mel bands and time, and a linear layer.

    Args:
        n_emotions: Number E of emotions.
        input_shape: Channels, mel bands and frames (1, M, T) of the features.
        width: Factor on all numbers of channels; the published mn04_as has 0.4.
        pooling: How time steps become the embedding. With C' channels after the convolutions: "mean" (D = C');
            "attention", attentive statistics pooling (D = 2 C'); "blstm", a bidirectional LSTM before attentive
            statistics pooling (D = 4 ``lstm_units``). Steps of padding are masked.
        lstm_units: Units of each LSTM of pooling "blstm".
        dropout: Dropout before the linear layer.
        speaker_conditioning: Accept the mean embedding of the speaker, see
            :class:`kanjo.train.models.embedding_classifier.EmbeddingClassifier`.

    Raises:
        ValueError: The features have more than one channel, or fewer than 32 mel bands or frames.

    Shape:
        features (B, 1, M, T), number of valid frames (B,) -> logits (B, E), embedding (B, D).
    """

    def __init__(
        self,
        n_emotions: int,
        input_shape: tuple[int, int, int],
        *,
        width: float = 0.4,
        pooling: Pooling = "attention",
        lstm_units: int = 128,
        dropout: float = 0.3,
        speaker_conditioning: bool = False,
    ) -> None:
        channels, n_mels, n_frames = input_shape
        if channels != 1 or min(n_mels, n_frames) < STRIDE:
            raise ValueError(f"features {input_shape}; expected 1 channel, and at least {STRIDE} mel bands and frames")
        last_channels = 6 * make_divisible(width * _MOBILENET_V3_LARGE[-1].out_channels)
        step_size = 2 * lstm_units if pooling == "blstm" else last_channels
        embedding_size = step_size if pooling == "mean" else 2 * step_size
        super().__init__(embedding_size, n_emotions, dropout, speaker_conditioning)
        self.pooling = pooling
        in_channels = make_divisible(16 * width)
        layers: list[nn.Module] = [_conv_batch_norm(1, in_channels, 3, stride=2, activation=nn.Hardswish)]
        for config in _MOBILENET_V3_LARGE:
            block = InvertedResidual(in_channels, config, width)
            layers.append(block)
            in_channels = block.out_channels
        layers.append(_conv_batch_norm(in_channels, last_channels, 1, activation=nn.Hardswish))
        self.features = nn.Sequential(*layers)
        self.lstm = (
            nn.LSTM(last_channels, lstm_units, batch_first=True, bidirectional=True) if pooling == "blstm" else None
        )
        self.attention = AttentiveStatisticsPooling(step_size) if pooling != "mean" else None

    def embed(self, features: Tensor, n_frames: Tensor | None = None) -> Tensor:
        """Compute the embedding: features (B, 1, M, T), number of valid frames (B,) -> (B, D)."""
        steps = self.features(features).mean(2).transpose(1, 2)  # (B, S, C')
        n_steps = full_frame_counts(steps.mT) if n_frames is None else (n_frames + STRIDE - 1) // STRIDE
        mask = frame_mask(steps, n_steps)
        if self.lstm is not None:
            steps, _ = self.lstm(steps)
        if self.attention is None:
            weights = mask / mask.sum(1, keepdim=True)
            return (weights * steps).sum(1)  # type: ignore[no-any-return]
        return self.attention(steps, mask)  # type: ignore[no-any-return]
