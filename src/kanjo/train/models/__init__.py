"""The networks that a recipe can name.

Each takes features (B, C, M, T) and how many frames are no padding (B,), and returns logits (B, E), embedding (B, D).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from kanjo.errors import RecipeError
from kanjo.train.models.cnn_lstm import CnnLstm1d, CnnLstm2d
from kanjo.train.models.dcnn_blstm import DcnnBlstm
from kanjo.train.models.mobilenet import MobileNet
from kanjo.train.models.whisper import Whisper

NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "cnn-lstm-2d": CnnLstm2d,
    "cnn-lstm-1d": CnnLstm1d,
    "dcnn-blstm-attention": DcnnBlstm,
    "mobilenet": MobileNet,
    "whisper": Whisper,
}


def build(
    kind: str,
    n_emotions: int,
    input_shape: tuple[int, int, int],
    settings: dict[str, Any],
    frontend: nn.Module | None = None,
) -> nn.Module:
    """The network of that name for features of ``input_shape`` (C, M, T), made by ``frontend``. Raises RecipeError for settings that don't fit."""
    if kind == "whisper":  # it makes what it hears of what the front end makes
        settings = {**settings, "frontend": frontend}
    try:
        return NETWORKS[kind](n_emotions, input_shape, **settings)
    except ValueError as error:
        raise RecipeError(f"network {kind}: {error}") from error
