"""Training that starts from a bundle: its weights come out of the file beside the graph, or out of the graph."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnx.numpy_helper
import pytest
import torch

from kanjo import bundle
from kanjo.train.export.quantize import fp16_weights
from tests import corpora_fixtures as tiny
from tests.conftest import TINY_RECIPE, table
from tests.shell import typed


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips of one's own: two emotions that the tiny bundle knows, at its pitches, and one that it doesn't."""
    root = tmp_path_factory.mktemp("own")
    lines = ["file,emotion,speaker"]
    for speaker in range(6):
        for n, (emotion, step) in enumerate((("happy", 3), ("angry", 5), ("boredom", 9))):
            for take in range(2):
                name = f"{speaker}-{emotion}-{take}.wav"
                tiny.clip(root / name, 1000 + 10 * speaker + 3 * take + n, 0.5, 150.0 * 1.3**step)
                lines.append(f"{name},{emotion},s{speaker}")
    (root / "mine.csv").write_text("\n".join(lines) + "\n")
    return root / "mine.csv"


def _recipe(folder: Path, init: Path | str, own: Path, **changes: str) -> Path:
    text = TINY_RECIPE.replace("name: tiny", "name: mine").replace(
        "corpora: [ravdess]", f"corpora: [{{name: own, path: {own}}}]"
    )
    for old, new in changes.items():
        text = text.replace(f"{old}: ", f"{old}: {new} #")
    path = folder / "mine.yaml"
    path.write_text(text.replace("k: 4", "k: 3").replace("epochs: 25", "epochs: 2") + f"init: {init}\n")
    return path


def _train(recipe: Path, run: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return typed("train", recipe, "-o", run, *more)


@pytest.mark.parametrize("source", ["weights", "graph", "fp16"])
def test_training_starts_where_the_bundle_stands(tiny_run: Path, own: Path, tmp_path: Path, source: str) -> None:
    """After two epochs at next to no rate the emotions that the bundle knows are still known; a new one is in the labels."""
    donor = tmp_path / "donor"
    shutil.copytree(tiny_run / "bundle", donor)
    if source != "weights":
        (donor / bundle.WEIGHTS).unlink()
    if source == "fp16":
        graph, n = fp16_weights((donor / bundle.GRAPH).read_bytes())
        assert n, "some of its weights are large enough"
        facts = replace(bundle.read(donor).facts, sha256=hashlib.sha256(graph).hexdigest())
        donor = tmp_path / "half"
        bundle.write(donor, graph, facts)
    recipe = _recipe(tmp_path, donor, own)
    done = _train(recipe, tmp_path / "run", "--set", "training.learning_rate=1e-9", "--set", "training.weight_decay=0")
    assert done.returncode == 0, done.stderr
    assert "starts from the bundle tiny; emotions it knows: anger, happiness" in done.stderr
    facts = bundle.read(tmp_path / "run").facts
    assert facts.labels == ("anger", "boredom", "happiness")
    rows = [row for row in table(tmp_path / "run" / "predictions.csv") if row["emotion"] != "boredom"]
    told_apart = [(float(row["anger"]) > float(row["happiness"])) == (row["emotion"] == "anger") for row in rows]
    assert len(rows) == 8 and sum(told_apart) >= 7


def test_what_passes_on_with_the_weights(tiny_run: Path, own: Path, tmp_path: Path) -> None:
    done = _train(_recipe(tmp_path, tiny_run, own), tmp_path / "run")
    assert done.returncode == 0, done.stderr
    facts = bundle.read(tmp_path / "run").facts
    assert facts.licence == "CC BY-NC-SA 4.0; the licence of your own recordings"
    assert [corpus["name"] for corpus in facts.corpora] == ["ravdess", "own"] or facts.corpora[0]["name"] == "ravdess"
    donor = bundle.read(tiny_run).facts
    assert set(donor.split["train_speakers"]) <= set(facts.split["train_speakers"])
    assert "the bundle tiny, which training starts from, has heard none of the test speakers" in done.stderr


def test_a_test_speaker_that_the_bundle_has_heard_is_a_leak(tiny_run: Path, tiny_corpora: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "again.yaml"
    recipe.write_text(TINY_RECIPE.replace("epochs: 25", "epochs: 1") + f"init: {tiny_run}\n")
    done = _train(recipe, tmp_path / "run", "--corpus-root", str(tiny_corpora), "--fold", "2")
    assert done.returncode == 0, done.stderr
    assert "LEAK: the bundle tiny, which training starts from, was trained on 2 of 2 test speakers" in done.stderr
    audit = json.loads((tmp_path / "run" / "scores.json").read_text())["audit"]
    assert any(line.startswith("LEAK") for line in audit)


def test_bundles_that_do_not_fit_are_one_line(tiny_run: Path, own: Path, tmp_path: Path) -> None:
    other = _train(_recipe(tmp_path, tiny_run, own, lstm_units="8"), tmp_path / "a")
    assert other.returncode == 1
    assert (
        "init: the bundle tiny holds another network: network.lstm_units is 8, the bundle's 16"
        in other.stderr.splitlines()[-1]
    )
    none = _train(_recipe(tmp_path, tmp_path / "nowhere", own), tmp_path / "b")
    assert none.returncode == 1 and "nowhere" in none.stderr.splitlines()[-1]
    damaged = tmp_path / "damaged"
    shutil.copytree(tiny_run / "bundle", damaged)
    import torch
    from safetensors.torch import load_file, save_file

    state = load_file(damaged / bundle.WEIGHTS)
    save_file(
        {key: value + 0.1 if value.dtype == torch.float32 else value for key, value in state.items()},
        damaged / bundle.WEIGHTS,
    )
    wrong = _train(_recipe(tmp_path, damaged, own), tmp_path / "c")
    assert wrong.returncode == 1 and "its weights don't make its graph's answers" in wrong.stderr.splitlines()[-1]


def test_the_default_bundle_gives_its_weights(corpora: Path, tmp_path: Path) -> None:
    """The tutorial's command, shortened: an epoch on the Korean clips, from the bundle in the box."""
    changes = ("corpora=[emotiontts]", "training.epochs=1", "training.refit=false", "training.versions=0")
    said = [word for change in changes for word in ("--set", change)]
    done = typed("train", "finetune-default", "--corpus-root", corpora, "-o", tmp_path / "r", *said, "--untested")
    assert done.returncode == 0, done.stderr
    assert "starts from the bundle default; emotions it knows: anger, happiness, neutral, sadness" in done.stderr
    assert "160 utterances train, 40 validate, 100 test" in done.stderr
    state = torch.load(tmp_path / "r" / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    kept = {name.removeprefix("system."): value for name, value in state.items()}
    there = onnx.load(bundle.read("default").graph).graph.initializer
    held = {item.name.removesuffix(".fp16"): onnx.numpy_helper.to_array(item) for item in there}
    np.testing.assert_allclose(kept["network.norm.mean"], held["network.norm.mean"].astype(np.float32), atol=1e-3)
    theirs = held["network.output.weight"].astype(np.float32).T[[0, 3, 4, 5]]
    apart = np.abs(kept["network.output.weight"].numpy() - theirs).max()
    assert 1e-3 < apart < np.abs(theirs).max(), "the heads have moved, from where the bundle's are"
