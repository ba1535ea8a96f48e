"""Temperatures that generated the labels are found again."""

from __future__ import annotations

import pytest
import torch

from kanjo.train.calibration.temperature import fit_ood_temperature, fit_temperature


def test_fit_temperature_of_scaled_logits_scales_with_them() -> None:
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(4000, 5, generator=random)
    labels = torch.multinomial(torch.softmax(logits, 1), 1, generator=random)[:, 0]
    assert fit_temperature(logits, labels) == pytest.approx(1, rel=0.1)
    assert fit_temperature(5 * logits, labels) == pytest.approx(5 * fit_temperature(logits, labels), rel=0.05)


def test_fit_temperature_with_speakers_weights_each_speaker_equally() -> None:
    """One speaker of 900 utterances has wrong labels, nine speakers of 10 utterances have correct ones."""
    random = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(990, 5, generator=random)
    labels = logits.argmax(1)
    labels[:900] = torch.randint(0, 5, (900,), generator=random)
    speakers = torch.cat([torch.zeros(900, dtype=torch.int64), torch.arange(90) // 10 + 1])
    assert fit_temperature(logits, labels, speakers) < 0.75 * fit_temperature(logits, labels)


def test_fit_ood_temperature_recovers_temperature_and_exponent() -> None:
    random = torch.Generator().manual_seed(0)
    logits = 4 * torch.randn(6000, 5, generator=random)
    ood_ratio = (0.6 + 1.4 * torch.rand(6000, generator=random)).clamp(min=1)
    probabilities = torch.softmax(logits / (1.5 * ood_ratio**3.0)[:, None], 1)
    labels = torch.multinomial(probabilities, 1, generator=random)[:, 0]
    speakers = torch.arange(6000) % 20
    temperature, exponent = fit_ood_temperature(logits, labels, speakers, ood_ratio)
    assert temperature == pytest.approx(1.5, rel=0.1) and exponent == pytest.approx(3.0, abs=0.5)


def test_fit_ood_temperature_equal_scores_gives_exponent_zero() -> None:
    random = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(600, 5, generator=random), torch.randint(0, 5, (600,), generator=random)
    temperature, exponent = fit_ood_temperature(logits, labels, torch.arange(600) % 20, torch.ones(600))
    assert exponent == 0 and temperature == fit_temperature(logits, labels, torch.arange(600) % 20)
