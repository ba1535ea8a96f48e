"""Where a pre-trained network's first weights come from: a published file, a file of one's own, or chance."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from kanjo.errors import RecipeError
from kanjo.files import reason, sha256
from kanjo.train.export.onnx_weights import read_onnx
from kanjo.train.models.whisper import Whisper

AUTO, NONE = "auto", "none"


@dataclass(frozen=True)
class Published:
    """Weights that their authors publish: the recipe's ``word`` for them, ``url``, the file's ``sha256`` (its beginning is enough).

    ``last``: how the names of the layers begin that are left out where their shapes differ; they once told other things apart.
    ``spare``: of those that are left out where the network has none of that name.
    ``within``: the part of a whole network that is meant: how its names begin in the file; the others are left out.
    """

    word: str
    title: str
    url: str
    sha256: str
    last: tuple[str, ...]
    spare: tuple[str, ...] = ()
    within: str = ""

    @property
    def name(self) -> str:
        return self.url.rsplit("/", 1)[-1]


#: torchvision's AlexNet_Weights.IMAGENET1K_V1.
IMAGENET = Published(
    "imagenet",
    "torchvision's AlexNet",
    "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
    "7be5be79",
    ("classifier.6.",),
)
#: EfficientAT's mn04_as (MIT): MobileNetV3-Large at width 0.4, trained on AudioSet.
AUDIOSET = Published(
    "audioset",
    "EfficientAT's mn04_as",
    "https://github.com/fschmid56/EfficientAT/releases/download/v0.0.1/mn04_as_mAP_432.pt",
    "899a8c6217063f6941793102a2780b3dd788ab11fce468d9cf5f0577c453321c",
    ("classifier.",),
)
#: pipecat's smart-turn v3.2 (BSD 2-clause): Whisper-tiny's encoder, trained on to tell whether someone has finished speaking; int8. Its wheel has the same file.
SMART_TURN = Published(
    "smart-turn",
    "pipecat's smart-turn v3.2",
    "https://huggingface.co/pipecat-ai/smart-turn-v3/resolve/f766f81d3cfdf7737ac64aad813d91bbfd56bf93/smart-turn-v3.2-cpu.onnx",
    "2bb026316b14a660486a75b1733cd3fbab8c2fd0314dc9af7be49f8cca967e4f",
    (),
    ("layers.", "layer_norm.", "embed_positions."),
    within="inner.encoder.",
)
#: Network -> what "auto" means for it.
PUBLISHED = {"dcnn-blstm-attention": IMAGENET, "mobilenet": AUDIOSET, "whisper": SMART_TURN}
_WORDS = (AUTO, NONE, *(known.word for known in PUBLISHED.values()))


def published_of(network: Any) -> Published:
    """What "auto" means for a recipe's network, or for its deep CNN."""
    return PUBLISHED[network.type]


def read_weights(network: nn.Module, source: str, published: Published = IMAGENET) -> None:
    """Put weights into a network: the word of what is published, "none" (it stays as it is) or a .pth, .pt, .safetensors or .onnx file.

    Last layers of other sizes are left out, the network's own stay. Raises RecipeError in one line for weights that can't
    be had, that are not a plain state dict, or whose names or shapes aren't the network's.
    """
    if source == NONE:
        return
    found = fetch(published) if source == published.word else _read(Path(source))
    own = network.state_dict()
    if any(key.startswith(published.within) for key in found):
        found = {
            key.removeprefix(published.within): value
            for key, value in found.items()
            if key.startswith(published.within)
        }
    if isinstance(network, Whisper):
        found = network.adapted(found)
    for key in [
        key
        for key in found
        if key.startswith(published.last) and (key not in own or found[key].shape != own[key].shape)
    ]:
        del found[key]
    for key in [key for key in found if key.startswith(published.spare) and key not in own]:
        del found[key]
    new = [key for key in own if key not in found and key.startswith((*published.last, *HEADS))]
    found |= {key: own[key] for key in new}
    odd = sorted(own.keys() ^ found.keys())
    if odd:
        side = "missing" if odd[0] in own else "unknown"
        raise RecipeError(
            f"network.weights {source}: {odd[0]} is {side}; expected {published.title}, {', '.join(list(own)[:2])}, ..."
        )
    for key, value in own.items():
        if found[key].shape != value.shape:
            raise RecipeError(
                f"network.weights {source}: {key} has shape {tuple(found[key].shape)}, expected {tuple(value.shape)}"
            )
    network.load_state_dict(found)


