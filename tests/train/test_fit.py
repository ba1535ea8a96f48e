"""Training for real: Lightning, torch, generated and real speech."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from kanjo.corpora import Manifest, Utterance
from kanjo.corpora.splits import Fold
from kanjo.errors import CorpusError, RecipeError
from kanjo.train.calibration.temperature import fit_temperature
from kanjo.train.config.loading import load_recipe
from kanjo.train.data.audio_cache import Item, pack
from kanjo.train.data.datasets import Windows
from kanjo.train.data.experiment_data import Material, prepare
from kanjo.train.fit import fit
from kanjo.train.tasks.base import uar
from tests.conftest import table, train_command, train_words
from tests.shell import typed


def test_the_run_folder_holds_what_the_design_says(tiny_run: Path) -> None:
    expected = {
        "recipe.yaml", "split.csv", "log.txt", "metrics.csv", "checkpoints", "learning_curves.png", "confusion_matrix.png",
        "predictions.csv", "scores.json", "report.html", "bundle", "speakers.png",
    }  # fmt: skip
    assert expected <= {path.name for path in tiny_run.iterdir()}
    assert any(path.name.startswith("events.out.tfevents") for path in tiny_run.iterdir())
    assert {path.name for path in (tiny_run / "bundle").iterdir()} == {
        "model.onnx",
        "bundle.json",
        "README.md",
        "weights.safetensors",
    }
    rows = table(tiny_run / "metrics.csv")
    assert [float(row["epoch"]) for row in rows] == list(range(1, len(rows) + 1))
    assert float(rows[-1]["train_loss"]) < float(rows[0]["train_loss"])
    log = (tiny_run / "log.txt").read_text()
    assert "speaker-independent: none of the 2 test speakers" in log
    assert "best epoch" in log and "test: UAR" in log


def test_it_learns_pitches_it_was_shown(tiny_run: Path) -> None:
    scores = json.loads((tiny_run / "scores.json").read_text())
    assert scores["n"] == 16
    assert scores["uar"]["value"] > 0.4  # chance is 0.125


def test_no_test_speaker_trains_or_validates(tiny_run: Path) -> None:
    sides: dict[str, set[str]] = {"train": set(), "validation": set(), "test": set()}
    for row in table(tiny_run / "split.csv"):
        sides[row["split"]].add(row["speaker"])
    assert len(sides["test"]) == 2
    assert not sides["test"] & (sides["train"] | sides["validation"])
    assert not sides["train"] & sides["validation"]
    predicted = {row["speaker"].split("/")[1] for row in table(tiny_run / "predictions.csv")}
    assert predicted == sides["test"]


def test_a_run_killed_in_the_middle_goes_on_and_ends_like_one_that_was_not(
    tiny_corpora: Path, tiny_recipe: Path, tiny_run: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    command = train_command(tiny_recipe, tiny_corpora, run)
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("epoch 4"):
                break
        os.kill(process.pid, signal.SIGKILL)
    assert not (run / "bundle").exists()
    before = [float(row["epoch"]) for row in table(run / "metrics.csv")]
    assert len(before) >= 4
    resumed = subprocess.run([*command, "--resume"], capture_output=True, text=True)
    assert resumed.returncode == 0, resumed.stderr
    first = next(line for line in resumed.stderr.splitlines() if line.startswith("epoch "))
    assert int(first.split()[1]) >= len(before), "more than one epoch was lost"
    rows = table(run / "metrics.csv")
    assert [float(row["epoch"]) for row in rows] == list(range(1, len(rows) + 1))
    assert (run / "bundle" / "model.onnx").is_file()


def test_ctrl_c_stops_with_a_word(tiny_corpora: Path, tiny_recipe: Path, tmp_path: Path) -> None:
    command = [*train_command(tiny_recipe, tiny_corpora, tmp_path / "run"), "--set", "training.epochs=900"]
    command += ["--set", "training.patience=900"]
    # a shell's background job ignores interrupts, and its children with it: this one shall not
    listening = functools.partial(signal.signal, signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, preexec_fn=listening
    ) as process:
        assert process.stderr is not None
        next(line for line in process.stderr if line.startswith("epoch 2"))
        # pressed again if need be: an interrupt that Python raises inside a finaliser is lost
        while process.poll() is None:
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=30)
        said = process.stderr.read()
    assert process.returncode == 130
    assert said.splitlines()[-1] == f"kanjo: stopped; go on with --resume -o {tmp_path / 'run'}"
    assert "Traceback" not in said


def test_a_full_folder_and_another_recipe_are_refused(tiny_corpora: Path, tiny_recipe: Path, tiny_run: Path) -> None:
    base = train_words(tiny_recipe, tiny_corpora, tiny_run)
    done = typed(*base)
    assert done.returncode == 1 and "is not empty; go on with it by --resume" in done.stderr
    done = typed(*base, "--resume", "--set", "training.epochs=2")
    assert done.returncode == 1 and "was begun with another recipe" in done.stderr


def _material(
    paths: list[Path], labels: list[int], emotions: tuple[str, ...], overrides: list[str], cache: Path
) -> Material:
    recipe = load_recipe("cnn-lstm-2d-long", overrides)
    packed = pack([Item(path) for path in paths], recipe.audio.sample_rate, cache)
    rows = tuple(
        Utterance("ravdess", path.name, emotions[label], speaker=str(n))
        for n, (path, label) in enumerate(zip(paths, labels, strict=True))
    )
    return Material(recipe, rows, tuple(paths), emotions, tuple(labels), (), packed)


def test_the_network_overfits_eight_real_clips(ravdess_clips: list[Path], tmp_path: Path) -> None:
    """Clips of one actor, one of each emotion; trained on all and asked for all. A network that can't is broken."""
    paths = [next(path for path in ravdess_clips if path.stem == f"03-01-{e:02d}-01-01-01-03") for e in range(1, 9)]
    calm = [
        "augment.mixup=0",
        "augment.speed=0",
        "augment.gain_db=0",
        "augment.frequency_masks=0",
        "augment.time_masks=0",
    ]
    more = [
        "training.label_smoothing=0",
        "network.dropout=0",
        "training.epochs=30",
        "training.batch_size=8",
        "training.learning_rate=3e-3",
    ]
    emotions = ("anger", "calm", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
    material = _material(
        paths, list(range(8)), emotions, [*calm, *more, "audio.placement=start", "training.patience=30"], tmp_path
    )
    everything = tuple(range(8))
    fitted = fit(material, Fold(1, "all", everything, everything, ()), tmp_path / "run")
    batch = Windows(material.pack, everything, material.labels, material.recipe.audio.window).__getitems__(everything)
    with torch.inference_mode():
        logits = fitted.system(batch["signal"])[0]
    assert uar(batch["label"], logits.argmax(1), 8) == 1.0


def test_temperature_mends_overconfidence() -> None:
    torch.manual_seed(0)
    labels = torch.randint(0, 4, (2000,))
    honest = torch.nn.functional.one_hot(labels, 4) * 2.0 + torch.randn(2000, 4)
    assert fit_temperature(honest * 5, labels) == pytest.approx(5 * fit_temperature(honest, labels), rel=0.05)


def test_each_speaker_has_one_say_in_the_temperature() -> None:
    torch.manual_seed(0)
    labels = torch.randint(0, 4, (2000,))
    right = torch.nn.functional.one_hot(labels, 4) * 4.0
    wrong = torch.nn.functional.one_hot((labels + 1) % 4, 4) * 4.0
    # speaker 0 has 1800 clips, most of them answered wrongly and surely; ten others are answered rightly
    speakers = torch.cat([torch.zeros(1800), 1 + torch.arange(200) % 10]).long()
    logits = torch.where((torch.arange(2000) < 1200).unsqueeze(1), wrong, right)
    assert fit_temperature(logits, labels, speakers) < 0.75 * fit_temperature(logits, labels)


def test_uar_counts_only_emotions_that_occur() -> None:
    assert uar(torch.tensor([0, 0, 1]), torch.tensor([0, 2, 1]), 4) == pytest.approx(0.75)


def test_unknown_corpora_missing_emotions_and_folds_are_refused(tiny_corpora: Path, tiny_recipe: Path) -> None:
    with pytest.raises(RecipeError, match="Give --corpus-root"):
        prepare(load_recipe(str(tiny_recipe)), None)
    with pytest.raises(CorpusError, match="not found below"):
        prepare(load_recipe(str(tiny_recipe), ["corpora=[nemo]"]), str(tiny_corpora))
    with pytest.raises(CorpusError, match="no utterance of boredom"):
        prepare(load_recipe(str(tiny_recipe), ["labels.keep=[anger, boredom]"]), str(tiny_corpora))
    material = prepare(load_recipe(str(tiny_recipe)), str(tiny_corpora))
    with pytest.raises(RecipeError, match="split.fold is 9; speakers-k has folds 1 to 4"):
        material.fold(9)


def test_labels_are_joined_and_kept_in_order(tiny_corpora: Path, tiny_recipe: Path) -> None:
    overrides = ["labels.map={calm: neutral}", "labels.keep=[neutral, anger]"]
    material = prepare(load_recipe(str(tiny_recipe), overrides), str(tiny_corpora))
    assert material.emotions == ("neutral", "anger")
    assert np.bincount(material.labels).tolist() == [16, 8]


def test_a_manifest_is_a_corpus_too(tiny_corpora: Path, tiny_recipe: Path, tmp_path: Path) -> None:
    from kanjo.corpora import read_corpus, write_manifest

    found: Manifest = read_corpus("ravdess", tiny_corpora / "ravdess")
    write_manifest(tiny_corpora / "ravdess" / "m.csv", found.utterances)
    override = f"corpora=[{{name: manifest, path: {tiny_corpora / 'ravdess' / 'm.csv'}}}]"
    assert len(prepare(load_recipe(str(tiny_recipe), [override]), None).rows) == 64


def test_disk_full_while_checkpoints_are_written(tiny_corpora: Path, tiny_recipe: Path, tmp_path: Path) -> None:
    """A file size limit stands in for a full disk: one line, exit 1, no half checkpoint."""
    run = tmp_path / "run"
    script = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (30000, 30000))\nfrom kanjo.cli import main; main()"
    )
    arguments = [*train_words(tiny_recipe, tiny_corpora, run), "--set", "training.epochs=1"]
    started = time.monotonic()
    prepare(load_recipe(str(tiny_recipe)), str(tiny_corpora))  # so that the pack is there
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert "can't write" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert list((run / "checkpoints").glob("*")) == []
    assert time.monotonic() - started < 120


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told to keep memory")
def test_freed_memory_is_kept_for_the_next_step() -> None:
    script = """
import resource, numpy
from kanjo.train.optimise import keep_freed_memory
keep_freed_memory()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        numpy.empty(64 << 20, numpy.uint8)[::4096] = 1
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(faults())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 1000  # 20 x 16384 pages without it
