from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from kanjo.train.config.schema import AugmentSection
from kanjo.train.data import augmentation
from kanjo.train.data.audio_cache import Item, Pack, pack
from kanjo.train.data.datasets import SegmentWindows, Windows, loader, speech_span
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
    fast = augmentation.at_speed(tone(1.0, 400), 1.1)
    assert len(fast) == pytest.approx(RATE / 1.1, abs=1)
    peak = np.fft.rfftfreq(len(fast), 1 / RATE)[np.abs(np.fft.rfft(fast)).argmax()]
    assert peak == pytest.approx(440, abs=2)


def test_gain_stays_within_its_bounds() -> None:
    signal = torch.ones(200, 10)
    levels = 20 * torch.log10(
        augmentation.vary_signal(signal, torch.full((200,), 10), AugmentSection(gain_db=6), RATE)[:, 0]
    )
    assert levels.abs().max() <= 6.001
    assert levels.std() > 2
    assert torch.equal(augmentation.vary_signal(signal, torch.full((200,), 10), AugmentSection(), RATE), signal)


def test_noise_is_quiet() -> None:
    valid = torch.full((50,), 4000)
    noisy = augmentation.vary_signal(torch.zeros(50, 5000), valid, AugmentSection(noise_db=30), RATE)
    assert not noisy[:, 4000:].any(), "padding stays silent, so that a network that masks it still can"
    noise = noisy[:, :4000]
    db = 20 * torch.log10(noise.std(1))
    assert float(db.min()) > -91 and float(db.max()) < -59


def test_masks_are_no_wider_than_asked() -> None:
    settings = AugmentSection(frequency_masks=1, frequency_width=8, time_masks=1, time_width=10)
    masked = augmentation.mask_features(torch.ones(64, 1, 40, 60), settings)
    rows, columns = (masked.sum((1, 3)) == 0).sum(1), (masked.sum((1, 2)) == 0).sum(1)
    assert int(rows.max()) <= 8 and int(columns.max()) <= 10
    assert int(rows.sum()) > 0 and int(columns.sum()) > 0


def test_mixup_keeps_targets_a_distribution() -> None:
    features, targets = torch.randn(8, 1, 4, 4), torch.eye(8)
    blend = augmentation.blend(8, 0.4, features.device)
    torch.testing.assert_close(blend.of(targets).sum(1), torch.ones(8))
    torch.testing.assert_close(
        blend.of(features)[2], blend.share * features[2] + (1 - blend.share) * features[blend.order[2]]
    )
    assert torch.equal(augmentation.blend(8, 0.0, features.device).of(features), features)


def test_a_shift_moves_and_loses_what_leaves() -> None:
    signal = np.arange(1, 6, dtype=np.float32)
    assert augmentation.shifted(signal, 2).tolist() == [0, 0, 1, 2, 3]
    assert augmentation.shifted(signal, -2).tolist() == [3, 4, 5, 0, 0]
    assert augmentation.shifted(signal, 0).tolist() == signal.tolist()
    assert augmentation.shifted(signal, 9).tolist() == [0] * 5


def test_balanced_batches_hold_each_emotion_alike(tmp_path: Path) -> None:
    packed = pack([Item(clip(tmp_path / f"{n}.wav", n)) for n in range(40)], RATE, tmp_path / "c")
    windows = Windows(packed, range(40), [0] * 36 + [1] * 4, 100)
    drawn = torch.cat([batch["label"] for _ in range(20) for batch in loader(windows, 8, shuffle=True, balanced=True)])
    assert 0.4 < float((drawn == 1).float().mean()) < 0.6
    plain = torch.cat([batch["label"] for batch in loader(windows, 8, shuffle=False, balanced=True)])
    assert int((plain == 1).sum()) == 4, "validation batches are as they are"


def test_every_segment_comes_once_an_epoch_and_neighbours_come_apart(packed: Pack) -> None:
    windows = Windows(packed, [0, 1, 2], [5, 6, 7], 2 * RATE)
    items = SegmentWindows(windows, [1, 4, 11])
    seen = []
    for batch in loader(items, items.items(8), shuffle=True):
        clips = batch["signal"].abs().sum(1)
        assert len(clips) == len(batch["valid"])
        seen += list(zip(batch["label"].tolist(), batch["segment"].tolist(), strict=True))
        assert batch["row"].max() == len(clips) - 1
    assert sorted(seen) == [(5, 0)] + [(6, n) for n in range(4)] + [(7, n) for n in range(11)]
    assert all(b - a > 1 for place, group in items.groups if place == 2 for a, b in itertools.pairwise(group))


