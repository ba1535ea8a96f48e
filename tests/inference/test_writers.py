from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from kanjo.inference import writers
from kanjo.inference.prediction import Prediction, Segment

LABELS = ("anger", "neutral")
SHARES = {"anger": 0.75, "neutral": 0.25}
EVEN = {"anger": 0.5, "neutral": 0.5}
WINDOWS = (Segment(0, 2, "anger", 0.75, SHARES), Segment(1, 3, "unsure", 0.5, EVEN))
ANSWERS = [
    Prediction("a b, 声.wav", "anger", 0.75, SHARES, 1.2, 1.0, (Segment(0, 1.2, "anger", 0.75, SHARES),), (WINDOWS[0],)),
    Prediction(
        "talk.wav", "anger", 0.75, SHARES, 3661.5, 2.0,
        (WINDOWS[0], Segment(2, 2.25, "silence", 1.0, {}), Segment(2.25, 3661.5, "unsure", 0.5, EVEN)), WINDOWS, ("clipped: a lot",),
    ),
    Prediction("bad.wav", "", 0.0, {}, error='not audio, "really"'),
]  # fmt: skip


def text(name: str, answers: list[Prediction] = ANSWERS) -> str:
    return "".join(writers.chunks(name, answers, LABELS))


def test_json_is_json_and_jsonl_a_line_each() -> None:
    whole = json.loads(text("json"))
    assert [item["file"] for item in whole] == ["a b, 声.wav", "talk.wav", "bad.wav"]
    assert whole[1]["segments"][1]["label"] == "silence" and whole[1]["speech_s"] == 2
    assert whole[1]["windows"][1] == {
        "start_s": 1, "end_s": 3, "label": "unsure", "confidence": 0.5, "probabilities": {"anger": 0.5, "neutral": 0.5},
    }  # fmt: skip
    assert whole[2]["error"] == 'not audio, "really"'
    assert [json.loads(line) for line in text("jsonl").splitlines()] == whole
    assert json.loads(text("json", [])) == []


def test_csv_has_audformats_columns_and_survives_hard_names() -> None:
    rows = list(csv.DictReader(io.StringIO(text("csv"))))
    assert list(rows[0])[:6] == ["file", "start", "end", "part", "emotion", "confidence"]
    assert [tuple(row[name] for name in ("file", "start", "end", "part", "emotion")) for row in rows] == [
        ("a b, 声.wav", "0.000", "1.200", "recording", "anger"), ("talk.wav", "0.000", "3661.500", "recording", "anger"),
        ("talk.wav", "0.000", "2.000", "segment", "anger"), ("talk.wav", "2.000", "2.250", "segment", "silence"),
        ("talk.wav", "2.250", "3661.500", "segment", "unsure"), ("talk.wav", "0.000", "2.000", "window", "anger"),
        ("talk.wav", "1.000", "3.000", "window", "unsure"), ("bad.wav", "", "", "recording", ""),
    ]  # fmt: skip
    assert rows[-1]["error"] == 'not audio, "really"' and rows[3]["anger"] == ""
    assert float(rows[0]["neutral"]) == 0.25


def test_table_is_for_people() -> None:
    lines = text("table").splitlines()
    assert "anger" in lines[1] and "75%" in lines[1] and "neutral 25%" in lines[1] and "1.20 s" in lines[1]
    assert "1:01:01.5" in lines[2]
    assert any("warning: clipped" in line for line in lines)
    assert any("error: not audio" in line for line in lines)


@pytest.mark.filterwarnings("ignore:The inplace keyword:DeprecationWarning")  # audformat's own call of pandas
def test_csv_opens_in_audformat(tmp_path: Path) -> None:
    import audformat
    import pandas as pd

    path = tmp_path / "answers.csv"
    path.write_text(text("csv", ANSWERS[:2]), encoding="utf-8")
    frame = audformat.utils.read_csv(path, as_dataframe=True)
    assert audformat.is_segmented_index(frame.index)
    chosen = frame[frame["part"] == "segment"]
    assert chosen.index[1] == ("talk.wav", pd.Timedelta(seconds=2), pd.Timedelta(seconds=2.25))
    assert chosen["emotion"].tolist() == ["anger", "silence", "unsure"]


def test_subtitles() -> None:
    assert text("srt", ANSWERS[1:2]) == (
        "1\n00:00:00,000 --> 00:00:02,000\nanger 75%\n\n2\n00:00:02,250 --> 01:01:01,500\nunsure 50%\n\n"
    )
    assert text("vtt", ANSWERS[1:2]).startswith("WEBVTT\n\n00:00:00.000 --> 00:00:02.000\n<v anger>anger 75%\n\n")
