"""kanjo predict: formats, inputs, failures, the prompt."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.corpora_fixtures import write_clip
from tests.shell import run_kanjo


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    for n in range(3):
        write_clip(folder / "deep er" / f"{n} — 声.wav", n, seconds=0.6)
    return folder


def test_predict_writes_every_format_for_every_kind_of_input(tiny_run: Path, clips: Path, tmp_path: Path) -> None:
    result = run_kanjo("predict", clips, "--model", tiny_run, "--format", "json")
    assert result.returncode == 0 and result.stderr == ""
    assert len(json.loads(result.stdout)) == 3
    result = run_kanjo("predict", f"{clips}/*/*.wav", "--model", tiny_run, "--format", "csv")
    assert len(list(csv.DictReader(io.StringIO(result.stdout)))) == 3
    output = tmp_path / "out.jsonl"
    result = run_kanjo("predict", clips, "-m", tiny_run, "-o", output, "--window", "0.5", "--hop", "0.1")
    assert result.stdout == "" and len(json.loads(output.read_text().splitlines()[0])["windows"]) == 2
    content = next(clips.rglob("*.wav")).read_bytes()
    result = run_kanjo("predict", "-", "-m", tiny_run, "-f", "json", stdin=content)
    assert json.loads(result.stdout)[0]["file"] == "<stdin>"


def test_predict_with_emotions_writes_their_columns(tiny_run: Path, clips: Path) -> None:
    result = run_kanjo("predict", clips, "-m", tiny_run, "-f", "csv", "--emotions", "sad,happy")
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert list(rows[0])[6:-2] == ["happiness", "sadness"]
    for row in rows:
        assert row["emotion"] == "unsure"  # tones contain no speech
        assert float(row["happiness"]) + float(row["sadness"]) == pytest.approx(1, abs=2e-6)
    result = run_kanjo("predict", clips, "-m", tiny_run, "--emotions", "sad,hapy")
    assert result.returncode == 1
    assert result.stderr.startswith("kanjo: unknown emotion 'hapy' (did you mean happiness?)")


def test_predict_bad_inputs_get_rows_and_the_rest_continues(tiny_run: Path, clips: Path, tmp_path: Path) -> None:
    (clips / "text.wav").write_text("Dear diary, no audio here")
    (clips / "empty.wav").write_bytes(b"")
    (clips / "loop.wav").symlink_to(clips / "loop.wav")
    (tmp_path / "nothing").mkdir()
    inputs = [clips, tmp_path / "missing.wav", tmp_path / "nothing", f"{tmp_path}/no*match"]
    result = run_kanjo("predict", *inputs, "-m", tiny_run, "-f", "json")
    assert result.returncode == 1
    errors = {Path(item["file"]).name: item["error"] for item in json.loads(result.stdout)}
    assert "no such file" in errors["missing.wav"]
    assert "empty" in errors["empty.wav"]
    assert "symbolic link" in errors["loop.wav"]
    assert errors["nothing"].startswith("no recordings in this folder; searched for files that end in .3g2, ")
    assert errors["no*match"] == "no file matches this pattern"
    assert errors["text.wav"]
    assert sum(not error for error in errors.values()) == 3
    assert result.stderr.strip() == "kanjo: 6 of 9 recordings failed"


def test_predict_changed_bundle_is_refused(tiny_run: Path, clips: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(tiny_run / "bundle", tmp_path / "copy")
    with (copy / "model.onnx").open("ab") as stream:
        stream.write(b"x")
    result = run_kanjo("predict", clips, "-m", copy)
    assert result.returncode == 1 and "model.onnx" in result.stderr and len(result.stderr.splitlines()) == 1


def test_predict_on_a_full_disk_is_one_line(tiny_run: Path, clips: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("/dev/full, a disk that is always full, is not on this system")
    command = [sys.executable, "-m", "kanjo", "predict", clips, "-m", tiny_run]
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert result.returncode == 1
    assert "No space left" in result.stderr and "Traceback" not in result.stderr


def test_predict_into_a_closed_pipe_is_no_error(tiny_run: Path, clips: Path) -> None:
    command = f"{sys.executable} -m kanjo predict '{clips}' '{clips}' -m {tiny_run} -f csv | head -n 1"
    result = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert result.stdout.startswith("file,start,end") and result.stderr == ""


def test_prompt_on_a_terminal_predicts_each_path(tiny_run: Path, clips: Path) -> None:
    path = next(clips.rglob("*.wav"))
    parent, child = pty.openpty()
    command = [sys.executable, "-m", "kanjo", "predict", "-m", str(tiny_run)]
    with subprocess.Popen(command, stdin=child, stdout=child, stderr=child) as process:
        os.close(child)
        os.write(parent, f"{path}\n/nowhere.wav\n\nq\n".encode())
        text = _read_all(parent)
    os.close(parent)
    assert process.returncode == 0
    assert "q quits" in text and "no such file" in text and "%" in text


def _read_all(terminal: int) -> str:
    content = b""
    while True:
        try:
            piece = os.read(terminal, 4096)
        except OSError:
            break
        if not piece:
            break
        content += piece
    return content.decode()


def test_predict_writes_nothing_into_the_home_folder(tmp_path: Path) -> None:
    """ONNX Runtime 1.31 writes an identifier and a store of telemetry events; kanjo turns this off."""
    home = tmp_path / "home"
    home.mkdir()
    clip = write_clip(tmp_path / "a.wav", seconds=0.6)
    environment = {**os.environ, "HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache")}
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    command = [sys.executable, "-m", "kanjo", "predict", clip]
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert result.returncode == 0 and result.stderr == ""
    assert list(home.rglob("*")) == []
