"""Who speaks when, and the timeline that is made of it."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kanjo
from kanjo import audio
from kanjo.audio.levels import Levels
from kanjo.inference import segmentation, vad

SPOKEN = Path(__file__).parents[2] / "examples" / "recordings"


def heard(signal: np.ndarray, rate: int = vad.RATE, sizes: tuple[int, ...] = (10**9,)) -> np.ndarray:
    meter, at, turn = vad.Meter(rate), 0, 0
    while at < len(signal):
        step = sizes[turn % len(sizes)]
        meter.feed(signal[at : at + step])
        at, turn = at + step, turn + 1
    meter.feed(np.zeros(0, np.float32), last=True)
    return meter.probabilities


def test_speech_is_told_from_silence_noise_and_tones() -> None:
    voice = audio.load(SPOKEN / "calm-low.flac", vad.RATE)
    rest = np.random.default_rng(0).normal(0, 0.05, 3 * vad.RATE).astype(np.float32)
    signal = np.concatenate([np.zeros(2 * vad.RATE, np.float32), voice, rest])
    (span,) = vad.spans(heard(signal), len(signal) / vad.RATE)
    assert span[0] == pytest.approx(2.0, abs=0.25) and span[1] == pytest.approx(2 + len(voice) / vad.RATE, abs=0.6)
    for hz in (100, 440, 3000):
        assert heard(0.3 * np.sin(2 * np.pi * hz * np.arange(32_000) / vad.RATE).astype(np.float32)).max() < vad.ON


@settings(deadline=None)
@given(st.lists(st.integers(1, 40_000), min_size=1, max_size=6))
def test_any_chunking_hears_the_same(sizes: list[int]) -> None:
    voice = audio.load(SPOKEN / "german-plain.flac", vad.RATE)
    np.testing.assert_allclose(heard(voice, sizes=tuple(sizes)), heard(voice), atol=1e-5)


def test_other_rates_are_resampled() -> None:
    voice = audio.load(SPOKEN / "calm-low.flac", 32_000)
    at_16k = heard(audio.load(SPOKEN / "calm-low.flac", vad.RATE))
    assert np.mean((heard(voice, 32_000)[: len(at_16k)] > vad.ON) == (at_16k > vad.ON)) > 0.95


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        ("0000000000", []),
        ("", []),
        ("0001111000", []),  # 0.13 s: a noise
        ("0" * 10 + "1" * 10 + "0" * 30 + "1" * 10, [(0.22, 0.74), (1.5, 1.92)]),  # apart
        ("0" * 10 + "1" * 10 + "0" * 15 + "1" * 10, [(0.22, 1.44)]),  # a gap within a sentence
        ("0" * 10 + "1" * 5 + "4" * 5 + "0" * 20, [(0.22, 0.74)]),  # 0.4 goes on with what was said, and begins nothing
        ("4" * 10 + "1" * 10, [(0.22, 0.64)]),
    ],
)
def test_spans(frames: str, expected: list[tuple[float, float]]) -> None:
    found = vad.spans(
        np.asarray([1.0 if f == "1" else int(f) / 10 for f in frames], np.float32), len(frames) * vad.FRAME_S
    )
    assert found == [pytest.approx(span) for span in expected]


def test_seconds_of_speech_between_moments() -> None:
    found = vad.seconds([(1.0, 2.0), (3.0, 5.0)], np.array([0.0, 1.5, 2.0, 4.0]), np.array([10.0, 3.5, 3.0, 4.5]))
    np.testing.assert_allclose(found, [3.0, 1.0, 0.0, 0.5])
    np.testing.assert_allclose(vad.seconds([], np.array([0.0]), np.array([1.0])), [0.0])


def test_moments_weigh_windows_by_nearness_and_speech() -> None:
    rows = np.array([[1.0, 0.0], [0.0, 1.0]])
    edges, found = segmentation.moments([(0.0, 4.0), (2.0, 6.0)], rows, np.array([1.0, 1.0]), 2.0, 6.0)
    np.testing.assert_allclose(edges, [0, 2, 4, 6])
    np.testing.assert_allclose(found, [[1, 0], [0.5, 0.5], [0, 1]])
    _, found = segmentation.moments([(0.0, 4.0), (2.0, 6.0)], rows, np.array([3.0, 1.0]), 2.0, 6.0)
    np.testing.assert_allclose(found[1], [0.75, 0.25])
    _, found = segmentation.moments([(0.0, 4.0), (2.0, 6.0)], rows, np.array([0.0, 0.0]), 2.0, 6.0)
    np.testing.assert_allclose(found, 0.5)


def test_a_moment_of_doubt_is_no_change_and_a_lasting_change_is() -> None:
    doubt = np.array([[0.8, 0.2]] * 4 + [[0.4, 0.6]] + [[0.8, 0.2]] * 4)
    assert segmentation.likeliest(doubt).tolist() == [0] * 9
    change = np.array([[0.8, 0.2]] * 4 + [[0.2, 0.8]] * 4)
    assert segmentation.likeliest(change).tolist() == [0] * 4 + [1] * 4
    assert segmentation.likeliest(doubt, change=0.0).tolist() == doubt.argmax(1).tolist()


@given(st.integers(1, 40), st.integers(0, 2**32 - 1), st.lists(st.floats(0, 39), max_size=8))
def test_a_timeline_covers_the_recording_without_gap_or_overlap(n: int, seed: int, ends: list[float]) -> None:
    rows = np.random.default_rng(seed).dirichlet([0.5, 0.5, 0.5], n)
    borders = sorted({round(end, 3) for end in ends if end < n})
    spoken = [(a, b) for a, b in zip(borders[::2], borders[1::2], strict=False)]
    found = segmentation.timeline(np.arange(n + 1.0), rows, spoken, ("a", "b", "c"), 0.0)
    assert found[0].start_s == 0 and found[-1].end_s == pytest.approx(n)
    for one, other in itertools.pairwise(found):
        assert one.end_s == other.start_s and one.label != other.label
    for segment in found:
        assert segment.label == "silence" or sum(segment.probabilities.values()) == pytest.approx(1)
    assert sum(s.end_s - s.start_s for s in found if s.label != "silence") == pytest.approx(
        sum(b - a for a, b in spoken)
    )


def test_windows_without_speech_have_no_say() -> None:
    """Noise after the speech, too loud to be silence, does not move the answer."""
    recognizer = kanjo.load()
    voice = audio.load(SPOKEN / "calm-low.flac", 16_000)[: 4 * 16_000]
    noise = np.random.default_rng(1).normal(0, 0.02, 20 * 16_000).astype(np.float32)
    levels = Levels()
    levels.feed(noise)
    assert not levels.silent
    alone, followed = (
        recognizer.predict_signal(signal, 16_000, hop_s=4.0) for signal in (voice, np.concatenate([voice, noise]))
    )
    assert followed.probabilities == pytest.approx(alone.probabilities, abs=0.1)  # speech ends softly
    assert [s.label for s in followed.segments][-1] == "silence"
    assert followed.speech_s == pytest.approx(alone.speech_s, abs=0.6)


@pytest.mark.corpus
def test_real_speech_is_heard_as_speech(ravdess_clips: list[Path]) -> None:
    answers = list(kanjo.load().predict_many(ravdess_clips[::40]))
    assert sum(answer.speech_s == 0 for answer in answers) <= 0.03 * len(answers)  # shouts and sobs: 13 of all 1440
    assert 0.4 < sum(a.speech_s for a in answers) / sum(a.duration_s for a in answers) < 0.65
    assert sum((a.distance or 0) > 1 for a in answers) <= 0.15 * len(
        answers
    )  # speakers who trained and who didn't; of all test speakers' clips 1 %


@pytest.mark.corpus
def test_the_default_bundle_knows_what_it_does_not_know(corpora: Path) -> None:
    """Noise and hums are far, speech in a corpus that it never heard (ESD's English) mostly isn't."""
    recognizer = kanjo.load()
    spoken = list(recognizer.predict_many(sorted((corpora / "esd").rglob("*.wav"))))
    assert len(spoken) == 16
    assert sum((a.distance or 0) > 1 for a in spoken) <= 4
    hum = (0.1 * sum(np.sin(2 * np.pi * 110 * k * np.arange(64_000) / 16_000) / k for k in range(1, 6))).astype(
        np.float32
    )
    assert (recognizer.predict_signal(hum, 16_000).distance or 0) > 1
    noise = np.random.default_rng(0).normal(0, 0.05, 64_000).astype(np.float32)
    assert (recognizer.predict_signal(noise, 16_000).distance or 0) > 1
