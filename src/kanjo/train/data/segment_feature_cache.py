"""What a frozen CNN makes of every segment, computed once: float16 in a memory-mapped file."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset

from kanjo.errors import KanjoError
from kanjo.files import folder_whole, reason
from kanjo.train.data.datasets import FeatureBatch, Windows, loader
from kanjo.train.features.log_mel import LogMel
from kanjo.train.models.dcnn_blstm import inside
from kanjo.train.tasks.base import System, deep_network

log = logging.getLogger("kanjo")
_DATA, _INDEX = "features.f16", "index.npz"


class Features(Dataset[FeatureBatch]):
    """Segment features of windows: item i's are ``values[offsets[i]:offsets[i + 1]]``, float16 (S, D)."""

    def __init__(
        self, values: npt.NDArray[np.float16], offsets: npt.NDArray[np.int64], labels: Sequence[int], n_segments: int
    ) -> None:
        self.values, self.offsets, self.labels, self.n_segments = values, offsets, labels, n_segments

    @property
    def label_of(self) -> list[int]:
        """Each item's label."""
        return list(self.labels)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, place: int) -> FeatureBatch:
        return self.__getitems__([place])

    def __getitems__(self, places: Sequence[int]) -> FeatureBatch:
        features = np.zeros((len(places), self.n_segments, self.values.shape[1]), np.float16)
        counts = np.asarray([self.offsets[place + 1] - self.offsets[place] for place in places], np.int64)
        for row, place in enumerate(places):
            features[row, : counts[row]] = self.values[self.offsets[place] : self.offsets[place + 1]]
        label = torch.tensor([self.labels[place] for place in places])
        return {"features": torch.from_numpy(features), "count": torch.from_numpy(counts), "label": label}


def cached_features(system: System, parts: Sequence[Windows], folder: Path, bf16: bool) -> list[Features]:
    """Features of these windows as they are (nothing varied), computed now unless ``folder`` has them.

    They are kept under a digest of the CNN's weights and of which windows they are. Raises KanjoError for a full disk.
    """
    found = []
    weights = _digest(system)
    network = deep_network(system)
    for windows in parts:
        plain = Windows(windows.pack, windows.indices, windows.labels, windows.window)
        name = f"{weights}-{windows.pack.folder.name}-{windows.window}-{list(windows.indices)}-{bf16}"
        place = folder / "features" / hashlib.sha256(name.encode()).hexdigest()[:16]
        if not (place / _INDEX).is_file():
            with folder_whole(place) as unfinished:
                _compute(system, plain, unfinished, bf16)
        with np.load(place / _INDEX, allow_pickle=False) as index:
            offsets = index["offsets"]
        values = np.memmap(place / _DATA, np.float16, "r", shape=(int(offsets[-1]), network.extractor.embedding_size))
        found.append(Features(values, offsets, plain.label_of, network.segments.n_segments))
    return found


def _compute(system: System, windows: Windows, folder: Path, bf16: bool) -> None:
    network, offsets, started = deep_network(system), [0], time.monotonic()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    system.to(device)
    network.extractor.eval()
    try:
        with (
            (folder / _DATA).open("wb") as out,
            torch.inference_mode(),
            torch.autocast(device.type, torch.bfloat16, enabled=bf16),
        ):
            for batch in loader(windows, 16, shuffle=False):
                features, frames = system.features(batch["signal"].to(device))
                counts = network.segments.count(frames)
                row, segment = inside(counts, network.segments.n_segments).nonzero(as_tuple=True)
                values = network.extractor.embed(network.images(features, row, segment))
                out.write(values.float().clamp(-65504, 65504).half().cpu().numpy().tobytes())
                offsets += (offsets[-1] + counts.cumsum(0)).tolist()
        with (folder / _INDEX).open("wb") as out:
            np.savez(out, offsets=np.asarray(offsets, np.int64))
    except OSError as error:
        raise KanjoError(f"can't write the features {folder.parent}: {reason(error)}") from error
    finally:
        system.cpu()
    seconds = time.monotonic() - started
    log.info("features of %d segments computed (%.1f s, %.0f segments/s)", offsets[-1], seconds, offsets[-1] / seconds)


def _digest(system: System) -> str:
    """Of everything between samples and features."""
    digest, network, frontend = hashlib.sha256(), deep_network(system), system.frontend
    assert isinstance(frontend, LogMel), "what networks of two stages hear"
    for key, value in (*frontend.state_dict().items(), *network.extractor.state_dict().items()):
        digest.update(key.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    digest.update(
        f"{frontend.preemphasis} {frontend.top_db} {frontend.normalization} {frontend.power.hop_length}".encode()
    )
    segments = network.segments
    digest.update(f"{segments.frames} {segments.hop} {tuple(segments.rows.shape)}".encode())
    return digest.hexdigest()
