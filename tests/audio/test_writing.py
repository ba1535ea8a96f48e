"""Writing audio files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kanjo import audio
from kanjo.errors import AudioError, KanjoError
from tests.corpora_fixtures import SAMPLE_RATE, make_tone


def test_write_then_load_returns_the_signal(tmp_path: Path) -> None:
    audio.write(tmp_path / "out.flac", make_tone(), SAMPLE_RATE)
    np.testing.assert_allclose(audio.load(tmp_path / "out.flac"), make_tone(), atol=1e-4)


def test_write_unsupported_rate_raises_and_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="can't write"):
        audio.write(tmp_path / "bad.mp3", make_tone(), 12_345)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_write_to_an_impossible_folder_raises() -> None:
    with pytest.raises(KanjoError, match="can't write"):
        audio.write(Path("/dev/full/out.wav"), make_tone(), SAMPLE_RATE)
