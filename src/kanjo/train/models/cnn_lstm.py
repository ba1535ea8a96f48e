"""The 2D and 1D CNN-LSTM of Zhao, Mao & Chen 2019 (BSPC 47:312-323, doi 10.1016/j.bspc.2018.08.035)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from kanjo.train.models.layers.pooled_norm import convolved_normed_pooled

Pool = tuple[int, int]
Read = Literal["last", "mean"]


class LocalFeatureLearningBlock2d(nn.Module):
    """LFLB: convolution, batch norm, ELU, max pooling. (B, C, M, T) -> (B, C', M // pool[0], T // pool[1]).

    ELU never decreases, so pooling before it gives the paper's ELU-then-pool to the bit, for a pool's share of the cost.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int | tuple[int, int], pool: Pool) -> None:
        super().__init__()
        # no bias: batch norm takes it away again
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, padding="same", bias=False)
        self.norm = nn.BatchNorm2d(out_channels)
        self.pool, self.size = nn.MaxPool2d(pool), pool
        self.elu = nn.ELU()

    def forward(self, x: Tensor) -> Tensor:
        if self.training and x.device.type == "cpu":
            return self.elu(convolved_normed_pooled(x, self.conv, self.norm, self.size))  # type: ignore[no-any-return]
        return self.elu(self.pool(self.norm(self.conv(x))))  # type: ignore[no-any-return]


class Trunk(nn.Module):
    """LFLBs and an LSTM over what time steps remain: features (B, C, M, T), frames heard (B,) -> what is read of it (B, D).

    ``pools`` are (mel, time) pairs. ``read``: "last", the LSTM's state at the window's end, padding and all, as published; or
    "mean", its outputs' mean over the steps that hold speech. Raises ValueError when the pools leave no time step or no mel row.
    """

    def __init__(
        self,
        input_shape: tuple[int, int, int],
        filters: Sequence[int],
        kernel: int | tuple[int, int],
        pools: Sequence[Pool],
        lstm_units: int,
        read: Read,
    ) -> None:
        super().__init__()
        if len(filters) != len(pools):
            raise ValueError(f"{len(filters)} filters and {len(pools)} pools; expected as many of one as of the other")
        channels, mels, steps = input_shape
        blocks = []
        for out_channels, (pool_mels, pool_steps) in zip(filters, pools, strict=True):
            blocks.append(LocalFeatureLearningBlock2d(channels, out_channels, kernel, (pool_mels, pool_steps)))
            channels, mels, steps = out_channels, mels // pool_mels, steps // pool_steps
        if mels < 1 or steps < 1:
            raise ValueError(
                f"pools {list(pools)} leave {mels} mel rows and {steps} time steps of {input_shape[1:]}; expected 1 of each"
            )
        self.n_steps, self.read = steps, read
        self.stride = math.prod(pool for _, pool in pools)  # frames to a step
        self.embedding_size = lstm_units
        self.blocks = nn.Sequential(*blocks)
        self.lstm = nn.LSTM(channels * mels, lstm_units, batch_first=True)

    def embed(self, features: Tensor, frames: Tensor | None) -> Tensor:
        x = self.blocks(features)  # (B, C', M', S)
        x = x.permute(0, 3, 1, 2).flatten(2)  # (B, S, C' M')
        outputs, (last, _) = self.lstm(x)
        if self.read == "last" or frames is None:
            return last[-1]  # type: ignore[no-any-return]
        heard = (
            ((frames + self.stride - 1) // self.stride).clamp(max=self.n_steps).reshape(-1, 1, 1)
        )  # steps with speech in them
        inside = torch.arange(self.n_steps, device=outputs.device).reshape(1, -1, 1) < heard
        return (outputs * inside).sum(1) / heard.squeeze(1)  # type: ignore[no-any-return]


class CnnLstm2d(Trunk):
    """Four LFLBs, an LSTM over what time steps remain, and a dense layer over its last state.

    Features (B, C, M, T) -> logits (B, E), embedding (B, D): D is the LSTM's units. ``pools`` are (mel, time) pairs. As
    published it hears an utterance with its padding, so how many ``frames`` are no padding makes no
    difference to ``read`` "last".
    Raises ValueError when the pools leave no time step or no mel row.
    """

    def __init__(
        self,
        n_emotions: int,
        input_shape: tuple[int, int, int],
        *,
        filters: Sequence[int] = (64, 64, 128, 128),
        kernel: int | tuple[int, int] = 3,
        pools: Sequence[Pool] = ((2, 2), (4, 4), (4, 4), (4, 4)),
        lstm_units: int = 256,
        read: Read = "last",
        dropout: float = 0.0,
    ) -> None:
        super().__init__(input_shape, filters, kernel, pools, lstm_units, read)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(lstm_units, n_emotions)

    def forward(self, features: Tensor, frames: Tensor | None = None) -> tuple[Tensor, Tensor]:
        embedding = self.embed(features, frames)
        return self.output(self.dropout(embedding)), embedding


class CnnLstm1d(CnnLstm2d):
    """The same over raw samples, (B, 1, 1, N): kernels and pools lie along time.

    Written as a 2D network one row high: so the CPU's channels-last convolutions, twice as fast as its 1D ones, apply.
    """

    def __init__(
        self,
        n_emotions: int,
        input_shape: tuple[int, int, int],
        *,
        filters: Sequence[int] = (64, 64, 128, 128),
        kernel: int = 3,
        pools: Sequence[int] = (4, 4, 4, 4),
        lstm_units: int = 64,
        read: Read = "last",
        dropout: float = 0.0,
    ) -> None:
        if input_shape[1] != 1:
            raise ValueError(f"its input is {input_shape[1]} rows high; expected raw samples (frontend.type waveform)")
        flat = [(1, pool) for pool in pools]
        super().__init__(
            n_emotions,
            input_shape,
            filters=filters,
            kernel=(1, kernel),
            pools=flat,
            lstm_units=lstm_units,
            read=read,
            dropout=dropout,
        )
