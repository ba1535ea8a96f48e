"""Where a deep CNN's first weights come from: torchvision's published file, a file of one's own, or chance."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from kanjo.errors import RecipeError
from kanjo.files import reason, sha256

#: torchvision's AlexNet_Weights.IMAGENET1K_V1; the name's last part is the beginning of its sha256, which is checked.
IMAGENET = "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"
AUTO, NONE, FETCHED = "auto", "none", "imagenet"
#: The layer that is replaced, whatever it once told apart.
_LAST = ("classifier.6.weight", "classifier.6.bias")


def read_weights(network: nn.Module, source: str) -> None:
    """Put weights into an AlexNet: "imagenet", "none" (it stays as it is) or the path of a .pth or .safetensors file.

    A last layer of another size is left out, the network's own stays. Raises RecipeError in one line for weights that can't
    be had, that are not a plain state dict, or whose names or shapes aren't torchvision's.
    """
    if source == NONE:
        return
    found = fetch_imagenet() if source == FETCHED else _read(Path(source))
    own = network.state_dict()
    for key in _LAST:
        if key not in found or found[key].shape != own[key].shape:
            found[key] = own[key]
    odd = sorted(own.keys() ^ found.keys())
    if odd:
        side = "missing" if odd[0] in own else "not AlexNet's"
        raise RecipeError(
            f"network.weights {source}: {odd[0]} is {side}; expected torchvision's AlexNet, {', '.join(list(own)[:2])}, ..."
        )
    for key, value in own.items():
        if found[key].shape != value.shape:
            raise RecipeError(
                f"network.weights {source}: {key} has shape {tuple(found[key].shape)}, expected {tuple(value.shape)}"
            )
    network.load_state_dict(found)


def settled(source: str) -> tuple[str, str]:
    """What "auto" comes to, and why: "imagenet" where its weights are at hand or can be fetched, else "none". The rest stays."""
    if source != AUTO:
        return source, ""
    try:
        fetch_imagenet()
    except RecipeError as error:
        return NONE, f"network.weights is auto, and comes to none, random weights, not the paper's: {error}"
    return FETCHED, "network.weights is auto, and comes to imagenet"


def fetch_imagenet() -> dict[str, Tensor]:
    """torchvision's ImageNet weights, from torch's cache or the network, hash checked. Raises RecipeError."""
    try:
        return dict(
            torch.hub.load_state_dict_from_url(IMAGENET, map_location="cpu", progress=False, check_hash=True, weights_only=True)
        )
    except (URLError, OSError, RuntimeError, pickle.UnpicklingError) as error:
        place = Path(torch.hub.get_dir()) / "checkpoints" / Path(IMAGENET).name
        said = str(getattr(error, "reason", error)).splitlines()[0]
        raise RecipeError(
            f"ImageNet weights can't be had ({said}): put {IMAGENET} at {place}, or set network.weights to a copy of it, or to none"
        ) from error


def digest(source: str) -> str:
    """What tells one source from another: its word, or its file's sha256. Raises RecipeError."""
    if source in (AUTO, NONE, FETCHED):
        return source
    try:
        return sha256(Path(source))
    except OSError as error:
        raise RecipeError(f"network.weights {source}: {reason(error)}; expected auto, imagenet, none or a file") from error


def _read(path: Path) -> dict[str, Tensor]:
    try:
        found: Any = load_file(path) if path.suffix == ".safetensors" else torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise RecipeError(f"network.weights {path}: no such file; expected auto, imagenet, none or a file") from error
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
