"""The mean embedding, and the memory of long recordings."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

import kanjo
from kanjo import audio
from kanjo.inference import embedding_mean
from kanjo.inference.embedding_mean import EmbeddingMean, combine_weights
from kanjo.inference.onnx_session import WindowOutput
from kanjo.inference.options import InferenceOptions, resolve_options
from kanjo.inference.recording import RecordingSession
from kanjo.inference.windowing import weighted_mean
from tests.clips import RECORDINGS


@pytest.mark.parametrize("n_windows", [(), (0,), (1,), (10, 7), (5, 0, 5)])
@pytest.mark.parametrize("kind", ["speech", "sound", "silence"])
def test_mean_with_accumulated_embeddings_equals_weighted_mean(n_windows: tuple[int, ...], kind: str) -> None:
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(20, 8)).astype(np.float32)
    speech_s = rng.uniform(0, 1, 20) if kind == "speech" else np.zeros(20)
    audible_s = np.zeros(20) if kind == "silence" else rng.uniform(0, 1, 20)
    mean = EmbeddingMean()
    for embedding in embeddings:
        mean.add(embedding)
    for n in n_windows:
        part = slice(mean.n_accumulated, mean.n_accumulated + n)
        mean.accumulate(speech_s[part], audible_s[part])
    assert mean.n_accumulated == sum(n_windows)
    expected = weighted_mean(embeddings, combine_weights(speech_s, audible_s))
    np.testing.assert_allclose(mean.mean(speech_s, audible_s), expected, rtol=1e-6, atol=1e-7)


def test_is_full_after_accumulate_of_nothing_waits_for_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding_mean, "N_PENDING", 3)
    mean = EmbeddingMean()
    is_full = []
    for _ in range(9):
        mean.add(np.zeros(2, np.float32))
        is_full.append(mean.is_full)
        if mean.is_full:
            mean.accumulate(np.zeros(0), np.zeros(0))
    assert is_full == [False, False, True] * 3


def test_predict_signal_with_few_pending_embeddings_is_the_same(
    default_recognizer: kanjo.Recognizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = audio.load(RECORDINGS / "sadness-1.flac", 16_000)
    signal = np.concatenate([clip, np.zeros(24_000, np.float32), clip[: len(clip) // 2], np.zeros(40_000), clip])
    expected = default_recognizer.predict_signal(signal.astype(np.float32), 16_000, window_s=0.6)
    monkeypatch.setattr(embedding_mean, "N_PENDING", 4)
    prediction = default_recognizer.predict_signal(signal.astype(np.float32), 16_000, window_s=0.6)
    assert prediction == expected and len(prediction.windows) > 20
    assert prediction.embedding is not None and expected.embedding is not None
    np.testing.assert_allclose(prediction.embedding, expected.embedding, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_session_of_six_hours_needs_less_than_100_mb(default_recognizer: kanjo.Recognizer) -> None:
    """The embeddings of 7,199 segments of speech alone would need 118 MB, and their float64 copy 236 MB."""
    metadata = default_recognizer.metadata
    session = RecordingSession("long", metadata.sample_rate, metadata, resolve_options(InferenceOptions(), metadata))
    rng = np.random.default_rng(0)
    block = rng.normal(0, 0.1, 60 * metadata.sample_rate).astype(np.float32)
    frames = np.repeat(rng.choice([0.1, 0.9], 94), 20)[:1875].astype(np.float32)

    def feed_detector(block: np.ndarray, last: bool = False) -> None:  # the detector itself would take minutes
        if len(block):
            session.vad._probabilities.append(frames)
            session.vad._n_frames += len(frames)

    session.vad.feed = feed_detector  # type: ignore[method-assign]
    size = len(default_recognizer.embed_signal(block[:100]))
    probabilities = np.full(len(metadata.labels), 1 / len(metadata.labels), np.float32)
    tracemalloc.start()
    try:
        for _ in range(6 * 60):
            for window in session.feed(block):
                output = WindowOutput(probabilities.copy(), np.full(size, 0.5, np.float32))
                session.add_window_result(window, output)
        prediction = session.finalize()
        peak_mb = tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()
    assert len(prediction.windows) > 7_000 and np.all(prediction.embedding == 0.5)
    assert peak_mb < 100
