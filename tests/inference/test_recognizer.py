"""Prediction of files and of samples: results, options, warnings and errors."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile

import kanjo
from kanjo.bundle import Bundle
from kanjo.errors import AudioError, BundleError, KanjoError
from tests.corpora_fixtures import SAMPLE_RATE, make_tone, write_clip

NO_SPEECH = "no speech detected"


def _has_warning(prediction: kanjo.Prediction, text: str) -> bool:
    return any(text in warning for warning in prediction.warnings)


def test_predict_short_file_gives_one_window(recognizer: kanjo.Recognizer, tmp_path: Path) -> None:
    prediction = recognizer.predict(write_clip(tmp_path / "a.wav", seconds=0.8))
    assert tuple(prediction.probabilities) == recognizer.labels
    assert sum(prediction.probabilities.values()) == pytest.approx(1, abs=1e-5)
    assert prediction.confidence == max(prediction.probabilities.values())
    assert prediction.duration_s == pytest.approx(0.8, abs=0.001)
    assert [(window.start_s, window.end_s) for window in prediction.windows] == [(0.0, 0.8)]


def test_predict_tone_is_a_silence_segment_with_a_warning(recognizer: kanjo.Recognizer) -> None:
    prediction = recognizer.predict_signal(make_tone(0.8), SAMPLE_RATE)
    assert [(part.start_s, part.end_s, part.label) for part in prediction.segments] == [(0.0, 0.8, "silence")]
    assert prediction.speech_s == 0
    assert _has_warning(prediction, NO_SPEECH)


def test_predict_file_bytes_and_samples_agree(recognizer: kanjo.Recognizer, tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.wav", seconds=2.3)
    expected = recognizer.predict(path).probabilities
    assert recognizer.predict(path.read_bytes()).probabilities == expected
    samples, rate = soundfile.read(path, dtype="float32")
    assert recognizer.predict_signal(samples, rate).probabilities == pytest.approx(expected, abs=1e-6)
    stereo = np.stack([samples, samples], 1)
    assert recognizer.predict_signal(stereo, rate).probabilities == pytest.approx(expected, abs=1e-6)
    integers = soundfile.read(path, dtype="int16")[0]
    assert recognizer.predict_signal(integers, rate).probabilities == pytest.approx(expected, abs=1e-4)


def test_predict_many_equals_predict_and_keeps_the_order(recognizer: kanjo.Recognizer, tmp_path: Path) -> None:
    paths = [write_clip(tmp_path / f"{n}.wav", n, seconds=0.3 + 0.37 * n, hz=150 + 40 * n) for n in range(23)]
    bad = tmp_path / "bad.wav"
    bad.write_text("no audio")
    paths.insert(7, bad)
    predictions = list(recognizer.predict_many(paths))
    assert [prediction.file for prediction in predictions] == [str(path) for path in paths]
    assert predictions[7].error.startswith("not audio") and predictions[7].label == ""
    for path, prediction in zip(paths, predictions, strict=True):
        if path != bad:
            expected = recognizer.predict(path)
            assert prediction.label == expected.label
            assert prediction.probabilities == pytest.approx(expected.probabilities, abs=1e-5)
            assert [window.label for window in prediction.windows] == [window.label for window in expected.windows]


def test_predict_long_recording_averages_its_windows(recognizer: kanjo.Recognizer) -> None:
    prediction = recognizer.predict_signal(make_tone(3.2), SAMPLE_RATE)
    assert [window.start_s for window in prediction.windows] == pytest.approx([0, 0.5, 1, 1.5, 2, 2.2])
    assert [window.end_s for window in prediction.windows] == pytest.approx([1, 1.5, 2, 2.5, 3, 3.2])
    mean = np.mean([list(window.probabilities.values()) for window in prediction.windows], axis=0)
    np.testing.assert_allclose(list(prediction.probabilities.values()), mean, atol=1e-6)


def test_predict_with_window_and_hop_changes_the_windows(recognizer: kanjo.Recognizer) -> None:
    assert len(recognizer.predict_signal(make_tone(3.2), SAMPLE_RATE, window_s=0.5, hop_s=0.1).windows) == 28


def test_predict_silent_windows_have_no_weight(recognizer: kanjo.Recognizer) -> None:
    tone = make_tone(1.0, 300)
    padded = np.concatenate([tone, np.zeros(4 * SAMPLE_RATE, np.float32)])
    prediction = recognizer.predict_signal(padded, SAMPLE_RATE, hop_s=1.0)
    expected = recognizer.predict_signal(tone, SAMPLE_RATE)
    assert prediction.probabilities == pytest.approx(expected.probabilities, abs=1e-5)
    assert [window.label for window in prediction.windows[1:]] == ["unsure"] * 4


@pytest.mark.parametrize(
    ("signal", "warning"),
    [
        (np.zeros(SAMPLE_RATE, np.float32), "silent"),
        (np.full(SAMPLE_RATE, 0.7, np.float32), "silent"),
        (np.ones(1, np.float32), "too short: 0.000 s"),
        (make_tone(0.29), "too short: 0.290 s"),
    ],
    ids=["zeros", "constant", "one-sample", "too-short"],
)
def test_predict_unusable_signal_is_unsure_with_a_warning(
    recognizer: kanjo.Recognizer, signal: np.ndarray, warning: str
) -> None:
    prediction = recognizer.predict_signal(signal, SAMPLE_RATE)
    assert prediction.label == "unsure"
    assert prediction.confidence == pytest.approx(1 / len(recognizer.labels))
    assert _has_warning(prediction, warning)


def test_predict_clipped_signal_warns(recognizer: kanjo.Recognizer) -> None:
    clipped = np.clip(4 * make_tone(1.0, level=1.0), -1, 1)
    assert _has_warning(recognizer.predict_signal(clipped, SAMPLE_RATE), "clipped")
    assert not _has_warning(recognizer.predict_signal(make_tone(1.0), SAMPLE_RATE), "clipped")


def test_predict_low_sample_rate_warns(recognizer: kanjo.Recognizer) -> None:
    prediction = recognizer.predict_signal(make_tone(1.0, rate=8_000), 8_000)
    assert not prediction.error
    assert _has_warning(prediction, "recorded at 8000 Hz: at least half of the frequencies up to 8000 Hz")
    assert _has_warning(
        recognizer.predict_signal(make_tone(1.0, rate=12_000), 12_000), "recorded at 12000 Hz; expected"
    )


@pytest.mark.parametrize(
    ("signal", "rate", "message"),
    [
        (np.zeros(0, np.float32), SAMPLE_RATE, "no samples"),
        (np.array([0.1, np.nan]), SAMPLE_RATE, "sample 1 is not a number"),
        (np.zeros((2, 3, 4)), SAMPLE_RATE, "expected float or int16 samples"),
        (np.zeros(10, np.int64), SAMPLE_RATE, "expected float or int16 samples"),
        (make_tone(), 100, "100 Hz; expected 4000"),
    ],
    ids=["empty", "nan", "three-dimensional", "int64", "sample-rate"],
)
def test_predict_signal_invalid_array_raises(
    recognizer: kanjo.Recognizer, signal: np.ndarray, rate: int, message: str
) -> None:
    with pytest.raises(AudioError, match=message):
        recognizer.predict_signal(signal, rate)


def test_predict_unknown_option_raises(recognizer: kanjo.Recognizer) -> None:
    with pytest.raises(TypeError, match="windows_s"):
        recognizer.predict_signal(make_tone(1.0), SAMPLE_RATE, windows_s=1.0)  # type: ignore[call-arg]


def test_predict_from_several_threads_equals_one_thread(recognizer: kanjo.Recognizer) -> None:
    signals = [make_tone(1.5, 150 + 50 * n) for n in range(8)]
    expected = [recognizer.predict_signal(signal, SAMPLE_RATE).probabilities for signal in signals]
    with ThreadPoolExecutor(4) as pool:
        predictions = list(pool.map(lambda signal: recognizer.predict_signal(signal, SAMPLE_RATE), signals * 3))
    for prediction, probabilities in zip(predictions, expected * 3, strict=True):
        assert prediction.probabilities == pytest.approx(probabilities, abs=1e-6)


def test_probabilities_do_not_depend_on_the_batch(recognizer: kanjo.Recognizer) -> None:
    padded = np.zeros(recognizer.metadata.window_length, np.float32)
    padded[:8000] = make_tone(0.5)
    batch = np.stack([padded, *(make_tone(1.0, hz) for hz in (200, 500, 900))])
    np.testing.assert_allclose(recognizer.probabilities(batch)[0], recognizer.probabilities(padded[None])[0], atol=1e-5)


def test_embed_signal_returns_one_vector(recognizer: kanjo.Recognizer) -> None:
    assert recognizer.embed_signal(make_tone(0.4)).shape == (16,)


def test_prediction_embedding_is_the_mean_over_audible_windows(recognizer: kanjo.Recognizer) -> None:
    rate = recognizer.metadata.sample_rate
    tone = make_tone(recognizer.metadata.window_s, 300)
    single = recognizer.predict_signal(tone, rate)
    assert single.embedding is not None
    np.testing.assert_allclose(single.embedding, recognizer.embed_signal(tone), atol=1e-6)
    padded = np.concatenate([tone, np.zeros(len(tone), np.float32)])
    with_silence = recognizer.predict_signal(padded, rate, hop_s=recognizer.metadata.window_s)
    assert with_silence.embedding is not None
    np.testing.assert_allclose(with_silence.embedding, single.embedding, atol=1e-6)
    assert "embedding" not in single.as_dict()


def test_load_damaged_graph_raises_one_line(random_bundle: Bundle) -> None:
    metadata = random_bundle.metadata
    broken = Bundle(random_bundle.folder / "missing", metadata)
    with pytest.raises(BundleError, match="ONNX Runtime can't load it") as caught:
        kanjo.Recognizer(broken)
    assert len(str(caught.value).splitlines()) == 1


def test_predict_options_out_of_range_raise(recognizer: kanjo.Recognizer) -> None:
    with pytest.raises(KanjoError, match="window of 5.0 s: expected 0.3 s to 1.0 s"):
        recognizer.predict_signal(make_tone(1.0), SAMPLE_RATE, window_s=5.0)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_predict_memory_does_not_grow_with_the_duration(random_bundle: Bundle, tmp_path: Path) -> None:
    """Ten minutes against one; ``benchmarks/speed`` measures an hour."""
    code = (
        "import sys, kanjo; kanjo.load(sys.argv[1]).predict(sys.argv[2], hop_s=1.0)\n"
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    peaks_kb = []
    for minutes in (1, 10):
        path = tmp_path / f"{minutes}.wav"
        soundfile.write(path, np.tile(make_tone(60.0), minutes), SAMPLE_RATE)
        command = [sys.executable, "-c", code, str(random_bundle.folder), str(path)]
        peaks_kb.append(int(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    assert peaks_kb[1] < peaks_kb[0] + 20_000
