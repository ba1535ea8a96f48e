"""``kanjo finetune``: one command from labeled recordings to a bundle."""

from __future__ import annotations

import csv
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

import kanjo
from kanjo.evaluation.metrics import Interval
from kanjo.experiments.finetune_result import Comparison, FinetuneResult, ModelScore, write_result
from kanjo.experiments.run_folder import RunFolder
from tests.shell import run_kanjo

SAMPLE_RATE = 16_000
PITCH_HZ = {"angry": 300.0, "bored": 110.0, "happy": 220.0}


def write_class_folders(root: Path, n_clips: int, classes: tuple[str, ...] = ("angry", "bored", "happy")) -> Path:
    """Write one folder per class with harmonic tones whose pitch depends on the class."""
    rng = np.random.default_rng(0)
    for name in classes:
        for k in range(n_clips):
            write_tone(root / name / f"{k}.wav", PITCH_HZ[name] * rng.uniform(0.95, 1.05))
    return root


def write_tone(path: Path, pitch_hz: float) -> None:
    """Write a harmonic tone with some noise."""
    rng = np.random.default_rng(round(1000 * pitch_hz))
    time_s = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    tone = sum(np.sin(2 * np.pi * pitch_hz * h * time_s) / h for h in range(1, 8))
    noisy = 0.2 * tone + 0.01 * rng.normal(size=len(time_s))
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, noisy.astype(np.float32), SAMPLE_RATE)


def one_line(stderr: str) -> str:
    lines = stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("kanjo: "), stderr
    return lines[0]


def test_finetune_dry_run_prints_the_plan_and_writes_nothing(tmp_path: Path) -> None:
    data = write_class_folders(tmp_path / "data", 4)
    result = run_kanjo("finetune", data, "-o", tmp_path / "run", "--dry-run")
    assert result.returncode == 0, result.stderr
    for text in ("12 clips", "boredom 4", "speakers: none", "by clip", "duration"):
        assert text in result.stdout
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("classes", "n_clips", "message"),
    [(("angry",), 3, "class"), (("angry", "happy"), 1, "clip"), ((), 0, "no")],
    ids=["one class", "one clip each", "empty folder"],
)
def test_finetune_with_too_little_data_is_refused_in_one_line_and_leaves_no_folder(
    classes: tuple[str, ...], n_clips: int, message: str, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    write_class_folders(data, n_clips, classes)
    result = run_kanjo("finetune", data, "-o", tmp_path / "run")
    assert result.returncode == 1
    assert message in one_line(result.stderr)
    assert not (tmp_path / "run").exists()


def test_finetune_with_an_existing_output_folder_is_refused(tmp_path: Path) -> None:
    data = write_class_folders(tmp_path / "data", 3)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine", encoding="utf-8")
    result = run_kanjo("finetune", data, "-o", tmp_path / "run")
    assert result.returncode == 1 and "not empty" in one_line(result.stderr)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["notes.txt"]


def test_finetune_with_mostly_broken_recordings_is_refused(tmp_path: Path) -> None:
    data = write_class_folders(tmp_path / "data", 2)
    for name in PITCH_HZ:
        for k in range(3):
            (data / name / f"broken{k}.wav").write_bytes(b"no audio")
    result = run_kanjo("finetune", data, "-o", tmp_path / "run")
    assert result.returncode == 1 and "half" in result.stderr.splitlines()[-1]
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("data/angry/0.wav", "is one recording; expected a folder with one sub-folder for each class, or a table"),
        ("data/angry", "all recordings, such as 0.wav, are in no class folder; expected one sub-folder"),
        ("list.json", "expected one JSON object for each line, in a file that ends in .jsonl"),
    ],
    ids=["recording", "folder without sub-folders", "JSON list"],
)
def test_finetune_with_data_of_another_form_says_what_is_expected(data: str, message: str, tmp_path: Path) -> None:
    write_class_folders(tmp_path / "data", 3)
    rows = [{"file": f"data/{name}/{k}.wav", "emotion": name} for name in PITCH_HZ for k in range(3)]
    (tmp_path / "list.json").write_text(json.dumps(rows), encoding="utf-8")
    result = run_kanjo("finetune", tmp_path / data, "-o", tmp_path / "run")
    assert result.returncode == 1 and message in one_line(result.stderr)
    assert not (tmp_path / "run").exists()


def test_finetune_plan_says_why_folds_and_speaker_profiles_are_missing(tmp_path: Path) -> None:
    data = write_class_folders(tmp_path / "data", 4)
    (data / "happy" / "3.wav").rename(data / "outside.wav")
    (data / "happy" / "broken.wav").write_bytes(b"no audio")
    result = run_kanjo("finetune", data, "--dry-run")
    lines = result.stdout.splitlines()
    assert result.returncode == 0, result.stderr
    assert "note: 3 folds instead of 5, because the class happiness has 3 clips" in lines
    assert "speakers: none are named, so the new model can't use speaker profiles (kanjo enroll)" in lines
    assert "left out: 1 recording: in no class folder (outside.wav)" in lines
    assert any(line.startswith("left out: 1 recording: can't be decoded") for line in lines)


