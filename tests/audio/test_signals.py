"""Checks and operations on samples."""

from __future__ import annotations

import numpy as np
import pytest

from kanjo import audio
from kanjo.errors import AudioError
from tests.corpora_fixtures import make_tone


def test_peak_normalize_scales_the_largest_magnitude_to_1() -> None:
    assert np.abs(audio.peak_normalize(make_tone(level=0.1))).max() == pytest.approx(1.0)


def test_peak_normalize_silence_is_unchanged() -> None:
    np.testing.assert_array_equal(audio.peak_normalize(np.zeros(5, np.float32)), np.zeros(5))


def test_slice_signal_returns_the_part_between_two_times() -> None:
    signal = np.arange(100, dtype=np.float32)
    assert audio.slice_signal(signal, 10, 2.0, 4.0, "a.wav").tolist() == list(range(20, 40))
    assert audio.slice_signal(signal, 10, 9.0, None, "a.wav").tolist() == list(range(90, 100))
    assert audio.slice_signal(signal, 10, None, 0.5, "a.wav").tolist() == list(range(5))
    assert audio.slice_signal(signal, 10, None, None, "a.wav") is signal


@pytest.mark.parametrize(
    ("start_s", "end_s"),
    [(-1.0, 2.0), (2.0, 2.0), (3.0, 2.0), (5.0, 11.0), (np.nan, 2.0), (0.0, np.inf), (-np.inf, 2.0)],
)
def test_slice_signal_outside_the_signal_raises(start_s: float, end_s: float) -> None:
    with pytest.raises(AudioError, match="a.wav: part from .* expected a part within 0 to 10.00 s"):
        audio.slice_signal(np.zeros(100, np.float32), 10, start_s, end_s, "a.wav")


def test_to_sample_matrix_converts_int16_and_adds_the_channel_axis() -> None:
    matrix = audio.to_sample_matrix(np.array([-32768, 0, 16384], np.int16), "a")
    np.testing.assert_array_equal(matrix, [[-1.0], [0.0], [0.5]])
    assert audio.to_sample_matrix(np.zeros((4, 2)), "a").shape == (4, 2)


@pytest.mark.parametrize("signal", [np.zeros((2, 3, 4)), np.zeros(3, np.int64), np.array(["a"])])
def test_to_sample_matrix_other_arrays_raise(signal: np.ndarray) -> None:
    with pytest.raises(
        AudioError, match=r"a: array of shape .* expected float or int16 samples \(N,\) or \(N, channels\)"
    ):
        audio.to_sample_matrix(signal, "a")


@pytest.mark.parametrize("shape", [(1, 400), (2, 400)])
def test_to_sample_matrix_channels_first_raises(shape: tuple[int, int]) -> None:
    with pytest.raises(AudioError, match=rf"a: shape .* is 400 channels of {shape[0]} samples; .* Transpose"):
        audio.to_sample_matrix(np.zeros(shape, np.float32), "a")


def test_to_sample_matrix_short_signals_of_a_few_channels_are_accepted() -> None:
    for shape in ((1, 8), (2, 2), (64, 64)):
        assert audio.to_sample_matrix(np.zeros(shape, np.float32), "a").shape == shape


def test_check_finite_names_the_position_in_the_recording() -> None:
    audio.check_finite(np.zeros(3, np.float32), 10, "a")
    with pytest.raises(AudioError, match="a: sample 12 is not a number"):
        audio.check_finite(np.array([0, 1, np.inf], np.float32), 10, "a")


@pytest.mark.parametrize("rate", [3_999, 768_001])
def test_check_sample_rate_out_of_range_raises(rate: int) -> None:
    with pytest.raises(AudioError, match=f"{rate} Hz; expected 4000 to 768000 Hz"):
        audio.check_sample_rate(rate, "a")
