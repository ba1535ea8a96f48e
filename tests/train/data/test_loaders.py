"""Data loaders: order, balance and the size of batches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from kanjo.train.data.audio_cache import AudioCache, AudioSlice, build_audio_cache
from kanjo.train.data.datasets import WindowDataset
from kanjo.train.data.loaders import build_data_loader
from tests.corpora_fixtures import SAMPLE_RATE, write_clip


@pytest.fixture
def unbalanced(tmp_path: Path) -> WindowDataset:
    """36 windows of emotion 0 and 4 of emotion 1."""
    paths = [write_clip(tmp_path / f"{n}.wav", n) for n in range(40)]
    cache = build_audio_cache([AudioSlice(path) for path in paths], SAMPLE_RATE, tmp_path / "cache")
    return WindowDataset(cache, range(40), [0] * 36 + [1] * 4, 100)


def _draw_labels(windows: WindowDataset, *, n_epochs: int = 1, **options: Any) -> torch.Tensor:
    loaders = [build_data_loader(windows, 8, seed=seed, **options) for seed in range(n_epochs)]
    return torch.cat([batch["label"] for loader in loaders for batch in loader])


def test_build_data_loader_without_shuffle_keeps_the_order(audio_cache: AudioCache) -> None:
    windows = WindowDataset(audio_cache, [0, 1, 2], [0, 1, 2], SAMPLE_RATE)
    assert _draw_labels(windows, shuffle=False).tolist() == [0, 1, 2]


def test_build_data_loader_shuffled_drops_a_last_batch_of_one_window(audio_cache: AudioCache) -> None:
    windows = WindowDataset(audio_cache, [0, 1, 2], [0, 1, 2], SAMPLE_RATE)
    assert [len(batch["label"]) for batch in build_data_loader(windows, 2, shuffle=True)] == [2]
    assert [len(batch["label"]) for batch in build_data_loader(windows, 2, shuffle=False)] == [2, 1]


def test_build_data_loader_same_seed_same_order(unbalanced: WindowDataset) -> None:
    first, second = (
        torch.cat([batch["signal"] for batch in build_data_loader(unbalanced, 8, shuffle=True, seed=3)])
        for _ in range(2)
    )
    assert torch.equal(first, second)


def test_build_data_loader_balance_classes_draws_emotions_equally_often(unbalanced: WindowDataset) -> None:
    labels = _draw_labels(unbalanced, n_epochs=20, shuffle=True, balance_classes=True)
    assert 0.4 < float((labels == 1).float().mean()) < 0.6


def test_build_data_loader_sample_weights_draw_in_proportion(unbalanced: WindowDataset) -> None:
    labels = _draw_labels(unbalanced, n_epochs=20, shuffle=True, sample_weights=[1.0] * 36 + [3.0] * 4)
    assert 0.15 < float((labels == 1).float().mean()) < 0.35  # 12 / 48


def test_build_data_loader_without_shuffle_ignores_balance(unbalanced: WindowDataset) -> None:
    labels = _draw_labels(unbalanced, shuffle=False, balance_classes=True)
    assert len(labels) == 40 and int((labels == 1).sum()) == 4