#: What a network has behind a published trunk, and learns anew.
HEADS = ("output.", "offset.", "attention.", "lstm.", "norm.")


def settled(source: str, published: Published = IMAGENET) -> tuple[str, str]:
    """What "auto" comes to, and why: what is published where it is at hand or can be fetched, else "none". The rest stays."""
    if source != AUTO:
        return source, ""
    try:
        fetch(published)
    except RecipeError as error:
        return NONE, f"network.weights is auto, and comes to none, random weights, not the paper's: {error}"
    return published.word, f"network.weights is auto, and comes to {published.word}"


def fetch(published: Published) -> dict[str, Tensor]:
    """Published weights: from the folder that ``KANJO_WEIGHTS`` names, torch's cache or the network, hash checked. Raises RecipeError."""
    hub = Path(torch.hub.get_dir()) / "checkpoints" / published.name
    for place in (Path(os.environ.get("KANJO_WEIGHTS") or hub.parent) / published.name, hub):
        if place.is_file():
            break
    else:
        place = hub
        try:
            hub.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(published.url, str(hub), hash_prefix=published.sha256, progress=False)
        except (URLError, OSError, RuntimeError) as error:
            said = str(getattr(error, "reason", error)).splitlines()[0]
            raise RecipeError(
                f"{published.title} can't be had ({said}): put {published.url} at {hub}, or set network.weights to a copy of it, or to none"
            ) from error
    if not digest(str(place)).startswith(published.sha256):
        raise RecipeError(
            f"{place}: not the file that was published as {published.url} (its sha256 differs); remove it"
        )
    return _read(place)


def digest(source: str) -> str:
    """What tells one source from another: its word, or its file's sha256. Raises RecipeError."""
    if source in _WORDS:
        return source
    try:
        return sha256(Path(source))
    except OSError as error:
        raise RecipeError(
            f"network.weights {source}: {reason(error)}; expected {', '.join(_WORDS)} or a file"
        ) from error


def _unpickled(path: Path) -> Any:
    return torch.load(path, map_location="cpu", weights_only=True)


_READERS: dict[str, Callable[[Path], Any]] = {".safetensors": load_file, ".onnx": read_onnx}


def _read(path: Path) -> dict[str, Tensor]:
    try:
        found: Any = _READERS.get(path.suffix, _unpickled)(path)
    except FileNotFoundError as error:
        raise RecipeError(f"network.weights {path}: no such file; expected {', '.join(_WORDS)} or a file") from error
    except pickle.UnpicklingError as error:
        if "Unsupported global" not in str(error):  # what torch says of a class or a function that it won't call
            raise RecipeError(f"network.weights {path}: not a file of weights") from error
        raise RecipeError(
            f"network.weights {path}: holds pickled objects, which may run code; expected a plain state dict"
        ) from error
    except OSError as error:
        raise RecipeError(f"network.weights {path}: {reason(error)}") from error
    except Exception as error:  # on foreign bytes torch's unpickler stumbles over its own stack, in many ways
        said = (str(error) or type(error).__name__).splitlines()[0]
        raise RecipeError(f"network.weights {path}: not a file of weights ({said})") from error
    if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
        raise RecipeError(f"network.weights {path}: holds {type(found).__name__}, expected a state dict of tensors")
    return dict(found)
