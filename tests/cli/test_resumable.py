"""Prediction files that are written row by row: interrupted at any point, resumed, each row once."""

from __future__ import annotations

import csv
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kanjo.cli.resumable import ResumableWriter
from kanjo.errors import KanjoError
from kanjo.inference import writers
from kanjo.inference.prediction import Prediction, Segment, failed_prediction
from tests.corpora_fixtures import write_clip
from tests.shell import run_kanjo

LABELS = ("anger", "neutral")
PROBABILITIES = {"anger": 0.75, "neutral": 0.25}
WINDOWS = tuple(Segment(n, n + 2, "anger", 0.75, PROBABILITIES) for n in range(3))
PREDICTIONS = [
    Prediction("plain.wav", "anger", 0.75, PROBABILITIES, 1.0, 1.0, WINDOWS[:1], WINDOWS[:1]),
    Prediction(
        'a "name",\nin two lines 声.wav',
        "anger",
        0.75,
        PROBABILITIES,
        4.0,
        4.0,
        WINDOWS[:1],
        WINDOWS,
        ("clipped, a lot",),
    ),
    failed_prediction("bad.wav", "not audio"),
    Prediction("last.wav", "anger", 0.75, PROBABILITIES, 4.0, 4.0, WINDOWS[:1], WINDOWS),
]


def write(path: Path, form: str, predictions: list[Prediction], resume: bool = False) -> None:
    writer = ResumableWriter(path, form, LABELS, resume)
    writer.write_all(item for item in predictions if item.file not in writer.finished_files)


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_file_cut_at_any_byte_resumes_to_the_same_content(form: str, tmp_path: Path) -> None:
    complete = "".join(writers.render(form, PREDICTIONS, LABELS)).encode()
    path, part = tmp_path / f"out.{form}", tmp_path / f"out.{form}.part"
    write(path, form, PREDICTIONS)
    assert path.read_bytes() == complete and not part.exists()
    path.unlink()
    for cut in range(len(complete) + 1):
        part.write_bytes(complete[:cut])
        write(path, form, PREDICTIONS, resume=True)
        assert path.read_bytes() == complete, cut
        path.unlink()


def test_part_file_without_resume_is_refused_and_kept(tmp_path: Path) -> None:
    part = tmp_path / "out.csv.part"
    part.write_text("file,start\n")
    with pytest.raises(KanjoError, match="interrupted command: continue it with --resume"):
        ResumableWriter(tmp_path / "out.csv", "csv", LABELS, resume=False)
    assert part.read_text() == "file,start\n"


@pytest.mark.parametrize(
    ("form", "content"),
    [("csv", "file,start\n"), ("jsonl", '{"other": 1}\n'), ("jsonl", '{"file": "a", "probabilities": 1}\n')],
)
def test_part_file_with_other_content_is_refused_and_kept(form: str, content: str, tmp_path: Path) -> None:
    part = tmp_path / f"out.{form}.part"
    part.write_text(content)
    with pytest.raises(KanjoError, match=f"does not contain predictions of this bundle as {form}"):
        ResumableWriter(tmp_path / f"out.{form}", form, LABELS, resume=True)
    assert part.read_text() == content


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_resume_with_other_emotions_is_refused(form: str, tmp_path: Path) -> None:
    path = tmp_path / f"out.{form}"
    write(path, form, PREDICTIONS[:2])
    with pytest.raises(KanjoError, match="or has other emotions"):
        ResumableWriter(path, form, ("anger", "neutral", "sadness"), resume=True)


def test_resume_of_a_complete_file_appends_new_recordings(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    write(path, "csv", PREDICTIONS[:2])
    write(path, "csv", PREDICTIONS, resume=True)
    assert path.read_text() == "".join(writers.render("csv", PREDICTIONS, LABELS))


def test_full_disk_names_the_part_file_and_resume(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("/dev/full, a disk that is always full, is not on this system")
    writer = ResumableWriter(tmp_path / "out.csv", "csv", LABELS, resume=False)
    writer._stream.close()
    with open("/dev/full", "wb", buffering=0) as stream:  # noqa: PTH123
        writer._stream = stream
        with pytest.raises(KanjoError, match=r"can't write .*out.csv.part: the disk is full.*--resume"):
            writer.write(PREDICTIONS[0])


def _predict_until_killed(command: list[str], part: Path, n_bytes: int) -> None:
    """Run the command, and kill it when it has written this many further bytes."""
    before = part.stat().st_size if part.exists() else 0
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if part.exists() and part.stat().st_size > before + n_bytes:
            break
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_killed_command_resumes_with_each_row_once(tiny_run: Path, tmp_path: Path) -> None:
    folder, output = tmp_path / "in", tmp_path / "out.csv"
    names = [str(write_clip(folder / f"{n:03d}.wav", n, seconds=2.0)) for n in range(60)]
    command = [sys.executable, "-m", "kanjo", "predict", str(folder), "-m", str(tiny_run), "-o", str(output)]
    part = output.with_name("out.csv.part")
    _predict_until_killed([*command, "--resume"], part, 100 * random.Random(0).randrange(5, 20))
    result = subprocess.run([*command, "--resume"], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    with output.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["file"] for row in rows if row["part"] == "recording"] == names
    assert sum(row["part"] == "window" for row in rows) == 3 * len(names)
    assert not part.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a.wav", "--resume"), "--resume continues a csv or jsonl file"),
        ((".", "-f", "srt"), "2 recordings; srt needs exactly one"),
        ((".", "--plot", "x.png"), "2 recordings; --plot needs exactly one"),
        (("a.wav", "-f", "srt2"), "expected one of table, csv, json, jsonl, srt, vtt"),
    ],
)
def test_usage_error_names_what_is_expected(
    arguments: tuple[str, ...], message: str, tiny_run: Path, tmp_path: Path
) -> None:
    write_clip(tmp_path / "a.wav", seconds=1.0)
    write_clip(tmp_path / "b.wav", 1, seconds=1.0)
    result = run_kanjo("predict", "-m", tiny_run, *arguments, cwd=tmp_path)
    assert result.returncode == 2 and message in " ".join(result.stderr.split())


def test_invalid_option_values_are_one_line(tiny_run: Path, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.wav", seconds=1.0)
    result = run_kanjo("predict", "-m", tiny_run, clip, "--min-confidence", "7")
    assert result.returncode == 1 and "min_confidence" in result.stderr and len(result.stderr.splitlines()) == 1
    result = run_kanjo("predict", "-m", tiny_run, clip, "--plot", tmp_path / "x.gif")
    assert result.returncode == 1 and ".png or .svg" in result.stderr


def test_plot_draws_the_timeline_beside_subtitles(tiny_run: Path, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.wav", seconds=1.0)
    output = ("-f", "vtt", "-o", tmp_path / "x.vtt")
    result = run_kanjo("predict", "-m", tiny_run, clip, "--plot", tmp_path / "x.png", *output)
    assert result.returncode == 0 and (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "x.vtt").read_text().startswith("WEBVTT")
