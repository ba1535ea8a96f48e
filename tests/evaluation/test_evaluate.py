from __future__ import annotations

import base64
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import kanjo
from kanjo.corpora import read_corpus
from kanjo.errors import CorpusError
from kanjo.evaluation import evaluate as scoring
from kanjo.evaluation.reports import run_report
from tests.corpora_fixtures import clip


def test_scores_are_those_of_the_answers(tiny_run: Path) -> None:
    labels, answers = scoring.read_answers(tiny_run / "predictions.csv")
    stored = json.loads((tiny_run / "scores.json").read_text())
    found = scoring.scores_of(labels, answers)
    assert found.uar.value == pytest.approx(stored["uar"]["value"])
    right = np.mean([answer.answer == answer.emotion for answer in answers])
    assert stored["accuracy"]["value"] == pytest.approx(right)
    assert sum(map(sum, stored["confusion"])) == stored["n"] == len(answers)


def test_evaluating_again_gives_the_published_score(tiny_run: Path, tiny_corpora: Path) -> None:
    recognizer = kanjo.load(tiny_run)
    manifest = read_corpus("ravdess", tiny_corpora / "ravdess")
    rows = [row for row in manifest.utterances if row.speaker_key in recognizer.facts.split["test_speakers"]]
    found = scoring.evaluate(recognizer, rows, [manifest.path(row) for row in rows])
    assert recognizer.facts.scores is not None
    assert found.scores.uar.value == pytest.approx(recognizer.facts.scores["uar"]["value"])


def test_bad_recordings_and_unknown_emotions_are_counted_not_scored(tiny_run: Path, tmp_path: Path) -> None:
    for n in range(3):
        clip(tmp_path / "angry" / f"{n}.wav", n, seconds=0.5)
    clip(tmp_path / "boredom" / "1.wav", seconds=0.5)
    (tmp_path / "sad").mkdir()
    (tmp_path / "sad" / "bad.wav").write_text("no audio")
    manifest = read_corpus("own", tmp_path)
    found = scoring.evaluate(
        kanjo.load(tiny_run), manifest.utterances, [manifest.path(row) for row in manifest.utterances]
    )
    assert found.scores.n == 3
    assert found.left_out == (("boredom", 1),)
    assert found.failed[0][0].endswith("bad.wav")
    shutil.rmtree(tmp_path / "angry")
    manifest = read_corpus("own", tmp_path)
    with pytest.raises(CorpusError, match="nothing to score"):
        scoring.evaluate(kanjo.load(tiny_run), manifest.utterances, [manifest.path(row) for row in manifest.utterances])


def test_stretches_of_a_recording_are_scored_alone(tiny_run: Path, tmp_path: Path) -> None:
    clip(tmp_path / "long.wav", seconds=3.0)
    (tmp_path / "m.csv").write_text(
        "file,emotion,start,end,speaker\nlong.wav,angry,0.5,1.2,a\nlong.wav,sad,1.5,2.0,a\n"
    )
    manifest = read_corpus("own", tmp_path / "m.csv")
    assert (
        scoring.evaluate(
            kanjo.load(tiny_run), manifest.utterances, [manifest.path(row) for row in manifest.utterances]
        ).scores.n
        == 2
    )


def test_the_report_opens_offline_and_says_what_leaks(tiny_run: Path) -> None:
    page = (tiny_run / "report.html").read_text()
    assert page.startswith("<!doctype html>")
    assert not re.search(r'(src|href)="(?!data:)', page)
    for needed in (
        "UAR",
        "Confusion matrix",
        "Learning curves",
        "UAR of each test speaker",
        "not text-independent",
        "Recall of each emotion",
    ):
        assert needed in page
    pictures = re.findall(r"data:image/png;base64,([A-Za-z0-9+/=]+)", page)
    assert len(pictures) == 6
    assert all(base64.b64decode(picture).startswith(b"\x89PNG") for picture in pictures)


def test_names_in_the_report_are_escaped(tiny_run: Path, tmp_path: Path) -> None:
    labels, answers = scoring.read_answers(tiny_run / "predictions.csv")
    evaluation = scoring.Evaluation(
        labels, tuple(answers), scoring.scores_of(labels, answers), (("<script>", "x & y"),)
    )
    run_report.write_run(tmp_path, "<b>title</b>", evaluation, {})
    page = (tmp_path / "report.html").read_text()
    assert "<script>" not in page and "&lt;script&gt;" in page and "<b>title" not in page


def test_a_predictions_file_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("corpus,file,speaker,sex,emotion,answer,anger\na,b,c,d,e,f,much\n")
    with pytest.raises(CorpusError, match=r"not a predictions.csv"):
        scoring.read_answers(tmp_path / "p.csv")
    with pytest.raises(CorpusError, match="can't read"):
        scoring.read_answers(tmp_path / "missing.csv")
