"""The 2D CNN-LSTM of Zhao, Mao & Chen 2019 (BSPC 47:312-323, doi 10.1016/j.bspc.2018.08.035)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

Pool = tuple[int, int]


class LocalFeatureLearningBlock2d(nn.Module):
    """LFLB: convolution, batch norm, ELU, max pooling. (B, C, M, T) -> (B, C', M // pool[0], T // pool[1]).

    ELU never decreases, so pooling before it gives the paper's ELU-then-pool to the bit, for a pool's share of the cost.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int, pool: Pool) -> None:
        super().__init__()
        # no bias: batch norm takes it away again
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, padding="same", bias=False)
        self.norm = nn.BatchNorm2d(out_channels)
        self.pool = nn.MaxPool2d(pool)
        self.elu = nn.ELU()

    def forward(self, x: Tensor) -> Tensor:
        return self.elu(self.pool(self.norm(self.conv(x))))  # type: ignore[no-any-return]


class CnnLstm2d(nn.Module):
    """Four LFLBs, an LSTM over what time steps remain, and a dense layer over its last state.

    Features (B, C, M, T) -> logits (B, E), embedding (B, D): D is the LSTM's units. ``pools`` are (mel, time) pairs. As
    published it hears an utterance with its padding, so how many ``frames`` are no padding makes no difference.
    Raises ValueError when the pools leave no time step or no mel row.
    """

    def __init__(
        self,
        n_emotions: int,
        input_shape: tuple[int, int, int],
        *,
        filters: Sequence[int] = (64, 64, 128, 128),
        kernel: int = 3,
        pools: Sequence[Pool] = ((2, 2), (4, 4), (4, 4), (4, 4)),
        lstm_units: int = 256,
        dropout: float = 0.0,
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
        self.n_steps = steps
        self.embedding_size = lstm_units
        self.blocks = nn.Sequential(*blocks)
        self.lstm = nn.LSTM(channels * mels, lstm_units, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(lstm_units, n_emotions)

    def forward(self, features: Tensor, frames: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x = self.blocks(features)  # (B, C', M', S)
        x = x.permute(0, 3, 1, 2).flatten(2)  # (B, S, C' M')
        _, (last, _) = self.lstm(x)
        embedding = last[-1]
        return self.output(self.dropout(embedding)), embedding
