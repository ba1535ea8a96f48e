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
from torch import Tensor

from kanjo.array_files import DamagedFileError, load_arrays, save_arrays
from kanjo.locks import LockedError
from kanjo.train.data.audio_cache import get_cache_folder
from kanjo.train.data.augmented_features import augmented_features
from kanjo.train.data.cache_files import cache_lock, digest_tensors, report_damage, use_available_device
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
        KanjoError: The cache can't be written, for example because the disk is full.
    """
    folder = (cache or get_cache_folder()) / "embeddings" / _digest_encoder(emotion_model, data)
    n_copies = 1 + data.recipe.training.n_augmented_copies
    paths = [folder / f"{_copy_name(data, copy)}.npz" for copy in range(n_copies)]
    copies: dict[int, npt.NDArray[np.float32]] = {}
    seconds = _get_all(emotion_model, data, paths, copies, progress)
    return EncoderEmbeddings(torch.stack([torch.from_numpy(copies[copy]) for copy in range(n_copies)]), seconds)


def _get_all(
    emotion_model: EmotionModel,
    data: ExperimentData,
    paths: Sequence[Path],
    copies: dict[int, npt.NDArray[np.float32]],
    progress: Progress | None,
) -> float:
    """Read all files into ``copies``, compute those that are missing or damaged, and return the seconds spent on it.

    Folds that are trained in parallel share the work: each process computes a file that no other process has locked.
    """
    seconds, n_utterances = 0.0, len(data.utterances)
    while True:
        for copy, path in enumerate(paths):
            if copy not in copies and (array := _read_if_valid(path, n_utterances)) is not None:
                copies[copy] = array
        missing = [copy for copy in range(len(paths)) if copy not in copies]
        if not missing:
            return seconds
        for copy in missing:
            started = time.monotonic()
            array = _compute_if_unlocked(emotion_model, data, copy, paths[copy], _count_copies(progress, paths))
            if array is not None:
                copies[copy] = array
                seconds += time.monotonic() - started
                break
        else:
            time.sleep(_POLL_INTERVAL_S)


def _count_copies(progress: Progress | None, paths: Sequence[Path]) -> Progress | None:
    """A callback for one copy that adds the copies that exist already."""
    if progress is None:
        return None
    n_existing = sum(path.is_file() for path in paths)
    return lambda done, total: progress(min(n_existing, len(paths) - 1) * total + done, len(paths) * total)


def _compute_if_unlocked(
    emotion_model: EmotionModel, data: ExperimentData, copy: int, path: Path, progress: Progress | None
) -> npt.NDArray[np.float32] | None:
    """Compute one file, unless another process has just written it; None if another process is computing it."""
    try:
        with cache_lock(path, wait=False):
            array = _read_if_valid(path, len(data.utterances))
            if array is None:
                array = _compute_copy(emotion_model, data, copy, progress)
                save_arrays(path, pooled_statistics=array)
            return array
    except LockedError:
        return None


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


def _read_if_valid(path: Path, n_utterances: int) -> npt.NDArray[np.float32] | None:
    """Read a file of the cache; None if it does not exist or is damaged."""
    try:
        array = load_arrays(path).get("pooled_statistics")
        if array is None or array.ndim != 2 or array.dtype != np.float32 or len(array) != n_utterances:
            shape = "no array" if array is None else f"the shape {array.shape}"
            raise DamagedFileError(f"it has {shape}, expected {n_utterances} rows")
    except FileNotFoundError:
        return None
    except DamagedFileError as error:
        report_damage(path, error)
        return None
    return array.astype(np.float32, copy=False)


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
