"""2D and 1D CNN-LSTM of Zhao, Mao & Chen 2019 (BSPC 47:312-323, doi 10.1016/j.bspc.2018.08.035)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from kanjo.train.models.layers.batch_norm_max_pool import conv_batch_norm_max_pool
from kanjo.train.models.layers.pooling import frame_mask

PoolSize = tuple[int, int]
Aggregation = Literal["last", "mean"]


class LocalFeatureLearningBlock2d(nn.Module):
    """LFLB of the paper: convolution, batch norm, ELU, max pooling.

    The pooling is computed before the ELU. ELU is monotonic, so the result is the same, and it costs less.

    Args:
        in_channels: Channels C of the input.
        out_channels: Channels C' of the output.
        kernel: Kernel size of the convolution.
        pool_size: Pooling factors of mel bands and time.

    Shape:
        (B, C, M, T) -> (B, C', M // pool_size[0], T // pool_size[1]).
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int | tuple[int, int], pool_size: PoolSize) -> None:
        super().__init__()
        # The convolution has no bias, because the batch norm subtracts the mean.
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, padding="same", bias=False)
        self.norm = nn.BatchNorm2d(out_channels)
        self.pool, self.pool_size = nn.MaxPool2d(pool_size), pool_size
        self.elu = nn.ELU()

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        if self.training and x.device.type == "cpu":
            pooled = conv_batch_norm_max_pool(x, self.conv, self.norm, self.pool_size)
        else:
            pooled = self.pool(self.norm(self.conv(x)))
        return self.elu(pooled)  # type: ignore[no-any-return]


class CnnLstm2d(nn.Module):
    """LFLBs, an LSTM over the remaining time steps, and a linear layer.

    Args:
        n_emotions: Number E of emotions.
        input_shape: Channels, mel bands and frames (C, M, T) of the features.
        channels: Output channels of each LFLB.
        kernel: Kernel size of the convolutions.
        pools: Pooling factors (mel bands, time) of each LFLB.
        lstm_units: Size D of the LSTM.
        aggregation: "last" takes the LSTM's output after the last step, including padding, as published. "mean" takes
            the mean of its outputs over the valid steps.
        dropout: Dropout before the linear layer.

    Raises:
        ValueError: ``channels`` and ``pools`` differ in length, or no mel band or no time step is left.

    Shape:
        features (B, C, M, T), number of valid frames (B,) -> logits (B, E), embedding (B, D).
    """

    def __init__(
        self,
        n_emotions: int,
        input_shape: tuple[int, int, int],
        *,
        channels: Sequence[int] = (64, 64, 128, 128),
        kernel: int | tuple[int, int] = 3,
        pools: Sequence[PoolSize] = ((2, 2), (4, 4), (4, 4), (4, 4)),
        lstm_units: int = 256,
        aggregation: Aggregation = "last",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if len(channels) != len(pools):
            raise ValueError(f"{len(channels)} channels and {len(pools)} pools; expected one pool for each of channels")
        in_channels, n_mels, n_steps = input_shape
        blocks = []
        for out_channels, (pool_mels, pool_steps) in zip(channels, pools, strict=True):
            blocks.append(LocalFeatureLearningBlock2d(in_channels, out_channels, kernel, (pool_mels, pool_steps)))
            in_channels, n_mels, n_steps = out_channels, n_mels // pool_mels, n_steps // pool_steps
        if n_mels < 1 or n_steps < 1:
            raise ValueError(
                f"pools {list(pools)} leave {n_mels} mel bands and {n_steps} time steps of {input_shape[1:]}; "
                "expected at least 1 of each"
            )
        self.n_steps, self.aggregation = n_steps, aggregation
        self.frames_per_step = math.prod(pool_steps for _, pool_steps in pools)
        self.embedding_size = lstm_units
        self.blocks = nn.Sequential(*blocks)
        self.lstm = nn.LSTM(in_channels * n_mels, lstm_units, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(lstm_units, n_emotions)

    def forward(self, features: Tensor, n_frames: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Compute logits and embeddings."""
        embedding = self.embed(features, n_frames)
        return self.output(self.dropout(embedding)), embedding

    def embed(self, features: Tensor, n_frames: Tensor | None) -> Tensor:
        """Compute the embedding: features (B, C, M, T), number of valid frames (B,) -> (B, D)."""
        x = self.blocks(features)  # (B, C', M', S)
        x = x.permute(0, 3, 1, 2).flatten(2)  # (B, S, C' M')
        outputs, (last, _) = self.lstm(x)
        if self.aggregation == "last" or n_frames is None:
            return last[-1]  # type: ignore[no-any-return]
        n_valid = ((n_frames + self.frames_per_step - 1) // self.frames_per_step).clamp(max=self.n_steps)
        return (outputs * frame_mask(outputs, n_valid)).sum(1) / n_valid.unsqueeze(1)  # type: ignore[no-any-return]


class CnnLstm1d(CnnLstm2d):
    """The 1D CNN-LSTM on raw samples.

    It is a 2D model on an image of one row: 2D convolutions in the memory format ``channels_last`` are twice as fast
    on a CPU as 1D convolutions.

    Args:
        n_emotions: Number E of emotions.
        input_shape: (1, 1, N), where N is the number of samples.
        channels: Output channels of each LFLB.
        kernel: Kernel size of the convolutions, in time.
        pools: Pooling factor of each LFLB, in time.
        lstm_units: Size D of the LSTM.
        aggregation: See :class:`CnnLstm2d`.
        dropout: Dropout before the linear layer.

    Raises:
        ValueError: The features are not raw samples, or see :class:`CnnLstm2d`.
    """

    def __init__(
        self,
        n_emotions: int,
        input_shape: tuple[int, int, int],
        *,
        channels: Sequence[int] = (64, 64, 128, 128),
        kernel: int = 3,
        pools: Sequence[int] = (4, 4, 4, 4),
        lstm_units: int = 64,
        aggregation: Aggregation = "last",
        dropout: float = 0.0,
    ) -> None:
        if input_shape[1] != 1:
            raise ValueError(
                f"the features have {input_shape[1]} mel bands; expected raw samples (features.type waveform)"
            )
        super().__init__(
            n_emotions,
            input_shape,
            channels=channels,
            kernel=(1, kernel),
            pools=[(1, pool) for pool in pools],
            lstm_units=lstm_units,
            aggregation=aggregation,
            dropout=dropout,
        )
