"""AlexNet against torchvision's layers, written with functions."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from kanjo.train.models.alexnet import AlexNet
from tests.train.models.conftest import ALEXNET_SHAPES


def test_alexnet_parameters_are_those_of_torchvision() -> None:
    model = AlexNet(1000)
    assert {name: tuple(value.shape) for name, value in model.state_dict().items()} == ALEXNET_SHAPES
    assert sum(p.numel() for p in model.parameters()) == 61_100_840


def test_alexnet_output_equals_torchvision(alexnet_weights: dict[str, Tensor]) -> None:
    model = AlexNet(1000).eval()
    model.load_state_dict(alexnet_weights)
    images = torch.randn(2, 3, 227, 227)

    def convolve(n: int, x: Tensor, stride: int = 1, padding: int = 1) -> Tensor:
        weight, bias = alexnet_weights[f"features.{n}.weight"], alexnet_weights[f"features.{n}.bias"]
        return F.relu(F.conv2d(x, weight, bias, stride=stride, padding=padding))

    def linear(n: int, x: Tensor) -> Tensor:
        return F.linear(x, alexnet_weights[f"classifier.{n}.weight"], alexnet_weights[f"classifier.{n}.bias"])

    with torch.inference_mode():
        x = F.max_pool2d(convolve(0, images, stride=4, padding=2), 3, 2)
        x = F.max_pool2d(convolve(3, x, padding=2), 3, 2)
        x = convolve(8, convolve(6, x))
        x = F.adaptive_avg_pool2d(F.max_pool2d(convolve(10, x), 3, 2), (6, 6)).flatten(1)
        embedding = linear(4, F.relu(linear(1, x)))
        torch.testing.assert_close(model.embed(images), embedding, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(model(images), linear(6, F.relu(embedding)), atol=1e-4, rtol=1e-4)
