"""The command ``kanjo demo``, and the example recordings that it shows."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

import kanjo
from kanjo.cli import demo
from kanjo.errors import KanjoError
from kanjo.inference.prediction import Prediction, Segment, failed_prediction
from kanjo.labels import EMOTIONS
from tests.clips import RECORDINGS
from tests.shell import run_kanjo
from tests.test_docs import assert_same_output

ROWS = demo.read_truth(RECORDINGS)
FIVE = ("neutral", "anger", "happiness", "sadness", "fear")


def test_truth_names_exactly_the_recordings() -> None:
    assert {row.file for row in ROWS} == {path.name for path in RECORDINGS.glob("*.flac")}
    assert {path.suffix for path in RECORDINGS.iterdir()} == {".flac", ".csv"}
    assert demo.find_recordings().samefile(RECORDINGS)


def test_truth_has_two_sentences_of_each_emotion_and_a_conversation() -> None:
    sentences = [row.emotion for row in ROWS if re.fullmatch(r"[a-z]+-[12]\.flac", row.file)]
    assert sorted(sentences) == sorted(2 * FIVE)
    assert all(row.file.startswith(row.emotion) for row in ROWS if "-" in row.file)
    turns = [row for row in ROWS if row.file == "conversation.flac"]
    assert len(turns) == 12 and {row.emotion for row in turns} == set(FIVE)
    others = {row.file: row.emotion for row in ROWS if "-" not in row.file and row.start_s is None}
    assert others == {"german.flac": "neutral", "noise.flac": demo.NO_SPEECH, "silence.flac": demo.NO_SPEECH}
    assert {row.emotion for row in ROWS} <= {*EMOTIONS, demo.NO_SPEECH}


def test_recordings_are_16_khz_mono_and_small() -> None:
    for path in RECORDINGS.glob("*.flac"):
        info = soundfile.info(path)
        assert (info.samplerate, info.channels) == (16_000, 1), path.name
    assert sum(path.stat().st_size for path in RECORDINGS.iterdir()) < 1_500_000
    assert not np.any(soundfile.read(RECORDINGS / "silence.flac")[0])


def test_turns_of_the_conversation_are_where_the_truth_says() -> None:
    samples, rate = soundfile.read(RECORDINGS / "conversation.flac")
    end_s = 0.0
    for row in (row for row in ROWS if row.start_s is not None and row.end_s is not None):
        gap, turn = (
            samples[round(start * rate) : round(end * rate)]
            for start, end in ((end_s + 0.02, row.start_s - 0.02), (row.start_s, row.end_s))
        )
        assert not gap.any() and np.sqrt(np.mean(turn**2)) > 0.01, row
        end_s = row.end_s
    assert 45 < len(samples) / rate < 75


def test_demo_shows_intended_and_recognized_emotions_in_60_columns(tmp_path: Path) -> None:
    environment = {"COLUMNS": "60", "NO_COLOR": "1", "PYTHONIOENCODING": "ascii"}
    result = run_kanjo("demo", cwd=tmp_path, **environment)
    assert result.returncode == 0 and result.stderr == "", result.stderr
    lines = result.stdout.splitlines()
    assert all(len(line) <= 60 for line in lines if not line.startswith(("Listen to them", "    "))), lines
    assert "synthetic" in lines[0] and "not how accurate kanjo is" in result.stdout
    recognizer = kanjo.load()
    for row in (row for row in ROWS if row.start_s is None):
        label = recognizer.predict(RECORDINGS / row.file).label
        cells = next(line for line in lines if line.startswith(row.file)).removeprefix(row.file).split()
        assert cells[: len(row.emotion.split()) + 1] == [*row.emotion.split(), label]
        expected = "unsure" if row.emotion == demo.NO_SPEECH else row.emotion
        assert (cells[-1] == "miss") == (label != expected), cells
    hits = re.findall(r"As intended: (\d+) of (\d+)", result.stdout)
    assert [int(total) for _, total in hits] == [10, 12]
    sentences = [line for line in lines if re.match(r"[a-z]+-[12]\.flac", line)]
    assert int(hits[0][0]) == sum(not line.endswith("miss") for line in sentences)
    assert re.search(r"Speed: \d+ s of audio in \d+\.\d s, \d+ times faster", result.stdout)
    assert sum(" predict " in line or " finetune " in line for line in lines[-3:]) == 3
    assert not list(tmp_path.iterdir())


def test_recognized_emotion_of_a_turn_is_that_of_its_longest_segment() -> None:
    segments = tuple(
        Segment(start, end, label, 0.5, {})
        for start, end, label in ((0, 1, "silence"), (1, 1.4, "fear"), (1.4, 3, "anger"), (3, 9, "sadness"))
    )
    prediction = Prediction("talk.flac", "neutral", 0.4, {}, 9.0, segments=segments)
    turn = demo.Intended("talk.flac", "anger", "en", 0.9, 3.2)
    assert demo.recognized(turn, prediction) == ("anger", 0.5)
    whole = demo.Intended("talk.flac", "anger", "en", None, None)
    assert demo.recognized(whole, prediction) == ("neutral", 0.4)


def test_recognized_emotion_of_a_damaged_recording_is_an_error() -> None:
    row = demo.Intended("x.flac", "fear", "en", None, None)
    with pytest.raises(KanjoError, match=r"x\.flac: the file is empty; install kanjo again"):
        demo.recognized(row, failed_prediction("x.flac", "the file is empty"))


def test_demo_without_recordings_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "__file__", str(tmp_path / "src" / "kanjo" / "cli" / "demo.py"))
    with pytest.raises(KanjoError, match="expected the example recordings in demo_recordings; install kanjo again"):
        demo.find_recordings()
    installed = tmp_path / "src" / "kanjo" / "demo_recordings"
    shutil.copytree(RECORDINGS, installed)
    assert demo.find_recordings() == installed


@pytest.mark.parametrize(
    "text", ["file,emotion\nx.flac,fear\n", "file,start_s,end_s,emotion,language\nx.flac,a,1,fear,en\n"]
)
def test_damaged_truth_is_an_error_that_names_it(tmp_path: Path, text: str) -> None:
    (tmp_path / "truth.csv").write_text(text, "utf-8")
    with pytest.raises(KanjoError, match=r"truth\.csv: damaged .*; install kanjo again"):
        demo.read_truth(tmp_path)


def test_tutorial_shows_the_output_of_demo(capsys: pytest.CaptureFixture[str]) -> None:
    page = Path(__file__).parents[2] / "docs" / "tutorials" / "first-prediction.md"
    shown = page.read_text(encoding="utf-8").partition("$ kanjo demo\nrecording ")[2].partition("```")[0]
    demo.demo()
    output = capsys.readouterr().out.partition("recording ")[2].partition("Speed:")[0]
    assert_same_output(output, shown)
