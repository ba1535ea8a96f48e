"""The command as a user types it: exit codes, what goes to stdout, one line for what is wrong."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import corpora_fixtures as tiny
from tests.shell import typed


def kanjo(*arguments: object, stdin: bytes = b"", cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    done = typed(*arguments, stdin=stdin, cwd=cwd)
    assert "Traceback" not in done.stderr, done.stderr
    return done


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    for n in range(3):
        tiny.clip(folder / "deep er" / f"{n} — 声.wav", n, seconds=0.6)
    return folder


@pytest.mark.parametrize(
    "verb", [[], ["predict"], ["train"], ["crossval"], ["evaluate"], ["export"], ["corpus"], ["corpus", "check"], ["corpus", "manifest"],
             ["corpus", "info"], ["corpus", "list"]]
)  # fmt: skip
def test_every_verb_has_help_with_an_example(verb: list[str]) -> None:
    done = kanjo(*verb, "--help")
    assert done.returncode == 0
    if verb not in ([], ["corpus"]):
        assert "Example: kanjo" in done.stdout


def test_version() -> None:
    assert re.fullmatch(r"kanjo \d+\.\d+\.\d+\n", kanjo("--version").stdout)


def test_predict_formats_and_inputs(tiny_run: Path, clips: Path, tmp_path: Path) -> None:
    done = kanjo("predict", clips, "--model", tiny_run, "--format", "json")
    assert done.returncode == 0 and done.stderr == ""
    assert len(json.loads(done.stdout)) == 3
    done = kanjo("predict", f"{clips}/*/*.wav", "--model", tiny_run, "--format", "csv")
    assert len(list(csv.DictReader(io.StringIO(done.stdout)))) == 3
    done = kanjo("predict", clips, "-m", tiny_run, "-o", tmp_path / "out.jsonl", "--window", "0.5", "--hop", "0.1")
    assert done.stdout == ""
    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    assert len(json.loads(lines[0])["windows"]) == 2
    content = next(clips.rglob("*.wav")).read_bytes()
    done = kanjo("predict", "-", "-m", tiny_run, "-f", "json", stdin=content)
    assert json.loads(done.stdout)[0]["file"] == "<stdin>"


def test_one_bad_file_never_stops_the_rest(tiny_run: Path, clips: Path, tmp_path: Path) -> None:
    (clips / "text.wav").write_text("Dear diary, no audio here")
    (clips / "empty.wav").write_bytes(b"")
    (clips / "loop.wav").symlink_to(clips / "loop.wav")
    (tmp_path / "nothing").mkdir()
    done = kanjo(
        "predict",
        clips,
        tmp_path / "missing.wav",
        tmp_path / "nothing",
        f"{tmp_path}/no*match",
        "-m",
        tiny_run,
        "-f",
        "json",
    )
    assert done.returncode == 1
    answers = {Path(item["file"]).name: item["error"] for item in json.loads(done.stdout)}
    assert answers["missing.wav"] == "no such file"
    assert answers["empty.wav"] == "an empty file (0 bytes)"
    assert answers["loop.wav"] == "a symbolic link that leads back to itself"
    assert answers["nothing"] == "no recordings in this folder"
    assert answers["no*match"] == "nothing matches this pattern"
    assert answers["text.wav"].startswith("not audio that can be read")
    assert sum(not error for error in answers.values()) == 3
    assert done.stderr.strip() == "kanjo: 6 of 9 recordings failed"


def test_misuse_exits_with_two(tiny_run: Path) -> None:
    for arguments in (
        ["predict"],
        ["predict", "a.wav", "--format", "xml"],
        ["predict", "--nonsense"],
        ["nonsense"],
        ["train"],
    ):
        assert kanjo(*arguments).returncode == 2
    assert "give paths, or -" in kanjo("predict").stderr.replace("\n", " ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["predict", "x.wav", "--model", "nowhere"], "nowhere: not a bundle (no such folder)"),
        (["train", "cnn-lstm-2"], "did you mean cnn-lstm-2d"),
        (["train", "cnn-lstm-2d", "--set", "training.epoch=3"], "did you mean 'epochs'"),
        (["train", "cnn-lstm-2d", "--corpus-root", "/nowhere"], "ravdess: not found below /nowhere"),
        (["corpus", "check", "ravdes", "."], "did you mean ravdess"),
        (["corpus", "manifest", "nemo", "/nowhere"], "nemo: /nowhere: no such folder"),
        (["export", "/nowhere", "-o", "x"], "not a bundle"),
        (["evaluate", "nowhere", "x.csv"], "not a bundle"),
    ],
)
def test_what_fails_is_one_line_and_exit_one(arguments: list[str], said: str, tmp_path: Path) -> None:
    done = kanjo(*arguments, cwd=tmp_path)
    assert done.returncode == 1
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


def test_debug_shows_the_traceback() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "kanjo", "--debug", "train", "nothing"], capture_output=True, text=True
    )
    assert "Traceback" in done.stderr and done.returncode == 1


def test_a_changed_bundle_is_refused(tiny_run: Path, clips: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(tiny_run / "bundle", tmp_path / "copy")
    with (copy / "model.onnx").open("ab") as stream:
        stream.write(b"x")
    done = kanjo("predict", clips, "-m", copy)
    assert done.returncode == 1 and "is not the file that was exported" in done.stderr


def test_output_on_a_full_disk(tiny_run: Path, clips: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "kanjo", "predict", clips, "-m", tiny_run],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 1
    assert "No space left" in done.stderr and "Traceback" not in done.stderr


def test_a_reader_that_leaves_is_no_error(tiny_run: Path, clips: Path) -> None:
    command = f"{sys.executable} -m kanjo predict '{clips}' '{clips}' -m {tiny_run} -f csv | head -n 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert done.stdout.startswith("file,start,end") and done.stderr == ""


def test_the_dialogue(tiny_run: Path, clips: Path) -> None:
    """On a terminal of its own: a path, a wrong path, an empty line, q."""
    path = next(clips.rglob("*.wav"))
    parent, child = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "kanjo", "predict", "-m", str(tiny_run)], stdin=child, stdout=child, stderr=child
    ) as process:
        os.close(child)
        os.write(parent, f"{path}\n/nowhere.wav\n\nq\n".encode())
        said = b""
        while True:
            try:
                piece = os.read(parent, 4096)
            except OSError:
                break
            if not piece:
                break
            said += piece
    text = said.decode()
    assert process.returncode == 0
    assert "q ends" in text and "no such file" in text and "%" in text
    os.close(parent)


def test_corpus_verbs(tmp_path: Path) -> None:
    assert "ravdess" in kanjo("corpus", "list").stdout
    assert "PLoS ONE" in kanjo("corpus", "info", "ravdess").stdout
    tiny.nemo(tmp_path / "nemo")
    done = kanjo("corpus", "check", "nemo", tmp_path / "nemo")
    assert done.returncode == 1 and "DIFFERS" in done.stdout and "is not what its publication describes" in done.stderr
    done = kanjo("corpus", "check", "nemo", tmp_path / "nemo", "--format", "json", "--headers")
    assert json.loads(done.stdout)["ok"] is False
    done = kanjo("corpus", "manifest", "nemo", tmp_path / "nemo", "-o", tmp_path / "nemo.csv")
    assert done.returncode == 0 and "18 utterances written" in done.stderr
    own = tiny.own(tmp_path / "own")
    assert kanjo("corpus", "check", "own", own).returncode == 0
    tiny.clip(own / "grumpy" / "1.wav")
    assert "unknown emotion label 'grumpy'" in kanjo("corpus", "manifest", "own", own).stderr
    done = kanjo("corpus", "manifest", "own", own, "--label-map", "grumpy=anger")
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 10


def test_evaluate_leaves_trained_speakers_out(tiny_run: Path, tiny_corpora: Path, tmp_path: Path) -> None:
    done = kanjo("evaluate", tiny_run, tiny_corpora / "ravdess", "--format", "json", "-o", tmp_path / "report")
    scores = json.loads(done.stdout)
    assert done.returncode == 0 and scores["n"] == 16
    assert "left out: 48 utterances of speakers the bundle was trained on" in done.stderr
    assert scores["uar"]["value"] == json.loads((tiny_run / "scores.json").read_text())["uar"]["value"]
    assert (tmp_path / "report" / "report.html").is_file()
    done = kanjo("evaluate", tiny_run, tiny_corpora / "ravdess", "--all", "--format", "json")
    assert json.loads(done.stdout)["n"] == 64


def test_export_copies_a_whole_bundle(tiny_run: Path, tmp_path: Path, clips: Path) -> None:
    done = kanjo("export", tiny_run, "-o", tmp_path / "mine", "--name", "mine", "--no-weights")
    assert done.returncode == 0
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == ["README.md", "bundle.json", "model.onnx"]
    assert kanjo("predict", clips, "-m", tmp_path / "mine").returncode == 0
    assert "is there already" in kanjo("export", tiny_run, "-o", tmp_path / "mine").stderr


def test_crossval_pools_every_fold(tiny_recipe: Path, tiny_corpora: Path, tmp_path: Path) -> None:
    arguments = [
        "crossval",
        tiny_recipe,
        "--corpus-root",
        tiny_corpora,
        "-o",
        tmp_path / "cv",
        "--set",
        "training.epochs=1",
        "-s",
    ]
    done = kanjo(*arguments, "--set", "split.k=2")
    assert done.returncode == 0, done.stderr
    assert "2 of 2 folds pooled" in done.stdout and "(64 utterances)" in done.stdout
    pooled = json.loads((tmp_path / "cv" / "scores.json").read_text())
    parts = [json.loads((tmp_path / "cv" / f"fold-{n}" / "scores.json").read_text()) for n in (1, 2)]
    assert pooled["n"] == 64
    assert pooled["confusion"] == [
        [a + b for a, b in zip(*rows, strict=True)]
        for rows in zip(parts[0]["confusion"], parts[1]["confusion"], strict=True)
    ]
    assert (tmp_path / "cv" / "report.html").is_file()
    shutil.rmtree(tmp_path / "cv" / "fold-2")
    again = kanjo(*arguments, "--set", "split.k=2", "--resume")
    assert again.returncode == 0 and "(64 utterances)" in again.stdout


def test_a_fold_that_fails_is_named(tiny_recipe: Path, tiny_corpora: Path, tmp_path: Path) -> None:
    (tmp_path / "cv").mkdir()
    (tmp_path / "cv" / "fold-2").write_text("in the way")
    arguments = ["crossval", tiny_recipe, "--corpus-root", tiny_corpora, "-o", tmp_path / "cv", "--resume", "-s"]
    done = kanjo(*arguments, "--set", "training.epochs=1", "--set", "split.k=2")
    assert done.returncode == 1
    assert "fold 2 failed" in done.stderr and "missing folds: 2" in done.stderr
    assert "1 of 2 folds pooled" in done.stdout


def test_nothing_is_written_or_sent_behind_the_users_back(tmp_path: Path) -> None:
    """ONNX Runtime 1.31 makes itself an identifier and a store of events to send; with kanjo it doesn't."""
    home = tmp_path / "home"
    home.mkdir()
    clip = tiny.clip(tmp_path / "a.wav", seconds=0.6)
    environment = {**os.environ, "HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache")}
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    done = subprocess.run(
        [sys.executable, "-m", "kanjo", "predict", clip], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0 and done.stderr == ""
    assert list(home.rglob("*")) == []