def test_finetune_with_speakers_in_training_and_test_of_the_split_column_says_so(tmp_path: Path) -> None:
    write_class_folders(tmp_path / "data", 4)
    lines = [
        f"data/{name}/{k}.wav,{name},s{k},{'test' if k == 3 or (name, k) == ('happy', 2) else 'train'}"
        for name in PITCH_HZ
        for k in range(4)
    ]
    (tmp_path / "t.csv").write_text("\n".join(["file,emotion,speaker,split", *lines]), encoding="utf-8")
    result = run_kanjo("finetune", tmp_path / "t.csv", "--dry-run")
    note = "the split column has test clips of 1 speaker of the training; without this column, kanjo splits by speaker"
    assert f"note: {note}" in result.stdout.splitlines()


def test_finetune_into_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("mine", encoding="utf-8")
    result = run_kanjo("finetune", write_class_folders(tmp_path / "data", 3), "-o", tmp_path / "run")
    assert result.returncode == 1 and "is a file; expected a new folder" in one_line(result.stderr)


@pytest.mark.parametrize("form", ["folders", "table"])
def test_finetune_with_ten_thousand_classes_is_refused_before_decoding(form: str, tmp_path: Path) -> None:
    data = tmp_path / "data"
    rows = ["file,emotion"]
    for k in range(10_000):
        (data / f"c{k}").mkdir(parents=True)
        (data / f"c{k}" / "a.wav").touch()
        rows.append(f"data/c{k}/a.wav,c{k}")
    if form == "table":
        data = tmp_path / "table.csv"
        data.write_text("\n".join(rows), encoding="utf-8")
    started = time.monotonic()
    result = run_kanjo("finetune", data, "-o", tmp_path / "run")
    assert result.returncode == 1 and "10000 classes" in one_line(result.stderr)
    assert time.monotonic() - started < 10 and not (tmp_path / "run").exists()


def write_table(path: Path, rows: list[tuple[str, str, str]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([("file", "emotion", "split"), *rows])
    return path


def test_finetune_with_a_class_only_in_test_is_refused(tmp_path: Path) -> None:
    write_class_folders(tmp_path / "data", 4)
    rows = [
        (f"data/{name}/{k}.wav", name, "test" if name == "happy" or k == 3 else "train")
        for name in PITCH_HZ
        for k in range(4)
    ]
    result = run_kanjo("finetune", write_table(tmp_path / "t.csv", rows), "-o", tmp_path / "run")
    assert result.returncode == 1 and "no training clip of happiness" in one_line(result.stderr)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("n_missing", "refused"), [(2, False), (12, True)])
def test_finetune_with_missing_recordings_names_them(n_missing: int, refused: bool, tmp_path: Path) -> None:
    write_class_folders(tmp_path / "data", 4)
    rows = [(f"data/{name}/{k}.wav", name, "") for name in PITCH_HZ for k in range(4)]
    for file, _, _ in rows[:n_missing]:
        (tmp_path / file).unlink()
    options = () if refused else ("--dry-run",)
    result = run_kanjo("finetune", write_table(tmp_path / "t.csv", rows), "-o", tmp_path / "run", *options)
    assert result.returncode == int(refused) and not (tmp_path / "run").exists()
    assert f"{n_missing} recordings: no such file (data/angry/0.wav, data/angry/1.wav" in result.stdout + result.stderr
    if refused:
        assert "12 of 12 recordings are missing" in one_line(result.stderr)


def test_finetune_merges_labels_in_other_cases_and_languages(tmp_path: Path) -> None:
    data = write_class_folders(tmp_path / "data", 3, ("angry", "happy"))
    for k, name in enumerate(("Angry", "ANGRY", "怒り", "злость")):
        for i in range(3):
            write_tone(data / name / f"{k}-{i}.wav", 150 + 20 * k + i)
    result = run_kanjo("finetune", data, "--dry-run")
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert "anger 12" in lines[1] and "happiness 3" in lines[1] and "злость 3" in lines[1]
    assert "note: angry and 怒り are one class: anger" in lines


def test_finetune_reports_the_same_sound_in_two_classes(tmp_path: Path) -> None:
    data = write_class_folders(tmp_path / "data", 4)
    shutil.copy(data / "angry" / "1.wav", data / "happy" / "copy.wav")
    result = run_kanjo("finetune", data, "--dry-run")
    assert result.returncode == 0 and "13 clips" in result.stdout
    note = "note: 2 clips have the same sound as a clip of another class, such as angry/1.wav"
    assert note in result.stdout.splitlines()


def test_finetune_with_a_full_disk_for_the_cache_fails_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    data = write_class_folders(tmp_path / "data", 3)
    monkeypatch.setattr("kanjo.train.data.audio_cache._write_cache", fail)
    monkeypatch.setenv("KANJO_CACHE", str(tmp_path / "cache"))
    result = run_kanjo("finetune", data, "-o", tmp_path / "run", "-s")
    assert result.returncode == 1 and "the disk is full" in one_line(result.stderr)
    assert not (tmp_path / "run").exists()
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.name.startswith(".")]


