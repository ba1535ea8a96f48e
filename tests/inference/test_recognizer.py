from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile

import kanjo
from kanjo.errors import AudioError, KanjoError
from tests.corpora_fixtures import RATE, clip, tone

#: What the tests' tones are told.
NO_SPEECH = "no speech heard (music, noise, or too faint?): the answer is a guess"


@pytest.fixture(scope="module")
def recognizer(tiny_run: Path) -> kanjo.Recognizer:
    return kanjo.load(tiny_run)


def test_an_answer_is_a_distribution_over_the_bundles_labels(recognizer: kanjo.Recognizer, tmp_path: Path) -> None:
    answer = recognizer.predict(clip(tmp_path / "a.wav", seconds=0.8))
    assert set(answer.probabilities) == set(recognizer.labels)
    assert sum(answer.probabilities.values()) == pytest.approx(1, abs=1e-5)
    assert answer.label == max(answer.probabilities, key=lambda name: answer.probabilities[name])
    assert answer.confidence == answer.probabilities[answer.label]
    assert answer.duration_s == pytest.approx(0.8, abs=0.001)
    assert [(s.start_s, s.end_s) for s in answer.windows] == [(0.0, 0.8)]
    assert [(s.start_s, s.end_s, s.label) for s in answer.segments] == [(0.0, 0.8, "silence")]
    assert answer.speech_s == 0 and answer.warnings == (NO_SPEECH,)


def test_file_bytes_and_samples_give_the_same_answer(recognizer: kanjo.Recognizer, tmp_path: Path) -> None:
    path = clip(tmp_path / "a.wav", seconds=2.3)
    from_file = recognizer.predict(path)
    assert recognizer.predict(path.read_bytes()).probabilities == from_file.probabilities
    samples, rate = soundfile.read(path, dtype="float32")
    assert recognizer.predict_signal(samples, rate).probabilities == pytest.approx(from_file.probabilities, abs=1e-6)
    assert recognizer.predict_signal(np.stack([samples, samples], 1), rate).probabilities == pytest.approx(
        from_file.probabilities, abs=1e-6
    )
    integers = soundfile.read(path, dtype="int16")[0]
    assert recognizer.predict_signal(integers, rate).probabilities == pytest.approx(from_file.probabilities, abs=1e-4)


def test_many_give_what_one_by_one_gives_in_order(recognizer: kanjo.Recognizer, tmp_path: Path) -> None:
    paths = [clip(tmp_path / f"{n}.wav", n, seconds=0.3 + 0.37 * n, hz=150 + 40 * n) for n in range(23)]
    bad = tmp_path / "bad.wav"
    bad.write_text("no audio")
    paths.insert(7, bad)
    answers = list(recognizer.predict_many(paths))
    assert [answer.file for answer in answers] == [str(path) for path in paths]
    assert answers[7].error.startswith("not audio that can be read") and answers[7].label == ""
    for path, answer in zip(paths, answers, strict=True):
        if path != bad:
            alone = recognizer.predict(path)
            assert answer.label == alone.label
            assert answer.probabilities == pytest.approx(alone.probabilities, abs=1e-5)
            assert [s.label for s in answer.windows] == [s.label for s in alone.windows]


def test_long_recordings_are_cut_and_pooled(recognizer: kanjo.Recognizer) -> None:
    answer = recognizer.predict_signal(tone(3.2), RATE)
    assert [s.start_s for s in answer.windows] == pytest.approx([0, 0.5, 1, 1.5, 2, 2.2])
    assert [s.end_s for s in answer.windows] == pytest.approx([1, 1.5, 2, 2.5, 3, 3.2])
    mean = np.mean([list(s.probabilities.values()) for s in answer.windows], axis=0)
    np.testing.assert_allclose(list(answer.probabilities.values()), mean, atol=1e-6)
    finer = recognizer.predict_signal(tone(3.2), RATE, window_s=0.5, hop_s=0.1)
    assert len(finer.windows) == 28


def test_silent_windows_have_no_say(recognizer: kanjo.Recognizer) -> None:
    speech = tone(1.0, 300)
    padded = recognizer.predict_signal(np.concatenate([speech, np.zeros(4 * RATE, np.float32)]), RATE, hop_s=1.0)
    assert padded.probabilities == pytest.approx(recognizer.predict_signal(speech, RATE).probabilities, abs=1e-5)
    assert [s.label for s in padded.windows[1:]] == ["unsure"] * 4


@pytest.mark.parametrize(
    ("signal", "warning"),
    [
        (np.zeros(RATE, np.float32), "silent"),
        (np.full(RATE, 0.7, np.float32), "silent"),
        (np.ones(1, np.float32), "too short to tell: 0.000 s"),
        (tone(0.29), "too short to tell: 0.290 s"),
    ],
)
def test_silence_and_scraps_are_answered_with_a_warning_not_a_guess(
    recognizer: kanjo.Recognizer, signal: np.ndarray, warning: str
) -> None:
    answer = recognizer.predict_signal(signal, RATE)
    assert answer.label == "unsure"
    assert answer.confidence == pytest.approx(1 / len(recognizer.labels))
    assert any(warning in said for said in answer.warnings)


