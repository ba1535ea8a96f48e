"""The baselines: openSMILE functionals and a linear SVM."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from kanjo.corpora import Utterance
from kanjo.corpora.splits import Fold
from kanjo.errors import KanjoError
from kanjo.evaluation import baselines
from tests.corpora_fixtures import write_clip
from tests.shell import run_kanjo

pytest.importorskip("opensmile", reason="openSMILE (extra baselines) is not installed")

EMOTIONS = ("anger", "neutral")


def make_rows(n: int, n_speakers: int) -> list[Utterance]:
    return [
        Utterance(
            corpus="c", file=f"{i}.wav", speaker=f"s{i % n_speakers}", emotion=EMOTIONS[i // n_speakers % len(EMOTIONS)]
        )
        for i in range(n)
    ]


def test_standardize_by_speaker_gives_zero_mean_and_unit_deviation() -> None:
    features = np.random.default_rng(0).normal(5, 3, (40, 6)).astype(np.float32)
    speakers = [f"s{i % 4}" for i in range(40)]
    standardized = baselines.standardize_by_speaker(features, speakers)
    for speaker in set(speakers):
        rows = standardized[[name == speaker for name in speakers]]
        np.testing.assert_allclose(rows.mean(0), 0, atol=1e-5)
        np.testing.assert_allclose(rows.std(0), 1, atol=1e-4)


def test_fit_svm_learns_and_chooses_c_without_test_utterances() -> None:
    generator = np.random.default_rng(0)
    rows = make_rows(80, 8)
    labels = [EMOTIONS.index(row.emotion) for row in rows]
    features = (generator.normal(0, 1, (80, 10)) + np.asarray(labels)[:, None] * 1.5).astype(np.float32)
    speaker = [int(row.speaker[1:]) for row in rows]
    fold = Fold(
        1,
        "fold 1",
        train=tuple(i for i in range(80) if speaker[i] < 4),
        validation=tuple(i for i in range(80) if speaker[i] in (4, 5)),
        test=tuple(i for i in range(80) if speaker[i] > 5),
    )
    fitted = baselines.fit_svm(features, rows, labels, EMOTIONS, fold)
    assert np.mean([utterance.predicted == utterance.emotion for utterance in fitted.utterances]) > 0.9
    assert all(sum(utterance.probabilities) == pytest.approx(1) for utterance in fitted.utterances)
    other_features = features.copy()
    other_features[list(fold.test)] = generator.normal(0, 9, (len(fold.test), 10))
    other_labels = [1 - label if i in fold.test else label for i, label in enumerate(labels)]
    other = baselines.fit_svm(other_features, rows, other_labels, EMOTIONS, fold)
    assert (other.c, other.validation_uar) == (fitted.c, fitted.validation_uar)


def test_opensmile_features_are_cached_by_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = make_rows(2, 2)
    paths = [write_clip(tmp_path / row.file, seed, seconds=0.5) for seed, row in enumerate(rows)]
    features = baselines.opensmile_features("egemaps", rows, paths, tmp_path / "cache", jobs=1)
    assert features.shape == (2, 88) and not np.array_equal(features[0], features[1])
    with monkeypatch.context() as patch:
        patch.setattr(baselines, "ProcessPoolExecutor", None)  # a second computation would fail
        again = baselines.opensmile_features("egemaps", rows, paths, tmp_path / "cache", jobs=1)
    np.testing.assert_array_equal(features, again)
    write_clip(paths[0], seed=9, seconds=0.6)
    changed = baselines.opensmile_features("egemaps", rows, paths, tmp_path / "cache", jobs=1)
    assert not np.array_equal(features[0], changed[0])
    with pytest.raises(KanjoError, match="can't read"):
        baselines.opensmile_features("egemaps", rows, [paths[0], tmp_path / "missing.wav"], tmp_path / "cache")


def test_baseline_command_with_unknown_name_is_a_usage_error(tiny_recipe: Path) -> None:
    result = run_kanjo("baseline", "wav2vec", tiny_recipe)
    assert result.returncode == 2 and "egemaps, compare" in result.stderr.replace("\n", " ")


def test_opensmile_features_without_opensmile_name_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opensmile", None)
    with pytest.raises(KanjoError, match=r"pip install 'kanjo\[baselines\]'"):
        baselines.opensmile_features("egemaps", [], [], tmp_path)


@pytest.mark.slow
def test_baseline_command_pools_all_folds(tiny_corpora: Path, tiny_recipe: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    result = run_kanjo("baseline", "egemaps", tiny_recipe, "--corpus-root", tiny_corpora, "-o", run, "--jobs", "2")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("eGeMAPSv02 and a linear SVM: speaker_kfold, 4 of 4 folds\nUAR ")
    scores = json.loads((run / "scores.json").read_text())
    assert scores["n"] == 64 and scores["uar"]["value"] > 0.5  # the emotions of these clips differ in pitch
    assert "eGeMAPSv02" in (run / "report.html").read_text()


def test_baseline_command_with_speaker_normalization_names_it(
    tiny_corpora: Path, tiny_recipe: Path, tmp_path: Path
) -> None:
    command = ["baseline", "egemaps", tiny_recipe, "--corpus-root", tiny_corpora, "-o", tmp_path / "run"]
    result = run_kanjo(*command, "--speaker-normalization", "--fold", "2")
    assert result.returncode == 0, result.stderr
    assert "per speaker" in result.stdout and "1 of 4 folds" in result.stdout
    assert "eGeMAPSv02" in (tmp_path / "run" / "report.html").read_text()


@pytest.mark.slow
@pytest.mark.corpus
def test_baseline_on_korean_corpus_reaches_the_published_range(corpora: Path, tmp_path: Path) -> None:
    """ComParE with leave-one-speaker-out reaches 83.3 % UAR; here eGeMAPS with three folds."""
    result = run_kanjo(
        "baseline",
        "egemaps",
        "mobilenet",
        "--corpus-root",
        corpora,
        "--set",
        "corpora=[emotiontts]",
        "--set",
        "split.protocol=speaker_kfold",
        "--set",
        "split.n_folds=3",
        "-o",
        tmp_path / "run",
    )
    assert result.returncode == 0, result.stderr
    assert 0.5 < json.loads((tmp_path / "run" / "scores.json").read_text())["uar"]["value"] < 0.9
