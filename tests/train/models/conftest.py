"""Fixtures of the tests of models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from kanjo.train.models.pretrained_weights import AUDIOSET

#: Shapes of torchvision.models.alexnet().state_dict(), as torchvision 0.21 prints it.
ALEXNET_SHAPES: dict[str, tuple[int, ...]] = {
    "features.0.weight": (64, 3, 11, 11),
    "features.0.bias": (64,),
    "features.3.weight": (192, 64, 5, 5),
    "features.3.bias": (192,),
    "features.6.weight": (384, 192, 3, 3),
    "features.6.bias": (384,),
    "features.8.weight": (256, 384, 3, 3),
    "features.8.bias": (256,),
    "features.10.weight": (256, 256, 3, 3),
    "features.10.bias": (256,),
    "classifier.1.weight": (4096, 9216),
    "classifier.1.bias": (4096,),
    "classifier.4.weight": (4096, 4096),
    "classifier.4.bias": (4096,),
    "classifier.6.weight": (1000, 4096),
    "classifier.6.bias": (1000,),
}


@pytest.fixture(scope="session")
def alexnet_weights() -> dict[str, Tensor]:
    """Random weights with torchvision's names and shapes, scaled so that activations keep their size."""
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.randn(shape, generator=generator) * (np.prod(shape[1:]) ** -0.5 if len(shape) > 1 else 0.01)
        for name, shape in ALEXNET_SHAPES.items()
    }


@pytest.fixture(scope="session")
def alexnet_file(alexnet_weights: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The random weights as a .pth file."""
    path = tmp_path_factory.mktemp("weights") / "alexnet.pth"
    torch.save(alexnet_weights, path)
    return path


@pytest.fixture(scope="session")
def audioset_file() -> Path:
    """EfficientAT's published weights; skips the test if they are not there."""
    path = Path(__file__).parents[4] / "shared" / "weights" / AUDIOSET.file_name
    if not path.is_file():
        pytest.skip(f"EfficientAT's published weights are not at {path}")
    return path
