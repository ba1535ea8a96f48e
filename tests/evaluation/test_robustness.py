"""What is done to utterances before they are scored again, and the card that says what was left."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kanjo import bundle
from kanjo.evaluation.robustness import CONDITIONS
from tests.shell import typed

RATE = 16_000


def _speech() -> np.ndarray:
    t = np.arange(2 * RATE) / RATE
    return (
        0.3 * np.sin(2 * np.pi * 500 * t) * (0.5 + 0.5 * np.sin(2 * np.pi * 3 * t))
        + 0.05 * np.sin(2 * np.pi * 6000 * t)
    ).astype(np.float32)


def _under(name: str) -> tuple[np.ndarray, int]:
    return CONDITIONS[name](_speech(), RATE, np.random.default_rng(0))


def _db(signal: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(np.square(signal))))


def test_fainter_and_clipped() -> None:
    assert _db(_under("30 dB quieter")[0]) == pytest.approx(_db(_speech()) - 30, abs=0.01)
    loud, _ = _under("clipped, 10 dB over full scale")
    assert np.abs(loud).max() == 1 and 0.2 < np.mean(np.abs(loud) == 1) < 0.8


def test_a_telephone_has_nothing_above_4_khz() -> None:
    narrow, rate = _under("8 kHz, as over a telephone")
    assert rate == 8000 and len(narrow) == RATE
    spectrum = np.abs(np.fft.rfft(narrow)) / len(narrow)
    assert spectrum.argmax() == pytest.approx(1000, abs=5), "500 Hz over 2 s"


@pytest.mark.parametrize("rate", [16_000, 24_000, 44_100, 17_000])
def test_mp3_has_32_kbit_a_second(rate: int) -> None:
    import io

    import soundfile

    from kanjo.evaluation import robustness

    written: list[int] = []
    honest = soundfile.write

    def noted(file: io.BytesIO, *words: object, **more: object) -> None:
        honest(file, *words, **more)
        written.append(len(file.getvalue()))

    signal = np.random.default_rng(0).normal(0, 0.1, 4 * rate).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(robustness.soundfile, "write", noted)
        decoded, now = robustness.mp3(signal, rate, np.random.default_rng(0))
    assert now in (rate, 16_000)
    assert written[0] * 8 / 4 == pytest.approx(32_000, rel=0.05)
    assert len(decoded) / now == pytest.approx(4, abs=0.2)


def test_noise_lies_10_db_below_and_is_the_same_each_time() -> None:
    noise = _under("pink noise, 10 dB below")[0] - _speech()
    assert _db(noise) == pytest.approx(_db(_speech()) - 10, abs=0.05)
    np.testing.assert_array_equal(noise, _under("pink noise, 10 dB below")[0] - _speech())


def test_the_card_says_what_is_left(tiny_run: Path, tiny_corpora: Path, tmp_path: Path) -> None:
    command = ["export", tiny_run, "-o", tmp_path / "b", "--conditions"]
    done = typed(*command)
    assert done.returncode == 1 and "give --corpus-root" in done.stderr
    done = typed(*command, "--corpus-root", tiny_corpora)
    assert done.returncode == 0, done.stderr
    facts = bundle.read(tmp_path / "b").facts
    assert set(facts.conditions) == set(CONDITIONS)
    assert facts.scores is not None and facts.scores["uar"] == bundle.read(tiny_run).facts.scores["uar"]
    card = (tmp_path / "b" / "README.md").read_text()
    for name, uar in facts.conditions.items():
        assert f"| {name} | {100 * uar['value']:.1f} % |" in card
    assert "UAR of single speakers" in card
