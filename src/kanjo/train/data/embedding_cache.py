"""Compute a frozen encoder's embeddings of all utterances and their augmented copies once, and keep them for all folds.

Test utterances are included, without augmentation as in prediction. What depends on a fold, such as the
standardization, is not part of the cached values.
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
from kanjo.train.data.audio_cache import get_cache_folder
from kanjo.train.data.augmented_features import augmented_features
from kanjo.train.data.cache_files import digest_tensors, explain_damage, use_available_device
from kanjo.train.data.datasets import WindowDataset
from kanjo.train.data.experiment_data import ExperimentData, Progress, training_dataset
from kanjo.train.data.loaders import build_data_loader
from kanjo.train.hardware import use_bf16
from kanjo.train.models.emotion_model import EmotionModel

log = logging.getLogger("kanjo")
_BATCH_SIZE = 16
#: Seconds between two looks at files that other processes compute.
_POLL_INTERVAL_S = 0.2
#: Parts of a model that are fitted to a fold. The cached values do not depend on them.
_FITTED_TO_FOLD = ("model.output.", "model.offset.", "model.norm.")


@dataclass(frozen=True)
class EncoderEmbeddings:
    """Embeddings of U utterances in V copies.

    Attributes:
        pooled_statistics: Pooled output of the encoder, not standardized, (V, U, S). Copy 0 is the original, the
            others are augmented.
        seconds: Time that this process spent on computing them; 0 if all were cached.
    """

    pooled_statistics: Tensor
    seconds: float


def compute_embeddings(
    emotion_model: EmotionModel, data: ExperimentData, cache: Path | None = None, progress: Progress | None = None
) -> EncoderEmbeddings:
    """Load the embeddings of all utterances and of ``training.n_augmented_copies`` copies; compute missing ones.

    Args:
        emotion_model: Model with a frozen encoder.
        data: Data of the experiment.
        cache: Folder for caches (default: :func:`kanjo.train.data.audio_cache.get_cache_folder`).
        progress: Called with the numbers of computed embeddings and of all, copies included.

    Raises:
        KanjoError: The cache can't be written, for example because the disk is full, or a cached file is damaged.
    """
    folder = (cache or get_cache_folder()) / "embeddings" / _digest_encoder(emotion_model, data)
    n_copies = 1 + data.recipe.training.n_augmented_copies
    paths = [folder / f"{_copy_name(data, copy)}.npy" for copy in range(n_copies)]
    seconds = _compute_missing(emotion_model, data, paths, progress)
    copies = [torch.from_numpy(_read_array(path, len(data.utterances))) for path in paths]
    return EncoderEmbeddings(torch.stack(copies), seconds)


def _compute_missing(
    emotion_model: EmotionModel, data: ExperimentData, paths: Sequence[Path], progress: Progress | None
) -> float:
    """Compute the files that do not exist, and return the seconds that this process spent on it.

    Folds that are trained in parallel share the work: each process computes a file that no other process has locked.
    """
    seconds = 0.0
    while missing := [copy for copy, path in enumerate(paths) if not path.is_file()]:
        for copy in missing:
            started = time.monotonic()
            if _compute_if_unlocked(emotion_model, data, copy, paths[copy], _count_copies(progress, paths)):
                seconds += time.monotonic() - started
                break
        else:
            time.sleep(_POLL_INTERVAL_S)
    return seconds


def _count_copies(progress: Progress | None, paths: Sequence[Path]) -> Progress | None:
    """A callback for one copy that adds the copies that exist already."""
    if progress is None:
        return None
    n_existing = sum(path.is_file() for path in paths)
    return lambda done, total: progress(n_existing * total + done, len(paths) * total)


def _compute_if_unlocked(
    emotion_model: EmotionModel, data: ExperimentData, copy: int, path: Path, progress: Progress | None
) -> bool:
    """Compute one file unless another process does; return whether the file exists now."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock"), blocking=False):
            if not path.is_file():
                array = _compute_copy(emotion_model, data, copy, progress)
                with files.atomic_write(path) as temporary, temporary.open("wb") as stream:
                    np.save(stream, array)
    except Timeout:
        return False
    except OSError as error:
        raise KanjoError(f"can't write {path}: {files.os_error_message(error)}") from error
    return True


@torch.inference_mode()
def _compute_copy(
    emotion_model: EmotionModel, data: ExperimentData, copy: int, progress: Progress | None
) -> npt.NDArray[np.float32]:
    """Compute the pooled statistics of all utterances (U, S); those of copies from 1 on are augmented."""
    recipe, started = data.recipe, time.monotonic()
    bf16 = use_bf16(recipe.training.precision)
    indices = range(len(data.utterances))
    if copy == 0:
        windows = WindowDataset(data.audio_cache, indices, data.labels, recipe.audio.window)
    else:
        windows = training_dataset(data, indices)
    pooled = []
    with use_available_device(emotion_model.eval()) as device, torch.random.fork_rng():
        torch.manual_seed(1000 * recipe.training.seed + copy)
        for batch in build_data_loader(windows, _BATCH_SIZE, shuffle=False):
            on_device: Any = {key: value.to(device) for key, value in batch.items()}
            if copy == 0:
                features, n_frames = emotion_model.features(on_device["signal"])
            else:
                features, n_frames = augmented_features(emotion_model, on_device, recipe.augment)
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                statistics = emotion_model.model.pooled_statistics(features, n_frames)
            pooled.append(statistics.float().cpu())
            if progress:
                progress(min(len(pooled) * _BATCH_SIZE, len(indices)), len(indices))
    seconds = time.monotonic() - started
    log.info(
        "embeddings of %d utterances computed, %s (%.1f s, %.0f utterances/s)",
        len(indices),
        f"augmented copy {copy}" if copy else "original",
        seconds,
        len(indices) / seconds,
    )
    return torch.cat(pooled).numpy()


def _read_array(path: Path, n_utterances: int) -> npt.NDArray[np.float32]:
    with explain_damage(path):
        array: npt.NDArray[np.float32] = np.load(path, allow_pickle=False)
        if array.ndim != 2 or len(array) != n_utterances:
            raise ValueError(f"it has shape {array.shape}, expected {n_utterances} rows")
    return array


def _digest_encoder(emotion_model: EmotionModel, data: ExperimentData) -> str:
    """Digest the utterances and everything between the samples and the embeddings."""
    recipe = data.recipe
    weights = [
        (name, value) for name, value in emotion_model.state_dict().items() if not name.startswith(_FITTED_TO_FOLD)
    ]
    settings = [
        recipe.model.model_dump(mode="json", exclude={"weights", "dropout", "speaker_conditioning"}),
        recipe.features.model_dump(mode="json"),
        recipe.audio.window_s,
        use_bf16(recipe.training.precision),
    ]
    return digest_tensors(weights, f"{data.audio_cache.folder.name} {json.dumps(settings, sort_keys=True)}")[:16]


def _copy_name(data: ExperimentData, copy: int) -> str:
    """File name of a copy, which depends on the augmentation."""
    if copy == 0:
        return "original"
    recipe = data.recipe
    settings = [recipe.audio.model_dump(mode="json"), recipe.augment.model_dump(mode="json"), recipe.training.seed]
    return f"{hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]}-{copy}"
