"""Helpers that the caches of computed features share: digests, locks, messages on damage, use of the GPU."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from kanjo.array_files import DamagedFileError
from kanjo.errors import KanjoError
from kanjo.files import os_error_message
from kanjo.locks import hold_lock

log = logging.getLogger("kanjo")


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
def cache_lock(path: Path, wait: bool = True) -> Iterator[None]:
    """Hold the lock of one entry of a cache, so that one process at a time builds it.

    Args:
        path: The file or folder of the entry.
        wait: Wait until the process that builds the entry has finished.

    Raises:
        LockedError: Another process builds the entry, and ``wait`` is false.
        KanjoError: The folder of the cache can't be written.
    """
    with ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(hold_lock(path.with_name(f".{path.stem}.lock"), wait))
        except OSError as error:
            raise KanjoError(f"can't write {path}: {os_error_message(error)}") from error
        yield


def report_damage(path: Path, damage: DamagedFileError) -> None:
    """Log that a damaged entry of a cache is built again."""
    log.warning("the cache %s is damaged (%s); it is built again", path, damage)


@contextmanager
def use_available_device(model: nn.Module) -> Iterator[torch.device]:
    """Move a model to the GPU if there is one, and move it back to the CPU after the block."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.to(device)
    try:
        yield device
    finally:
        model.cpu()
