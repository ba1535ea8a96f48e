from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from kanjo.train import augment
from kanjo.train.data import Windows, loader
from kanjo.train.pack import Item, Pack, pack
from kanjo.train.recipe import AugmentSection
from tests.corpora_fixtures import RATE, clip, tone


@pytest.fixture
def packed(tmp_path: Path) -> Pack:
    return pack(
        [Item(clip(tmp_path / f"{n}.wav", n, seconds=seconds)) for n, seconds in enumerate((0.5, 1.0, 2.0))],
        RATE,
        tmp_path / "c",
    )


def test_short_clips_start_the_window_and_long_ones_are_cropped_in_the_middle(packed: Pack) -> None:
    batch = Windows(packed, [0, 1, 2], [0, 1, 2], RATE).__getitems__([0, 1, 2])
    assert batch["valid"].tolist() == [RATE // 2, RATE, RATE]
    np.testing.assert_array_equal(batch["signal"][0, : RATE // 2].numpy(), packed.signal(0))
    assert not batch["signal"][0, RATE // 2 :].any()
    np.testing.assert_array_equal(batch["signal"][2].numpy(), packed.signal(2)[RATE // 2 : RATE // 2 + RATE])
    assert batch["label"].tolist() == [0, 1, 2]


def test_training_clips_move_and_the_seed_repeats_them(packed: Pack) -> None:
    windows = Windows(packed, [0, 1, 2], [0, 1, 2], RATE, random=True, speed=0.1)
    torch.manual_seed(1)
    first = windows.__getitems__([0, 1, 2])["signal"]
    other = windows.__getitems__([0, 1, 2])["signal"]
    torch.manual_seed(1)
    assert torch.equal(first, windows.__getitems__([0, 1, 2])["signal"])
    assert not torch.equal(first, other)


def test_batches_see_every_clip_once_and_no_batch_of_one_is_normed(packed: Pack) -> None:
    windows = Windows(packed, [0, 1, 2], [0, 1, 2], RATE)
    assert sorted(int(label) for batch in loader(windows, 2, shuffle=False) for label in batch["label"]) == [0, 1, 2]
    assert [len(batch["label"]) for batch in loader(windows, 2, shuffle=True)] == [2]


def test_speed_moves_the_pitch() -> None:
    fast = augment.at_speed(tone(1.0, 400), 1.1)
    assert len(fast) == pytest.approx(RATE / 1.1, abs=1)
    peak = np.fft.rfftfreq(len(fast), 1 / RATE)[np.abs(np.fft.rfft(fast)).argmax()]
    assert peak == pytest.approx(440, abs=2)


def test_gain_stays_within_its_bounds() -> None:
    signal = torch.ones(200, 10)
    levels = 20 * torch.log10(augment.vary_signal(signal, AugmentSection(gain_db=6))[:, 0])
    assert levels.abs().max() <= 6.001
    assert levels.std() > 2
    assert torch.equal(augment.vary_signal(signal, AugmentSection()), signal)


def test_noise_is_quiet() -> None:
    noise = augment.vary_signal(torch.zeros(50, 4000), AugmentSection(noise_db=30))
    db = 20 * torch.log10(noise.std(1))
    assert float(db.min()) > -91 and float(db.max()) < -59


def test_masks_are_no_wider_than_asked() -> None:
    settings = AugmentSection(frequency_masks=1, frequency_width=8, time_masks=1, time_width=10)
    masked = augment.mask_features(torch.ones(64, 1, 40, 60), settings)
    rows, columns = (masked.sum((1, 3)) == 0).sum(1), (masked.sum((1, 2)) == 0).sum(1)
    assert int(rows.max()) <= 8 and int(columns.max()) <= 10
    assert int(rows.sum()) > 0 and int(columns.sum()) > 0


def test_mixup_keeps_targets_a_distribution() -> None:
    features, targets = torch.randn(8, 1, 4, 4), torch.eye(8)
    mixed, blended = augment.mixup(features, targets, 0.4)
    assert mixed.shape == features.shape
    torch.testing.assert_close(blended.sum(1), torch.ones(8))