@pytest.mark.parametrize("trim_db", [None, 30.0])
def test_crops_hold_as_much_speech_as_they_can(tmp_path: Path, trim_db: float | None) -> None:
    """A second of tone between two seconds of faint noise: a crop that is longer holds all of it, a shorter one nothing else."""
    import soundfile

    signal = 1e-3 * np.random.default_rng(0).standard_normal(5 * RATE).astype(np.float32)
    signal[2 * RATE : 3 * RATE] = 0.5 * np.sin(2 * np.pi * 300 * np.arange(RATE) / RATE)
    soundfile.write(tmp_path / "a.wav", signal, RATE, subtype="FLOAT")
    packed = pack([Item(tmp_path / "a.wav")], RATE, tmp_path / "c")
    for length in (RATE // 2, RATE * 2):
        crops = Windows(packed, [0], [0], 5 * RATE, random=True, crop=length, trim_db=trim_db).__getitems__([0] * 40)[
            "signal"
        ]
        assert crops.shape == (40, length)
        loud = (crops.abs() > 0.01).float().mean(1)
        if trim_db:
            assert loud.min() > 0.9 * min(1, RATE / length), "all of it is speech, or all of the speech is in it"
        else:
            assert loud.min() < 0.05
        assert len({tuple(crop[:50].tolist()) for crop in crops}) > 20, "each from another place"
    assert speech_span(signal, RATE, 30.0) == (2 * RATE, 3 * RATE)
    assert speech_span(np.zeros(3, np.float32), RATE, 30.0) == (0, 3)


def _level(signal: torch.Tensor) -> torch.Tensor:
    return 10 * torch.log10(signal.square().mean(-1))


def test_a_room_keeps_the_level_and_leaves_a_tail() -> None:
    torch.manual_seed(0)
    speech = torch.randn(30, 2 * RATE)
    speech[:, RATE:] = 0
    heard = augmentation.in_a_room(speech, RATE)
    assert heard.shape == speech.shape
    assert (_level(heard[:, :RATE]) - _level(speech[:, :RATE])).abs().max() < 1.5
    tail = _level(heard[:, RATE : RATE + RATE // 10]) - _level(speech[:, :RATE])
    assert tail.min() > -50 and tail.max() < 0
    assert (_level(heard[:, -RATE // 10 :]) < -60).all(), "half a second later it is still"


def test_background_lies_as_far_below_as_was_drawn() -> None:
    torch.manual_seed(0)
    speech = torch.sin(torch.arange(2 * RATE) / 10).repeat(60, 1)
    inside = torch.arange(2 * RATE).repeat(60, 1) < RATE
    noise = augmentation.with_background(speech * inside, inside) - speech * inside
    assert not noise[:, RATE:].any()
    below = _level(speech[:, :RATE]) - _level(noise[:, :RATE])
    assert 2.9 < below.min() < 8 and 25 < below.max() < 30.1


def test_a_band_takes_what_lies_above_and_a_telephone_below_too() -> None:
    t = torch.arange(RATE) / RATE
    low, middle, high = (torch.sin(2 * np.pi * hz * t).repeat(40, 1) for hz in (100, 1000, 7500))
    torch.manual_seed(0)
    kept = augmentation.through_a_band(high, RATE).square().mean(1)
    assert 0 < (kept < 1e-6).sum() < 40, "some bands end below 7.5 kHz, some above"
    assert (augmentation.through_a_band(middle, RATE) - middle)[:, 1000:-1000].abs().max() < 0.02
    assert augmentation.over_the_telephone(low, RATE)[:, 1000:-1000].abs().max() < 0.02
    told = augmentation.over_the_telephone(middle, RATE)
    assert (told - middle)[:, 1000:-1000].abs().max() < 0.05
    assert len(told[0].unique()) < 256, "8 bits"


@pytest.mark.parametrize("n", [1, 2, 1000, 81920, 96000, 128000])
def test_fast_lengths_are_near_and_smooth(n: int) -> None:
    length = augmentation.fast_length(n)
    assert n <= length <= max(2, 1.34 * n)
    for factor in (2, 3, 5):
        while length % factor == 0:
            length //= factor
    assert length == 1


def test_nothing_asked_for_changes_nothing_and_shares_are_shares() -> None:
    torch.manual_seed(0)
    signal, valid = torch.randn(200, 4000), torch.full((200,), 4000)
    assert torch.equal(augmentation.vary_signal(signal, valid, AugmentSection(), RATE), signal)
    varied = augmentation.vary_signal(signal, valid, AugmentSection(background=0.25), RATE)
    assert 30 < (varied != signal).any(1).sum() < 70


def test_a_warp_moves_formants_and_leaves_the_tempo() -> None:
    """A tone at 1 kHz, warped by a known factor, stands in the mel where the moved tone stands."""
    torch.manual_seed(0)
    m = 64
    centres = 700 * np.expm1(np.linspace(0, 1127 * np.log1p(8000 / 700), m + 2)[1:-1] / 1127)
    features = torch.zeros(300, 1, m, 5)
    features[:, :, int(np.abs(centres - 1000).argmin()), 2] = 1.0
    warped = augmentation.warp_frequencies(features, 0.15, RATE)
    assert not warped[..., [0, 1, 3, 4]].any()
    weights = warped[:, 0, :, 2]
    hz = (weights * torch.from_numpy(centres).float()).sum(1) / weights.sum(1)
    assert 1000 / 1.2 < float(hz.min()) < 1000 / 1.1 and 1000 / 0.9 < float(hz.max()) < 1000 / 0.8
    torch.testing.assert_close(augmentation.warp_frequencies(features, 1e-9, RATE), features, atol=1e-4, rtol=0)
