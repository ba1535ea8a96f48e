"""Load the initial weights of a model: published weights, a file, or none (random weights)."""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from kanjo.errors import RecipeError
from kanjo.files import os_error_message, sha256
from kanjo.train.export.onnx_weights import read_onnx_weights

#: Values of the recipe key ``model.weights``: published weights if they are available, or random weights.
AUTO, NONE = "auto", "none"
#: Prefixes of the parameters that kanjo adds to published layers. They keep their initial values.
_ADDED_LAYERS = ("output.", "offset.", "attention.", "lstm.", "norm.")


@dataclass(frozen=True)
class PublishedWeights:
    """Weights that are published as a file.

    Attributes:
        name: Name in recipes (``model.weights``).
        title: Name in messages.
        url: Address of the file.
        sha256: SHA-256 of the file, or the first characters of it.
        classifier_prefixes: Prefixes of the parameters that are not used if the model has none of the same name and
            shape, because they belong to the classifier of the published model.
        unused_prefixes: Prefixes of the parameters that are not used if the model has none of the same name.
        parent_prefix: Prefix, in the file, of the parameters of the part of the model that is used.
        cache_name: Name of the file in the cache, if the published name is not unique.
        excerpt_name: Name of a smaller file with the used parameters only, which ``KANJO_WEIGHTS`` may have instead.
        content_sha256: Digest of the used parameters in fp16 (:func:`content_digest`), for weights whose published file
            has no fixed digest; "" if ``sha256`` is given.
        content_prefixes: Prefixes of the parameters that ``content_sha256`` covers.
    """

    name: str
    title: str
    url: str
    sha256: str
    classifier_prefixes: tuple[str, ...]
    unused_prefixes: tuple[str, ...] = ()
    parent_prefix: str = ""
    cache_name: str = ""
    excerpt_name: str = ""
    content_sha256: str = ""
    content_prefixes: tuple[str, ...] = ()

    @property
    def file_name(self) -> str:
        """Name of the published file in the cache."""
        return self.cache_name or self.url.rsplit("/", 1)[-1]


#: torchvision's AlexNet_Weights.IMAGENET1K_V1.
IMAGENET = PublishedWeights(
    name="imagenet",
    title="torchvision's AlexNet",
    url="https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
    sha256="7be5be79",
    classifier_prefixes=("classifier.6.",),
)
#: EfficientAT's mn04_as (MIT license): MobileNetV3-Large at width 0.4, trained on AudioSet.
AUDIOSET = PublishedWeights(
    name="audioset",
    title="EfficientAT's mn04_as",
    url="https://github.com/fschmid56/EfficientAT/releases/download/v0.0.1/mn04_as_mAP_432.pt",
    sha256="899a8c6217063f6941793102a2780b3dd788ab11fce468d9cf5f0577c453321c",
    classifier_prefixes=("classifier.",),
)


def _whisper(name: str, n_checked_layers: int, content_sha256: str) -> PublishedWeights:
    """Whisper's encoder (MIT license) as OpenAI publishes it on the Hugging Face Hub."""
    return PublishedWeights(
        name=name,
        title=f"OpenAI's {name}",
        url=f"https://huggingface.co/openai/{name}/resolve/main/model.safetensors",
        sha256="",
        classifier_prefixes=(),
        unused_prefixes=("encoder.layers.", "encoder.layer_norm.", "encoder.embed_positions."),
        parent_prefix="model.encoder.",
        cache_name=f"{name}.safetensors",
        excerpt_name=f"{name}-encoder-{n_checked_layers}.safetensors",
        content_sha256=content_sha256,
        content_prefixes=("conv1.", "conv2.", *(f"layers.{n}." for n in range(n_checked_layers))),
    )


WHISPER_BASE = _whisper("whisper-base", 4, "65b799ba58de9c2e96259fcc39561f671634d2309092d187d25fd524bad9b01e")
WHISPER_TINY_EN = _whisper("whisper-tiny.en", 3, "ebe76c13eed53363a1a8b82f574db6214a93c28ae4a2e53075b4c726deb7bbcd")
#: Published weights by name.
PUBLISHED = {published.name: published for published in (IMAGENET, AUDIOSET, WHISPER_BASE, WHISPER_TINY_EN)}
_EXPECTED = f"expected {', '.join((AUTO, NONE, *PUBLISHED))} or a file"


def get_published_weights(name: str | None) -> PublishedWeights:
    """Return published weights by name.

    Raises:
        RecipeError: There are none of this name.
    """
    if name not in PUBLISHED:
        raise RecipeError(f"there are no published weights {name!r}; expected one of {', '.join(PUBLISHED)}")
    return PUBLISHED[name]


def read_weights(model: nn.Module, source: str, published: PublishedWeights = IMAGENET) -> None:
    """Load weights into a model.

    A model may have a method ``convert_published_weights``, which converts a state dict before it is loaded.

    Args:
        model: Model; parameters that the source does not have and that kanjo added keep their values.
        source: Name of the published weights, "none" to leave the model unchanged, or the path of a .pth, .pt,
            .safetensors or .onnx file.
        published: Published weights of this kind of model.

    Raises:
        RecipeError: The weights can't be read or downloaded, are not a plain state dict, or their names or shapes are
            not the model's.
    """
    if source == NONE:
        return
    weights = fetch_weights(published) if source == published.name else _read_state_dict(Path(source))
    weights = _select_parameters(weights, model, published)
    model_state = model.state_dict()
    different_names = sorted(model_state.keys() ^ weights.keys())
    if different_names:
        problem = "missing" if different_names[0] in model_state else "unknown"
        raise RecipeError(
            f"model.weights {source}: parameter {different_names[0]} is {problem}; expected the weights of "
            f"{published.title}: {', '.join(list(model_state)[:2])}, ..."
        )
    for name, value in model_state.items():
        if weights[name].shape != value.shape:
            raise RecipeError(
                f"model.weights {source}: parameter {name} has shape {tuple(weights[name].shape)}; expected "
                f"{tuple(value.shape)}"
            )
    model.load_state_dict(weights)


