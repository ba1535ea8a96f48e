"""Trimming of silence: frames of a spectrogram and samples of a clip."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kanjo.train.features.log_mel import LogMel, Normalization
from kanjo.train.features.silence import find_loud_range, speech_span, trim_silence_frames
from tests.corpora_fixtures import SAMPLE_RATE, make_tone


def test_find_loud_range_compares_with_the_loudest_frame() -> None:
    power = torch.tensor([[0.0, 0.2, 1.0, 0.02, 0.0], [5.0, 5.0, 5.0, 5.0, 5.0], [0.0, 0.0, 0.0, 0.0, 0.0]])
    first, last = find_loud_range(power, 10.0)
    assert first.tolist() == [1, 0, 0] and last.tolist() == [2, 4, 4]
    first, last = find_loud_range(power, 20.0, torch.tensor([[True, True, True, True, False]] * 3))
    assert first.tolist() == [1, 0, 0] and last.tolist() == [3, 3, 3]


def test_trim_silence_frames_moves_loud_frames_to_the_start() -> None:
    power = torch.tensor([[[0.0, 0.0, 3.0, 4.0, 0.0]], [[2.0, 2.0, 2.0, 2.0, 2.0]]])
    trimmed, n_frames = trim_silence_frames(power, torch.tensor([5, 5]), 30.0)
    assert trimmed[:, 0].tolist() == [[3.0, 4.0, 0.0, 0.0, 0.0], [2.0, 2.0, 2.0, 2.0, 2.0]]
    assert n_frames.tolist() == [2, 5]


def test_speech_span_tone_between_silence_is_the_tone() -> None:
    signal = 1e-3 * np.random.default_rng(0).standard_normal(5 * SAMPLE_RATE).astype(np.float32)
    signal[2 * SAMPLE_RATE : 3 * SAMPLE_RATE] = make_tone(1.0)
    assert speech_span(signal, SAMPLE_RATE, 30.0) == (2 * SAMPLE_RATE, 3 * SAMPLE_RATE)


def test_speech_span_clip_of_less_than_two_frames_is_the_whole_clip() -> None:
    assert speech_span(np.zeros(3, np.float32), SAMPLE_RATE, 30.0) == (0, 3)


@pytest.mark.parametrize("normalization", ["none", "utterance", "corpus", "audioset"])
def test_log_mel_trim_db_position_and_noise_around_speech_change_nothing(normalization: Normalization) -> None:
    """A second of tone at several positions, without and with faint noise around it."""
    feature_extractor = LogMel(SAMPLE_RATE, 512, 160, 40, normalization=normalization, trim_db=30)
    noise = 1e-4 * np.random.default_rng(0).standard_normal(4 * SAMPLE_RATE).astype(np.float32)
    results = []
    for start, noise_gain in ((0, 0.0), (16_000, 0.0), (16_000, 1.0), (48_000, 1.0)):
        signal = noise_gain * noise
        signal[start : start + SAMPLE_RATE] = make_tone(1.0, 400)
        results.append(feature_extractor(torch.from_numpy(signal)[None]))
    reference = results[0][0][0, 0, :, 3:97]
    for features, n_frames in results:
        assert abs(int(n_frames) - 100) <= 3
        if normalization != "utterance":  # its mean is over all frames, also those of silence
            trimmed = features[0, 0, :, 5:95]
            differences = [float((trimmed - reference[:, at : at + 90]).abs().amax()) for at in range(5)]
            assert min(differences) < 0.2


def test_log_mel_trim_db_silence_is_finite() -> None:
    features, n_frames = LogMel(SAMPLE_RATE, 512, 160, 40, trim_db=30)(torch.zeros(1, SAMPLE_RATE))
    assert torch.isfinite(features).all() and int(n_frames) == 1


def test_log_mel_trim_db_uniformly_loud_clip_keeps_all_frames() -> None:
    signal = torch.from_numpy(np.random.default_rng(0).normal(0, 0.1, (2, SAMPLE_RATE)).astype(np.float32))
    trimmed, n_trimmed = LogMel(SAMPLE_RATE, 512, 160, 40, normalization="none", trim_db=30)(signal)
    original, n_frames = LogMel(SAMPLE_RATE, 512, 160, 40, normalization="none")(signal)
    assert torch.equal(n_trimmed, n_frames) and int(n_frames[0]) == 100
    assert torch.equal(trimmed[..., :100], original[..., :100])
