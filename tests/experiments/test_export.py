"""``kanjo export``: smaller bundles, and the scores that the smaller numbers cost."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import kanjo
from kanjo.experiments.run_folder import RunFolder
from tests import corpora_fixtures
from tests.conftest import train_arguments
from tests.shell import run_kanjo

WHISPER = ["model.weights=none", "split.protocol=speaker_kfold", "split.n_folds=4", "training.epochs=2"]
SHORT = ["audio.window_s=1", "audio.hop_s=0.5", "model.layers=[1, 2]", "training.n_augmented_copies=0"]


def test_export_fp16_halves_the_graph_with_similar_probabilities(
    tiny_run: Path, tiny_corpora: Path, tmp_path: Path
) -> None:
    command = ["export", tiny_run, "-o", tmp_path / "half", "--fp16", "--no-weights", "--corpus-root", tiny_corpora]
    result = run_kanjo(*command)
    assert result.returncode == 0, result.stderr
    assert re.search(r"MB -> .* MB, UAR [\d.]+ % -> [\d.]+ %", result.stdout)
    original, half = kanjo.load(tiny_run), kanjo.load(tmp_path / "half")
    assert half.bundle.graph.stat().st_size < original.bundle.graph.stat().st_size
    assert "stored in fp16" in half.metadata.quantization
    signal = corpora_fixtures.make_tone(0.8, 300)
    expected, probabilities = (model.predict_signal(signal, 16_000).probabilities for model in (original, half))
    assert probabilities == pytest.approx(expected, abs=0.01) and probabilities != expected


def test_export_int8_of_small_layers_fails_and_writes_nothing(
    tiny_run: Path, tiny_corpora: Path, tmp_path: Path
) -> None:
    result = run_kanjo("export", tiny_run, "-o", tmp_path / "none", "--int8", "--corpus-root", tiny_corpora)
    assert result.returncode == 1 and "no fully connected layer" in result.stderr
    assert not (tmp_path / "none").exists()


@pytest.mark.slow
def test_export_int8_and_fp16_shrinks_the_graph_and_scores_it(tiny_corpora: Path, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    overrides = (word for setting in [*WHISPER, *SHORT] for word in ("--set", setting))
    trained = run_kanjo(*train_arguments(Path("whisper-tiny"), tiny_corpora, folder.path), *overrides)
    assert trained.returncode == 0, trained.stderr
    command = ["export", folder, "-o", tmp_path / "small", "--int8", "--fp16", "--no-weights"]
    without_corpora = run_kanjo(*command)
    assert without_corpora.returncode == 1 and "--corpus-root" in without_corpora.stderr
    result = run_kanjo(*command, "--corpus-root", tiny_corpora)
    assert result.returncode == 0, result.stderr
    size, small_size = ((path / "model.onnx").stat().st_size for path in (folder.bundle, tmp_path / "small"))
    assert small_size < 0.4 * size
    metadata = json.loads((tmp_path / "small" / "bundle.json").read_text(encoding="utf-8"))
    assert "fully connected layers" in metadata["quantization"] and "stored in fp16" in metadata["quantization"]
    assert metadata["scores"]["n"] == 16
    assert "Quantized: " in (tmp_path / "small" / "README.md").read_text(encoding="utf-8")
