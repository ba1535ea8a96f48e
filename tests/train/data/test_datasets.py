"""Datasets of windows and segments: placement, cropping and grouping."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from kanjo.train.data.audio_cache import AudioCache, AudioSlice, build_audio_cache
from kanjo.train.data.datasets import SegmentDataset, WindowDataset
from kanjo.train.data.loaders import build_data_loader
from tests.corpora_fixtures import SAMPLE_RATE


def test_window_dataset_short_clip_is_padded_and_long_clip_is_cropped_in_the_middle(audio_cache: AudioCache) -> None:
    batch = WindowDataset(audio_cache, [0, 1, 2], [0, 1, 2], SAMPLE_RATE).__getitems__([0, 1, 2])
    half = SAMPLE_RATE // 2
    assert batch["valid"].tolist() == [half, SAMPLE_RATE, SAMPLE_RATE]
    np.testing.assert_array_equal(batch["signal"][0, :half].numpy(), audio_cache.signal(0))
    assert not batch["signal"][0, half:].any()
    np.testing.assert_array_equal(batch["signal"][2].numpy(), audio_cache.signal(2)[half : half + SAMPLE_RATE])
    assert batch["label"].tolist() == [0, 1, 2]


def test_window_dataset_random_placement_depends_on_the_seed_only(audio_cache: AudioCache) -> None:
    windows = WindowDataset(
        audio_cache, [0, 1, 2], [0, 1, 2], SAMPLE_RATE, random_placement=True, max_speed_change=0.1, max_shift=1000
    )
    torch.manual_seed(1)
    first = windows.__getitems__([0, 1, 2])["signal"]
    second = windows.__getitems__([0, 1, 2])["signal"]
    torch.manual_seed(1)
    assert torch.equal(first, windows.__getitems__([0, 1, 2])["signal"])
    assert not torch.equal(first, second)


def test_window_dataset_speaker_and_corpus_are_those_of_the_utterance(audio_cache: AudioCache) -> None:
    ids = [(0, 0), (-1, 0), (1, 1)]
    batch = WindowDataset(audio_cache, [2, 1], [0, 0, 0], 100, speaker_and_corpus=ids).__getitems__([0, 1])
    assert batch["speaker"].tolist() == [1, -1] and batch["corpus"].tolist() == [1, 0]
    batch = WindowDataset(audio_cache, [2, 1], [0, 0, 0], 100).__getitems__([0, 1])
    assert batch["speaker"].tolist() == [-1, -1] and batch["corpus"].tolist() == [0, 0]


@pytest.mark.parametrize("trim_db", [None, 30.0])
@pytest.mark.parametrize("crop", [SAMPLE_RATE // 2, 2 * SAMPLE_RATE])
def test_window_dataset_random_crop_holds_as_much_speech_as_possible(
    tmp_path: Path, trim_db: float | None, crop: int
) -> None:
    """A second of tone between two seconds of faint noise each."""
    signal = 1e-3 * np.random.default_rng(0).standard_normal(5 * SAMPLE_RATE).astype(np.float32)
    signal[2 * SAMPLE_RATE : 3 * SAMPLE_RATE] = 0.5 * np.sin(2 * np.pi * 300 * np.arange(SAMPLE_RATE) / SAMPLE_RATE)
    soundfile.write(tmp_path / "a.wav", signal, SAMPLE_RATE, subtype="FLOAT")
    cache = build_audio_cache([AudioSlice(tmp_path / "a.wav")], SAMPLE_RATE, tmp_path / "cache")
    windows = WindowDataset(cache, [0], [0], 5 * SAMPLE_RATE, random_placement=True, crop=crop, trim_db=trim_db)
    crops = windows.__getitems__([0] * 40)["signal"]
    assert crops.shape == (40, crop)
    loud_fraction = (crops.abs() > 0.01).float().mean(1)
    if trim_db:
        assert loud_fraction.min() > 0.9 * min(1, SAMPLE_RATE / crop), "a crop holds only speech, or all of it"
    else:
        assert loud_fraction.min() < 0.05
    assert len({tuple(crop[:50].tolist()) for crop in crops}) > 20, "crops start at many positions"


def test_segment_dataset_epoch_has_each_segment_once_and_groups_have_no_neighbors(audio_cache: AudioCache) -> None:
    windows = WindowDataset(audio_cache, [0, 1, 2], [5, 6, 7], 2 * SAMPLE_RATE)
    dataset = SegmentDataset(windows, [1, 4, 11])
    segments = []
    for batch in build_data_loader(dataset, dataset.n_groups(8), shuffle=True):
        assert len(batch["signal"]) == len(batch["valid"]) == batch["row"].max() + 1
        segments += list(zip(batch["label"].tolist(), batch["segment"].tolist(), strict=True))
    assert sorted(segments) == [(5, 0)] + [(6, n) for n in range(4)] + [(7, n) for n in range(11)]
    groups_of_last_window = [group for window, group in dataset.groups if window == 2]
    assert all(b - a > 1 for group in groups_of_last_window for a, b in itertools.pairwise(group))
