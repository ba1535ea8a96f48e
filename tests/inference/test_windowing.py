from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kanjo.inference.windowing import cut, pooled


@given(
    n=st.integers(0, 400),
    window=st.integers(1, 60),
    hop=st.integers(1, 60),
    sizes=st.lists(st.integers(0, 90), min_size=1, max_size=12),
)
def test_any_chunking_gives_the_same_windows_and_covers_everything(
    n: int, window: int, hop: int, sizes: list[int]
) -> None:
    hop = min(hop, window)
    signal = np.arange(1, n + 1, dtype=np.float32)
    whole = list(cut([signal], window, hop))
    blocks, at, turn = [], 0, 0
    while at < n:
        size = sizes[turn % len(sizes)] or 1
        blocks.append(signal[at : at + size])
        at, turn = at + size, turn + 1
    chunked = list(cut(blocks, window, hop))
    assert [(w.start, w.valid, w.signal.tolist()) for w in chunked] == [
        (w.start, w.valid, w.signal.tolist()) for w in whole
    ]
    heard = np.zeros(n, bool)
    for w in whole:
        assert len(w.signal) == window
        np.testing.assert_array_equal(w.signal[: w.valid], signal[w.start : w.start + w.valid])
        assert not w.signal[w.valid :].any()
        heard[w.start : w.start + w.valid] = True
    assert heard.all()
    assert all(w.valid == window for w in whole) or (n < window and len(whole) == 1)


def test_last_window_ends_where_the_recording_ends() -> None:
    assert [w.start for w in cut([np.zeros(100, np.float32)], 40, 20)] == [0, 20, 40, 60]
    assert [w.start for w in cut([np.zeros(110, np.float32)], 40, 20)] == [0, 20, 40, 60, 70]
    assert [(w.start, w.valid) for w in cut([np.ones(30, np.float32)], 40, 20)] == [(0, 30)]


def test_memory_stays_small() -> None:
    starts = [w.start for w in cut((np.zeros(1000, np.float32) for _ in range(2000)), 4000, 2000)]
    assert starts[-1] == 2_000_000 - 4000


def test_hop_must_fit() -> None:
    with pytest.raises(ValueError, match="hop 50"):
        list(cut([np.zeros(10, np.float32)], 40, 50))


def test_pooling_weighs_by_sound() -> None:
    np.testing.assert_allclose(pooled([np.array([1.0, 0.0]), np.array([0.0, 1.0])], [3, 1]), [0.75, 0.25])
    np.testing.assert_allclose(pooled([np.array([1.0, 0.0]), np.array([0.0, 1.0])], [0, 0]), [0.5, 0.5])
