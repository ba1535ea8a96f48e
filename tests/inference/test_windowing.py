"""Splitting a signal into windows, and averaging the windows' results."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kanjo.inference.windowing import split_windows, weighted_mean

ROWS = [np.array([1.0, 0.0]), np.array([0.0, 1.0])]


def _blocks(signal: np.ndarray, sizes: list[int]) -> list[np.ndarray]:
    """Split a signal into blocks of these sizes, repeated."""
    blocks: list[np.ndarray] = []
    position = 0
    while position < len(signal):
        size = sizes[len(blocks) % len(sizes)]
        blocks.append(signal[position : position + size])
        position += size
    return blocks


@given(
    n_samples=st.integers(0, 400),
    window_length=st.integers(1, 60),
    hop_length=st.integers(1, 60),
    sizes=st.lists(st.integers(1, 90), min_size=1, max_size=12),
)
def test_split_windows_any_blocks_give_the_same_windows(
    n_samples: int, window_length: int, hop_length: int, sizes: list[int]
) -> None:
    hop_length = min(hop_length, window_length)
    signal = np.arange(1, n_samples + 1, dtype=np.float32)
    expected, actual = (
        [
            (window.start, window.valid, window.signal.tolist())
            for window in split_windows(blocks, window_length, hop_length)
        ]
        for blocks in ([signal], _blocks(signal, sizes))
    )
    assert actual == expected


@given(n_samples=st.integers(0, 400), window_length=st.integers(1, 60), hop_length=st.integers(1, 60))
def test_split_windows_covers_every_sample(n_samples: int, window_length: int, hop_length: int) -> None:
    signal = np.arange(1, n_samples + 1, dtype=np.float32)
    windows = list(split_windows([signal], window_length, min(hop_length, window_length)))
    covered = np.zeros(n_samples, bool)
    for window in windows:
        end = window.start + window.valid
        assert len(window.signal) == window_length
        np.testing.assert_array_equal(window.signal[: window.valid], signal[window.start : end])
        assert not window.signal[window.valid :].any()
        covered[window.start : end] = True
    assert covered.all()
    assert all(window.valid == window_length for window in windows) or (n_samples < window_length and len(windows) == 1)


def test_split_windows_last_window_ends_at_the_last_sample() -> None:
    assert [window.start for window in split_windows([np.zeros(100, np.float32)], 40, 20)] == [0, 20, 40, 60]
    assert [window.start for window in split_windows([np.zeros(110, np.float32)], 40, 20)] == [0, 20, 40, 60, 70]


def test_split_windows_short_signal_is_padded() -> None:
    assert [(window.start, window.valid) for window in split_windows([np.ones(30, np.float32)], 40, 20)] == [(0, 30)]


def test_split_windows_many_blocks_reach_the_end() -> None:
    blocks = (np.zeros(1000, np.float32) for _ in range(2000))
    starts = [window.start for window in split_windows(blocks, 4000, 2000)]
    assert starts[-1] == 2_000_000 - 4000


@pytest.mark.parametrize("hop_length", [0, 50])
def test_split_windows_invalid_hop_raises(hop_length: int) -> None:
    with pytest.raises(ValueError, match=f"hop_length {hop_length}: expected 1 to 40"):
        list(split_windows([np.zeros(10, np.float32)], 40, hop_length))


def test_weighted_mean_normalizes_the_weights() -> None:
    np.testing.assert_allclose(weighted_mean(ROWS, [3, 1]), [0.75, 0.25])


def test_weighted_mean_zero_weights_count_equally() -> None:
    np.testing.assert_allclose(weighted_mean(ROWS, [0, 0]), [0.5, 0.5])
