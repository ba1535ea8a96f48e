"""Consoles that can't print a character, closed streams, no home folder, and unusual file names."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.corpora_fixtures import make_emotion_folders, write_clip, write_clips
from tests.shell import run_kanjo

KANJO = f"{sys.executable} -m kanjo"
BAD_NAME = os.fsdecode(b"caf\xe9\n.wav")


def _shell(command: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", command], cwd=cwd, capture_output=True, text=True, env=os.environ | environment
    )


@pytest.mark.parametrize("form", ["table", "csv", "json", "jsonl"])
def test_predict_name_that_is_not_utf8_is_escaped_in_every_format(tmp_path: Path, tiny_run: Path, form: str) -> None:
    folder = write_clips(tmp_path / "in", "a.wav", "z.wav")
    (folder / "a.wav").rename(folder / BAD_NAME)
    result = run_kanjo("predict", folder, "-f", form, "-m", tiny_run)
    assert result.returncode == 0 and "caf%E9%0A.wav" in result.stdout and "z.wav" in result.stdout
    output = tmp_path / f"out.{form}"
    assert run_kanjo("predict", folder, "-f", form, "-o", output, "-m", tiny_run).returncode == 0
    assert "caf%E9%0A.wav" in output.read_text(encoding="utf-8")
    if form in ("csv", "jsonl"):
        resumed = run_kanjo("predict", folder, "-f", form, "-o", output, "--resume", "-m", tiny_run)
        assert "2 of 2 recordings are finished" in resumed.stderr


def test_corpus_commands_accept_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    root = make_emotion_folders(tmp_path / "own")
    write_clip(root / "angry" / "a.wav", 99).rename(root / "angry" / BAD_NAME)
    checked = run_kanjo("corpus", "check", "own", root, "-f", "json")
    assert checked.returncode == 0 and json.loads(checked.stdout)["ok"]
    table = tmp_path / "own" / "table.csv"
    assert run_kanjo("corpus", "manifest", "own", root, "-o", table).returncode == 0
    assert "angry/caf%E9%0A.wav" in table.read_text(encoding="utf-8")
    checked = run_kanjo("corpus", "check", "own", table, "-f", "json")
    assert checked.returncode == 0 and json.loads(checked.stdout)["ok"]


@pytest.mark.parametrize("encoding", ["ascii", "cp949", "cp1252"])
def test_predict_on_a_console_without_the_character_escapes_it(tmp_path: Path, tiny_run: Path, encoding: str) -> None:
    write_clip(tmp_path / "ż😀.wav", seconds=0.6)
    result = _shell(f"{KANJO} predict *.wav -f json -m {tiny_run}", tmp_path, PYTHONIOENCODING=encoding)
    assert result.returncode == 0 and result.stderr == ""
    assert json.loads(result.stdout)[0]["file"] == "ż😀.wav"


@pytest.mark.parametrize(
    ("command", "exit_code", "message"),
    [
        ("{kanjo} predict a.wav -m {run} >&-", 1, "kanjo: standard output is closed"),
        ("{kanjo} info >&-", 1, "kanjo: standard output is closed"),
        ("{kanjo} predict a.wav -m {run} -o out.csv >&-", 0, ""),
        ("{kanjo} predict a.wav -m {run} 2>&- >/dev/null", 0, ""),
        ("{kanjo} predict <&-", 2, "no recording"),
        ("{kanjo} corpus list | true; exit ${{PIPESTATUS[0]}}", 0, ""),
        ("{kanjo} corpus list > /dev/full", 1, "No space left"),
    ],
)
def test_command_with_a_closed_or_full_stream_prints_no_traceback(
    tmp_path: Path, tiny_run: Path, command: str, exit_code: int, message: str
) -> None:
    write_clip(tmp_path / "a.wav", seconds=0.6)
    result = _shell(command.format(kanjo=KANJO, run=tiny_run), tmp_path)
    assert result.returncode == exit_code, result.stderr
    assert message in result.stderr and "Traceback" not in result.stderr
    assert bool(result.stderr) == bool(message)


def test_commands_without_home_folder_say_what_to_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home(cls: type[Path]) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", classmethod(no_home))
    for variable in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "KANJO_SPEAKERS"):
        monkeypatch.delenv(variable, raising=False)
    clip = write_clip(tmp_path / "a.wav", seconds=0.6)
    for arguments, remedy in (
        (("predict", clip, "--speaker", "bob"), "set HOME, or KANJO_SPEAKERS"),
        (("enroll", "bob", clip), "set HOME, or KANJO_SPEAKERS"),
        (("tools", "hparams", "-y", "a", "-v", "1"), "set HOME, or give the files with -p"),
    ):
        result = run_kanjo(*arguments)
        assert result.returncode == 1 and remedy in result.stderr and len(result.stderr.splitlines()) == 1
    assert run_kanjo("info").returncode == 0


def test_predict_reports_an_unreadable_subfolder_and_reads_the_rest(
    tmp_path: Path, tiny_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_clips(tmp_path / "in", "a.wav", "no/b.wav")
    scandir = os.scandir

    def refuse(path: Path) -> object:  # chmod does not stop root
        if Path(path).name == "no":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    result = run_kanjo("predict", folder, "-f", "csv", "-m", tiny_run)
    rows = {Path(row["file"]).name: row["error"] for row in csv.DictReader(io.StringIO(result.stdout))}
    assert result.returncode == 1 and rows == {"a.wav": "", "no": "can't read the folder: no permission"}


def test_tools_reports_an_unreadable_subfolder_and_no_recordings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_clips(tmp_path / "in", "a.wav", "no/b.wav")
    (tmp_path / "empty").mkdir()
    result = run_kanjo("tools", "resample", tmp_path / "empty", tmp_path / "out", "8000")
    assert result.returncode == 1 and "no recordings in this folder; searched for files that end in" in result.stderr
    scandir = os.scandir

    def refuse(path: Path) -> object:
        if Path(path).name == "no":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    result = run_kanjo("tools", "resample", folder, tmp_path / "out", "8000")
    assert result.returncode == 1 and "no: can't read the folder: no permission" in result.stderr
    assert (tmp_path / "out" / "a.wav").exists()


@pytest.mark.parametrize("arguments", [("resample", "8000"), ("normalize",), ("normalize", "--rms", "-23")])
def test_tools_convert_a_name_that_is_not_utf8(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    folder = write_clips(tmp_path / "in", "a.wav", "a.flac")
    (folder / "a.wav").rename(folder / BAD_NAME)
    (folder / "a.flac").rename(folder / os.fsdecode(b"\xe9.flac"))
    tool, *options = arguments
    result = run_kanjo("tools", tool, folder, tmp_path / "out", *options)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "out" / BAD_NAME).exists()


def test_names_of_255_bytes_are_written(tmp_path: Path) -> None:
    folder = write_clips(tmp_path / "in", "가" * 83 + ".flac", "k" * 251 + ".wav")
    result = run_kanjo("tools", "resample", folder, tmp_path / "out", "8000")
    assert result.returncode == 0 and len(list((tmp_path / "out").iterdir())) == 2


def test_predict_reads_process_substitution(tmp_path: Path, tiny_run: Path) -> None:
    write_clip(tmp_path / "a.wav", seconds=0.6)
    command = f"{KANJO} predict <(cat a.wav) /dev/stdin -f csv -m {tiny_run} < <(cat a.wav)"
    result = _shell(command, tmp_path)
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert result.returncode == 0 and [row["error"] for row in rows] == ["", ""]
