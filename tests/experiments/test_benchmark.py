"""Scores of a bundle on every corpus in a folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import kanjo
from kanjo.bundle import read_bundle
from kanjo.corpora import read_corpus
from kanjo.errors import CorpusError
from kanjo.evaluation.evaluate import evaluate
from kanjo.evaluation.robustness import BABBLE, DEGRADATIONS
from kanjo.experiments.benchmark import (
    BenchmarkOptions,
    BenchmarkResult,
    CorpusScores,
    benchmark_corpora,
    find_corpora,
)
from tests.corpora_fixtures import make_esd, make_nemo, write_clip
from tests.experiments.conftest import RecordingReporter

EXAMPLES = Path(__file__).parents[2] / "examples" / "recordings"


def run_benchmark(
    bundle: str | Path, root: Path, names: list[str] | None = None, options: BenchmarkOptions | None = None
) -> dict[str, BenchmarkResult]:
    corpora = find_corpora(root, names)
    results = benchmark_corpora(kanjo.load(bundle), corpora, RecordingReporter(), options or BenchmarkOptions())
    return {result.corpus: result for result in results}


def scores_of(result: BenchmarkResult) -> CorpusScores:
    assert result.scores is not None, result.error
    return result.scores


def write_own_corpus(folder: Path, n_clips: int = 3) -> Path:
    """Write clips of two emotions, without speakers."""
    for n, emotion in enumerate(("angry", "neutral")):
        for i in range(n_clips):
            write_clip(folder / emotion / f"{i}.wav", 10 * n + i, seconds=0.5, hz=150.0 * (n + 1))
    return folder


# ---------------------------------------------------------------------------------------------- finding corpora


def test_find_corpora_finds_all_names_of_folders_and_ignores_other_folders(tmp_path: Path) -> None:
    for folder in ("emotiontts_ko", "nEMO", "holiday", "aihub"):
        (tmp_path / folder).mkdir()
    found = find_corpora(tmp_path)
    assert {corpus.name for corpus in found} == {"emotiontts", "nemo", "aihub"}
    assert {corpus.path.name for corpus in found if corpus.path} == {"emotiontts_ko", "nEMO", "aihub"}


def test_find_corpora_accepts_the_folder_of_one_corpus(tmp_path: Path) -> None:
    (tmp_path / "emovo").mkdir()
    (corpus,) = find_corpora(tmp_path / "emovo")
    assert corpus.name == "emovo" and corpus.path == tmp_path / "emovo"


@pytest.mark.parametrize("folder", ["missing", "empty"])
def test_find_corpora_without_corpora_is_refused(folder: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(CorpusError, match=r"no such folder|no corpora found"):
        find_corpora(tmp_path / folder)


@pytest.mark.parametrize("name", ["", ".", "..", "../other", "sub/other"])
def test_find_corpora_with_a_name_that_is_a_path_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "root" / "sub" / "other").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    with pytest.raises(CorpusError, match="unknown corpus"):
        find_corpora(tmp_path / "root", [name])
    with pytest.raises(CorpusError, match="unknown corpus"):
        find_corpora(tmp_path / "root", [str(tmp_path / "other")])


def test_find_corpora_with_unknown_name_suggests_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="did you mean ravdess"):
        find_corpora(tmp_path, ["ravdes"])


def test_find_corpora_by_name_finds_own_folders_and_tables(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine.csv").touch()
    found = find_corpora(tmp_path, ["mine", "mine.csv", "mine", "nemo"])
    assert [(corpus.name, corpus.reader) for corpus in found] == [
        ("mine", "own"),
        ("mine.csv", "own"),
        ("nemo", "nemo"),
    ]
    assert found[2].path is None and "expected a folder named nemo" in found[2].error


# ---------------------------------------------------------------------------------------------- scores


def test_benchmark_scores_test_speakers_and_continues_after_unreadable_corpora(
    tiny_run: Path, tiny_corpora: Path, tmp_path: Path
) -> None:
    (tmp_path / "ravdess").symlink_to(tiny_corpora / "ravdess")
    (tmp_path / "nemo").mkdir()
    make_esd(tmp_path / "esd")
    results = run_benchmark(tiny_run, tmp_path)
    assert list(results) == ["esd", "ravdess", "nemo"]
    assert "data.tsv" in results["nemo"].error and results["nemo"].scores is None
    assert "error" in results["nemo"].as_dict() and "uar" not in str(results["nemo"].as_dict())
    ravdess, esd = scores_of(results["ravdess"]), scores_of(results["esd"])
    stored = json.loads((tiny_run / "scores.json").read_text())
    assert ravdess.among_bundle_labels.scores.uar.value == stored["uar"]["value"]
    assert ravdess.n_omitted == 48 and ravdess.n_speakers == 2 and ravdess.chance_uar == 1 / 8
    assert ravdess.among_corpus_labels is ravdess.among_bundle_labels and not ravdess.enrolled
    assert esd.n_omitted == 0 and esd.n_speakers == 2 and esd.chance_uar == 1 / 5
    assert len(esd.among_bundle_labels.labels) == 8


def test_benchmark_among_the_emotions_of_the_corpus_equals_evaluate_with_these_labels(tmp_path: Path) -> None:
    write_own_corpus(tmp_path / "mine" / "ana", 5)
    scores = scores_of(run_benchmark("default", tmp_path, ["mine"])["mine"])
    manifest = read_corpus("own", tmp_path / "mine")
    paths = [manifest.audio_path(row) for row in manifest.utterances]
    expected = evaluate(kanjo.load(), manifest.utterances, paths, labels=["anger", "neutral"])
    plain = scores.among_corpus_labels
    assert plain.scores == expected.scores and plain.labels == ("anger", "neutral")
    assert all(sum(utterance.probabilities) == pytest.approx(1) for utterance in plain.utterances)
    assert scores.emotions == ("anger", "neutral") and scores.chance_uar == 0.5
    assert scores.among_bundle_labels.labels == kanjo.load().labels


def test_benchmark_of_one_speaker_has_no_interval_and_enrolls_with_at_most_half_of_the_clips(tmp_path: Path) -> None:
    write_own_corpus(tmp_path / "mine" / "ana", 5)
    scores = scores_of(run_benchmark("default", tmp_path, ["mine"])["mine"])
    assert scores.n_speakers == 1 and scores.among_corpus_labels.scores.uar.low is None
    assert list(scores.enrolled) == [1, 2, 5]
    assert all(item.scores.n == 10 for item in scores.enrolled.values())
    skipped = scores_of(run_benchmark("default", tmp_path, ["mine"], BenchmarkOptions(enrollment=False))["mine"])
    assert skipped.enrolled == {} and skipped.among_corpus_labels.scores == scores.among_corpus_labels.scores


def test_benchmark_without_speakers_says_so_and_does_not_enroll(tmp_path: Path) -> None:
    write_own_corpus(tmp_path / "mine")
    write_clip(tmp_path / "mine" / "boredom" / "1.wav", seconds=0.5)
    (tmp_path / "mine" / "angry" / "bad.wav").write_text("no audio")
    scores = scores_of(run_benchmark("default", tmp_path, ["mine"])["mine"])
    assert scores.n_speakers == 0 and scores.enrolled == {} and scores.among_corpus_labels.scores.n == 6
    notes = " / ".join(scores.notes)
    for text in ("6 utterances without speaker", "boredom (1)", "1 recordings failed", "bad.wav"):
        assert text in notes
    content = json.loads(json.dumps(scores.as_dict()))
    assert content["excluded_emotions"] == {"boredom": 1} and len(content["failures"]) == 1


def test_benchmark_with_one_shared_emotion_says_that_the_uar_is_its_recall(tmp_path: Path) -> None:
    for emotion in ("angry", "boredom", "calm-ish"):
        write_clip(tmp_path / "mine" / "ana" / emotion.removesuffix("-ish") / "1.wav", seconds=0.5)
    metadata = read_bundle("default").metadata
    assert metadata.recipe["labels"]["map"] == {"calm": "neutral"}  # so two emotions of this corpus are shared
    scores = scores_of(run_benchmark("default", tmp_path, ["mine"])["mine"])
    assert scores.emotions == ("anger", "neutral")
    (tmp_path / "mine" / "ana" / "calm" / "1.wav").unlink()
    scores = scores_of(run_benchmark("default", tmp_path, ["mine"])["mine"])
    assert scores.emotions == ("anger",) and "only one emotion of the bundle occurs (anger)" in scores.notes[0]
    assert scores.among_corpus_labels is scores.among_bundle_labels


def test_benchmark_of_training_speakers_or_foreign_emotions_only_is_an_error(tmp_path: Path) -> None:
    make_nemo(tmp_path / "nemo")
    for speaker in ("EB0", "IC0", "KD0"):
        write_clip(tmp_path / "bored" / speaker / "boredom" / "1.wav", seconds=0.5)
    for path in (tmp_path / "nemo" / "samples").glob("WR0*"):
        path.unlink()  # the test speaker; the reader leaves out recordings that are missing
    results = run_benchmark("default", tmp_path, ["bored", "nemo", "emodb"])
    assert "the utterances have the emotions boredom" in results["bored"].error
    assert "not found below" in results["emodb"].error
    assert results["nemo"].error


def test_benchmark_adapts_to_the_scored_recordings_without_their_labels(tmp_path: Path) -> None:
    speech = [path for path in sorted(EXAMPLES.glob("*.flac")) if kanjo.load().predict(path).speech_s > 1][:4]
    for i in range(24):
        copy = tmp_path / "mine" / ("angry", "neutral")[i % 2] / f"{i}.flac"
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(speech[i % len(speech)], copy)
    options = BenchmarkOptions(enrollment=False, adaptation=True)
    scores = scores_of(run_benchmark("default", tmp_path, ["mine"], options)["mine"])
    paths = sorted((tmp_path / "mine").glob("*/*.flac"))
    recognizer = kanjo.load()
    profile = recognizer.adapt(paths, emotions=["anger", "neutral"])
    assert scores.adapted is not None
    by_path = {utterance.path: utterance.probabilities for utterance in scores.adapted.utterances}
    for prediction in recognizer.predict_many(paths, emotions=["anger", "neutral"], adaptation=profile):
        assert by_path[prediction.file] == pytest.approx(tuple(prediction.probabilities.values()), abs=1e-4)
    assert scores.as_dict()["adapted"]["n"] == 24 and any("24" in note for note in scores.notes)


def test_benchmark_of_too_few_recordings_for_adaptation_says_so(tmp_path: Path) -> None:
    write_own_corpus(tmp_path / "mine")
    options = BenchmarkOptions(enrollment=False, adaptation=True)
    scores = scores_of(run_benchmark("default", tmp_path, ["mine"], options)["mine"])
    assert scores.adapted is None and any(note.startswith("not adapted: ") for note in scores.notes)


def test_benchmark_scores_degraded_copies_among_the_emotions_of_the_corpus(tmp_path: Path) -> None:
    write_own_corpus(tmp_path / "mine")
    options = BenchmarkOptions(enrollment=False, robustness=True)
    scores = scores_of(run_benchmark("default", tmp_path, ["mine"], options)["mine"])
    assert set(scores.conditions) == {*DEGRADATIONS, BABBLE}
    assert all(item.labels == ("anger", "neutral") and item.n == 6 for item in scores.conditions.values())
