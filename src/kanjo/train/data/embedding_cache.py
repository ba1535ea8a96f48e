"""What a frozen encoder makes of every utterance of a run, as it is and varied, computed once and kept for all folds.

Test utterances are heard too, as they are in prediction; who trains, and on what scale, is each fold's own business.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from filelock import FileLock, Timeout
from torch import Tensor

from kanjo import files
from kanjo.errors import KanjoError
from kanjo.train.data import augmentation
from kanjo.train.data.audio_cache import cache_folder
from kanjo.train.data.datasets import Windows, loader
from kanjo.train.data.experiment_data import Material, training_windows
from kanjo.train.models.encoder import Encoder
from kanjo.train.tasks.base import System, varied
from kanjo.train.trainer import in_bf16

log = logging.getLogger("kanjo")
_AT_ONCE = 16
#: Between two looks at what another process computes (s).
_PAUSE = 0.2
#: Names begin so of what is fitted to a fold, and is no part of what is kept.
_FITTED = ("network.output.", "network.offset.", "network.norm.")


@dataclass(frozen=True)
class Heard:
    """Of every utterance U in V versions, the first as it is: the encoder's ``summary`` (V, U, S), not standardised.

    ``seconds``: what computing took now; 0 where it was there already.
    """

    summary: Tensor
    seconds: float


def heard(system: System, material: Material, cache: Path | None = None) -> Heard:
    """As they are and in ``training.versions`` varied versions; from the cache where they are there. Raises KanjoError for a full disk."""
    versions = 1 + material.recipe.training.versions
    folder = (cache or cache_folder()) / "embeddings" / _digest(system, material)
    paths = [folder / f"{_version_digest(material, version)}.npy" for version in range(versions)]
    seconds = _computed(system, material, paths)
    values = torch.stack([torch.from_numpy(_read(path, len(material.rows))) for path in paths])
    return Heard(values, seconds)


def _computed(system: System, material: Material, paths: Sequence[Path]) -> float:
    """Have every version's file there: folds that train side by side share the work, each computes what no other is at. Returns the seconds spent on it."""
    seconds = 0.0
    while missing := [version for version, path in enumerate(paths) if not path.is_file()]:
        for version in missing:
            path, started = paths[version], time.monotonic()
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                with FileLock(path.with_suffix(".lock"), blocking=False):
                    if not path.is_file():
                        _compute(system, material, version, path)
                seconds += time.monotonic() - started
                break
            except Timeout:  # another process is at it
                continue
            except OSError as error:
                raise KanjoError(f"can't write the embeddings {path}: {files.reason(error)}") from error
        else:
            time.sleep(_PAUSE)
    return seconds


def _encoder(system: System) -> Encoder:
    assert isinstance(system.network, Encoder), "the recipe's section lets no other be frozen"
    return system.network


def _read(path: Path, n: int) -> npt.NDArray[np.float32]:
    try:
        values: npt.NDArray[np.float32] = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise KanjoError(f"{path} can't be read ({error}); delete it, and it is made anew") from error
    if values.ndim != 2 or len(values) != n:
        raise KanjoError(f"{path} is {values.shape}, expected {n} rows; delete it, and it is made anew")
    return values


@torch.inference_mode()
def _compute(system: System, material: Material, version: int, path: Path) -> None:
    recipe, network, started = material.recipe, _encoder(system), time.monotonic()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    bf16 = in_bf16(recipe.training.precision)
    everybody = range(len(material.rows))
    windows = (
        training_windows(material, everybody)
        if version
        else Windows(material.pack, everybody, material.labels, recipe.audio.window)
    )
    system.to(device).eval()
    found = []
    with torch.random.fork_rng():
        torch.manual_seed(1000 * recipe.training.seed + version)
        for batch in loader(windows, _AT_ONCE, shuffle=False):
            moved: Any = {key: value.to(device) for key, value in batch.items()}
            features, frames = varied(system, moved, recipe.augment) if version else system.features(moved["signal"])
            if version:
                features = augmentation.mask_features(features, recipe.augment)
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                summary = network.summary(features, frames)
            found.append(summary.float().cpu())
    system.cpu()
    values = torch.cat(found).numpy()
    with files.written_whole(path) as temporary, temporary.open("wb") as out:
        np.save(out, values)
    seconds = time.monotonic() - started
    what = f"version {version}" if version else "as they are"
    log.info(
        "embeddings of %d utterances computed, %s (%.1f s, %.0f a second)",
        len(values),
        what,
        seconds,
        len(values) / seconds,
    )


def _digest(system: System, material: Material) -> str:
    """Of everything between samples and an utterance's embedding, and of the utterances."""
    recipe, digest = material.recipe, hashlib.sha256()
    for key, value in system.state_dict().items():
        if not key.startswith(_FITTED):
            digest.update(key.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    network = recipe.network.model_dump(mode="json", exclude={"weights", "dropout", "speaker"})
    content = [
        network,
        recipe.frontend.model_dump(mode="json"),
        recipe.audio.window_s,
        in_bf16(recipe.training.precision),
    ]
    digest.update(f"{material.pack.folder.name} {json.dumps(content, sort_keys=True)}".encode())
    return digest.hexdigest()[:16]


def _version_digest(material: Material, version: int) -> str:
    if not version:
        return "plain"
    recipe = material.recipe
    content = [recipe.audio.model_dump(mode="json"), recipe.augment.model_dump(mode="json"), recipe.training.seed]
    return f"{hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]}-{version}"
