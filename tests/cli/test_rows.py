"""Answers written as they come: killed anywhere, gone on with, each row once."""

from __future__ import annotations

import csv
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kanjo.cli.rows import Rows
from kanjo.errors import KanjoError
from kanjo.inference import writers
from kanjo.inference.prediction import Prediction, Segment, failed
from tests.corpora_fixtures import clip
from tests.shell import typed

LABELS = ("anger", "neutral")
SHARES = {"anger": 0.75, "neutral": 0.25}
WINDOWS = tuple(Segment(n, n + 2, "anger", 0.75, SHARES) for n in range(3))
ANSWERS = [
    Prediction("plain.wav", "anger", 0.75, SHARES, 1.0, 1.0, WINDOWS[:1], WINDOWS[:1]),
    Prediction(
        'odd "name",\nin two lines 声.wav', "anger", 0.75, SHARES, 4.0, 4.0, WINDOWS[:1], WINDOWS, ("clipped, a lot",)
    ),
    failed("bad.wav", "not audio"),
    Prediction("last.wav", "anger", 0.75, SHARES, 4.0, 4.0, WINDOWS[:1], WINDOWS),
]


def written(path: Path, form: str, answers: list[Prediction], resume: bool = False) -> None:
    rows = Rows(path, form, LABELS, resume)
    for item in answers:
        if item.file not in rows.done:
            rows.add(item)
    rows.finish()


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_cut_off_at_any_byte_it_goes_on_to_the_same_file(form: str, tmp_path: Path) -> None:
    whole = "".join(writers.chunks(form, ANSWERS, LABELS)).encode()
    path, part = tmp_path / f"out.{form}", tmp_path / f"out.{form}.part"
    written(path, form, ANSWERS)
    assert path.read_bytes() == whole and not part.exists()
    path.unlink()
    for cut in range(len(whole) + 1):
        part.write_bytes(whole[:cut])
        written(path, form, ANSWERS, resume=True)
        assert path.read_bytes() == whole, cut
        path.unlink()


def test_a_part_is_never_lost_silently(tmp_path: Path) -> None:
    (tmp_path / "out.csv.part").write_text("file,start\n")
    with pytest.raises(KanjoError, match="is of a run that was stopped: --resume goes on with it"):
        Rows(tmp_path / "out.csv", "csv", LABELS, resume=False)
    with pytest.raises(KanjoError, match="holds something else than this bundle's answers as csv"):
        Rows(tmp_path / "out.csv", "csv", LABELS, resume=True)
    (tmp_path / "out.jsonl.part").write_text('{"other": 1}\n')
    with pytest.raises(KanjoError, match="holds something else"):
        Rows(tmp_path / "out.jsonl", "jsonl", LABELS, resume=True)
    assert (tmp_path / "out.csv.part").read_text() == "file,start\n"


def test_what_was_added_to_a_folder_is_added_to_its_answers(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    written(path, "csv", ANSWERS[:2])
    written(path, "csv", ANSWERS, resume=True)
    assert path.read_text() == "".join(writers.chunks("csv", ANSWERS, LABELS))


def test_a_full_disk_loses_nothing() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("/dev/full, a disk that is always full, is not on this system")
    rows = Rows.__new__(Rows)
    rows.part, rows.labels, rows.form = Path("out.csv.part"), LABELS, "csv"
    with open("/dev/full", "wb", buffering=0) as stream:  # noqa: PTH123
        rows._stream = stream
        with pytest.raises(KanjoError, match=r"can't write out.csv.part: the disk is full.*--resume goes on"):
            rows.add(ANSWERS[0])


def test_a_killed_run_goes_on(tiny_run: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out.csv"
    names = [str(clip(folder / f"{n:03d}.wav", n, seconds=2.0)) for n in range(120)]
    command = [sys.executable, "-m", "kanjo", "predict", str(folder), "-m", str(tiny_run), "-o", str(out)]
    part = out.with_name("out.csv.part")
    for chance in random.Random(0).sample(range(5, 40), 2):
        process = subprocess.Popen([*command, "--resume"], stderr=subprocess.PIPE)
        before = part.stat().st_size if part.exists() else 0
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None:
            if part.exists() and part.stat().st_size > before + 100 * chance:
                break
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    done = subprocess.run([*command, "--resume"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with out.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["file"] for row in rows if row["part"] == "recording"] == names
    assert sum(row["part"] == "window" for row in rows) == 3 * 120
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 0 and not part.exists()


@pytest.mark.skipif(os.name == "nt", reason="a folder without permission is made as POSIX does")
def test_misuse(tiny_run: Path, tmp_path: Path) -> None:
    clip(tmp_path / "a.wav", seconds=1.0)
    clip(tmp_path / "b.wav", 1, seconds=1.0)

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        return typed("predict", "-m", tiny_run, *arguments)

    for arguments, said in (
        ((tmp_path / "a.wav", "--resume"), "--resume goes on with a file of csv or jsonl"),
        ((tmp_path, "-f", "srt"), "2 recordings: srt holds one"),
        ((tmp_path, "--plot", tmp_path / "x.png"), "2 recordings: --plot draws one"),
        ((tmp_path / "a.wav", "-f", "srt2"), "expected one of table, csv, json, jsonl, srt, vtt"),
    ):
        done = run(*arguments)
        assert done.returncode == 2 and said in done.stderr.replace("\n", " "), done.stderr
    done = run(tmp_path / "a.wav", "--min-confidence", "7")
    assert done.returncode == 1 and done.stderr == "kanjo: min_confidence of 7.0: expected 0 to 1\n"
    done = run(tmp_path / "a.wav", "--plot", tmp_path / "x.gif")
    assert done.returncode == 1 and "expected a name that ends in .png or .svg" in done.stderr
    done = run(tmp_path / "a.wav", "--plot", tmp_path / "x.png", "-f", "vtt", "-o", tmp_path / "x.vtt")
    assert done.returncode == 0 and (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "x.vtt").read_text().startswith("WEBVTT")
