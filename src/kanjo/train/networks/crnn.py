"""A convolutional recurrent network of our own, trained from random weights: four conv blocks, BLSTM, attention over its steps."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from kanjo.train.frontend import all_frames
from kanjo.train.networks.pooling import AttentiveStatistics, Told, within

#: Frames that become one step.
STRIDE = 8
#: Mels that become one row.
ROWS = 64


class Crnn(Told):
    """Features (B, C, M, T), frames heard (B,) -> logits (B, E), embedding (B, 4 ``lstm_units``).

    Four blocks of convolution, batch norm, max pool and ELU (the first convolves 5 x 5 at a stride of 2, the others 3 x 3; pools 1, 2, 2 and
    4 x 1, so that a step is 8 frames), layer norm, a bidirectional LSTM, mean and deviation over its steps by attention, a dense layer. Steps
    behind an utterance's end have no say. Raises ValueError for fewer than 64 mels or 128 frames: 16 steps is the least that it is for.
    """

    def __init__(
        self,
        n_emotions: int,
        input_shape: tuple[int, int, int],
        *,
        filters: tuple[int, int, int, int] = (32, 48, 96, 128),
        lstm_units: int = 128,
        dropout: float = 0.3,
        speaker: bool = False,
        functionals: bool = False,
    ) -> None:
        channels, mels, steps = input_shape
        if mels < ROWS or steps < 16 * STRIDE:
            raise ValueError(f"features {input_shape}; expected at least {ROWS} mels and {16 * STRIDE} frames")
        super().__init__(4 * lstm_units, n_emotions, dropout, speaker, mels if functionals else 0)
        sizes = (channels, *filters)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(sizes[n], sizes[n + 1], 3 if n else 5, 1 if n else 2, 1 if n else 2, bias=False) for n in range(4)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(size) for size in filters)
        self.rows = -(-mels // 2) // 16
        self.norm = nn.LayerNorm(filters[-1] * self.rows)
        self.lstm = nn.LSTM(filters[-1] * self.rows, lstm_units, batch_first=True, bidirectional=True)
        self.attention = AttentiveStatistics(2 * lstm_units)

    def pool(self, features: Tensor, frames: Tensor | None = None) -> Tensor:
        x = features
        for n, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            x = norm(convolution(x))
            if n:
                x = F.max_pool2d(x, (4, 1) if n == 3 else (2, 2))  # before ELU: the same, and a fraction of the work
            x = F.elu(x)
        steps = x.permute(0, 3, 1, 2).flatten(2)  # (B, S, C' M')
        heard = all_frames(steps.mT) if frames is None else (frames + STRIDE - 1) // STRIDE
        steps, _ = self.lstm(self.norm(steps))
        embedding: Tensor = self.attention(steps, within(steps, heard))
        return embedding
