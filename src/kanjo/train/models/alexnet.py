"""AlexNet with torchvision's layers and parameter names, so that its published weights load unchanged.

Krizhevsky 2014, arXiv 1404.5997; torchvision.models.alexnet.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class AlexNet(nn.Module):
    """AlexNet for images of any number of classes.

    The initial weights are those of He et al. 2015 (arXiv 1502.01852). With PyTorch's default initialization the
    activations lose a third of their power per layer, because there are no normalization layers, and training does not
    start for epochs. Max pooling comes before the ReLU: ReLU is monotonic, so the result is torchvision's, at a quarter
    of the cost. Neither layer has parameters, so the parameter names stay the same.

    Args:
        n_emotions: Number E of classes.
        dropout: Dropout before the first two fully connected layers.

    Shape:
        images (B, 3, H, W) -> logits (B, E).
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
        weighted_layers = [layer for layer in self.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
        for layer in weighted_layers[:-1]:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.constant_(layer.bias, 0.0)

    def embed(self, images: Tensor) -> Tensor:
        """Compute the second fully connected layer, before its ReLU: (B, 3, H, W) -> (B, 4096)."""
        x = self.features(images)
        if x.shape[2:] != (6, 6):  # images of 227 x 227 give 6 x 6, where the average pooling changes nothing
            x = self.avgpool(x)
        return self.classifier[:5](torch.flatten(x, 1))  # type: ignore[no-any-return]

    def forward(self, images: Tensor) -> Tensor:
        """Compute logits."""
        return self.classifier[5:](self.embed(images))  # type: ignore[no-any-return]
