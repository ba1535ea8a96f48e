"""Evaluation of a bundle, and the file of its predictions."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

import kanjo
from kanjo.corpora import Manifest, read_corpus
from kanjo.errors import CorpusError
from kanjo.evaluation import evaluate as evaluation
from kanjo.evaluation.predictions_file import read_predictions, write_predictions
from tests.corpora_fixtures import write_clip
from tests.evaluation.utterances import LABELS, make_utterances
from tests.shell import run_kanjo


def write_clips(folder: Path, emotions: tuple[str, ...]) -> None:
    """Write two clips of each emotion."""
    for i, emotion in enumerate(emotions):
        for n in range(2):
            write_clip(folder / emotion / f"{n}.wav", 10 * i + n, seconds=0.5, hz=150.0 * (i + 1))


def evaluate_manifest(run: Path, manifest: Manifest) -> evaluation.Evaluation:
    paths = [manifest.audio_path(row) for row in manifest.utterances]
    return evaluation.evaluate(kanjo.load(run), manifest.utterances, paths)


def test_scores_file_agrees_with_predictions_file(tiny_run: Path) -> None:
    labels, utterances = read_predictions(tiny_run / "predictions.csv")
    stored = json.loads((tiny_run / "scores.json").read_text())
    scores = evaluation.compute_scores(labels, utterances)
    assert scores.uar.value == pytest.approx(stored["uar"]["value"])
    accuracy = np.mean([utterance.predicted == utterance.emotion for utterance in utterances])
    assert stored["accuracy"]["value"] == pytest.approx(accuracy)
    assert sum(map(sum, stored["confusion_matrix"])) == stored["n"] == len(utterances)
    assert stored["training_minutes"] > 0 and not stored["failures"] and not stored["excluded_emotions"]


def test_evaluate_of_test_speakers_reproduces_the_scores_of_the_bundle(tiny_run: Path, tiny_corpora: Path) -> None:
    recognizer = kanjo.load(tiny_run)
    manifest = read_corpus("ravdess", tiny_corpora / "ravdess")
    rows = [row for row in manifest.utterances if row.speaker_key in recognizer.metadata.split["test_speakers"]]
    result = evaluation.evaluate(recognizer, rows, [manifest.audio_path(row) for row in rows])
    assert recognizer.metadata.scores is not None
    assert result.scores.uar.value == pytest.approx(recognizer.metadata.scores["uar"]["value"])


def test_evaluate_reports_bad_recordings_and_excludes_unknown_emotions(tiny_run: Path, tmp_path: Path) -> None:
    for n in range(3):
        write_clip(tmp_path / "angry" / f"{n}.wav", n, seconds=0.5)
    write_clip(tmp_path / "boredom" / "1.wav", seconds=0.5)
    (tmp_path / "sad").mkdir()
    (tmp_path / "sad" / "bad.wav").write_text("no audio")
    result = evaluate_manifest(tiny_run, read_corpus("own", tmp_path))
    assert result.scores.n == 3
    assert result.excluded_emotions == (("boredom", 1),)
    assert result.failures[0][0].endswith("bad.wav")
    shutil.rmtree(tmp_path / "angry")
    with pytest.raises(CorpusError, match="nothing to score"):
        evaluate_manifest(tiny_run, read_corpus("own", tmp_path))


def test_evaluate_of_only_unknown_emotions_names_the_emotions(tiny_run: Path, tmp_path: Path) -> None:
    write_clip(tmp_path / "boredom" / "1.wav", seconds=0.5)
    with pytest.raises(CorpusError, match=r"predicts anger.*emotions boredom"):
        evaluate_manifest(tiny_run, read_corpus("own", tmp_path))


def test_evaluate_among_some_labels_restricts_predictions_and_utterances(tiny_run: Path, tmp_path: Path) -> None:
    write_clips(tmp_path, ("angry", "sad", "neutral"))
    manifest = read_corpus("own", tmp_path)
    paths = [manifest.audio_path(row) for row in manifest.utterances]
    result = evaluation.evaluate(kanjo.load(tiny_run), manifest.utterances, paths, labels="sad,anger")
    assert result.labels == result.scores.labels == ("anger", "sadness")
    assert result.scores.n == 4 and result.excluded_emotions == (("neutral", 2),)
    for utterance in result.utterances:
        assert utterance.predicted in result.labels and sum(utterance.probabilities) == pytest.approx(1)
    assert len(result.scores.confusion_matrix) == 2


def test_labels_in_data_are_those_that_occur_and_the_bundle_knows(tiny_run: Path, tmp_path: Path) -> None:
    recognizer = kanjo.load(tiny_run)
    write_clips(tmp_path, ("sad", "boredom", "angry"))
    rows = read_corpus("own", tmp_path).utterances
    assert evaluation.labels_in_data(recognizer, rows) == ("anger", "sadness")
    one_emotion = [row for row in rows if row.emotion == "anger"]
    assert evaluation.labels_in_data(recognizer, one_emotion) == recognizer.labels


def test_evaluate_command_chooses_among_the_emotions_of_the_data(tiny_run: Path, tmp_path: Path) -> None:
    write_clips(tmp_path, ("angry", "sad", "neutral"))
    result = run_kanjo("evaluate", tiny_run, tmp_path)
    line = (
        "evaluated among 3 of the bundle's 8 emotions: anger, neutral, sadness; chance 33.3 %; --emotions all for all"
    )
    assert result.stdout.splitlines()[0] == line
    result = run_kanjo("evaluate", tiny_run, tmp_path, "-f", "json", "-o", tmp_path / "report")
    assert json.loads(result.stdout)["labels"] == ["anger", "neutral", "sadness"] and line in result.stderr
    protocol = json.loads((tmp_path / "report" / "scores.json").read_text())["protocol"]
    assert "evaluated among 3 of the bundle's 8 emotions" in protocol
    result = run_kanjo("evaluate", tiny_run, tmp_path, "-f", "json", "--emotions", "all")
    assert len(json.loads(result.stdout)["labels"]) == 8 and "evaluated among" not in result.stderr
    result = run_kanjo("evaluate", tiny_run, tmp_path, "--emotions", "angry,sad")
    assert "omitted: 2 utterances of neutral, which is not among --emotions" in result.stderr
    assert "among 2 of the bundle's 8 emotions: anger, sadness; chance 50 %\n" in result.stdout


def test_evaluate_command_with_label_map_accepts_other_words(tiny_run: Path, tmp_path: Path) -> None:
    write_clips(tmp_path, ("grumpy", "sad"))
    result = run_kanjo("evaluate", tiny_run, tmp_path, "--label-map", "grumpy=anger", "-f", "json")
    assert json.loads(result.stdout)["labels"] == ["anger", "sadness"]


def test_evaluate_of_parts_of_a_recording_scores_each_part(tiny_run: Path, tmp_path: Path) -> None:
    write_clip(tmp_path / "long.wav", seconds=3.0)
    table = "file,emotion,start,end,speaker\nlong.wav,angry,0.5,1.2,a\nlong.wav,sad,1.5,2.0,a\n"
    (tmp_path / "m.csv").write_text(table)
    result = evaluate_manifest(tiny_run, read_corpus("own", tmp_path / "m.csv"))
    assert result.scores.n == 2
    assert result.utterances[0].probabilities != result.utterances[1].probabilities


def test_evaluate_command_without_scikit_learn_names_the_extra(
    tiny_run: Path, tiny_corpora: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    result = run_kanjo("evaluate", tiny_run, tiny_corpora / "ravdess")
    assert result.returncode == 1
    assert "pip install 'kanjo[evaluation]'" in result.stderr and len(result.stderr.splitlines()) <= 2


def test_predictions_file_read_again_is_unchanged(tmp_path: Path) -> None:
    utterances = make_utterances(12, 0.5, 0)
    write_predictions(tmp_path / "p.csv", LABELS, utterances)
    labels, read_again = read_predictions(tmp_path / "p.csv")
    assert labels == LABELS
    assert [(u.file, u.speaker, u.emotion, u.predicted) for u in read_again] == [
        (u.file, u.speaker, u.emotion, u.predicted) for u in utterances
    ]
    assert read_again[0].probabilities == pytest.approx(utterances[0].probabilities, abs=1e-6)


@pytest.mark.parametrize(
    "content",
    [
        "corpus,file,speaker,sex,emotion,predicted,anger\na,b,c,d,e,f,much\n",
        "corpus,file,speaker,sex,emotion,predicted,anger\na,b,c\n",
        "corpus,file,speaker,sex,emotion,predicted,anger,fear\na,b,c,d,e,f,0.5\n",
        "file,emotion\nb,anger\n",
        "",
    ],
)
def test_predictions_file_with_wrong_content_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text(content)
    with pytest.raises(CorpusError, match="not a file of predictions"):
        read_predictions(tmp_path / "p.csv")


def test_predictions_file_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="can't read"):
        read_predictions(tmp_path / "missing.csv")