@pytest.mark.parametrize("resume", [False, True])
def test_finetune_interrupted_while_reading_says_how_to_go_on(
    resume: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*arguments: object) -> None:
        signal.raise_signal(signal.SIGINT)

    data, run = write_class_folders(tmp_path / "data", 3), tmp_path / "run"
    monkeypatch.setattr("kanjo.experiments.finetune_data.check_files", interrupt)
    if resume:
        run.mkdir()
    result = run_kanjo("finetune", data, "-o", run, *(["--resume"] if resume else []))
    assert result.returncode == 130
    advice = f"continue with --resume -o {run}" if resume else "nothing was written, so start the command again"
    assert one_line(result.stderr) == f"kanjo: stopped; {advice}"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_finetune_result_of_a_run_killed_while_it_cleaned_up_is_read_and_cleaned(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "my run")
    score = ModelScore("finetuned", ("a", "b"), 4, Interval(0.5, 0.4, 0.6))
    comparison = Comparison((score,), None, "clips", {"a": 0.5, "b": 0.5})
    result = FinetuneResult(folder.path, folder.bundle, ("a", "b"), False, 2, comparison, 0.1)
    write_result(folder.finetuning, result)
    for path in (folder.fold(1).bundle, folder.fold(2).checkpoints, folder.refit.path):
        path.mkdir(parents=True)
    (folder.path / ".lock").touch()  # that of the killed process
    read = run_kanjo("finetune", tmp_path, "-o", folder.path, "--resume")
    assert read.returncode == 0 and "UAR 50.0 %" in read.stdout
    assert f"{folder} is finished, so nothing is trained; for other recordings, choose another" in read.stderr
    assert f'use it: kanjo predict --model "{folder}" clip.wav' in read.stderr
    assert [path.name for path in folder.path.iterdir()] == ["finetune.json"]


@pytest.mark.slow
def test_finetune_folder_without_speakers_gives_a_bundle_for_its_classes(tmp_path: Path) -> None:
    data = write_class_folders(tmp_path / "data", 6)
    (data / "angry" / "broken.wav").write_bytes(b"no audio")
    result = run_kanjo("finetune", data, "-o", tmp_path / "run", "--folds", "3")
    assert result.returncode == 0, result.stderr
    assert "finetuned  UAR" in result.stdout and "speaker-dependent" in result.stdout
    recognizer = kanjo.load(tmp_path / "run")
    assert recognizer.labels == ("anger", "boredom", "happiness")
    assert set(recognizer.predict(data / "happy" / "0.wav").probabilities) == set(recognizer.labels)
    again = run_kanjo("finetune", data, "-o", tmp_path / "run", "--folds", "3", "--resume")
    assert again.returncode == 0 and again.stdout == result.stdout


@pytest.mark.slow
def test_finetune_function_with_a_table_and_new_words_returns_scores(tmp_path: Path) -> None:
    data = write_class_folders(tmp_path / "data", 4)
    words = {"angry": "stressed", "bored": "relaxed", "happy": "happy"}
    with (tmp_path / "table.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["file", "emotion", "speaker"])
        for path in sorted(data.rglob("*.wav")):
            writer.writerow([path.relative_to(tmp_path), words[path.parent.name], f"s{int(path.stem) % 4}"])
    result = kanjo.finetune(tmp_path / "table.csv", tmp_path / "run", n_folds=2)
    assert set(result.classes) == {"stressed", "relaxed", "happiness"}
    assert result.speaker_independent
    assert kanjo.load(result.bundle).labels == result.classes


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no such signals")
def test_finetune_killed_at_each_stage_resumes_to_the_same_bundle(tmp_path: Path) -> None:
    data = write_class_folders(tmp_path / "data", 4)
    stages = {"run/log.txt": signal.SIGKILL, "run/fold-1/temperatures.json": signal.SIGINT, "run/report.html": None}
    for name, stop in (("whole", None), *stages.items()):
        command = [sys.executable, "-m", "kanjo", "finetune", data, "--folds", "2", "--resume", "-o"]
        output = tmp_path / ("whole" if name == "whole" else "run")
        process = subprocess.Popen([*command, output], stderr=subprocess.PIPE, text=True)
        while stop and process.poll() is None and not (tmp_path / name).is_file():
            time.sleep(0.02)
        if stop:
            process.send_signal(stop)
        _, stderr = process.communicate(timeout=300)
        if stop == signal.SIGINT:
            assert process.returncode == 130, stderr
            assert stderr.splitlines()[-1] == f"kanjo: stopped; continue with --resume -o {output}"
        else:
            assert process.returncode == (-stop if stop else 0), stderr
    for file in ("bundle/model.onnx", "bundle/bundle.json", "predictions.csv", "split.csv"):
        assert (tmp_path / "run" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes(), file
    contents = [sorted(path.name for path in (tmp_path / name).iterdir()) for name in ("run", "whole")]
    assert contents[0] == contents[1]
