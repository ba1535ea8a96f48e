"""Errors of the disk while libsndfile writes."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
import soundfile

from kanjo import audio
from kanjo.audio.output_file import OutputFile
from kanjo.errors import KanjoError

SIGNAL = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)


@pytest.fixture
def small_disk(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A disk with the free bytes in the list."""
    free = [10**9]

    class FullStream:
        def __init__(self, stream: BinaryIO) -> None:
            self.stream = stream

        def write(self, content: bytes) -> int:
            if len(content) > free[0]:
                raise OSError(errno.ENOSPC, "No space left on device")
            free[0] -= len(content)
            return self.stream.write(content)

        def __getattr__(self, name: str) -> object:
            return getattr(self.stream, name)

    original = OutputFile.__init__
    monkeypatch.setattr(OutputFile, "__init__", lambda self, path, stream: original(self, path, FullStream(stream)))
    return free


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_write_on_a_full_disk_is_reported_wherever_the_space_ends(
    suffix: str, small_disk: list[int], tmp_path: Path
) -> None:
    path = tmp_path / f"a.{suffix}"
    audio.write(path, SIGNAL, 16_000)
    needed = 10**9 - small_disk[0]
    path.unlink()
    for fraction in (0.0, 0.3, 0.6, 0.9, 0.99):
        small_disk[0] = int(fraction * needed)
        with pytest.raises(KanjoError, match=rf"can't write .*a\.{suffix}: the disk is full; free some space"):
            audio.write(path, SIGNAL, 16_000)
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_write_gives_the_same_bytes_as_soundfile(suffix: str, tmp_path: Path) -> None:
    audio.write(tmp_path / f"a.{suffix}", SIGNAL, 16_000)
    soundfile.write(tmp_path / f"b.{suffix}", SIGNAL, 16_000)
    assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()
