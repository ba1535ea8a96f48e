"""openSMILE and a linear SVM: the same folds and report as a network."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from kanjo.corpora import Utterance
from kanjo.corpora.splits import Fold
from kanjo.evaluation import baselines
from tests.cli.test_cli import kanjo

pytest.importorskip("opensmile", reason="openSMILE (extra baselines) is not installed")


def utterances(n: int, speakers: int) -> list[Utterance]:
    return [
        Utterance(
            corpus="c", file=f"{i}.wav", speaker=f"s{i % speakers}", emotion=("anger", "neutral")[i // speakers % 2]
        )
        for i in range(n)
    ]


def test_speakers_are_standardised_by_their_own_clips() -> None:
    features = np.random.default_rng(0).normal(5, 3, (40, 6)).astype(np.float32)
    speakers = [f"s{i % 4}" for i in range(40)]
    found = baselines.by_speaker(features, speakers)
    for speaker in set(speakers):
        own = found[[name == speaker for name in speakers]]
        np.testing.assert_allclose(own.mean(0), 0, atol=1e-5)
        np.testing.assert_allclose(own.std(0), 1, atol=1e-4)


def test_test_speakers_choose_nothing() -> None:
    """Whatever the test utterances and their labels are, C is the same; and what training shows, is learnt."""
    rng = np.random.default_rng(0)
    rows = utterances(80, 8)
    labels = [("anger", "neutral").index(row.emotion) for row in rows]
    features = (rng.normal(0, 1, (80, 10)) + np.asarray(labels)[:, None] * 1.5).astype(np.float32)
    side = [int(row.speaker[1:]) for row in rows]
    fold = Fold(
        1, "fold 1",
        tuple(i for i in range(80) if side[i] < 4), tuple(i for i in range(80) if side[i] in (4, 5)), tuple(i for i in range(80) if side[i] > 5),
    )  # fmt: skip
    found = baselines.fit(features, rows, labels, ("anger", "neutral"), fold)
    right = [answer.answer == answer.emotion for answer in found.answers]
    assert np.mean(right) > 0.9
    assert all(sum(answer.probabilities) == pytest.approx(1) for answer in found.answers)
    wrong = features.copy()
    wrong[list(fold.test)] = rng.normal(0, 9, (len(fold.test), 10))
    flipped = [1 - label if i in fold.test else label for i, label in enumerate(labels)]
    other = baselines.fit(wrong, rows, flipped, ("anger", "neutral"), fold)
    assert (other.c, other.validation_uar) == (found.c, found.validation_uar)


def test_the_command_writes_a_run_with_its_report(tiny_corpora: Path, tiny_recipe: Path, tmp_path: Path) -> None:
    command = ("baseline", "egemaps", tiny_recipe, "--corpus-root", tiny_corpora, "-o", tmp_path / "run", "--jobs", "2")
    done = kanjo(*command)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("eGeMAPSv02 and a linear SVM: speakers-k, 4 of 4 folds\nUAR ")
    scores = json.loads((tmp_path / "run" / "scores.json").read_text())
    assert scores["n"] == 64 and scores["uar"]["value"] > 0.5  # the pitch tells the emotion, and eGeMAPS hears pitch
    assert "eGeMAPSv02" in (tmp_path / "run" / "report.html").read_text()
    again = kanjo(
        "baseline",
        "egemaps",
        tiny_recipe,
        "--corpus-root",
        tiny_corpora,
        "-o",
        tmp_path / "two",
        "--by-speaker",
        "--fold",
        "2",
    )
    assert again.returncode == 0 and "each speaker standardised by their own clips" in again.stdout
    odd = kanjo("baseline", "wav2vec", tiny_recipe)
    assert odd.returncode == 2 and "expected one of egemaps, compare" in odd.stderr.replace("\n", " ")


@pytest.mark.corpus
def test_what_is_known_of_the_korean_clips(corpora: Path, tmp_path: Path) -> None:
    """ComParE with each speaker left out has 83.3 % UAR elsewhere; two folds here, for the time it takes."""
    done = kanjo(
        "baseline", "egemaps", "mobilenet", "--corpus-root", corpora, "--set", "corpora=[emotiontts]", "--set", "split.protocol=speakers-k",
        "--set", "split.k=3", "-o", tmp_path / "run",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert 0.5 < json.loads((tmp_path / "run" / "scores.json").read_text())["uar"]["value"] < 0.9
