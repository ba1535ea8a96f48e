"""The networks that a recipe can name.

Each takes features (B, C, M, T) and how many frames are no padding (B,), and returns logits (B, E), embedding (B, D).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from kanjo.errors import RecipeError
from kanjo.train.networks.cnn_lstm import CnnLstm1d, CnnLstm2d, CnnLstmMerged
from kanjo.train.networks.committee import Committee
from kanjo.train.networks.crnn import Crnn
from kanjo.train.networks.dcnn_blstm import DcnnBlstm
from kanjo.train.networks.ge2e import Ge2e
from kanjo.train.networks.mobilenet import MobileNet
from kanjo.train.networks.pooling import Told
from kanjo.train.networks.whisper import Whisper

NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "cnn-lstm-2d": CnnLstm2d,
    "cnn-lstm-1d": CnnLstm1d,
    "cnn-lstm-merged": CnnLstmMerged,
    "dcnn-blstm-attention": DcnnBlstm,
    "mobilenet": MobileNet,
    "crnn": Crnn,
    "ge2e": Ge2e,
    "whisper": Whisper,
}


def build(
    kind: str, n_emotions: int, input_shape: tuple[int, int, int], settings: dict[str, Any], frontend: nn.Module | None = None
) -> nn.Module:
    """The network of that name for features of ``input_shape`` (C, M, T), made by ``frontend``. Raises RecipeError for settings that don't fit."""
    if kind == "committee":
        return Committee([_member(n_emotions, input_shape, dict(one), frontend) for one in settings["members"]])
    if kind in ("ge2e", "whisper"):  # they make what they hear of what the front end makes
        settings = {**settings, "frontend": frontend}
    try:
        return NETWORKS[kind](n_emotions, input_shape, **settings)
    except ValueError as error:
        raise RecipeError(f"network {kind}: {error}") from error


def _member(n_emotions: int, input_shape: tuple[int, int, int], settings: dict[str, Any], frontend: nn.Module | None) -> Told:
    for history in ("weights", "freeze"):  # what it started from, and what of it was trained
        settings.pop(history, None)
    found = build(settings.pop("type"), n_emotions, input_shape, settings, frontend)
    assert isinstance(found, Told), "the recipe's section has no other members"
    return found