def test_clipped_and_narrow_recordings_are_answered_with_a_warning(recognizer: kanjo.Recognizer) -> None:
    assert any(
        "clipped" in said for said in recognizer.predict_signal(np.clip(4 * tone(1.0, level=1.0), -1, 1), RATE).warnings
    )
    narrow = recognizer.predict_signal(tone(1.0, rate=8_000), 8_000)
    assert narrow.label in recognizer.labels
    assert narrow.warnings == (
        "recorded at 8000 Hz: the bundle expects sound up to 8000 Hz, half of it is missing",
        NO_SPEECH,
    )


@pytest.mark.parametrize(
    ("signal", "rate", "said"),
    [
        (np.zeros(0, np.float32), RATE, "no samples"),
        (np.array([0.1, np.nan]), RATE, "sample 1 is not a number"),
        (np.zeros((2, 3, 4)), RATE, "expected float or int16 samples"),
        (np.zeros(10, np.int64), RATE, "expected float or int16 samples"),
        (tone(), 100, "100 Hz; expected 4000"),
    ],
)
def test_signals_that_are_none(recognizer: kanjo.Recognizer, signal: np.ndarray, rate: int, said: str) -> None:
    with pytest.raises(AudioError, match=said):
        recognizer.predict_signal(signal, rate)


def test_windows_that_do_not_fit_are_refused(recognizer: kanjo.Recognizer) -> None:
    for options in ({"window_s": 5.0}, {"window_s": 0.01}, {"hop_s": 3.0}, {"hop_s": 0.0}):
        with pytest.raises(KanjoError, match="expected"):
            recognizer.predict_signal(tone(1.0), RATE, **options)


def test_threads_may_share_a_recognizer(recognizer: kanjo.Recognizer) -> None:
    signals = [tone(1.5, 150 + 50 * n) for n in range(8)]
    alone = [recognizer.predict_signal(signal, RATE).probabilities for signal in signals]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda signal: recognizer.predict_signal(signal, RATE).probabilities, signals * 3))
    for one, other in zip(alone * 3, together, strict=True):
        assert one == pytest.approx(other, abs=1e-6)


def test_padding_never_changes_the_answer_of_a_batch(recognizer: kanjo.Recognizer) -> None:
    short = np.zeros(recognizer.facts.window, np.float32)
    short[:8000] = tone(0.5)
    company = np.stack([short, *(tone(1.0, hz) for hz in (200, 500, 900))])
    np.testing.assert_allclose(
        recognizer.probabilities(company)[0], recognizer.probabilities(short[None])[0], atol=1e-5
    )


def test_embedding(recognizer: kanjo.Recognizer) -> None:
    assert recognizer.embed_signal(tone(0.4)).shape == (16,)


def test_an_answer_carries_its_embedding(recognizer: kanjo.Recognizer) -> None:
    """One window's is the network's; of several it is their mean by seconds of sound, in which silence has no part."""
    rate = recognizer.facts.sample_rate
    sound = tone(recognizer.facts.window_s, 300)
    alone = recognizer.predict_signal(sound, rate)
    assert alone.embedding is not None
    np.testing.assert_allclose(alone.embedding, recognizer.embed_signal(sound), atol=1e-6)
    followed = recognizer.predict_signal(
        np.concatenate([sound, np.zeros(len(sound), np.float32)]), rate, hop_s=recognizer.facts.window_s
    )
    assert followed.embedding is not None
    np.testing.assert_allclose(followed.embedding, alone.embedding, atol=1e-6)
    assert "embedding" not in alone.as_dict()


def test_an_hour_takes_constant_memory(tiny_run: Path, tmp_path: Path) -> None:
    """Ten minutes against one: the peak may not grow with the length (the hour itself is measured in bench/)."""
    import subprocess
    import sys

    if not Path("/proc/self/status").exists():
        pytest.skip("peak memory is read from /proc, which this system doesn't have")
    peaks = []
    for minutes in (1, 10):
        path = tmp_path / f"{minutes}.wav"
        soundfile.write(path, np.tile(tone(60.0), minutes), RATE)
        code = (
            "import sys, kanjo; kanjo.load(sys.argv[1]).predict(sys.argv[2], hop_s=1.0)\n"
            "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
        )
        out = subprocess.run(
            [sys.executable, "-c", code, str(tiny_run), str(path)], capture_output=True, text=True, check=True
        )
        peaks.append(int(out.stdout))
    assert peaks[1] < peaks[0] + 20_000
