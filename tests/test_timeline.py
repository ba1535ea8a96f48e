from __future__ import annotations

import csv
import io
import json

from kanjo import timeline
from kanjo.recognizer import Prediction, Segment

LABELS = ("anger", "neutral")
SHARES = {"anger": 0.75, "neutral": 0.25}
ANSWERS = [
    Prediction("a b, 声.wav", "anger", 0.75, SHARES, 1.2, (Segment(0, 1.2, "anger", 0.75, SHARES),)),
    Prediction(
        "talk.wav", "anger", 0.75, SHARES, 3661.5,
        (Segment(0, 2, "anger", 0.75, SHARES), Segment(1, 3, "unsure", 0.5, {"anger": 0.5, "neutral": 0.5})), ("clipped: a lot",),
    ),
    Prediction("bad.wav", "", 0.0, {}, error='not audio, "really"'),
]  # fmt: skip


def text(name: str, answers: list[Prediction] = ANSWERS) -> str:
    return "".join(timeline.chunks(name, answers, LABELS))


def test_json_is_json_and_jsonl_a_line_each() -> None:
    whole = json.loads(text("json"))
    assert [item["file"] for item in whole] == ["a b, 声.wav", "talk.wav", "bad.wav"]
    assert whole[1]["segments"][1] == {
        "start_s": 1, "end_s": 3, "label": "unsure", "confidence": 0.5, "probabilities": {"anger": 0.5, "neutral": 0.5},
    }  # fmt: skip
    assert whole[2]["error"] == 'not audio, "really"'
    assert [json.loads(line) for line in text("jsonl").splitlines()] == whole
    assert json.loads(text("json", [])) == []


def test_csv_has_audformats_columns_and_survives_hard_names() -> None:
    rows = list(csv.DictReader(io.StringIO(text("csv"))))
    assert list(rows[0])[:5] == ["file", "start", "end", "emotion", "confidence"]
    assert [(row["file"], row["start"], row["end"], row["emotion"]) for row in rows] == [
        ("a b, 声.wav", "", "", "anger"), ("talk.wav", "", "", "anger"), ("talk.wav", "0.000", "2.000", "anger"),
        ("talk.wav", "1.000", "3.000", "unsure"), ("bad.wav", "", "", ""),
    ]  # fmt: skip
    assert rows[4]["error"] == 'not audio, "really"'
    assert float(rows[0]["neutral"]) == 0.25


def test_table_is_for_people() -> None:
    lines = text("table").splitlines()
    assert "anger" in lines[1] and "75%" in lines[1] and "neutral 25%" in lines[1] and "1.20 s" in lines[1]
    assert "1:01:01.5" in lines[2]
    assert any("warning: clipped" in line for line in lines)
    assert any("error: not audio" in line for line in lines)
