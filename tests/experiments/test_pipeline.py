"""Commands around training: looking ahead, several recipes side by side, jobs that die, pictures of what a network sees."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from kanjo.experiments.subprocesses import Job, run_jobs
from kanjo.train.config.loading import load_recipe
from tests.conftest import TINY_RECIPE, train_command
from tests.corpora_fixtures import clip
from tests.shell import typed

# looking ahead


def test_a_dry_run_says_what_would_be_and_writes_nothing(
    tiny_recipe: Path, tiny_corpora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = typed("train", tiny_recipe, "--corpus-root", tiny_corpora, "--dry-run", "-s")
    assert done.returncode == 0, done.stderr
    assert "speaker-independent: none of the 2 test speakers" in done.stdout
    assert re.search(r"tiny: [\d,]+ parameters, emotions anger, calm", done.stdout)
    assert re.search(r"at most \d+ minutes for 25 epochs, \d\.\d GB of memory", done.stdout)
    assert not list(tmp_path.iterdir())
    sound = typed(
        "train", "mobilenet", "--corpus-root", tiny_corpora, "--dry-run", "-s", "--set", "split.protocol=speakers-k"
    )
    assert sound.returncode == 0, sound.stderr  # its weights are "auto": not looked for, and not needed
    assert "mobilenet: 528,809 parameters" in sound.stdout
    staged = typed(
        "train",
        "dcnn-blstm-attention",
        "--corpus-root",
        tiny_corpora,
        "--dry-run",
        "--set",
        "split.protocol=speakers-k",
    )
    assert staged.returncode == 1 and "has two stages; what is measured has one" in staged.stderr


# several recipes


def test_recipes_are_trained_and_compared(tiny_corpora: Path, tmp_path: Path) -> None:
    short = TINY_RECIPE.replace("epochs: 25", "epochs: 2")
    for name, filters in (("small", "[4, 4, 8, 8]"), ("large", "[8, 8, 16, 16]")):
        text = short.replace("name: tiny", f"name: {name}").replace("[8, 8, 16, 16]", filters)
        (tmp_path / f"{name}.yaml").write_text(text)
    command = [
        "compare",
        tmp_path / "small.yaml",
        tmp_path / "large.yaml",
        "--corpus-root",
        tiny_corpora,
        "-o",
        tmp_path / "c",
    ]
    done = typed(*command)
    assert done.returncode == 0, done.stderr
    assert "small-fold-1" in done.stdout and "large-fold-1" in done.stdout
    assert re.search(r"(can't be told apart|is better than)", done.stdout)
    page = (tmp_path / "c" / "comparison.html").read_text()
    assert "Who wins" in page and page.count("<tr><th>") >= 2
    again = typed(*command, "--resume")
    assert again.returncode == 0 and again.stdout == done.stdout and "epoch" not in again.stderr  # what is done stays
    twice = typed("compare", tmp_path / "small.yaml", tmp_path / "small.yaml", "--corpus-root", tiny_corpora)
    assert twice.returncode == 1 and "two recipes of one name and fold" in twice.stderr


def test_a_job_that_is_killed_is_tried_once_more(
    tiny_corpora: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text(TINY_RECIPE)
    job = Job("fold 1", tmp_path / "run", recipe, ("--fold", "1"))

    def kill() -> None:
        until = time.monotonic() + 60
        while not (tmp_path / "run" / "metrics.csv").is_file() and time.monotonic() < until:
            time.sleep(0.05)
        found = subprocess.run(["pgrep", "-f", f"train {recipe}"], capture_output=True, text=True).stdout.split()
        for process in found:
            os.kill(int(process), signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    run_jobs([job], str(tiny_corpora), 1, silent=True)
    thread.join()
    assert "fold 1 died (exit -9); once more" in capsys.readouterr().err
    assert (tmp_path / "run" / "scores.json").is_file()


def test_a_job_that_fails_is_named_and_the_rest_goes_on(
    tiny_corpora: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, text in (("bad", TINY_RECIPE.replace("fold", "fold") + "nonsense: 1\n"), ("good", TINY_RECIPE)):
        (tmp_path / f"{name}.yaml").write_text(text.replace("epochs: 25", "epochs: 1"))
    run_jobs([Job(n, tmp_path / n, tmp_path / f"{n}.yaml") for n in ("bad", "good")], str(tiny_corpora), 1, silent=True)
    said = capsys.readouterr().err
    assert "bad failed (exit 1)" in said and "unknown key 'nonsense'" in said and "once more" not in said
    assert (tmp_path / "good" / "scores.json").is_file()


# tracking


def test_metrics_go_to_mlflow_too(tiny_recipe: Path, tiny_corpora: Path, tmp_path: Path) -> None:
    pytest.importorskip("mlflow", reason="MLflow is not installed (kanjo[mlflow])")
    from mlflow.tracking import MlflowClient

    uri = f"sqlite:///{tmp_path}/ml.db"
    command = train_command(tiny_recipe, tiny_corpora, tmp_path / "run")
    command += ["--set", "training.epochs=2"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"MLFLOW_TRACKING_URI": uri})
    assert done.returncode == 0, done.stderr
    client = MlflowClient(uri)
    (run,) = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    assert {"train/loss", "validation/uar"} <= set(run.data.metrics)
    assert list((tmp_path / "run").glob("events.out.tfevents.*"))


def test_an_mlflow_that_is_not_there_is_one_line(tiny_recipe: Path, tiny_corpora: Path, tmp_path: Path) -> None:
    command = train_command(tiny_recipe, tiny_corpora, tmp_path / "run")
    environment = os.environ | {"MLFLOW_TRACKING_URI": f"file://{tmp_path}/ml"}
    done = subprocess.run([*command, "-s"], capture_output=True, text=True, env=environment)
    assert done.returncode == 1 and len(done.stderr.strip().splitlines()) == 1
    assert "MLflow" in done.stderr


# recipes that stand on others


def test_a_recipe_takes_from_its_base_what_it_does_not_say(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(TINY_RECIPE)
    (tmp_path / "mine.yaml").write_text("name: mine\nbase: base.yaml\ntraining: {epochs: 7}\nnetwork: {dropout: 0.5}\n")
    base, mine = load_recipe(str(tmp_path / "base.yaml")), load_recipe(str(tmp_path / "mine.yaml"))
    assert mine.training.epochs == 7 and mine.training.learning_rate == base.training.learning_rate
    assert mine.network.dropout == 0.5 and mine.network.lstm_units == 16  # type: ignore[union-attr]
    (tmp_path / "own.yaml").write_text(
        "name: own\nbase: mobilenet\nablations: {small batches: [training.batch_size=8]}\n"
    )
    assert list(load_recipe(str(tmp_path / "own.yaml")).ablations) == ["small batches"], (
        "its own, not the base's beside them"
    )
    (tmp_path / "raw.yaml").write_text(
        "name: raw\nbase: mine.yaml\nfrontend: {type: waveform}\nnetwork: {type: cnn-lstm-1d}\n"
    )
    raw = load_recipe(str(tmp_path / "raw.yaml"))
    assert raw.network.lstm_units == 64  # type: ignore[union-attr]  # another type takes nothing of the base's network
    (tmp_path / "mine.yaml").write_text("name: mine\nbase: mine.yaml\n")
    with pytest.raises(Exception, match="leads back to itself"):
        load_recipe(str(tmp_path / "mine.yaml"))
    (tmp_path / "mine.yaml").write_text("name: mine\nbase: cnn-lstm-2\n")
    with pytest.raises(Exception, match="unknown recipe 'cnn-lstm-2'; did you mean cnn-lstm-2d"):
        load_recipe(str(tmp_path / "mine.yaml"))


@pytest.mark.parametrize("network", ["1d", "2d"])
@pytest.mark.parametrize("corpus", ["emodb-dependent", "emodb-independent", "aihub", "nemo"])
def test_the_missions_recipes_are_there(network: str, corpus: str) -> None:
    recipe = load_recipe(f"cnn-lstm-{network}-{corpus}")
    assert recipe.network.type == f"cnn-lstm-{network}"
    protocol = {"emodb-dependent": "random", "emodb-independent": "loso", "aihub": "random", "nemo": "loso"}[corpus]
    assert recipe.split.protocol == protocol
    assert {section.name for section in recipe.corpora} <= {"emodb", "aihub-first", "nemo"}


def test_the_port_is_trained_as_the_port() -> None:
    port = load_recipe("cnn-lstm-1d-port")
    assert (port.training.optimizer, port.training.learning_rate, port.training.momentum) == ("sgd", 1e-4, 0.9)
    assert port.network.read == "last" and load_recipe("cnn-lstm-1d").network.read == "mean"  # type: ignore[union-attr]


# pictures


def test_plots_have_the_shapes_that_are_promised(tmp_path: Path) -> None:
    path = clip(tmp_path / "a.wav", seconds=3.0)
    mel = typed("plot", "mel", path, "-o", tmp_path / "mel.png")
    assert mel.returncode == 0 and mel.stderr == "128 mels x 251 frames\n" and mel.stdout == f"{tmp_path / 'mel.png'}\n"
    segments = typed("plot", "segments", path, "-o", tmp_path / "s.svg")
    assert segments.returncode == 0 and segments.stderr == "8 segments of 3 x 64 x 64\n"
    assert "<svg" in (tmp_path / "s.svg").read_text()
    assert typed("plot", "wave", path, "-o", tmp_path / "w.png").returncode == 0
    for name in ("mel", "w"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_a_tone_lights_its_mel_row() -> None:
    from kanjo.train.features.spectrogram_images import log_mels_of, segments_of
    from kanjo.train.tasks.base import frontend_of
    from tests.corpora_fixtures import tone

    recipe = load_recipe("cnn-lstm-2d", ["frontend.normalization=none"])
    frontend = frontend_of(recipe)
    low, high = log_mels_of(frontend, [tone(2.0, 300), tone(2.0, 3000)], recipe.audio.window)  # type: ignore[arg-type]
    assert low.shape == (128, 251)
    assert low[:, 20].argmax() < 20 < 60 < high[:, 20].argmax()
    assert np.allclose(low[:, 100:], low.min())  # behind two seconds there is padding
    staged = load_recipe("dcnn-blstm-attention")
    found = segments_of(frontend_of(staged), tone(2.0, 300), 64, 32)  # type: ignore[arg-type]
    assert {segment.shape for segment in found} == {(3, 64, 64)} and len(found) >= 4


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("mel", "a.gif"), "expected a name that ends in .png or .svg"),
        (("mel", "a.png", "--recipe", "cnn-lstm-1d"), "hears raw samples, no log-mels"),
        (("segments", "a.png", "--recipe", "cnn-lstm-2d"), "its network reads no segments"),
    ],
)
def test_plots_that_can_not_be_are_one_line(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    path = clip(tmp_path / "a.wav")
    done = typed("plot", words[0], path, "-o", tmp_path / words[1], *words[2:])
    assert done.returncode == 1 and said in done.stderr and len(done.stderr.splitlines()) == 1
