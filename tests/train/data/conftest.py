"""Fixtures of the tests of training data."""

from __future__ import annotations

from pathlib import Path

import pytest

from kanjo.train.data.audio_cache import AudioCache, AudioSlice, build_audio_cache
from tests.corpora_fixtures import SAMPLE_RATE, write_clip


@pytest.fixture
def audio_cache(tmp_path: Path) -> AudioCache:
    """Three clips of 0.5, 1 and 2 s."""
    paths = [write_clip(tmp_path / f"{n}.wav", n, seconds=seconds) for n, seconds in enumerate((0.5, 1.0, 2.0))]
    return build_audio_cache([AudioSlice(path) for path in paths], SAMPLE_RATE, tmp_path / "cache")