def resolve_weights(source: str, published: PublishedWeights = IMAGENET) -> tuple[str, str]:
    """Replace "auto" by the published weights if they are available or can be downloaded, else by "none".

    Returns:
        The source, and a message that explains it; the message is empty if the source was not "auto".
    """
    if source != AUTO:
        return source, ""
    try:
        fetch_weights(published)
    except RecipeError as error:
        return NONE, f"model.weights is auto: training starts from random weights, not the paper's, because {error}"
    return published.name, f"model.weights is auto: training starts from the weights {published.name}"


def fetch_weights(published: PublishedWeights) -> dict[str, Tensor]:
    """Read published weights from ``KANJO_WEIGHTS``, a folder, or from torch's cache; download them first if needed.

    Raises:
        RecipeError: The file can't be downloaded, or its hash is not that of the published file.
    """
    cached = Path(torch.hub.get_dir()) / "checkpoints" / published.file_name
    folder = Path(os.environ.get("KANJO_WEIGHTS") or cached.parent)
    user_copies = [folder / name for name in (published.file_name, published.excerpt_name) if name]
    path = next((copy for copy in user_copies if copy.is_file()), cached)
    if not path.is_file():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            hash_prefix = published.sha256 or None
            torch.hub.download_url_to_file(published.url, str(path), hash_prefix=hash_prefix, progress=False)
        except (URLError, OSError, RuntimeError) as error:
            reason = str(getattr(error, "reason", error)).splitlines()[0]
            raise RecipeError(
                f"the weights of {published.title} can't be downloaded ({reason}); put a copy of {published.url} at "
                f"{path}, or set model.weights to a file or to none"
            ) from error
    if published.sha256 and not weights_digest(str(path)).startswith(published.sha256):
        raise _wrong_file(path, published)
    weights = _read_state_dict(path)
    if published.content_sha256 and content_digest(weights, published) != published.content_sha256:
        raise _wrong_file(path, published)
    return weights


def content_digest(weights: Mapping[str, Tensor], published: PublishedWeights) -> str:
    """Digest names and values, in fp16, of the parameters that ``published.content_prefixes`` names.

    The published file may store them in fp32 or fp16, with or without ``published.parent_prefix``.
    """
    digest = hashlib.sha256()
    by_name = {name.removeprefix(published.parent_prefix): value for name, value in weights.items()}
    for name in sorted(by_name):
        if name.startswith(published.content_prefixes):
            digest.update(name.encode())
            digest.update(by_name[name].half().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _wrong_file(path: Path, published: PublishedWeights) -> RecipeError:
    return RecipeError(
        f"{path} is not the file that was published as {published.url}: its SHA-256 differs; delete it, and it is "
        "downloaded again"
    )


def weights_digest(source: str) -> str:
    """Return what identifies a source of weights: its name, or the SHA-256 of its file.

    Raises:
        RecipeError: The file can't be read.
    """
    if source in (AUTO, NONE, *PUBLISHED):
        return source
    try:
        return sha256(Path(source))
    except OSError as error:
        raise RecipeError(f"model.weights {source}: {os_error_message(error)}; {_EXPECTED}") from error


def _select_parameters(weights: dict[str, Tensor], model: nn.Module, published: PublishedWeights) -> dict[str, Tensor]:
    """Convert weights to the model's layout, drop those that it does not use, and add its own initial values."""
    model_state = model.state_dict()
    prefix = published.parent_prefix
    if any(name.startswith(prefix) for name in weights):
        weights = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
    convert = getattr(model, "convert_published_weights", None)
    if convert is not None:
        weights = convert(weights)

    def is_used(name: str) -> bool:
        if name in model_state:
            return not name.startswith(published.classifier_prefixes) or weights[name].shape == model_state[name].shape
        return not name.startswith((*published.classifier_prefixes, *published.unused_prefixes))

    used = {name: value for name, value in weights.items() if is_used(name)}
    new_layers = (*published.classifier_prefixes, *_ADDED_LAYERS)
    initial = {name: value for name, value in model_state.items() if name not in used and name.startswith(new_layers)}
    return used | initial


def _read_pickle(path: Path) -> Any:
    return torch.load(path, map_location="cpu", weights_only=True)


_READERS: dict[str, Callable[[Path], Any]] = {".safetensors": load_file, ".onnx": read_onnx_weights}


def _read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read a state dict of tensors.

    Raises:
        RecipeError: The file can't be read, is not a file of weights, or holds other objects.
    """
    try:
        content: Any = _READERS.get(path.suffix, _read_pickle)(path)
    except FileNotFoundError as error:
        raise RecipeError(f"model.weights {path}: no such file; {_EXPECTED}") from error
    except pickle.UnpicklingError as error:
        if "Unsupported global" not in str(error):  # torch's message for a class or a function
            raise RecipeError(f"model.weights {path}: not a file of weights") from error
        raise RecipeError(
            f"model.weights {path}: holds pickled objects, which may run code; expected a plain state dict"
        ) from error
    except OSError as error:
        raise RecipeError(f"model.weights {path}: {os_error_message(error)}") from error
    except Exception as error:  # on other bytes, torch's unpickler fails with many kinds of errors
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise RecipeError(f"model.weights {path}: not a file of weights ({reason})") from error
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise RecipeError(f"model.weights {path}: holds {type(content).__name__}; expected a state dict of tensors")
    return dict(content)
