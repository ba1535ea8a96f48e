"""Formats of predictions."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

from kanjo.inference import writers
from kanjo.inference.prediction import Prediction, Segment

LABELS = ("anger", "neutral")
PROBABILITIES = {"anger": 0.75, "neutral": 0.25}
UNIFORM = {"anger": 0.5, "neutral": 0.5}
WINDOWS = (Segment(0, 2, "anger", 0.75, PROBABILITIES), Segment(1, 3, "unsure", 0.5, UNIFORM))
SHORT = Prediction(
    file="a b, 声.wav",
    label="anger",
    confidence=0.75,
    probabilities=PROBABILITIES,
    duration_s=1.2,
    speech_s=1.0,
    segments=(Segment(0, 1.2, "anger", 0.75, PROBABILITIES),),
    windows=WINDOWS[:1],
)
LONG = Prediction(
    file="talk.wav",
    label="anger",
    confidence=0.75,
    probabilities=PROBABILITIES,
    duration_s=3661.5,
    speech_s=2.0,
    segments=(WINDOWS[0], Segment(2, 2.25, "silence", 1.0, {}), Segment(2.25, 3661.5, "unsure", 0.5, UNIFORM)),
    windows=WINDOWS,
    warnings=("clipped: 5.0 % of the samples",),
)
FAILED = Prediction("bad.wav", "", 0.0, {}, error='not audio, "really"')


def _render(name: str, *predictions: Prediction) -> str:
    return "".join(writers.render(name, predictions, LABELS))


def test_json_contains_all_predictions() -> None:
    content = json.loads(_render("json", SHORT, LONG, FAILED))
    assert [item["file"] for item in content] == ["a b, 声.wav", "talk.wav", "bad.wav"]
    assert content[1]["segments"][1]["label"] == "silence" and content[1]["speech_s"] == 2
    window = {"start_s": 1, "end_s": 3, "label": "unsure", "confidence": 0.5, "probabilities": UNIFORM}
    assert content[1]["windows"][1] == window
    assert content[2]["error"] == 'not audio, "really"'


def test_json_equals_the_indented_json_of_python() -> None:
    odd = replace(SHORT, warnings=("line\u2028separator", 'quoted "\\n"', "next\x85line"), windows=WINDOWS * 500)
    contents = [prediction.as_dict() for prediction in (LONG, odd, FAILED)]
    assert _render("json", LONG, odd, FAILED) == json.dumps(contents, ensure_ascii=False, indent=2) + "\n"
    assert max(map(len, writers.json_array([odd], LABELS))) < 100_000 < len(_render("json", odd))


def test_json_without_predictions_is_an_empty_array() -> None:
    assert json.loads(_render("json")) == []


def test_jsonl_has_one_line_for_each_prediction() -> None:
    lines = _render("jsonl", SHORT, LONG, FAILED).splitlines()
    assert [json.loads(line) for line in lines] == json.loads(_render("json", SHORT, LONG, FAILED))


def test_csv_has_rows_for_recordings_segments_and_windows() -> None:
    rows = list(csv.DictReader(io.StringIO(_render("csv", SHORT, LONG, FAILED))))
    assert list(rows[0])[:6] == ["file", "start", "end", "part", "emotion", "confidence"]
    assert [tuple(row[name] for name in ("file", "start", "end", "part", "emotion")) for row in rows] == [
        ("a b, 声.wav", "0.000", "1.200", "recording", "anger"),
        ("talk.wav", "0.000", "3661.500", "recording", "anger"),
        ("talk.wav", "0.000", "2.000", "segment", "anger"),
        ("talk.wav", "2.000", "2.250", "segment", "silence"),
        ("talk.wav", "2.250", "3661.500", "segment", "unsure"),  # the window 0 to 2 s has the times of a segment
        ("talk.wav", "1.000", "3.000", "window", "unsure"),
        ("bad.wav", "", "", "recording", ""),
    ]
    assert rows[-1]["error"] == 'not audio, "really"'
    assert rows[3]["anger"] == "" and float(rows[0]["neutral"]) == 0.25


@pytest.mark.filterwarnings("ignore:The inplace keyword:DeprecationWarning")  # from audformat's use of pandas
def test_csv_is_a_segmented_audformat_table(tmp_path: Path) -> None:
    audformat = pytest.importorskip("audformat")
    import pandas as pd

    path = tmp_path / "predictions.csv"
    path.write_text(_render("csv", SHORT, LONG), encoding="utf-8")
    frame = audformat.utils.read_csv(path, as_dataframe=True)
    assert audformat.is_segmented_index(frame.index) and frame.index.is_unique
    segments = frame[frame["part"] == "segment"]
    assert segments.index[1] == ("talk.wav", pd.Timedelta(seconds=2), pd.Timedelta(seconds=2.25))
    assert segments["emotion"].tolist() == ["anger", "silence", "unsure"]


def test_srt_has_a_subtitle_for_each_segment_with_speech() -> None:
    assert _render("srt", LONG) == (
        "1\n00:00:00,000 --> 00:00:02,000\nanger 75%\n\n2\n00:00:02,250 --> 01:01:01,500\nunsure 50%\n\n"
    )


def test_vtt_has_the_emotion_as_voice() -> None:
    assert _render("vtt", LONG).startswith("WEBVTT\n\n00:00:00.000 --> 00:00:02.000\n<v anger>anger 75%\n\n")
