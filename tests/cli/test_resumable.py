"""Prediction files that are written row by row: interrupted at any point, resumed, each row once."""

from __future__ import annotations

import csv
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from io import FileIO
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
    for cut in range(0, len(complete) + 1, 2):
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
    with FileIO("/dev/full", "w") as stream:
        writer._stream = stream
        with pytest.raises(KanjoError, match=r"can't write .*out.csv.part: the disk is full.*--resume"):
            writer.write(PREDICTIONS[0])


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_resume_puts_the_new_rows_of_a_failed_recording_in_the_place_of_its_error(form: str, tmp_path: Path) -> None:
    path = tmp_path / f"out.{form}"
    write(path, form, PREDICTIONS)
    mended = [*PREDICTIONS[:2], replace(PREDICTIONS[0], file="bad.wav"), PREDICTIONS[3]]
    write(path, form, mended, resume=True)
    assert path.read_text() == "".join(writers.render(form, mended, LABELS))
    assert not (tmp_path / f"out.{form}.part").exists()


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_resume_cut_at_any_byte_while_a_failed_recording_is_repeated(form: str, tmp_path: Path) -> None:
    """The second command is killed at any byte; the third has the same result as if nothing was interrupted."""
    mended = [*PREDICTIONS[:2], replace(PREDICTIONS[3], file="bad.wav"), PREDICTIONS[3]]
    before = "".join(writers.render(form, PREDICTIONS, LABELS)).encode()
    header = len("".join(writers.render(form, [], LABELS)).encode())
    appended = before + "".join(writers.render(form, mended[2:3], LABELS)).encode()[header:]
    path, part = tmp_path / f"out.{form}", tmp_path / f"out.{form}.part"
    for cut in range(len(before), len(appended) + 1, 3):
        part.write_bytes(appended[:cut])
        write(path, form, mended, resume=True)
        assert path.read_bytes() == "".join(writers.render(form, mended, LABELS)).encode(), cut
        path.unlink()


def test_resume_with_other_recordings_keeps_all_rows(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    write(path, "csv", PREDICTIONS[:2])
    write(path, "csv", PREDICTIONS[3:], resume=True)
    assert path.read_text() == "".join(writers.render("csv", [*PREDICTIONS[:2], PREDICTIONS[3]], LABELS))


@pytest.mark.parametrize("resume", [False, True])
def test_second_command_for_one_file_is_refused(resume: bool, tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    first = ResumableWriter(path, "csv", LABELS, resume=False)
    first.write(PREDICTIONS[0])
    with pytest.raises(KanjoError, match=r"another kanjo command is writing .*out\.csv; wait until"):
        ResumableWriter(path, "csv", LABELS, resume)
    first.close()
    assert path.read_text() == "".join(writers.render("csv", PREDICTIONS[:1], LABELS))


def test_refused_file_leaves_no_part_file(tmp_path: Path) -> None:
    (tmp_path / "out.csv").write_text("other,content\n")
    with pytest.raises(KanjoError, match="does not contain predictions"):
        ResumableWriter(tmp_path / "out.csv", "csv", LABELS, resume=True)
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]


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
        (("a.wav", "-o", "out.xlsx"), "a name that ends in .csv, .json, .jsonl, .srt, .vtt, .parquet or .txt"),
        (("a.wav", "-f", "parquet"), "give a file with -o"),
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


@pytest.mark.parametrize("form", ["srt", "vtt"])
def test_subtitles_of_a_bad_file_give_the_reason_and_no_file(form: str, tiny_run: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.wav").write_text("not audio")
    output = tmp_path / f"out.{form}"
    result = run_kanjo("predict", "-m", tiny_run, tmp_path / "bad.wav", "-o", output)
    assert result.returncode == 1 and "bad.wav: " in result.stderr and len(result.stderr.splitlines()) == 1
    assert not output.exists()
    result = run_kanjo("predict", "-m", tiny_run, tmp_path / "bad.wav", "-f", form)
    assert result.returncode == 1 and "bad.wav: " in result.stderr and not result.stdout


def test_parquet_has_the_cells_of_the_csv(tiny_run: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    write_clip(tmp_path / "in" / "a.wav", seconds=3.0)
    (tmp_path / "in" / "bad.wav").write_text("not audio")
    for name in ("o.csv", "o.parquet"):
        assert run_kanjo("predict", "-m", tiny_run, tmp_path / "in", "-o", tmp_path / name).returncode == 1
    rows = parquet.read_table(tmp_path / "o.parquet").to_pylist()
    with (tmp_path / "o.csv").open(newline="", encoding="utf-8") as stream:
        expected = list(csv.DictReader(stream))
    assert len(rows) == len(expected) > 3 and list(rows[0]) == list(expected[0])
    for row, cells in zip(rows, expected, strict=True):
        for name, cell in cells.items():
            assert row[name] == (None if not cell else float(cell) if isinstance(row[name], float) else cell)
    assert isinstance(rows[0]["confidence"], float) and isinstance(rows[0]["start"], float)


def test_resume_exits_1_until_no_recording_fails(tiny_run: Path, tmp_path: Path) -> None:
    command = ("predict", "-m", tiny_run, tmp_path / "in", "-o", tmp_path / "o.csv", "--resume")
    good = write_clip(tmp_path / "in" / "a.wav", seconds=1.0)
    bad = tmp_path / "in" / "bad.wav"
    bad.write_text("not audio")
    for _ in range(2):
        result = run_kanjo(*command)
        assert result.returncode == 1 and "1 of" in result.stderr
    bad.rename(tmp_path / "bad.wav")
    result = run_kanjo(*command)
    assert result.returncode == 1 and "still has the error of 1 recording" in result.stderr
    bad.write_bytes(good.read_bytes())
    assert run_kanjo(*command).returncode == 0
    with (tmp_path / "o.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["file"] for row in rows if row["part"] == "recording"] == [str(good), str(bad)]
    assert not any(row["error"] for row in rows)


def test_plot_draws_the_timeline_beside_subtitles(tiny_run: Path, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.wav", seconds=1.0)
    output = ("-f", "vtt", "-o", tmp_path / "x.vtt")
    result = run_kanjo("predict", "-m", tiny_run, clip, "--plot", tmp_path / "x.png", *output)
    assert result.returncode == 0 and (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "x.vtt").read_text().startswith("WEBVTT")
