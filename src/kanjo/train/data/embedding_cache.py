"""Compute a frozen encoder's embeddings of all utterances and their augmented copies once, for all folds.

Utterances are cut into speech segments as in prediction. The statistics of each layer are cached, so that another
choice of layers needs no encoding. Test utterances are included, without augmentation. What depends on a fold, such as
the standardization, is not part of the cached values.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from kanjo.array_files import DamagedFileError, load_arrays, save_arrays
from kanjo.locks import LockedError
from kanjo.train.data.audio_cache import get_cache_folder
from kanjo.train.data.cache_files import cache_lock, digest_tensors, report_damage, use_available_device
from kanjo.train.data.experiment_data import ExperimentData, Progress
from kanjo.train.data.speech_clips import SpeechClips
from kanjo.train.hardware import use_bf16
from kanjo.train.models.emotion_model import EmotionModel
from kanjo.train.models.encoder import EncoderClassifier
from kanjo.train.models.layers.statistics import mean_and_std

log = logging.getLogger("kanjo")
_BATCH_SIZE = 16
#: Seconds between two looks at files that other processes compute.
_POLL_INTERVAL_S = 0.2
#: Mean and standard deviation (U, 2 D) of each layer, by the layer's key (:func:`_layer_keys`).
_Layers = dict[str, npt.NDArray[np.float32]]


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
    keys = _layer_keys(emotion_model)
    folder = (cache or get_cache_folder()) / "embeddings" / _digest_input(emotion_model, data, keys[0])
    work = _Work(emotion_model, data, keys, progress)
    n_copies = 1 + data.recipe.training.n_augmented_copies
    paths = [folder / f"{_copy_name(data, copy)}.npz" for copy in range(n_copies)]
    copies: dict[int, _Layers] = {}
    seconds = work.get_all(paths, copies)
    return EncoderEmbeddings(
        torch.stack([_concatenate(emotion_model, copies[copy]) for copy in range(n_copies)]), seconds
    )


class _Work:
    """Reads and computes the files of one experiment."""

    def __init__(
        self, emotion_model: EmotionModel, data: ExperimentData, keys: Sequence[str], progress: Progress | None
    ) -> None:
        self.emotion_model, self.data, self.keys, self.progress = emotion_model, data, keys, progress
        self.clips = SpeechClips(data.audio_cache, data.recipe.audio.window)

    def get_all(self, paths: Sequence[Path], copies: dict[int, _Layers]) -> float:
        """Read all files into ``copies``, compute those that are missing or damaged, and return the seconds it took.

        Folds that are trained in parallel share the work: each process computes a file that no other process has
        locked.
        """
        seconds = 0.0
        while True:
            for copy, path in enumerate(paths):
                if copy not in copies and (layers := self.read_if_valid(path)) is not None:
                    copies[copy] = layers
            missing = [copy for copy in range(len(paths)) if copy not in copies]
            if not missing:
                return seconds
            for copy in missing:
                started = time.monotonic()
                layers = self.compute_if_unlocked(copy, paths[copy], _count_copies(self.progress, paths))
                if layers is not None:
                    copies[copy] = layers
                    seconds += time.monotonic() - started
                    break
            else:
                time.sleep(_POLL_INTERVAL_S)

    def compute_if_unlocked(self, copy: int, path: Path, progress: Progress | None) -> _Layers | None:
        """Compute one file, unless another process has just written it; None if another process is computing it."""
        try:
            with cache_lock(path, wait=False):
                layers = self.read_if_valid(path)
                if layers is None:
                    layers = self.compute_copy(copy, progress)
                    save_arrays(path, **layers)
                return layers
        except LockedError:
            return None

    def read_if_valid(self, path: Path) -> _Layers | None:
        """Read a file of the cache; None if it does not exist, is damaged, or lacks a layer."""
        n_utterances = len(self.data.utterances)
        try:
            arrays = load_arrays(path)
            for key, array in arrays.items():
                if array.ndim != 2 or array.dtype != np.float32 or len(array) != n_utterances:
                    raise DamagedFileError(f"{key} has the shape {array.shape}, expected {n_utterances} rows")
        except FileNotFoundError:
            return None
        except DamagedFileError as error:
            report_damage(path, error)
            return None
        if not arrays or any(key not in arrays for key in self.keys):
            return None
        return {key: arrays[key].astype(np.float32, copy=False) for key in self.keys}

    @torch.inference_mode()
    def compute_copy(self, copy: int, progress: Progress | None) -> _Layers:
        """Compute mean and standard deviation of all layers for all utterances.

        Copies from 1 on are augmented. The steps of all segments of an utterance count together.
        """
        recipe, started = self.data.recipe, time.monotonic()
        n_utterances, model = len(self.data.utterances), cast(EncoderClassifier, self.emotion_model.model)
        bf16, augment = use_bf16(recipe.training.precision), recipe.augment if copy else None
        sums = [_StepSums(n_utterances, model.encoder.size) for _ in self.keys]
        n_done = 0
        with use_available_device(self.emotion_model.eval()) as device, torch.random.fork_rng():
            torch.manual_seed(1000 * recipe.training.seed + copy)
            for batch in self.clips.batches(range(n_utterances), _BATCH_SIZE, augment):
                features, n_frames = self.emotion_model.features(batch.signal.to(device))
                with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                    layers = model.layer_statistics(features, n_frames)
                for layer_sums, statistics in zip(sums, layers, strict=True):
                    layer_sums.add(batch.utterance, statistics.n_steps.sum(1).cpu(), mean_and_std(statistics).cpu())
                n_done += len(batch.utterance)
                if progress:
                    progress(min(n_done, n_utterances), n_utterances)
        seconds = time.monotonic() - started
        log.info(
            "embeddings of %d utterances computed, %s (%.1f s, %.0f utterances/s)",
            n_utterances,
            f"augmented copy {copy}" if copy else "original",
            seconds,
            n_utterances / seconds,
        )
        return {key: layer_sums.mean_and_std() for key, layer_sums in zip(self.keys, sums, strict=True)}


class _StepSums:
    """Adds up mean and variance of segments to those of utterances, weighted by their numbers of steps."""

    def __init__(self, n_utterances: int, size: int) -> None:
        self.n = np.zeros((n_utterances, 1))
        self.total = np.zeros((n_utterances, size))
        self.total_squares = np.zeros((n_utterances, size))

    def add(self, utterances: Sequence[int], n_steps: Tensor, statistics: Tensor) -> None:
        """Add segments: their utterances, numbers of steps (B,), means and standard deviations (B, 2 D)."""
        n = n_steps.double().numpy()[:, None]
        mean, std = np.split(statistics.double().numpy(), 2, axis=1)
        np.add.at(self.n, utterances, n)
        np.add.at(self.total, utterances, n * mean)
        np.add.at(self.total_squares, utterances, n * (std**2 + mean**2))

    def mean_and_std(self) -> npt.NDArray[np.float32]:
        """Return the means and standard deviations of all utterances, (U, 2 D)."""
        n = np.maximum(self.n, 1)
        mean = self.total / n
        variance = np.maximum(self.total_squares / n - mean**2, 0)
        return np.concatenate([mean, np.sqrt(variance)], 1).astype(np.float32)


def _concatenate(emotion_model: EmotionModel, layers: _Layers) -> Tensor:
    """Concatenate the means of the model's layers, then their standard deviations: (U, 2 L D)."""
    keys = _layer_keys(emotion_model)
    halves = [np.split(layers[keys[number - 1]], 2, axis=1) for number in emotion_model.model.layer_numbers]
    parts = [mean for mean, _ in halves] + [std for _, std in halves]
    return torch.from_numpy(np.concatenate(parts, 1))


