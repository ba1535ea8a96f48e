"""MobileNetV3-Large over log-mels, pre-trained on AudioSet (EfficientAT; Schmid, Koutini & Widmer 2023, arXiv 2211.04772).

The trunk has the published files' names and shapes, so that they load as they are: inverted residuals with squeeze-and-excitation over channels
(Howard et al. 2019, arXiv 1905.02244), batch norms with eps 1e-3 and momentum 0.01, a sigmoid where torchvision has its hard one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from kanjo.train.features.log_mel import all_frames
from kanjo.train.models.layers.pooling import AttentiveStatistics, Told, within

Pooling = Literal["mean", "attention", "blstm"]
#: Mels and frames that become one row and one step.
STRIDE = 32


class _Block(NamedTuple):
    """A row of the paper's table 1, at width 1."""

    kernel: int
    expanded: int
    out: int
    excite: bool
    hard: bool
    stride: int


_LARGE = (
    _Block(3, 16, 16, False, False, 1),
    _Block(3, 64, 24, False, False, 2),
    _Block(3, 72, 24, False, False, 1),
    _Block(5, 72, 40, True, False, 2),
    _Block(5, 120, 40, True, False, 1),
    _Block(5, 120, 40, True, False, 1),
    _Block(3, 240, 80, False, True, 2),
    _Block(3, 200, 80, False, True, 1),
    _Block(3, 184, 80, False, True, 1),
    _Block(3, 184, 80, False, True, 1),
    _Block(3, 480, 112, True, True, 1),
    _Block(3, 672, 112, True, True, 1),
    _Block(5, 672, 160, True, True, 2),
    _Block(5, 960, 160, True, True, 1),
    _Block(5, 960, 160, True, True, 1),
)


def rounded(channels: float) -> int:
    """Channels to the nearest multiple of 8, at least 8, and never less than nine tenths of what was asked for."""
    whole = max(8, int(channels + 4) // 8 * 8)
    return whole + 8 if whole < 0.9 * channels else whole


def _convolved(
    inputs: int, outputs: int, kernel: int, stride: int, groups: int, activation: Callable[[], nn.Module] | None
) -> nn.Sequential:
    layers = [
        nn.Conv2d(inputs, outputs, kernel, stride, (kernel - 1) // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01),
    ]
    return nn.Sequential(*layers, *([activation()] if activation else []))


class Excitation(nn.Module):
    """Squeeze-and-excitation over channels (Hu et al. 2018): (B, C, M, T) -> (B, C, M, T)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = rounded(channels // 4)
        self.fc1, self.fc2 = nn.Linear(channels, squeezed), nn.Linear(squeezed, channels)

    def forward(self, x: Tensor) -> Tensor:
        scale = torch.sigmoid(self.fc2(torch.relu(self.fc1(x.mean(dim=(2, 3))))))
        return x * scale.reshape(-1, x.shape[1], 1, 1)


class Excitations(nn.Module):
    """The published names' shell around one :class:`Excitation`."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conc_se_layers = nn.ModuleList([Excitation(channels)])

    def forward(self, x: Tensor) -> Tensor:
        return self.conc_se_layers[0](x)  # type: ignore[no-any-return]


class InvertedResidual(nn.Module):
    """Expand, depthwise, excite, project; added to its input where the shapes are equal."""

    def __init__(self, inputs: int, block: _Block, width: float) -> None:
        super().__init__()
        activation = nn.Hardswish if block.hard else nn.ReLU
        expanded, self.out_channels = rounded(width * block.expanded), rounded(width * block.out)
        layers: list[nn.Module] = []
        if expanded != inputs:
            layers.append(_convolved(inputs, expanded, 1, 1, 1, activation))
        layers.append(_convolved(expanded, expanded, block.kernel, block.stride, expanded, activation))
        if block.excite:
            layers.append(Excitations(expanded))
        layers.append(_convolved(expanded, self.out_channels, 1, 1, 1, None))
        self.block = nn.Sequential(*layers)
        self.residual = block.stride == 1 and inputs == self.out_channels

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.block(x)
        return x + out if self.residual else out


class MobileNet(Told):
    """The trunk, pooling over time and mels, a dense layer: features (B, 1, M, T), frames heard (B,) -> logits (B, E), embedding (B, D).

    ``pooling``: "mean" over what is heard (D = the trunk's channels C'); "attention", mean and deviation weighted by learnt attention over
    the steps (D = 2 C'); "blstm", a bidirectional LSTM over the steps first (D = 4 ``lstm_units``). Steps behind an utterance's end have no say.
    With ``speaker`` the dense layer also hears how far the embedding is from its speaker's mean, where that is known.
    Raises ValueError for fewer than 32 mels or frames.
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
        speaker: bool = False,
    ) -> None:
        channels, mels, steps = input_shape
        if channels != 1 or min(mels, steps) < STRIDE:
            raise ValueError(f"features {input_shape}; expected 1 channel, and at least {STRIDE} mels and frames")
        outputs = 6 * rounded(width * _LARGE[-1].out)
        read = 2 * lstm_units if pooling == "blstm" else outputs
        super().__init__(read if pooling == "mean" else 2 * read, n_emotions, dropout, speaker)
        self.pooling = pooling
        inputs = rounded(16 * width)
        layers: list[nn.Module] = [_convolved(1, inputs, 3, 2, 1, nn.Hardswish)]
        for block in _LARGE:
            layers.append(InvertedResidual(inputs, block, width))
            inputs = layers[-1].out_channels  # type: ignore[assignment]
        layers.append(_convolved(inputs, outputs, 1, 1, 1, nn.Hardswish))
        self.features = nn.Sequential(*layers)
        self.lstm = nn.LSTM(outputs, lstm_units, batch_first=True, bidirectional=True) if pooling == "blstm" else None
        self.attention = AttentiveStatistics(read) if pooling != "mean" else None

    def embed(self, features: Tensor, frames: Tensor | None = None) -> Tensor:
        steps = self.features(features).mean(2).transpose(1, 2)  # (B, S, C')
        heard = all_frames(steps.mT) if frames is None else (frames + STRIDE - 1) // STRIDE
        inside = within(steps, heard)
        if self.lstm is not None:
            steps, _ = self.lstm(steps)
        if self.attention is None:
            weights = inside / inside.sum(1, keepdim=True)
            return (weights * steps).sum(1)  # type: ignore[no-any-return]
        return self.attention(steps, inside)  # type: ignore[no-any-return]
