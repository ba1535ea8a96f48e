"""Compute a frozen CNN's features of all segments once, and keep them as float16 in a memory-mapped file."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from kanjo.array_files import DamagedFileError, load_arrays, save_arrays
from kanjo.files import atomic_directory, sha256
from kanjo.train.data.cache_files import cache_lock, digest_tensors, report_damage, use_available_device
from kanjo.train.data.datasets import FeatureBatch, WindowDataset
from kanjo.train.data.loaders import build_data_loader
from kanjo.train.features.log_mel import LogMel
from kanjo.train.models.dcnn_blstm import segment_mask
from kanjo.train.models.emotion_model import EmotionModel

log = logging.getLogger("kanjo")
_FEATURES_FILE, _INDEX_FILE = "features.f16", "index.npz"
_BATCH_SIZE = 16
#: Largest number that float16 can represent.
_FLOAT16_MAX = 65504


class SegmentFeatureDataset(Dataset[FeatureBatch]):
    """Features of the segments of windows.

    Args:
        values: Features of the segments of all windows, float16 (total number of segments, D).
        offsets: Window i has the segments ``offsets[i]`` to ``offsets[i + 1]``, exclusive.
        labels: Label of each window.
        n_segments: Number of segments S that a batch has per window, with zeros after a window's last segment.
    """

    def __init__(
        self, values: npt.NDArray[np.float16], offsets: npt.NDArray[np.int64], labels: Sequence[int], n_segments: int
    ) -> None:
        self.values, self.offsets, self.labels, self.n_segments = values, offsets, labels, n_segments

    @property
    def item_labels(self) -> list[int]:
        """Label of each item."""
        return list(self.labels)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> FeatureBatch:
        return self.__getitems__([index])

    def __getitems__(self, indices: Sequence[int]) -> FeatureBatch:
        features = np.zeros((len(indices), self.n_segments, self.values.shape[1]), np.float16)
        counts = np.asarray([self.offsets[index + 1] - self.offsets[index] for index in indices], np.int64)
        for row, index in enumerate(indices):
            features[row, : counts[row]] = self.values[self.offsets[index] : self.offsets[index + 1]]
        label = torch.tensor([self.labels[index] for index in indices])
        return {"features": torch.from_numpy(features), "count": torch.from_numpy(counts), "label": label}


def segment_feature_datasets(
    emotion_model: EmotionModel, datasets: Sequence[WindowDataset], folder: Path, bf16: bool
) -> list[SegmentFeatureDataset]:
    """Build datasets of the features of windows without augmentation; compute features that are not cached.

    Args:
        emotion_model: Model with a :class:`kanjo.train.models.dcnn_blstm.DcnnBlstm`.
        datasets: Windows.
        folder: Folder of the cache. A cached file is identified by a digest of the CNN's weights and of the windows.
        bf16: Compute in bfloat16.

    Raises:
        KanjoError: The cache can't be written, for example because the disk is full.
    """
    weights_digest, n_segments = _digest_cnn(emotion_model), emotion_model.model.segments.n_segments
    feature_datasets = []
    for dataset in datasets:
        windows = WindowDataset(dataset.audio_cache, dataset.indices, dataset.labels, dataset.window)
        key = f"{weights_digest}-{windows.audio_cache.folder.name}-{windows.window}-{list(windows.indices)}-{bf16}"
        path = folder / hashlib.sha256(key.encode()).hexdigest()[:16]
        values, offsets = _get_features(emotion_model, windows, path, bf16)
        feature_datasets.append(SegmentFeatureDataset(values, offsets, windows.item_labels, n_segments))
    return feature_datasets


def _get_features(
    emotion_model: EmotionModel, windows: WindowDataset, path: Path, bf16: bool
) -> tuple[npt.NDArray[np.float16], npt.NDArray[np.int64]]:
    """Open the features of windows; compute them first if they are missing or damaged."""
    feature_size, n_windows = emotion_model.model.extractor.embedding_size, len(windows)
    with cache_lock(path):
        if path.exists():
            try:
                return _open_features(path, feature_size, n_windows)
            except DamagedFileError as error:
                report_damage(path, error)
        with atomic_directory(path) as temporary:
            _compute_features(emotion_model, windows, temporary, bf16)
        return _open_features(path, feature_size, n_windows)


def _compute_features(emotion_model: EmotionModel, windows: WindowDataset, folder: Path, bf16: bool) -> None:
    model, offsets, started = emotion_model.model, [0], time.monotonic()
    model.extractor.eval()
    with (
        (folder / _FEATURES_FILE).open("wb") as stream,
        use_available_device(emotion_model) as device,
        torch.inference_mode(),
        torch.autocast(device.type, torch.bfloat16, enabled=bf16),
    ):
        for batch in build_data_loader(windows, _BATCH_SIZE, shuffle=False):
            values, counts = embed_segments(emotion_model, batch["signal"].to(device))
            stream.write(values.clamp(-_FLOAT16_MAX, _FLOAT16_MAX).half().cpu().numpy().tobytes())
            offsets += (offsets[-1] + counts.cumsum(0)).tolist()
    digest = np.asarray(sha256(folder / _FEATURES_FILE))
    save_arrays(folder / _INDEX_FILE, offsets=np.asarray(offsets, np.int64), sha256=digest)
    seconds = time.monotonic() - started
    log.info("features of %d segments computed (%.1f s, %.0f segments/s)", offsets[-1], seconds, offsets[-1] / seconds)


def embed_segments(emotion_model: EmotionModel, signal: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the features (total number of segments, D) of the segments of windows (B, N), and their counts (B,)."""
    model = emotion_model.model
    features, n_frames = emotion_model.features(signal)
    counts = model.segments.count(n_frames)
    row, segment = segment_mask(counts, model.segments.n_segments).nonzero(as_tuple=True)
    return model.extractor.embed(model.images(features, row, segment)).float(), counts


def _open_features(
    path: Path, feature_size: int, n_windows: int
) -> tuple[npt.NDArray[np.float16], npt.NDArray[np.int64]]:
    """Open computed features.

    Raises:
        DamagedFileError: The files have other content than was written.
    """
    try:
        index = load_arrays(path / _INDEX_FILE)
        if len(index["offsets"]) != n_windows + 1:
            raise DamagedFileError(f"it has {len(index['offsets']) - 1} windows, expected {n_windows}")
        if str(index["sha256"]) != sha256(path / _FEATURES_FILE):
            raise DamagedFileError("its features are not those that were written")
        offsets = index["offsets"].astype(np.int64)
        values = np.memmap(path / _FEATURES_FILE, np.float16, "r", shape=(int(offsets[-1]), feature_size))
    except (OSError, ValueError, KeyError) as error:
        raise DamagedFileError(str(error)) from error
    return values, offsets


def _digest_cnn(emotion_model: EmotionModel) -> str:
    """Digest everything between the samples and the features of a segment."""
    feature_extractor = cast(LogMel, emotion_model.feature_extractor)  # recipes allow no other for this model
    model = emotion_model.model
    weights = [*feature_extractor.state_dict().items(), *model.extractor.state_dict().items()]
    segments = model.segments
    settings = (
        f"{feature_extractor.preemphasis} {feature_extractor.top_db} {feature_extractor.floor_db} "
        f"{feature_extractor.normalization} {feature_extractor.power.hop_length} "
        f"{segments.frames} {segments.hop} {tuple(segments.rows.shape)}"
    )
    return digest_tensors(weights, settings)
