"""Both stages of the DCNN-BLSTM for real: the command on a tiny corpus, and learning on real clips."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from kanjo.cli.ablate import WHOLE
from kanjo.corpora import Utterance
from kanjo.corpora.splits import Fold
from kanjo.train.config.loading import load_recipe
from kanjo.train.data.audio_cache import Item, pack
from kanjo.train.data.experiment_data import Material, prepare, sides
from kanjo.train.data.segment_feature_cache import cached_features
from kanjo.train.fit import fit
from kanjo.train.tasks.base import System, deep_network, system_of
from kanjo.train.tasks.two_stage import extractor_key, find_extractor, finetune, segment_counts
from tests import corpora_fixtures
from tests.conftest import table, train_words
from tests.shell import typed

#: The paper's recipe on one-second windows, for as short as it can show itself.
TINY = """
name: tiny-dcnn
corpora: [ravdess]
split: {protocol: speakers-k, k: 4}
audio: {window_s: 1.0, hop_s: 0.5}
frontend: {n_fft: 400, hop_length: 160, n_mels: 64, fmin: 20, fmax: 8000, mel_scale: htk, with_deltas: true, normalization: image}
network: {type: dcnn-blstm-attention, weights: none, lstm_units: 16, hidden: [32, 16]}
finetune: {epochs: 2, batch_size: 16, optimizer: adam, schedule: exponential, decay: 0.7, floor: 0.1, patience: 9}
training: {epochs: 3, batch_size: 8, optimizer: adam, learning_rate: 3.0e-3, schedule: exponential, decay: 0.9, patience: 9}
ablations:
  no attention: [network.attention=mean]
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "tiny-dcnn.yaml"
    path.write_text(TINY, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def staged(recipe: Path, tiny_corpora: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run made one stage at a time, and what the second said."""
    run = tmp_path_factory.mktemp("runs") / "first"
    command = train_words(recipe, tiny_corpora, run)
    refused = typed(*command, "--stage", "train")
    assert refused.returncode == 1
    assert (
        "no finetuned extractor of this recipe and fold" in refused.stderr and "--stage finetune -o" in refused.stderr
    )
    one = typed("train", run, "--corpus-root", tiny_corpora, "--stage", "finetune", "-o", run)
    assert one.returncode == 0, one.stderr
    assert f"next: kanjo train {run} --stage train -o {run}" in one.stderr
    assert not (run / "bundle").exists()
    twice = typed(*command, "--stage", "finetune")
    assert twice.returncode == 1 and "is not empty; go on with it by --resume" in twice.stderr
    two = typed(*command, "--stage", "train")
    assert two.returncode == 0, two.stderr
    return run, two.stderr


def test_each_stage_leaves_its_log_curves_and_matrix(staged: tuple[Path, str]) -> None:
    run, said = staged
    for folder, epochs in ((run / "finetune", 2), (run, 3)):
        assert {"metrics.csv", "learning_curves.png", "confusion_matrix.png"} <= {
            path.name for path in folder.iterdir()
        }
        rows = table(folder / "metrics.csv")
        assert len(rows) == epochs
        rates = [float(row["learning_rate"]) for row in rows]
        assert rates == sorted(rates, reverse=True) and rates[-1] > 0
        assert any(path.name.startswith("events.out.tfevents") for path in folder.iterdir())
    log = (run / "log.txt").read_text()
    assert "finetune: best epoch" in log and f"extractor: {run / 'finetune' / 'extractor.safetensors'}" in log
    assert "features of" in said
    assert not (run / "finetune" / "checkpoints").exists(), "three times the network's size, and no longer of use"
    with safe_open(run / "finetune" / "extractor.safetensors", "pt") as content:
        assert "features.0.weight" in content.keys()  # noqa: SIM118, safetensors' handle is no mapping
        assert len(content.metadata()["key"]) == 64


def test_a_runs_minutes_are_those_of_both_stages(staged: tuple[Path, str]) -> None:
    run, _ = staged
    first, second = (
        sum(float(row["seconds"]) for row in table(folder / "metrics.csv")) for folder in (run / "finetune", run)
    )
    minutes = json.loads((run / "scores.json").read_text())["minutes"]
    assert first > 0 and minutes == pytest.approx((first + second) / 60, abs=1e-3)
    assert f"{minutes:.1f} minutes of training" in (run / "report.html").read_text(encoding="utf-8")


def test_the_bundle_answers_and_agrees_with_torch(staged: tuple[Path, str], tiny_corpora: Path) -> None:
    run, _ = staged
    facts = json.loads((run / "bundle" / "bundle.json").read_text())
    assert facts["parity"]["largest_difference"] <= 1e-4
    clip = next((tiny_corpora / "ravdess").glob("*/*.wav"))
    done = typed("predict", "--model", run, clip, "--format", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["label"] in facts["labels"]


def test_fp16_halves_the_file_and_says_what_it_costs(tiny_run: Path, tiny_corpora: Path, tmp_path: Path) -> None:
    import kanjo

    command = ["export", tiny_run, "-o", tmp_path / "half", "--fp16", "--no-weights"]
    done = typed(*command, "--corpus-root", tiny_corpora)
    assert done.returncode == 0, done.stderr
    assert re.search(r"MB -> .* MB, UAR [\d.]+ % -> [\d.]+ %", done.stdout)
    whole, half = kanjo.load(tiny_run), kanjo.load(tmp_path / "half")
    assert half.bundle.graph.stat().st_size < whole.bundle.graph.stat().st_size
    assert "stored in fp16" in half.facts.quantization
    signal = corpora_fixtures.tone(0.8, 300)
    one, other = whole.predict_signal(signal, 16_000), half.predict_signal(signal, 16_000)
    assert (
        one.probabilities == pytest.approx(other.probabilities, abs=0.01) and one.probabilities != other.probabilities
    )
    command = ["export", tiny_run, "-o", tmp_path / "none", "--int8", "--corpus-root", tiny_corpora]
    none = typed(*command)
    assert none.returncode == 1 and "no fully connected layer that is large enough" in none.stderr
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("both", [False, True])
def test_int8_is_a_third_and_says_what_it_costs(
    staged: tuple[Path, str], tiny_corpora: Path, tmp_path: Path, both: bool
) -> None:
    run, _ = staged
    command = ["export", run, "-o", tmp_path / "small", "--int8", *(["--fp16"] if both else []), "--no-weights"]
    refused = typed(*command)
    assert refused.returncode == 1 and "give --corpus-root" in refused.stderr
    done = typed(*command, "--corpus-root", tiny_corpora)
    assert done.returncode == 0, done.stderr
    assert "MB, UAR" in done.stdout and len(done.stdout.splitlines()) == 1
    sizes = [(folder / "model.onnx").stat().st_size for folder in (run / "bundle", tmp_path / "small")]
    assert sizes[1] < (0.3 if both else 0.4) * sizes[0]
    facts = json.loads((tmp_path / "small" / "bundle.json").read_text())
    assert ("stored in fp16" in facts["quantization"]) is both
    assert facts["quantization"].startswith("2 fully connected layers") and facts["scores"]["n"] == 16
    assert "Quantised: 2 fully connected layers" in (tmp_path / "small" / "README.md").read_text()
    clip = next((tiny_corpora / "ravdess").glob("*/*.wav"))
    answers = []
    for model in (run, tmp_path / "small"):
        out = typed("predict", "--model", model, clip, "-f", "json")
        answers.append(list(json.loads(out.stdout)[0]["probabilities"].values()))
    np.testing.assert_allclose(answers[0], answers[1], atol=0.02)


def test_ablations_share_a_first_stage_and_print_their_table(recipe: Path, tiny_corpora: Path, tmp_path: Path) -> None:
    short = [
        word
        for change in ("network.segment.size=63", "finetune.epochs=1", "training.epochs=1")
        for word in ("--set", change)
    ]
    command = ["ablate", recipe, *short, "--corpus-root", tiny_corpora, "-o", tmp_path / "table"]
    done = typed(*command)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line[:28].strip() for line in lines] == ["", WHOLE, "no attention"]
    assert lines[2].split()[-1][0] in "+-"
    rows = table(tmp_path / "table" / "ablations.csv")
    assert [row["variant"] for row in rows] == [WHOLE, "no attention"]
    found = list((tmp_path / "table").glob("*/finetune"))
    assert [path.parent.name for path in found] == ["as-it-is"]
    assert "network.attention" not in done.stderr and "[no attention] extractor:" in done.stderr
    again = typed(*command, "--resume")
    assert again.stdout == done.stdout and "epoch 1" not in again.stderr


def test_misuse_is_said_in_a_line(tiny_recipe: Path, recipe: Path, tiny_corpora: Path, tmp_path: Path) -> None:
    for command, said in (
        (
            [*train_words(tiny_recipe, tiny_corpora, tmp_path / "r"), "--stage", "finetune"],
            "tiny has no stage 'finetune'",
        ),
        (["ablate", tiny_recipe, "--corpus-root", tiny_corpora], "tiny names no ablations"),
        (
            [*train_words(recipe, tiny_corpora, tmp_path / "r"), "--set", "network.weights=nothing.pth"],
            "network.weights nothing.pth: no such file",
        ),
        (
            [
                *train_words(recipe, tiny_corpora, tmp_path / "q"),
                "--set",
                "select.sex=female",
                "--set",
                "select.speakers=['01']",
            ],
            "select keeps none of ravdess's 64 utterances",
        ),
    ):
        done = typed(*command)
        assert done.returncode == 1, done.stderr
        assert said in done.stderr.splitlines()[-1] and "Traceback" not in done.stderr


def test_one_sex_takes_part(recipe: Path, tiny_corpora: Path) -> None:
    material = prepare(load_recipe(str(recipe), ["select.sex=female"]), str(tiny_corpora))
    assert {row.sex for row in material.rows} == {"female"} and len(material.rows) == 32


def _material(recipe: Path, corpora: Path, *overrides: str) -> Material:
    return prepare(load_recipe(str(recipe), list(overrides)), str(corpora))


def test_an_extractor_is_found_by_what_it_was_made_from(
    staged: tuple[Path, str], recipe: Path, tiny_corpora: Path, tmp_path: Path
) -> None:
    run, _ = staged
    same = _material(recipe, tiny_corpora, "network.attention=mean", "training.epochs=9")
    assert find_extractor(same, same.fold(1), run.parent / "another") == run / "finetune" / "extractor.safetensors"
    assert find_extractor(same, same.fold(1), tmp_path / "elsewhere") is None
    for change in ("finetune.epochs=9", "frontend.with_deltas=false", "augment.speed=0.1", "labels.keep=[anger, calm]"):
        other = _material(recipe, tiny_corpora, change)
        assert extractor_key(other, other.fold(1)) != extractor_key(same, same.fold(1)), change
        assert find_extractor(other, other.fold(1), run) is None
    assert find_extractor(same, same.fold(2), run) is None


def test_features_are_computed_once_and_are_what_the_network_computes(
    recipe: Path, tiny_corpora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    material = _material(recipe, tiny_corpora)
    system = system_of(material.recipe, 8).eval()
    train, validation = cached_features(system, sides(material, material.fold(1)), tmp_path, bf16=False)
    batch = validation.__getitems__([0, 3])
    network = deep_network(system)
    with torch.inference_mode():
        windows = sides(material, material.fold(1))[1].__getitems__([0, 3])
        logits = network.head(batch["features"].float(), batch["count"])[0]
        torch.testing.assert_close(logits, system(windows["signal"])[0], atol=1e-3, rtol=1e-3)
    assert train.values.dtype == np.float16 and isinstance(train.values, np.memmap)
    monkeypatch.setattr(
        "kanjo.train.data.segment_feature_cache._compute", None
    )  # would be called again if the cache were not read
    again, _ = cached_features(system, sides(material, material.fold(1)), tmp_path, bf16=False)
    assert np.array_equal(again.values, train.values)


def _eight(ravdess_clips: list[Path], cache: Path, *overrides: str) -> tuple[Material, Fold]:
    """One actor's eight emotions; trained on all and asked for all."""
    paths = [next(path for path in ravdess_clips if path.stem == f"03-01-{e:02d}-01-01-01-03") for e in range(1, 9)]
    emotions = ("anger", "calm", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
    recipe = load_recipe(
        "dcnn-blstm-attention", ["network.weights=none", "finetune.decay=1", "training.decay=1", *overrides]
    )
    packed = pack([Item(path) for path in paths], recipe.audio.sample_rate, cache)
    rows = tuple(Utterance("ravdess", path.name, emotions[n], speaker="03") for n, path in enumerate(paths))
    material = Material(recipe, rows, tuple(paths), emotions, tuple(range(8)), (), packed)
    return material, Fold(1, "all", tuple(range(8)), tuple(range(8)), ())


def test_each_stage_overfits_eight_real_clips(ravdess_clips: list[Path], tmp_path: Path) -> None:
    """A CNN that can't tell eight clips' segments apart is broken, and so is a head that can't tell the clips."""
    settings = ["finetune.epochs=4", "finetune.batch_size=16", "finetune.learning_rate=3e-4", "finetune.patience=4"]
    settings += ["training.epochs=30", "training.learning_rate=1e-3", "training.patience=30"]
    material, fold = _eight(ravdess_clips, tmp_path, *settings, "network.extractor_dropout=0", "network.segment.hop=64")
    often = replace(fold, train=10 * fold.train)  # ten rounds an epoch: an epoch's checkpoint is 0.7 GB
    made = finetune(material, often, tmp_path / "run")
    assert made.best.validation_uar > 0.9, "each segment is labelled as its utterance"
    assert len(made.truths) == sum(segment_counts(_system(material), sides(material, fold)[0]))
    fitted = fit(material, fold, tmp_path / "run", extractor=made.path)
    assert fitted.validation_uar == 1.0
    assert (tmp_path / "run" / "finetune" / "features").is_dir()


def test_the_whole_network_trains_along_when_it_is_not_frozen(ravdess_clips: list[Path], tmp_path: Path) -> None:
    material, fold = _eight(
        ravdess_clips, tmp_path, "network.freeze=false", "training.epochs=1", "training.batch_size=4"
    )
    before = _system(material).network.state_dict()["extractor.features.0.weight"]
    torch.manual_seed(material.recipe.training.seed)
    fitted = fit(material, fold, tmp_path / "run")
    assert not torch.equal(deep_network(fitted.system).extractor.features[0].weight, before)
    assert not (tmp_path / "run" / "features").exists()


def _system(material: Material) -> System:
    return system_of(material.recipe, len(material.emotions))
