"""``kanjo finetune``: one command from labeled recordings to a bundle."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile

import kanjo
from tests.shell import run_kanjo

SAMPLE_RATE = 16_000
PITCH_HZ = {"angry": 300.0, "bored": 110.0, "happy": 220.0}


def write_class_folders(root: Path, n_clips: int, classes: tuple[str, ...] = ("angry", "bored", "happy")) -> Path:
    """Write one folder per class with harmonic tones whose pitch depends on the class."""
    rng = np.random.default_rng(0)
    time_s = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    for name in classes:
        (root / name).mkdir(parents=True)
        for k in range(n_clips):
            pitch_hz = PITCH_HZ[name] * rng.uniform(0.95, 1.05)
            tone = sum(np.sin(2 * np.pi * pitch_hz * h * time_s) / h for h in range(1, 8))
            noisy = 0.2 * tone + 0.01 * rng.normal(size=len(time_s))
            soundfile.write(root / name / f"{k}.wav", noisy.astype(np.float32), SAMPLE_RATE)
    return root


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


@pytest.mark.slow
def test_finetune_folder_without_speakers_gives_a_bundle_for_its_classes(tmp_path: Path) -> None:
    data = write_class_folders(tmp_path / "data", 6)
    (data / "angry" / "broken.wav").write_bytes(b"no audio")
    result = run_kanjo("finetune", data, "-o", tmp_path / "run", "--folds", "3")
    assert result.returncode == 0, result.stderr
    assert "finetuned  UAR" in result.stdout and "speaker-dependent" in result.stdout
    recognizer = kanjo.load(tmp_path / "run")
    assert recognizer.labels == ("anger", "boredom", "happiness")
    assert recognizer.predict(data / "happy" / "0.wav").label in recognizer.labels
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
