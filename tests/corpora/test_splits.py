from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kanjo.corpora import Utterance, read_corpus
from kanjo.corpora.splits import PROTOCOLS, audit, make_folds
from kanjo.errors import CorpusError

EMOTIONS = ("anger", "happiness", "neutral")


def rows_of(speakers: int, texts: int = 2, corpus: str = "c") -> list[Utterance]:
    return [
        Utterance(corpus, f"{s}-{e}-{t}.wav", e, speaker=f"s{s}", sex="female" if s % 2 else "male", text=f"text {t}")
        for s in range(speakers) for e in EMOTIONS for t in range(texts)
    ]  # fmt: skip


@given(
    speakers=st.integers(4, 12),
    k=st.integers(2, 4),
    seed=st.integers(0, 99),
    protocol=st.sampled_from(["loso", "speakers-k", "random"]),
)
def test_every_protocol_tests_each_utterance_once_and_keeps_sides_apart(
    speakers: int, k: int, seed: int, protocol: str
) -> None:
    rows = rows_of(speakers)
    folds = make_folds(rows, protocol, k=k, seed=seed)
    tested = [i for fold in folds for i in fold.test]
    assert sorted(tested) == list(range(len(rows)))
    for fold in folds:
        assert not set(fold.train) & set(fold.validation)
        assert not {*fold.train, *fold.validation} & set(fold.test)
        assert len(fold.train) + len(fold.validation) + len(fold.test) == len(rows)
        if protocol != "random":
            for one, other in ((fold.train, fold.validation), (fold.train, fold.test), (fold.validation, fold.test)):
                assert not {rows[i].speaker for i in one} & {rows[i].speaker for i in other}
        assert {rows[i].emotion for i in fold.train} == set(EMOTIONS)
    assert make_folds(rows, protocol, k=k, seed=seed) == folds


def test_two_corpora_with_the_same_speaker_names_are_told_apart() -> None:
    rows = rows_of(3, corpus="a") + rows_of(3, corpus="b")
    assert len(make_folds(rows, "loso")) == 6


def test_speakers_k_spreads_sexes() -> None:
    rows = rows_of(8)
    for fold in make_folds(rows, "speakers-k", k=4):
        assert {rows[i].sex for i in fold.test} == {"male", "female"}


def test_audit_says_what_is_shared() -> None:
    rows = rows_of(5)
    fold = make_folds(rows, "loso")[0]
    found = audit(rows, fold)
    assert (found.shared_speakers, found.shared_texts, found.shared_recordings) == (0, 2, 0)
    assert found.speaker_independent
    said = " ".join(found.sentences())
    assert "speaker-independent" in said
    assert "not text-independent: 2 of 2" in said
    same = ["mark"] * len(rows)
    assert audit(rows, fold, same).shared_recordings == len(fold.test)
    assert any(line.startswith("LEAK") for line in audit(rows, fold, same).sentences())


def test_audit_of_a_speaker_dependent_split() -> None:
    rows = rows_of(5)
    found = audit(rows, make_folds(rows, "random", k=3)[0])
    assert found.shared_speakers == 5
    assert any("SPEAKER-DEPENDENT: 5 of 5" in line for line in found.sentences())


def test_audit_without_speakers_claims_nothing() -> None:
    rows = [Utterance("c", f"{i}.wav", EMOTIONS[i % 3]) for i in range(30)]
    found = audit(rows, make_folds(rows, "random", k=3)[0])
    assert found.shared_speakers is None and found.shared_texts is None
    assert found.speaker_independent is None


def test_validation_comes_out_of_the_training_speakers_only() -> None:
    rows = rows_of(10)
    for fold in make_folds(rows, "speakers-k", k=5, validation=0.25):
        assert len({rows[i].speaker for i in fold.validation}) == 2


def _split(rows: list[Utterance], sides: dict[str, str]) -> list[Utterance]:

    return [row._replace(split=sides[row.speaker]) for row in rows]


def test_the_manifests_own_split() -> None:
    rows = _split(rows_of(4), {"s0": "train", "s1": "train", "s2": "dev", "s3": "test"})
    (fold,) = make_folds(rows, "manifest")
    assert {rows[i].speaker for i in fold.validation} == {"s2"}
    assert {rows[i].speaker for i in fold.test} == {"s3"}


