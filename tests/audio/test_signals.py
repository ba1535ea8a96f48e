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


@pytest.mark.parametrize("channels", [1, 2, 8])
def test_to_sample_matrix_channels_first_is_transposed(channels: int) -> None:
    samples = np.arange(channels * 400, dtype=np.float32).reshape(channels, 400)
    np.testing.assert_array_equal(audio.to_sample_matrix(samples, "a"), samples.T)


def test_to_sample_matrix_batch_of_recordings_raises() -> None:
    with pytest.raises(AudioError, match=r"a: shape \(9, 400\) is 9 rows of 400 samples; expected one recording"):
        audio.to_sample_matrix(np.zeros((9, 400), np.float32), "a")


@pytest.mark.parametrize("dtype", ["<i2", ">i2", "<f4", ">f4", "f8", "f2"])
def test_to_sample_matrix_any_byte_order_and_precision_has_full_scale_one(dtype: str) -> None:
    scale = 32768 if "i" in dtype else 1
    samples = (np.array([0.5, -0.25]) * scale).astype(dtype)
    np.testing.assert_array_equal(audio.to_sample_matrix(samples, "a")[:, 0], [0.5, -0.25])


def test_to_sample_matrix_list_and_tensor_are_converted() -> None:
    torch = pytest.importorskip("torch")
    expected = np.array([[0.5], [-0.25]], np.float32)
    np.testing.assert_array_equal(audio.to_sample_matrix([0.5, -0.25], "a"), expected)
    for tensor in (
        torch.tensor([0.5, -0.25], requires_grad=True),
        torch.tensor([0.5, -0.25], dtype=torch.bfloat16),
        torch.tensor([0.5, -0.25], dtype=torch.float64),
        torch.tensor([16384, -8192], dtype=torch.int16),
    ):
        np.testing.assert_array_equal(audio.to_sample_matrix(tensor, "a"), expected)


@pytest.mark.parametrize("signal", [None, "abc", b"abc", [[1.0, 2.0], [3.0]], {"a": 1}, object(), 0.5, [1j], iter("a")])
def test_to_sample_matrix_other_objects_raise_one_line(signal: object) -> None:
    with pytest.raises(AudioError, match=r"a: .*expected float or int16 samples") as caught:
        audio.to_sample_matrix(signal, "a")  # type: ignore[arg-type]
    assert len(str(caught.value).splitlines()) == 1


def test_to_sample_matrix_short_signals_of_a_few_channels_are_accepted() -> None:
    for shape in ((1, 8), (2, 2), (64, 64)):
        assert audio.to_sample_matrix(np.zeros(shape, np.float32), "a").shape == shape


def test_check_samples_names_the_position_in_the_recording() -> None:
    audio.check_samples(np.zeros(3, np.float32), 10, "a")
    for value in (np.inf, -np.inf, np.nan):
        with pytest.raises(AudioError, match="a: sample 12 is not a number"):
            audio.check_samples(np.array([0, 1, value], np.float32), 10, "a")
    with pytest.raises(AudioError, match=r"a: sample 11 is -20000; expected float samples from -1 to 1\. Divide"):
        audio.check_samples(np.array([[0, 1], [-20000, 3]], np.float32), 10, "a")


def test_to_window_batch_checks_type_and_shape() -> None:
    windows = audio.to_window_batch(np.full((2, 5), 16384, np.int16), "a")
    assert windows.dtype == np.float32 and (windows == 0.5).all()
    for batch in (np.zeros(5), np.zeros((0, 5)), np.zeros((2, 5), int), [["a"]], None):
        with pytest.raises(AudioError, match="a: "):
            audio.to_window_batch(batch, "a")  # type: ignore[arg-type]
    with pytest.raises(AudioError, match="not a number"):
        audio.to_window_batch(np.full((1, 5), np.nan), "a")


@pytest.mark.parametrize("rate", [16_000, 16_000.0, np.float64(16_000), np.int32(16_000)])
def test_check_sample_rate_whole_number_of_any_type_is_returned_as_int(rate: float) -> None:
    checked = audio.check_sample_rate(rate, "a")
    assert checked == 16_000 and type(checked) is int


@pytest.mark.parametrize("rate", [16_000.5, float("nan"), float("inf"), "16000", None, True, [16_000], b"16000"])
def test_check_sample_rate_other_values_raise(rate: object) -> None:
    with pytest.raises(AudioError, match=r"a: sample rate .*; expected a whole number of Hz, such as 16000"):
        audio.check_sample_rate(rate, "a")  # type: ignore[arg-type]


@pytest.mark.parametrize("rate", [3_999, 768_001])
def test_check_sample_rate_out_of_range_raises(rate: int) -> None:
    with pytest.raises(AudioError, match=f"{rate} Hz; expected 4000 to 768000 Hz"):
        audio.check_sample_rate(rate, "a")
