"""The table of predictions: columns, timelines and warnings at every width, and on every console."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kanjo.cli.prediction_output import PredictionOutput
from kanjo.cli.prediction_table import PredictionTable, WarningSummary
from kanjo.cli.terminal import Terminal, display_width
from kanjo.cli.timeline_strip import TimelineStrips, format_time
from kanjo.inference.prediction import Prediction, Segment, TimeSteps, failed_prediction
from tests.corpora_fixtures import write_clips
from tests.shell import run_kanjo

LABELS = ("anger", "happiness", "neutral", "sadness", "surprise")
PROBABILITIES = dict(zip(LABELS, (0.5, 0.2, 0.15, 0.1, 0.05), strict=True))
OOD = "the recording differs from the training data (ood_score {}, expected at most 1); the prediction may be wrong"
ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


def _recording(file: str, *warnings: str) -> Prediction:
    return Prediction(file, "anger", 0.5, PROBABILITIES, 2.0, 2.0, warnings=warnings)


def _talk(duration_s: float = 9.6, step_s: float = 0.25) -> Prediction:
    change, end = duration_s / 2, duration_s - 0.3
    segments = (
        Segment(0, change, "sadness", 0.4, PROBABILITIES),
        Segment(change, end, "anger", 0.5, PROBABILITIES),
        Segment(end, duration_s, "silence", 1.0, {}),
    )
    edges = np.minimum(np.arange(np.ceil(duration_s / step_s - 1e-6) + 1) * step_s, duration_s)
    steps = TimeSteps(edges, np.zeros((len(edges) - 1, len(LABELS)), np.float32))
    return replace(_recording("talk.wav"), duration_s=duration_s, segments=segments, time_steps=steps)


def _lines(*predictions: Prediction, terminal: Terminal | None = None, verbose: bool = False) -> list[str]:
    table = PredictionTable([p.file for p in predictions], LABELS, terminal or Terminal(), verbose)
    return list(table.lines(predictions))


def test_table_shows_label_confidence_next_and_duration() -> None:
    header, row = _lines(_recording("a.wav"))
    assert header.split() == ["file", "emotion", "confidence", "next", "duration"]
    assert row.split() == ["a.wav", "anger", "50", "%", "█████", "happiness", "20", "%", "0:02.0"]
    for name in ("emotion", "next"):
        assert row[header.index(name) - 1] == " " != row[header.index(name)]


def test_table_has_the_words_of_the_csv_and_the_page() -> None:
    from kanjo.inference.writers import csv_header

    page = Path(__file__).parents[2] / "src" / "kanjo" / "server" / "page" / "i18n.js"
    english = page.read_text(encoding="utf-8").split("de: {")[0]
    header = _lines(_recording("a.wav"))[0].split()
    assert {"file", "emotion", "confidence"} <= set(header) & set(csv_header(LABELS))
    assert 'emotion: "Emotion"' in english and 'confidence: "Confidence"' in english


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_table_fits_into_every_width(width: int, encoding: str) -> None:
    names = ["a.wav", "감정/" + "긴이름" * 20 + ".wav", "録音/感情.wav", "x" * 200 + ".wav", "e.wav"]
    predictions = [_recording(name, OOD.format(1.5)) for name in names[:4]]
    predictions += [failed_prediction("e.wav", "not audio: " + "words " * 30), replace(_talk(100.0), file="a.wav")]
    terminal = Terminal(width, 0, encoding)
    for verbose in (False, True):
        lines = _lines(*predictions, terminal=terminal, verbose=verbose)
        assert max(map(display_width, lines)) <= width
        marks = {display_width(line[: line.index(" ! ")]) for line in lines if " ! " in line}
        assert len(marks) == 1  # all rows have their columns in the same place
        assert sum("%" in line and " ! " in line for line in lines) == 4


def test_table_in_a_file_contains_whole_names() -> None:
    name = "folder/" * 20 + "a.wav"
    assert any(name in line for line in _lines(_recording(name), _recording("b.wav")))


def test_warnings_come_once_at_the_end_with_the_number_of_recordings() -> None:
    predictions = [_recording(f"{n}.wav", OOD.format(f"1.{n + 1}")) for n in range(7)]
    predictions += [_recording(f"{n}.wav") for n in range(7, 11)]
    predictions += [_recording("12.wav", "clipped: 5.0 % of the samples are at full scale")]
    lines = _lines(*predictions)
    title = lines.index("Warnings (!):")
    assert lines[title + 1 :] == [
        "  7 of 12 recordings: " + OOD.format("1.1 to 1.7"),
        "  1 of 12 recordings: clipped: 5.0 % of the samples are at full scale",
    ]
    assert sum(" ! " in line for line in lines[:title]) == 8
    assert not any("warning" in line.lower() for line in lines[:title])


def test_warning_of_a_single_recording_has_no_number_of_recordings() -> None:
    assert _lines(_recording("a.wav", OOD.format(1.5)))[-1] == "  " + OOD.format(1.5)


def test_warning_summary_names_at_most_ten_kinds() -> None:
    summary = WarningSummary()
    for n in range(13):
        summary.add(_recording("a.wav", f"kind {chr(97 + n)} -3.5"))
    assert len(summary.lines()) == 11 and summary.lines()[-1] == "and 3 more kinds of warnings; -v prints all"


def test_table_verbose_adds_probabilities_segments_and_warnings() -> None:
    predictions = [_recording("a.wav", OOD.format(1.5)), _talk()]
    text = "\n".join(_lines(*predictions, verbose=True))
    assert "    anger 50 %, happiness 20 %, neutral 15 %, sadness 10 %, surprise 5 %" in text
    assert "    warning: " + OOD.format(1.5) in text and "0:00.0 - 0:04.8" in text
    assert "0:00.0 - 0:04.8" not in "\n".join(_lines(*predictions))
    assert "0:00.0 - 0:04.8" in "\n".join(_lines(_talk()))  # a single recording lists its segments


def test_strip_has_one_block_per_time_step() -> None:
    lines = _lines(_talk(), _recording("b.wav"))
    strip = next(line for line in lines if line.startswith("  0:00.0"))
    assert strip == f"  0:00.0 {'S' * 19}{'A' * 18}.. 0:09.6"
    assert "Timeline: A anger, S sadness, . silence; one block is 0.25 s" in lines


@pytest.mark.parametrize(("duration_s", "block"), [(60, "0.25 s"), (80, "0.25 s"), (81, "0.5 s"), (7200, "30 s")])
def test_strip_of_a_long_recording_has_at_most_four_lines(duration_s: float, block: str) -> None:
    strips = TimelineStrips(LABELS, Terminal())
    lines = list(strips.lines(_talk(duration_s)))
    assert len(lines) <= 4 and lines[-1].endswith(f" {format_time(duration_s)}")
    n_blocks = sum(len(line.split()[1]) for line in lines)
    assert n_blocks == -(-duration_s // float(block.split()[0]))
    assert strips.legend().replace("\u00a0", " ").endswith(f"one block is {block}")


def test_strip_on_a_terminal_has_the_colors_of_the_emotions() -> None:
    from kanjo.palette import emotion_color

    strip = next(iter(TimelineStrips(LABELS, Terminal(80, 2**24)).lines(_talk())))
    for emotion in ("anger", "sadness"):
        red, green, blue = (int(emotion_color(emotion)[n : n + 2], 16) for n in (1, 3, 5))
        assert f"48;2;{red};{green};{blue}m" in strip
    assert ESCAPE.sub("", strip) == f"  0:00.0 {'S' * 19}{'A' * 18}.. 0:09.6"


def test_strip_gives_each_label_its_own_letter() -> None:
    labels = ["sadness", "surprise", "stress", "s", "화남", "other", "*"]
    symbols = TimelineStrips(labels, Terminal()).symbols
    assert len(set(symbols.values())) == len(labels) + 2 and symbols["sadness"] == "S" and symbols["surprise"] == "U"
    assert all(symbol.isascii() for symbol in symbols.values())


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00.0"), (59.97, "1:00.0"), (3661.5, "1:01:01.5")])
def test_format_time(seconds: float, text: str) -> None:
    assert format_time(seconds) == text


def _run(folder: Path, run: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kanjo", "predict", ".", "-m", str(run)]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=os.environ | environment)


def test_predict_without_terminal_has_no_escape_sequences(tmp_path: Path, tiny_run: Path) -> None:
    folder = write_clips(tmp_path / "in", "a.wav", "감정.wav")
    plain = _run(folder, tiny_run)
    assert plain.returncode == 0 and "\x1b" not in plain.stdout + plain.stderr and "█" in plain.stdout
    colored = _run(folder, tiny_run, FORCE_COLOR="1")
    assert "\x1b[" in colored.stdout and ESCAPE.sub("", colored.stdout) == plain.stdout
    assert _run(folder, tiny_run, FORCE_COLOR="1", NO_COLOR="1").stdout == plain.stdout


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "cp949"])
def test_predict_on_another_console_has_number_signs_and_aligned_columns(
    tmp_path: Path, tiny_run: Path, encoding: str
) -> None:
    result = _run(write_clips(tmp_path / "in", "a.wav", "ż😀.wav"), tiny_run, PYTHONIOENCODING=encoding)
    header, *rows = result.stdout.splitlines()[:3]
    assert result.returncode == 0 and result.stderr == "" and "#" in rows[0] and "\\u" in rows[1]
    assert len({row.index(" %") for row in rows}) == 1 and rows[0].index(" %") > header.index("emotion")


def test_output_prints_each_row_before_the_next_prediction(capsys: pytest.CaptureFixture[str]) -> None:
    printed = []

    def predictions() -> Iterator[Prediction]:
        for n in range(3):
            yield _recording(f"{n}.wav")
            printed.append(capsys.readouterr().out)

    PredictionOutput("table", LABELS, [f"{n}.wav" for n in range(3)]).write(predictions())
    assert [text.count(".wav") for text in printed] == [1, 1, 1]


def test_predict_verbose_reports_the_durations(tmp_path: Path, tiny_run: Path) -> None:
    result = run_kanjo("predict", write_clips(tmp_path / "in", "a.wav", "b.wav"), "-m", tiny_run, "-v")
    assert result.returncode == 0 and "times faster than real time" in result.stderr
    assert result.stderr.startswith("kanjo: 2 recordings, ")
    quiet = run_kanjo("predict", tmp_path / "in", "-m", tiny_run, "-f", "json")
    assert run_kanjo("predict", tmp_path / "in", "-m", tiny_run, "-f", "json", "-v").stdout == quiet.stdout