def _count_copies(progress: Progress | None, paths: Sequence[Path]) -> Progress | None:
    """A callback for one copy that adds the copies that exist already."""
    if progress is None:
        return None
    n_existing = sum(path.is_file() for path in paths)
    return lambda done, total: progress(min(n_existing, len(paths) - 1) * total + done, len(paths) * total)


def _layer_keys(emotion_model: EmotionModel) -> list[str]:
    """Name each layer after its number, and a digest of the weights up to it."""
    keys, weights = [], []
    for number, parts in enumerate(cast(EncoderClassifier, emotion_model.model).encoder.parts(), 1):
        weights += [(f"{number}.{name}", value) for part in parts for name, value in part.state_dict().items()]
        keys.append(f"layer{number}-{digest_tensors(weights, '')[:12]}")
    return keys


def _digest_input(emotion_model: EmotionModel, data: ExperimentData, first_layer: str) -> str:
    """Digest the utterances, everything before the encoder, and the key of its first layer."""
    recipe = data.recipe
    extractor = emotion_model.feature_extractor.state_dict().items()
    settings = [
        first_layer,
        recipe.features.model_dump(mode="json"),
        recipe.audio.window_s,
        use_bf16(recipe.training.precision),
    ]
    return digest_tensors(extractor, f"{data.audio_cache.folder.name} {json.dumps(settings, sort_keys=True)}")[:16]


def _copy_name(data: ExperimentData, copy: int) -> str:
    """File name of a copy, which depends on the augmentation."""
    if copy == 0:
        return "original"
    recipe = data.recipe
    settings = [recipe.augment.model_dump(mode="json"), recipe.training.seed]
    return f"{hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]}-{copy}"
