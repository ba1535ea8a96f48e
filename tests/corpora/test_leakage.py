from __future__ import annotations

from kanjo.corpora import Utterance
from kanjo.corpora.leakage import check_leakage
from kanjo.corpora.splits import make_folds
from tests.corpora.utterances import EMOTIONS, make_utterances


def test_check_leakage_loso_is_speaker_independent_with_shared_texts() -> None:
    rows = make_utterances(5)
    report = check_leakage(rows, make_folds(rows, "loso")[0])
    assert (report.shared_speakers, report.shared_texts, report.shared_recordings) == (0, 2, 0)
    assert report.speaker_independent
    description = " ".join(report.describe())
    assert "speaker-independent" in description
    assert "not text-independent: 2 of 2" in description


def test_check_leakage_identical_samples_are_a_leak() -> None:
    rows = make_utterances(5)
    fold = make_folds(rows, "loso")[0]
    report = check_leakage(rows, fold, ["same fingerprint"] * len(rows))
    assert report.shared_recordings == len(fold.test)
    assert any(line.startswith("LEAK") for line in report.describe())


def test_check_leakage_speaker_dependent_split_counts_shared_speakers() -> None:
    rows = make_utterances(5)
    report = check_leakage(rows, make_folds(rows, "speaker_dependent", n_folds=3)[0])
    assert report.shared_speakers == 5 and report.speaker_independent is False
    assert any("SPEAKER-DEPENDENT: 5 of 5" in line for line in report.describe())


def test_check_leakage_without_speakers_and_texts_is_unknown() -> None:
    rows = [Utterance("c", f"{i}.wav", EMOTIONS[i % 3]) for i in range(30)]
    report = check_leakage(rows, make_folds(rows, "speaker_dependent", n_folds=3)[0])
    assert report.shared_speakers is None and report.shared_texts is None
    assert report.speaker_independent is None
    assert any("speakers unknown" in line for line in report.describe())
