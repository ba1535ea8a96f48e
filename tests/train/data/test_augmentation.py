"""Augmentation: levels, spectra and probabilities of each effect."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from kanjo.train.config.training import AugmentConfig
from kanjo.train.data import augmentation
from tests.corpora_fixtures import SAMPLE_RATE, make_tone


def _level_db(signal: Tensor) -> Tensor:
    return 10 * torch.log10(signal.square().mean(-1))


def test_change_speed_changes_duration_and_pitch() -> None:
    fast = augmentation.change_speed(make_tone(1.0, 400), 1.1)
    assert len(fast) == pytest.approx(SAMPLE_RATE / 1.1, abs=1)
    peak_hz = np.fft.rfftfreq(len(fast), 1 / SAMPLE_RATE)[np.abs(np.fft.rfft(fast)).argmax()]
    assert peak_hz == pytest.approx(440, abs=2)


def test_shift_in_time_fills_with_silence() -> None:
    signal = np.arange(1, 6, dtype=np.float32)
    assert augmentation.shift_in_time(signal, 2).tolist() == [0, 0, 1, 2, 3]
    assert augmentation.shift_in_time(signal, -2).tolist() == [3, 4, 5, 0, 0]
    assert augmentation.shift_in_time(signal, 0).tolist() == signal.tolist()
    assert augmentation.shift_in_time(signal, 9).tolist() == [0] * 5


def test_augment_signal_without_settings_changes_nothing() -> None:
    signal, valid = torch.randn(20, 4000), torch.full((20,), 4000)
    assert torch.equal(augmentation.augment_signal(signal, valid, AugmentConfig(), SAMPLE_RATE), signal)


def test_augment_signal_probability_is_the_fraction_of_changed_clips() -> None:
    torch.manual_seed(0)
    signal, valid = torch.randn(200, 4000), torch.full((200,), 4000)
    augmented = augmentation.augment_signal(signal, valid, AugmentConfig(background_noise_prob=0.25), SAMPLE_RATE)
    changed = (augmented != signal).any(1).float().mean()
    assert 0.15 < float(changed) < 0.35


def test_augment_signal_gain_stays_within_its_range() -> None:
    torch.manual_seed(0)
    signal, valid = torch.ones(200, 10), torch.full((200,), 10)
    augmented = augmentation.augment_signal(signal, valid, AugmentConfig(gain_db=6), SAMPLE_RATE)
    gains_db = 20 * torch.log10(augmented[:, 0])
    assert gains_db.abs().max() <= 6.001
    assert gains_db.std() > 2


def test_augment_signal_white_noise_has_the_given_level_and_leaves_padding_silent() -> None:
    torch.manual_seed(0)
    settings, valid = AugmentConfig(white_noise_range_db=30), torch.full((50,), 4000)
    noisy = augmentation.augment_signal(torch.zeros(50, 5000), valid, settings, SAMPLE_RATE)
    assert not noisy[:, 4000:].any()
    level_db = 20 * torch.log10(noisy[:, :4000].std(1))
    assert float(level_db.min()) > -91 and float(level_db.max()) < -59


def test_reverberate_keeps_the_level_and_adds_a_tail() -> None:
    torch.manual_seed(0)
    speech = torch.randn(30, 2 * SAMPLE_RATE)
    speech[:, SAMPLE_RATE:] = 0
    reverberated = augmentation.reverberate(speech, SAMPLE_RATE)
    assert reverberated.shape == speech.shape
    speech_level_db = _level_db(speech[:, :SAMPLE_RATE])
    assert (_level_db(reverberated[:, :SAMPLE_RATE]) - speech_level_db).abs().max() < 1.5
    tail_db = _level_db(reverberated[:, SAMPLE_RATE : SAMPLE_RATE + SAMPLE_RATE // 10]) - speech_level_db
    assert tail_db.min() > -50 and tail_db.max() < 0
    assert (_level_db(reverberated[:, -SAMPLE_RATE // 10 :]) < -60).all()


def test_add_colored_noise_is_3_to_30_db_below_the_clip() -> None:
    torch.manual_seed(0)
    speech = torch.sin(torch.arange(2 * SAMPLE_RATE) / 10).repeat(60, 1)
    mask = torch.arange(2 * SAMPLE_RATE).repeat(60, 1) < SAMPLE_RATE
    noise = augmentation.add_colored_noise(speech * mask, mask) - speech * mask
    assert not noise[:, SAMPLE_RATE:].any()
    snr_db = _level_db(speech[:, :SAMPLE_RATE]) - _level_db(noise[:, :SAMPLE_RATE])
    assert 2.9 < snr_db.min() < 8 and 25 < snr_db.max() < 30.1


def test_bandpass_removes_high_and_telephone_codec_also_low_frequencies() -> None:
    t = torch.arange(SAMPLE_RATE) / SAMPLE_RATE
    low, middle, high = (torch.sin(2 * np.pi * hz * t).repeat(40, 1) for hz in (100, 1000, 7500))
    torch.manual_seed(0)
    power = augmentation.bandpass(high, SAMPLE_RATE).square().mean(1)
    assert 0 < (power < 1e-6).sum() < 40, "some of the drawn bands end below 7.5 kHz, some above"
    assert (augmentation.bandpass(middle, SAMPLE_RATE) - middle)[:, 1000:-1000].abs().max() < 0.02
    assert augmentation.telephone_codec(low, SAMPLE_RATE)[:, 1000:-1000].abs().max() < 0.02
    telephone = augmentation.telephone_codec(middle, SAMPLE_RATE)
    assert (telephone - middle)[:, 1000:-1000].abs().max() < 0.05
    assert len(telephone[0].unique()) < 256, "quantized to 8 bits"


@pytest.mark.parametrize("n", [1, 2, 1000, 81920, 96000, 128000])
def test_next_fast_len_is_near_and_has_small_factors(n: int) -> None:
    length = augmentation.next_fast_len(n)
    assert n <= length <= max(2, 1.34 * n)
    for factor in (2, 3, 5):
        while length % factor == 0:
            length //= factor
    assert length == 1


def test_apply_vtlp_moves_a_tone_by_the_factor_and_keeps_the_tempo() -> None:
    """Energy in the mel band of 1 kHz, in one frame, moves to the bands of 1000 / a Hz in the same frame."""
    torch.manual_seed(0)
    n_mels = 64
    centers_hz = 700 * np.expm1(np.linspace(0, 1127 * np.log1p(8000 / 700), n_mels + 2)[1:-1] / 1127)
    features = torch.zeros(300, 1, n_mels, 5)
    features[:, :, int(np.abs(centers_hz - 1000).argmin()), 2] = 1.0
    warped = augmentation.apply_vtlp(features, 0.15, SAMPLE_RATE)
    assert not warped[..., [0, 1, 3, 4]].any()
    weights = warped[:, 0, :, 2]
    mean_hz = (weights * torch.from_numpy(centers_hz).float()).sum(1) / weights.sum(1)
    assert 1000 / 1.2 < float(mean_hz.min()) < 1000 / 1.1 and 1000 / 0.9 < float(mean_hz.max()) < 1000 / 0.8
    torch.testing.assert_close(augmentation.apply_vtlp(features, 1e-9, SAMPLE_RATE), features, atol=1e-4, rtol=0)


def test_apply_spec_augment_masks_are_at_most_as_wide_as_given() -> None:
    torch.manual_seed(0)
    settings = AugmentConfig(frequency_masks=1, frequency_width=8, time_masks=1, time_width=10)
    masked = augmentation.apply_spec_augment(torch.ones(64, 1, 40, 60), settings)
    n_bands, n_frames = (masked.sum((1, 3)) == 0).sum(1), (masked.sum((1, 2)) == 0).sum(1)
    assert int(n_bands.max()) <= 8 and int(n_frames.max()) <= 10
    assert int(n_bands.sum()) > 0 and int(n_frames.sum()) > 0


def test_mixup_mixes_features_and_targets_alike() -> None:
    features, targets = torch.randn(8, 1, 4, 4), torch.eye(8)
    mixup = augmentation.draw_mixup(8, 0.4, features.device)
    torch.testing.assert_close(mixup.mix(targets).sum(1), torch.ones(8))
    expected = mixup.weight * features[2] + (1 - mixup.weight) * features[mixup.permutation[2]]
    torch.testing.assert_close(mixup.mix(features)[2], expected)


def test_draw_mixup_alpha_zero_changes_nothing() -> None:
    features = torch.randn(8, 1, 4, 4)
    assert torch.equal(augmentation.draw_mixup(8, 0.0, features.device).mix(features), features)
