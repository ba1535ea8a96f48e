"""Helpers that the caches of computed features share: digests, errors for damaged files, use of the GPU."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from kanjo.errors import KanjoError


def digest_tensors(tensors: Iterable[tuple[str, Tensor]], settings: str) -> str:
    """Compute the SHA-256 of everything that cached values depend on.

    Args:
        tensors: Names and values of the weights.
        settings: Text with all other settings.
    """
    digest = hashlib.sha256()
    for name, value in tensors:
        digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    digest.update(settings.encode())
    return digest.hexdigest()


@contextmanager
def explain_damage(path: Path) -> Iterator[None]:
    """Replace an error in the block, which reads ``path``, by a KanjoError with advice to delete it.

    Raises:
        KanjoError: The block raises OSError, ValueError or KeyError.
    """
    try:
        yield
    except (OSError, ValueError, KeyError) as error:
        raise KanjoError(f"the cache {path} can't be read ({error}); delete it, and kanjo builds it again") from error


@contextmanager
def use_available_device(model: nn.Module) -> Iterator[torch.device]:
    """Move a model to the GPU if there is one, and move it back to the CPU after the block."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.to(device)
    try:
        yield device
    finally:
        model.cpu()
