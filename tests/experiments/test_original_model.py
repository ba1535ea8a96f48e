"""The original model on the test utterances of a model that started from it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from kanjo.bundle import read_bundle
from kanjo.corpora import Manifest, read_corpus
from kanjo.evaluation.evaluate import ScoredUtterance
from kanjo.evaluation.predictions_file import read_predictions
from kanjo.experiments.crossval import pool_folds
from kanjo.experiments.original_model import describe_original, describe_training_overlap, evaluate_original
from kanjo.experiments.pipeline import TrainOptions, load_data, train_fold
from kanjo.experiments.run_folder import RunFolder
from kanjo.train.config.loading import load_recipe
from tests.corpora_fixtures import write_clip
from tests.experiments.conftest import RecordingReporter


def write_corpus(folder: Path) -> Manifest:
    for n, emotion in enumerate(("angry", "neutral", "boredom")):
        for speaker in ("ana", "ben", "eva"):
            write_clip(folder / speaker / emotion / "1.wav", n, seconds=0.5)
    return read_corpus("own", folder)


def test_evaluate_original_counts_emotions_that_it_lacks_as_errors(tmp_path: Path, reporter: RecordingReporter) -> None:
    manifest, source = write_corpus(tmp_path / "mine"), read_bundle("default")
    paths = [manifest.audio_path(row) for row in manifest.utterances]
    emotions = ("anger", "boredom", "neutral")
    result = evaluate_original(source, emotions, manifest.utterances, paths, 1, reporter)
    assert result is not None and result.labels == emotions and result.scores.n == 9
    assert [utterance.emotion for utterance in result.utterances] == [row.emotion for row in manifest.utterances]
    assert result.scores.recalls["boredom"] == 0.0
    assert {utterance.predicted for utterance in result.utterances} <= {"anger", "neutral"}
    for utterance in result.utterances:
        assert utterance.probabilities[1] == 0.0 and sum(utterance.probabilities) == pytest.approx(1)
    note = describe_original(source.metadata, result).note
    assert note.startswith("The original model chose among anger, neutral. The original model does not have boredom: ")
    assert ": 3 test utterances count as its errors. The original model was trained on ravdess, nemo, " in note
    assert note.endswith("if your recordings are from there, both scores are too high.")


def test_evaluate_original_with_one_shared_emotion_is_none(tmp_path: Path, reporter: RecordingReporter) -> None:
    manifest, source = write_corpus(tmp_path / "mine"), read_bundle("default")
    paths = [manifest.audio_path(row) for row in manifest.utterances]
    assert evaluate_original(source, ("anger", "boredom"), manifest.utterances, paths, 1, reporter) is None
    assert not reporter.tasks


def test_train_from_bundle_reports_the_original_model(
    tiny_run: Path, tiny_recipe: Path, tiny_corpora: Path, tmp_path: Path, reporter: RecordingReporter
) -> None:
    folder = RunFolder(tmp_path)
    overrides = [f"init_from={tiny_run}", "training.epochs=1"]
    recipe = load_recipe(str(tiny_recipe), overrides)
    train_fold(recipe, str(tiny_corpora), folder.fold(1), TrainOptions(), reporter)
    scores = json.loads(folder.fold(1).scores.read_text())
    tested = json.loads((tiny_run / "scores.json").read_text())
    assert scores["kept_epoch"] == 1
    assert scores["original"]["name"] == "tiny" and scores["original"]["uar"] == tested["uar"]
    _, utterances = read_predictions(folder.fold(1).predictions_original)
    assert len(utterances) == tested["n"]
    page = folder.fold(1).report.read_text(encoding="utf-8")
    assert "original model: tiny" in page
    pool_folds(folder, load_data(recipe, str(tiny_corpora), reporter))
    pooled = json.loads(folder.scores.read_text())
    assert pooled["original"]["uar"] == tested["uar"]


def scored(corpus: str, file: str, speaker: str = "") -> ScoredUtterance:
    return ScoredUtterance(corpus, file, speaker, "", "anger", "anger", (1.0,))


def test_describe_training_overlap_counts_the_speakers_of_the_training() -> None:
    source = read_bundle("default").metadata
    test = [scored("ravdess", "1.wav", "ravdess/01"), scored("ravdess", "2.wav", "ravdess/07")]
    assert describe_training_overlap(source, test) == (
        "the original model was trained on 1 of the 2 speakers; both scores are too high"
    )
    assert describe_training_overlap(source, test[1:]) == ""  # speaker 10 was a test speaker


@pytest.mark.parametrize(
    ("file", "corpus"),
    [
        ("angry/03-01-05-01-02-01-01.wav", "ravdess"),
        ("x/EB0_anger_1.ogg", "nemo"),
        ("nea00101.wav", "emotiontts"),
    ],
)
def test_describe_training_overlap_recognizes_the_names_of_training_corpora(file: str, corpus: str) -> None:
    sentence = describe_training_overlap(
        read_bundle("default").metadata, [scored("mine", file), scored("mine", "a.wav")], "its score is"
    )
    assert sentence == (
        f"1 of 2 recordings are named as those of {corpus}, which the original model was trained on; if they are from "
        "there, its score is too high"
    )


def test_describe_training_overlap_of_other_published_corpora_is_empty() -> None:
    source = read_bundle("default").metadata
    assert describe_training_overlap(source, [scored("emovo", "dis-f1-b1.wav", "emovo/f1")]) == ""
    assert "ravdess, nemo, emotiontts; if your" in describe_training_overlap(source, [scored("mine", "a.wav")])
    assert describe_training_overlap(replace(source, corpora=()), [scored("mine", "a.wav")]) == ""
