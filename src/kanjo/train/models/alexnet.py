"""AlexNet in torchvision's layout and parameter names (Krizhevsky 2014, arXiv 1404.5997), so that its weights load as published."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class AlexNet(nn.Module):
    """Images (B, 3, H, W) -> logits (B, E); :meth:`embed` gives the 4096 values that the last layers read.

    Untrained weights are He et al.'s (2015, arXiv 1502.01852): without normalisation layers, torch's own default would let the
    signal fade by a third of its power a layer, and the network would learn nothing for epochs. Max pooling stands before ReLU: ReLU never decreases, so the values are torchvision's to the bit, for a quarter of the
    cost. Parameters keep torchvision's names, since neither layer has any.
    """

    embedding_size = 4096

    def __init__(self, n_emotions: int, dropout: float = 0.5) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 11, stride=4, padding=2),  # 227 -> 56
            nn.MaxPool2d(3, 2),  # 27
            nn.ReLU(inplace=True),
            nn.Conv2d(64, 192, 5, padding=2),
            nn.MaxPool2d(3, 2),  # 13
            nn.ReLU(inplace=True),
            nn.Conv2d(192, 384, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(384, 256, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(256, 256, 3, padding=1),
            nn.MaxPool2d(3, 2),  # 6
            nn.ReLU(inplace=True),
        )
        self.avgpool = nn.AdaptiveAvgPool2d((6, 6))
        self.classifier = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(256 * 6 * 6, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(4096, self.embedding_size),
            nn.ReLU(),
            nn.Linear(self.embedding_size, n_emotions),
        )

        hidden = [layer for layer in self.modules() if isinstance(layer, nn.Conv2d | nn.Linear)][:-1]
        for layer in hidden:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.constant_(layer.bias, 0.0)  # type: ignore[arg-type]  # they have one

    def embed(self, images: Tensor) -> Tensor:
        """The second fully connected layer, before its ReLU: (B, 3, H, W) -> (B, 4096)."""
        x = self.features(images)
        if x.shape[2:] != (6, 6):  # 227 x 227 gives 6 x 6, where the pooling would change nothing
            x = self.avgpool(x)
        return self.classifier[:5](torch.flatten(x, 1))  # type: ignore[no-any-return]

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier[5:](self.embed(images))  # type: ignore[no-any-return]
