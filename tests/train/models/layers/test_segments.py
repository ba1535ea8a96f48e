"""Segments against torch's interpolation, and their number."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from kanjo.train.models.layers.segments import SegmentSplitter, resize_matrix


@pytest.mark.parametrize(("n_in", "n_out"), [(64, 227), (64, 64), (100, 40), (7, 227)])
def test_resize_matrix_equals_interpolate(n_in: int, n_out: int) -> None:
    image = torch.randn(2, 3, n_in, 64)
    expected = F.interpolate(image, (n_out, 64), mode="bilinear", antialias=True)
    torch.testing.assert_close(resize_matrix(n_in, n_out) @ image, expected, atol=1e-5, rtol=0)


def test_segment_splitter_segments_are_resized_slices() -> None:
    splitter = SegmentSplitter(64, 401)
    features = torch.randn(2, 3, 64, 401)
    segments = splitter(features)
    assert segments.shape == (2, 11, 3, 227, 227)
    for s in range(11):
        image = features[..., 32 * s : 32 * s + 64]
        expected = F.interpolate(image, (227, 227), mode="bilinear", antialias=True)
        torch.testing.assert_close(segments[:, s], expected, atol=1e-5, rtol=0)
    selected = splitter.select_segments(features, torch.tensor([1, 0, 1]), torch.tensor([0, 10, 4]))
    torch.testing.assert_close(selected, segments[[1, 0, 1], [0, 10, 4]], atol=1e-5, rtol=0)
    assert selected.is_contiguous(memory_format=torch.channels_last)


def test_segment_splitter_count_is_of_complete_segments_and_at_least_one() -> None:
    n_frames = torch.tensor([1, 63, 64, 95, 96, 287, 288, 301])
    assert SegmentSplitter(64, 301).count(n_frames).tolist() == [1, 1, 1, 1, 2, 7, 8, 8]


def test_segment_splitter_window_shorter_than_a_segment_is_an_error() -> None:
    with pytest.raises(ValueError, match="the window has 50 frames; expected at least 64"):
        SegmentSplitter(64, 50)
