"""Degradations of the test utterances, and their scores in the model card."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from kanjo import bundle
from kanjo.evaluation import robustness
from kanjo.evaluation.robustness import BABBLE, DEGRADATIONS
from tests.shell import run_kanjo

RATE = 16_000


def make_signal() -> np.ndarray:
    """A modulated tone at 500 Hz and a weak tone at 6 kHz, 2 s."""
    t = np.arange(2 * RATE) / RATE
    low = 0.3 * np.sin(2 * np.pi * 500 * t) * (0.5 + 0.5 * np.sin(2 * np.pi * 3 * t))
    return (low + 0.05 * np.sin(2 * np.pi * 6000 * t)).astype(np.float32)


def level_db(signal: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(np.square(signal))))


def test_reduce_level_reduces_by_30_db() -> None:
    quieter, _ = robustness.reduce_level(make_signal(), RATE, np.random.default_rng(0))
    assert level_db(quieter) == pytest.approx(level_db(make_signal()) - 30, abs=0.01)


def test_clip_limits_to_full_scale() -> None:
    clipped, _ = robustness.clip(make_signal(), RATE, np.random.default_rng(0))
    assert np.abs(clipped).max() == 1 and 0.2 < np.mean(np.abs(clipped) == 1) < 0.8


def test_limit_to_telephone_band_removes_frequencies_above_4_khz() -> None:
    narrow, rate = robustness.limit_to_telephone_band(make_signal(), RATE, np.random.default_rng(0))
    assert rate == 8000 and len(narrow) == RATE
    spectrum = np.abs(np.fft.rfft(narrow)) / len(narrow)
    assert spectrum.argmax() == pytest.approx(1000, abs=5), "500 Hz are bin 1000 of a signal of 2 s"


@pytest.mark.parametrize("rate", [16_000, 24_000, 44_100, 17_000])
def test_compress_mp3_writes_32_kbit_per_second(rate: int, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    write = soundfile.write

    def recording_write(file: io.BytesIO, *arguments: object, **options: object) -> None:
        write(file, *arguments, **options)
        sizes.append(len(file.getvalue()))

    monkeypatch.setattr(robustness.soundfile, "write", recording_write)
    signal = np.random.default_rng(0).normal(0, 0.1, 4 * rate).astype(np.float32)
    decoded, decoded_rate = robustness.compress_mp3(signal, rate, np.random.default_rng(0))
    assert decoded_rate == (16_000 if rate == 17_000 else rate)
    assert sizes[0] * 8 / 4 == pytest.approx(32_000, rel=0.05)
    assert len(decoded) / decoded_rate == pytest.approx(4, abs=0.2)


def test_add_pink_noise_has_10_db_snr_and_is_reproducible() -> None:
    noisy, _ = robustness.add_pink_noise(make_signal(), RATE, np.random.default_rng(0))
    again, _ = robustness.add_pink_noise(make_signal(), RATE, np.random.default_rng(0))
    assert level_db(noisy - make_signal()) == pytest.approx(level_db(make_signal()) - 10, abs=0.05)
    np.testing.assert_array_equal(noisy, again)


def test_apply_telephone_codec_quantizes_logarithmically() -> None:
    """Mu-law has 256 values; the error is about 38 dB below the signal at any level."""
    signal = make_signal()
    narrow, rate = robustness.apply_telephone_codec(signal, RATE, np.random.default_rng(0))
    assert rate == 8000 and len(np.unique(narrow)) <= 256
    plain, _ = robustness.limit_to_telephone_band(signal, RATE, np.random.default_rng(0))
    plain *= 0.5 / np.abs(plain).max()
    assert -45 < level_db(narrow - plain) - level_db(plain) < -30


def test_reverberate_adds_a_tail_3_db_below_the_direct_sound() -> None:
    impulse = np.zeros(RATE, np.float32)
    impulse[0] = 0.5
    wet, rate = robustness.reverberate(impulse, RATE, np.random.default_rng(0))
    assert rate == RATE and len(wet) == RATE and wet[0] == pytest.approx(0.5, abs=1e-3)
    assert 10 * np.log10(np.sum(np.square(wet[1:])) / 0.25) == pytest.approx(-3, abs=0.1)


def test_add_babble_has_10_db_snr() -> None:
    others = [np.random.default_rng(i).normal(0, 0.1, RATE).astype(np.float32) for i in range(6)]
    noisy, _ = robustness.add_babble(make_signal(), RATE, np.random.default_rng(0), others)
    assert level_db(noisy - make_signal()) == pytest.approx(level_db(make_signal()) - 10, abs=0.05)


def test_export_with_robustness_adds_scores_to_the_model_card(
    tiny_run: Path, tiny_corpora: Path, tmp_path: Path
) -> None:
    command = ["export", tiny_run, "-o", tmp_path / "b", "--robustness"]
    refused = run_kanjo(*command)
    assert refused.returncode == 1 and "--corpus-root" in refused.stderr
    result = run_kanjo(*command, "--corpus-root", tiny_corpora)
    assert result.returncode == 0, result.stderr
    metadata = bundle.read_bundle(tmp_path / "b").metadata
    assert set(metadata.robustness) == {*DEGRADATIONS, BABBLE}
    assert metadata.scores is not None and metadata.scores["uar"] == bundle.read_bundle(tiny_run).metadata.scores["uar"]
    card = (tmp_path / "b" / "README.md").read_text()
    for name, uar in metadata.robustness.items():
        assert f"| {name} | {100 * uar['value']:.1f} % |" in card
    assert "UAR by speaker" in card
