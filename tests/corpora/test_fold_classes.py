"""The classes that the parts of a fold lack are reported before anything is computed."""

from __future__ import annotations

import pytest

from kanjo.corpora import Utterance
from kanjo.corpora.fold_classes import check_classes, join_names, require_scorable
from kanjo.corpora.speakers import speakers_support_enrollment
from kanjo.corpora.splits import Fold, make_folds
from kanjo.errors import CorpusError
from tests.corpora.utterances import make_utterances


def _rows(emotions: str) -> list[Utterance]:
    """One utterance of its own speaker for each letter."""
    return [Utterance("c", f"{i}.wav", emotion, speaker=f"s{i}") for i, emotion in enumerate(emotions)]


def test_check_classes_complete_fold_has_no_warnings() -> None:
    rows = make_utterances(6)
    for report in check_classes(rows, make_folds(rows, "speaker_kfold", n_folds=3)):
        assert report.describe() == []
        require_scorable(report, "speaker_kfold")


def test_check_classes_names_what_each_part_lacks() -> None:
    rows = _rows("abcabcabd")
    (report,) = check_classes(rows, [Fold(2, "2 of 3", train=(0, 1, 2), validation=(3, 4), test=(6, 7, 8))])
    assert (report.untrained, report.missing_in_validation, report.missing_in_test) == (("d",), ("c",), ("c",))
    assert (report.n_classes, report.n_scored, report.n_unscored) == (3, 2, 1)
    assert report.describe() == [
        "no training utterance of d: left out of this fold's model and scores (1 test utterances)",
        "no validation utterance of c: the epoch and the temperature are chosen without it",
        "no test utterance of c: UAR over 2 of 3 classes, chance 50.0 %",
    ]
    require_scorable(report, "loso")


def test_check_classes_states_that_validation_shares_speakers() -> None:
    rows = [Utterance("c", f"{i}.wav", "ab"[i % 2], speaker=f"s{i // 4}") for i in range(8)]
    (report,) = check_classes(rows, [Fold(1, "1", train=(0, 1), validation=(2, 3), test=(4, 5, 6, 7))])
    assert report.describe() == ["validation and training share speakers; the test speakers are others"]


@pytest.mark.parametrize(
    ("emotions", "fold", "protocol", "message"),
    [
        ("ababc", Fold(1, "1", (0, 1), (2, 3), (4,)), "loso", "no utterance of the emotions of test (c)"),
        ("aaab", Fold(1, "1", (0,), (1,), (2, 3)), "loso", "training has only 1 emotion; expected at least 2"),
        (
            "ababc",
            Fold(1, "1", (0, 1), (2, 3), (4,)),
            "manifest",
            "no training utterance of c; change the split column",
        ),
        ("abcab", Fold(1, "1", (0, 1), (2,), (3, 4)), "emobox", "no training utterance of c"),
    ],
)
def test_require_scorable_fold_that_cannot_be_scored_is_refused_in_one_line(
    emotions: str, fold: Fold, protocol: str, message: str
) -> None:
    (report,) = check_classes(_rows(emotions), [fold])
    with pytest.raises(CorpusError) as caught:
        require_scorable(report, protocol)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_join_names_of_ten_thousand_classes_is_one_short_line() -> None:
    assert join_names([f"class {i}" for i in range(10_000)]).endswith("class 4 and 9995 others")


@pytest.mark.parametrize(
    ("speakers", "emotions", "expected"),
    [
        ("1122", "abab", True),
        ("1122", "aabb", False),  # one emotion each
        ("1234", "abab", False),  # one clip each
        ("1111", "abab", False),  # one speaker
        ("    ", "abab", False),  # none
        ("1122  ", "ababab", True),  # some
    ],
)
def test_speakers_support_enrollment_needs_two_speakers_with_two_emotions(
    speakers: str, emotions: str, expected: bool
) -> None:
    pairs = zip(speakers, emotions, strict=True)
    rows = [Utterance("c", f"{i}.wav", emotion, speaker=name.strip()) for i, (name, emotion) in enumerate(pairs)]
    assert speakers_support_enrollment(rows) is expected
