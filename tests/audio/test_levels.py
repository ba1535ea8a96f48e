"""Level of a recording."""

from __future__ import annotations

import numpy as np
import pytest

from kanjo.audio.levels import LevelMeter
from tests.corpora_fixtures import SAMPLE_RATE, make_tone


def _measure(*blocks: np.ndarray) -> LevelMeter:
    levels = LevelMeter()
    for block in blocks:
        levels.feed(block)
    return levels


def test_rms_db_of_a_sine_is_correct_in_blocks() -> None:
    sine = np.sin(2 * np.pi * 100 * np.arange(SAMPLE_RATE) / SAMPLE_RATE).astype(np.float32)
    levels = _measure(*np.array_split(sine, 7))
    assert levels.rms_db == pytest.approx(-3.01, abs=0.01)
    assert not levels.is_silent
    assert levels.rms_db - _measure(sine / 2).rms_db == pytest.approx(6.02, abs=0.01)


@pytest.mark.parametrize(
    "signal",
    [np.zeros(100, np.float32), np.full(100, 0.5, np.float32), np.zeros(0, np.float32)],
    ids=["zeros", "constant", "empty"],
)
def test_is_silent_without_variation(signal: np.ndarray) -> None:
    levels = _measure(signal)
    assert levels.is_silent
    assert not levels.is_clipped


def test_is_clipped_only_with_many_samples_at_full_scale() -> None:
    assert _measure(np.clip(3 * make_tone(1.0, level=1.0), -1, 1)).is_clipped
    assert not _measure(make_tone(1.0, level=0.9)).is_clipped
