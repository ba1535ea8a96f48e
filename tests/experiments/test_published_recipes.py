"""The recipes of the published systems: one epoch on a tiny corpus, export, and prediction with the bundle."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import read_table
from tests.shell import run_kanjo

#: Overrides that adapt each recipe to eight tiny actors. The layers stay, except for smaller images for AlexNet.
KERAS = ("corpora=[{name: ravdess, limit_per_emotion: 8}]", "split={protocol: speaker_kfold, n_folds: 4}")
REFERENCE = (
    "corpora=[{name: ravdess, limit_per_emotion: 8}]",
    "split={protocol: speaker_kfold, n_folds: 4}",
    "model.weights=none",
    "model.segment.size=63",
    "stage1.epochs=1",
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("cnn-lstm-2d-keras", KERAS),
        ("cnn-lstm-1d-keras", (*KERAS, "audio.window_s=2", "audio.hop_s=1")),
        ("dcnn-blstm-reference", REFERENCE),
    ],
)
def test_published_recipe_trains_exports_and_predicts(
    name: str, overrides: tuple[str, ...], tiny_corpora: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    options = [part for override in (*overrides, "training.epochs=1") for part in ("--set", override)]
    result = run_kanjo("train", name, "--corpus-root", tiny_corpora, "-o", run, "--threads", "1", *options)
    assert result.returncode == 0, result.stderr
    assert len(read_table(run / "metrics.csv")) == 1
    metadata = json.loads((run / "bundle" / "bundle.json").read_text(encoding="utf-8"))
    assert metadata["export_check"]["largest_difference"] <= 1e-4
    clip = next((tiny_corpora / "ravdess").glob("*/*.wav"))
    predicted = run_kanjo("predict", "--model", run, clip, "--format", "json")
    assert predicted.returncode == 0, predicted.stderr
    probabilities = json.loads(predicted.stdout)[0]["probabilities"]
    assert list(probabilities) == metadata["labels"] and sum(probabilities.values()) == pytest.approx(1, abs=1e-3)
    counts = [row["emotion"] for row in read_table(run / "split.csv")]
    assert max(counts.count(emotion) for emotion in set(counts)) == 8