def test_a_speaker_on_both_sides_of_a_manifest_is_refused() -> None:

    rows = _split(rows_of(4), {"s0": "train", "s1": "train", "s2": "train", "s3": "test"})
    rows[0] = rows[0]._replace(split="test")
    with pytest.raises(CorpusError, match=r"1 speakers stand in both train and test \(c/s0\)"):
        make_folds(rows, "manifest")
    assert make_folds(rows, "manifest", allow_shared_speakers=True)


@pytest.mark.parametrize(
    ("protocol", "rows", "said"),
    [
        ("loso", [Utterance("c", "a.wav", "anger")], "1 of 1 utterances name no speaker"),
        ("loso", rows_of(1), "only one speaker"),
        ("speakers-k", rows_of(3), "k is 5, expected 2 to 3"),
        ("emobox", rows_of(3), "only RAVDESS's folds are built in"),
        ("manifest", rows_of(3), "the split column holds"),
        ("nonsense", rows_of(3), "unknown protocol"),
    ],
)
def test_what_can_not_be_split_is_refused(protocol: str, rows: list[Utterance], said: str) -> None:
    with pytest.raises(CorpusError, match=said):
        make_folds(rows, protocol)


def test_ravdess_folds_are_emobox_published_ones(corpora: Path, folds_file: Path) -> None:
    rows = read_corpus("ravdess", corpora / "ravdess").utterances
    built_in = make_folds(rows, "emobox")
    from_file = make_folds(rows, "emobox", folds_file=folds_file)
    assert len(built_in) == 6
    assert [fold.test for fold in built_in] == [fold.test for fold in from_file]
    assert all(len(fold.test) == 240 and len({rows[i].speaker for i in fold.validation}) == 4 for fold in built_in)


def test_emodb_folds_are_emobox_published_ones(folds_file: Path) -> None:
    with folds_file.open() as stream:
        stems = [row["utterance"] for row in csv.DictReader(stream) if row["corpus"] == "emodb"]
    rows = [Utterance("emodb", f"wav/{stem}.wav", "anger", speaker=stem[:2], text=stem[2:5]) for stem in stems]
    folds = make_folds(rows, "emobox", folds_file=folds_file)
    assert len(folds) == 5
    assert sorted(i for fold in folds for i in fold.test) == list(range(535))
    assert audit(rows, folds[0]).shared_speakers == 10  # speaker-dependent, and the audit says so


def test_a_folds_file_for_another_corpus_is_refused(folds_file: Path) -> None:
    with pytest.raises(CorpusError, match="lists no utterance of c"):
        make_folds(rows_of(3), "emobox", folds_file=folds_file)
    with pytest.raises(CorpusError, match="can't read"):
        make_folds(rows_of(3), "emobox", folds_file=Path("missing.csv"))


def test_every_protocol_is_documented() -> None:
    assert all(protocol.__doc__ for protocol in PROTOCOLS.values())


def test_cross_corpus_tests_on_each_corpus_in_turn_with_its_speakers_unheard() -> None:
    rows = [*rows_of(5, corpus="a"), *rows_of(4, corpus="b")]
    one, two = make_folds(rows, "cross-corpus")
    assert {rows[i].corpus for i in one.test} == {"a"} == {rows[i].corpus for i in (*two.train, *two.validation)}
    assert {rows[i].corpus for i in two.test} == {"b"} == {rows[i].corpus for i in (*one.train, *one.validation)}
    assert one.name == "tests on a"
    assert audit(rows, one).speaker_independent
    assert not {rows[i].speaker for i in one.train} & {rows[i].speaker for i in one.validation}
    with pytest.raises(CorpusError, match="only one corpus"):
        make_folds(rows_of(5), "cross-corpus")


def test_a_corpus_that_only_trains_is_on_every_training_side_and_no_other() -> None:
    rows = rows_of(6, corpus="a") + rows_of(3, corpus="b")
    fixed = [row.corpus == "b" for row in rows]
    folds = make_folds(rows, "loso", fixed=fixed)
    assert len(folds) == 6
    theirs = {i for i, row in enumerate(rows) if row.corpus == "b"}
    alone = make_folds(rows_of(6, corpus="a"), "loso")
    for fold, one in zip(folds, alone, strict=True):
        assert theirs <= set(fold.train)
        assert not theirs & {*fold.validation, *fold.test}
        assert (fold.test, fold.validation) == (one.test, one.validation), "who tests doesn't hang on what is added"
    with pytest.raises(CorpusError, match="every corpus only trains"):
        make_folds(rows, "loso", fixed=[True] * len(rows))
    with pytest.raises(CorpusError, match="can't stand on both sides"):
        make_folds(rows, "loso", fixed=[i % 2 == 0 for i in range(len(rows))])
