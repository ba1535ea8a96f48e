from __future__ import annotations

import csv
import hashlib
import itertools
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kanjo.corpora import Utterance, read_corpus
from kanjo.corpora.leakage import check_leakage
from kanjo.corpora.protocols import PROTOCOLS
from kanjo.corpora.splits import Fold, make_folds
from kanjo.errors import CorpusError, KanjoError
from tests.corpora.utterances import EMOTIONS, make_utterances


@settings(deadline=None)  # the first example imports scikit-learn
@given(
    n_speakers=st.integers(4, 12),
    n_folds=st.integers(2, 4),
    seed=st.integers(0, 99),
    protocol=st.sampled_from(["loso", "speaker_kfold", "speaker_dependent"]),
)
def test_make_folds_tests_each_utterance_once_with_disjoint_parts(
    n_speakers: int, n_folds: int, seed: int, protocol: str
) -> None:
    rows = make_utterances(n_speakers)
    folds = make_folds(rows, protocol, n_folds=n_folds, seed=seed)
    assert sorted(i for fold in folds for i in fold.test) == list(range(len(rows)))
    for fold in folds:
        assert not set(fold.train) & set(fold.validation)
        assert not {*fold.train, *fold.validation} & set(fold.test)
        assert len(fold.train) + len(fold.validation) + len(fold.test) == len(rows)
        if protocol != "speaker_dependent":
            train, validation, test = (
                {rows[i].speaker for i in part} for part in (fold.train, fold.validation, fold.test)
            )
            assert not (train & validation or train & test or validation & test)
        assert {rows[i].emotion for i in fold.train} == set(EMOTIONS)
    assert make_folds(rows, protocol, n_folds=n_folds, seed=seed) == folds


def test_make_folds_same_speaker_name_in_two_corpora_is_two_speakers() -> None:
    rows = make_utterances(3, corpus="a") + make_utterances(3, corpus="b")
    assert len(make_folds(rows, "loso")) == 6


def test_make_folds_speaker_kfold_spreads_sexes() -> None:
    rows = make_utterances(8)
    for fold in make_folds(rows, "speaker_kfold", n_folds=4):
        assert {rows[i].sex for i in fold.test} == {"male", "female"}


def test_make_folds_validation_fraction_counts_training_speakers() -> None:
    rows = make_utterances(10)
    for fold in make_folds(rows, "speaker_kfold", n_folds=5, validation_fraction=0.25):
        assert len({rows[i].speaker for i in fold.validation}) == 2


def _with_split(rows: list[Utterance], split_of_speaker: dict[str, str]) -> list[Utterance]:
    return [row._replace(split=split_of_speaker[row.speaker]) for row in rows]


def test_make_folds_manifest_uses_the_split_column() -> None:
    rows = _with_split(make_utterances(4), {"s0": "train", "s1": "train", "s2": "dev", "s3": "test"})
    (fold,) = make_folds(rows, "manifest")
    assert {rows[i].speaker for i in fold.validation} == {"s2"}
    assert {rows[i].speaker for i in fold.test} == {"s3"}


def test_make_folds_manifest_with_a_speaker_in_train_and_test_is_refused() -> None:
    rows = _with_split(make_utterances(4), {"s0": "train", "s1": "train", "s2": "train", "s3": "test"})
    rows[0] = rows[0]._replace(split="test")
    with pytest.raises(CorpusError, match=r"1 speakers are in both train and test \(c/s0\)"):
        make_folds(rows, "manifest")
    assert make_folds(rows, "manifest", allow_shared_speakers=True)


@pytest.mark.parametrize(
    ("protocol", "rows", "message"),
    [
        ("loso", [Utterance("c", "a.wav", "anger")], "1 of 1 utterances have no speaker"),
        ("loso", make_utterances(1), "only one speaker"),
        ("speaker_kfold", make_utterances(3), "n_folds is 5; expected 2 to 3"),
        ("emobox", make_utterances(3), "only the folds of RAVDESS are built in"),
        ("loso", [Utterance("c", "a.wav", "anger")], "--set split.protocol=speaker_dependent"),
        ("loso", make_utterances(1), "--set split.protocol=speaker_dependent"),
        ("speaker_kfold", make_utterances(3), "--set split.n_folds=3"),
        ("speaker_dependent", make_utterances(1)[:3], "n_folds is 5; expected 2 to 3, the number of utterances"),
        ("manifest", make_utterances(3), "the split column contains"),
        ("leave_one_corpus_out", make_utterances(5), "only one corpus"),
        ("nonsense", make_utterances(3), "unknown protocol 'nonsense'; expected one of"),
        ("random", make_utterances(3), "protocol 'random' was renamed; use 'speaker_dependent'"),
        ("speakers-k", make_utterances(3), "protocol 'speakers-k' was renamed; use 'speaker_kfold'"),
        ("cross-corpus", make_utterances(3), "protocol 'cross-corpus' was renamed; use 'leave_one_corpus_out'"),
    ],
)
def test_make_folds_impossible_split_is_refused(protocol: str, rows: list[Utterance], message: str) -> None:
    with pytest.raises(CorpusError, match=message) as caught:
        make_folds(rows, protocol)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.corpus
def test_make_folds_built_in_ravdess_folds_are_emobox_published_ones(corpora: Path, folds_file: Path) -> None:
    rows = read_corpus("ravdess", corpora / "ravdess").utterances
    built_in = make_folds(rows, "emobox")
    from_file = make_folds(rows, "emobox", folds_file=folds_file)
    assert len(built_in) == 6
    assert [fold.test for fold in built_in] == [fold.test for fold in from_file]
    assert all(len(fold.test) == 240 and len({rows[i].speaker for i in fold.validation}) == 4 for fold in built_in)


@pytest.mark.corpus
def test_make_folds_emodb_folds_of_emobox_are_speaker_dependent(folds_file: Path) -> None:
    with folds_file.open() as stream:
        stems = [row["utterance"] for row in csv.DictReader(stream) if row["corpus"] == "emodb"]
    rows = [Utterance("emodb", f"wav/{stem}.wav", "anger", speaker=stem[:2], text=stem[2:5]) for stem in stems]
    folds = make_folds(rows, "emobox", folds_file=folds_file)
    assert len(folds) == 5
    assert sorted(i for fold in folds for i in fold.test) == list(range(535))
    assert check_leakage(rows, folds[0]).shared_speakers == 10


def test_make_folds_folds_file_assigns_utterances_by_stem(tmp_path: Path) -> None:
    rows = make_utterances(4)
    lines = [f"c,{row.speaker[1:]},{Path(row.file).stem}" for row in rows]
    (tmp_path / "folds.csv").write_text("\n".join(["corpus,fold,utterance", *lines]))
    folds = make_folds(rows, "emobox", folds_file=tmp_path / "folds.csv")
    assert [fold.name for fold in folds] == [f"EmoBox fold {k}" for k in range(4)]
    assert [{rows[i].speaker for i in fold.test} for fold in folds] == [{"s0"}, {"s1"}, {"s2"}, {"s3"}]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("corpus,fold,utterance\nother,1,a\n", "lists no utterance of c"),
        ("corpus,utterance\nc,a\n", "folds.csv:1: the header is corpus, utterance; expected"),
        (None, "can't read .*folds.csv"),
    ],
)
def test_make_folds_invalid_folds_file_is_refused(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "folds.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(CorpusError, match=message):
        make_folds(make_utterances(3), "emobox", folds_file=path)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_protocol_has_a_docstring(name: str) -> None:
    assert PROTOCOLS[name].__doc__


def test_make_folds_leave_one_corpus_out_tests_on_each_corpus_in_turn() -> None:
    rows = [*make_utterances(5, corpus="a"), *make_utterances(4, corpus="b")]
    first, second = make_folds(rows, "leave_one_corpus_out")
    assert (
        {rows[i].corpus for i in first.test} == {"a"} == {rows[i].corpus for i in (*second.train, *second.validation)}
    )
    assert {rows[i].corpus for i in second.test} == {"b"} == {rows[i].corpus for i in (*first.train, *first.validation)}
    assert first.name == "tests on a"
    assert check_leakage(rows, first).speaker_independent
    assert not {rows[i].speaker for i in first.train} & {rows[i].speaker for i in first.validation}


def test_make_folds_train_only_utterances_are_in_every_training_part() -> None:
    rows = make_utterances(6, corpus="a") + make_utterances(3, corpus="b")
    folds = make_folds(rows, "loso", train_only=[row.corpus == "b" for row in rows])
    assert len(folds) == 6
    added = {i for i, row in enumerate(rows) if row.corpus == "b"}
    folds_without = make_folds(make_utterances(6, corpus="a"), "loso")
    for fold, fold_without in zip(folds, folds_without, strict=True):
        assert added <= set(fold.train)
        assert not added & {*fold.validation, *fold.test}
        assert (fold.test, fold.validation) == (fold_without.test, fold_without.validation)


def test_make_folds_invalid_train_only_is_refused() -> None:
    rows = make_utterances(6)
    with pytest.raises(CorpusError, match="all corpora are train_only"):
        make_folds(rows, "loso", train_only=[True] * len(rows))
    with pytest.raises(CorpusError, match="must not be in both training and test"):
        make_folds(rows, "loso", train_only=[i % 2 == 0 for i in range(len(rows))])


def test_make_folds_manifest_leaves_out_utterances_without_a_split_word() -> None:
    rows = _with_split(make_utterances(5), {"s0": "train", "s1": "train", "s2": "Development", "s3": "test", "s4": ""})
    (fold,) = make_folds(rows, "manifest")
    assert {rows[i].speaker for i in fold.train} == {"s0", "s1"}
    assert {rows[i].speaker for i in fold.validation} == {"s2"}
    assert {rows[i].speaker for i in fold.test} == {"s3"}


def test_make_folds_manifest_with_an_unknown_split_word_is_refused() -> None:
    rows = _with_split(make_utterances(4), {"s0": "train", "s1": "train", "s2": "exclude", "s3": "test"})
    with pytest.raises(CorpusError, match=r"the split of 2-anger-0\.wav is 'exclude'"):
        make_folds(rows, "manifest")


def _unbalanced_utterances(n_speakers: int, n_clips: int = 12) -> list[Utterance]:
    """Speakers with different numbers of clips of different emotions, the same on every machine."""
    return [
        Utterance("c", f"{speaker}-{clip}.wav", "abcd"[(speaker * clip + clip // 3) % 4], speaker=f"s{speaker}")
        for speaker in range(n_speakers)
        for clip in range(n_clips - speaker % 5)
    ]


def _digest(folds: list[Fold]) -> str:
    return hashlib.sha256(repr([(fold.train, fold.validation, fold.test) for fold in folds]).encode()).hexdigest()[:12]


@pytest.mark.parametrize(
    ("protocol", "digest"),
    [("speaker_kfold", "bdcfe60a7c68"), ("speaker_dependent", "399ce17093f6"), ("loso", "37e4a5942344")],
)
def test_make_folds_are_the_same_on_every_machine(protocol: str, digest: str) -> None:
    # A change here changes every score that is measured on these folds.
    assert _digest(make_folds(_unbalanced_utterances(13), protocol, n_folds=4, seed=3)) == digest


def test_make_folds_speaker_kfold_is_stratified_by_corpus_and_emotion() -> None:
    rows = [*make_utterances(9, corpus="a"), *make_utterances(6, n_texts=5, corpus="b")]
    for fold in make_folds(rows, "speaker_kfold", n_folds=3):
        assert Counter((rows[i].corpus, rows[i].emotion) for i in fold.test) == {
            **{("a", emotion): 6 for emotion in EMOTIONS},
            **{("b", emotion): 10 for emotion in EMOTIONS},
        }


def test_make_folds_speakers_with_one_emotion_each_have_all_emotions_in_all_parts() -> None:
    rows = [
        Utterance("c", f"{k}-{clip}.wav", "abcd"[k // 5], speaker=f"s{k:02}") for k in range(19) for clip in range(4)
    ]
    for fold in make_folds(rows, "speaker_kfold", n_folds=3):
        for part in (fold.train, fold.validation, fold.test):
            assert {rows[i].emotion for i in part} == set("abcd")


@pytest.mark.parametrize("protocol", ["speaker_kfold", "speaker_dependent", "loso"])
def test_make_folds_speakers_with_one_clip_each_have_all_emotions_in_training(protocol: str) -> None:
    rows = [Utterance("c", f"{k}.wav", "abcd"[k * k % 4], speaker=f"s{k:02}") for k in range(24)]
    every = {row.emotion for row in rows}
    for fold in make_folds(rows, protocol, n_folds=3):
        assert {rows[i].emotion for i in fold.train} == {rows[i].emotion for i in fold.validation} == every


def _n_missing(fold_of_speaker: tuple[int, ...], classes: list[set[str]], n_folds: int) -> tuple[int, int]:
    """How many classes are missing in the training sides and in the test sets of all folds."""
    every = set().union(*classes)
    missing_in_training = missing_in_test = 0
    for fold in range(n_folds):
        test = set().union(*(names for names, k in zip(classes, fold_of_speaker, strict=True) if k == fold))
        train = set().union(*(names for names, k in zip(classes, fold_of_speaker, strict=True) if k != fold))
        missing_in_training += len(every - train)
        missing_in_test += len(every - test)
    return missing_in_training, missing_in_test


@settings(deadline=None, max_examples=40)
@given(
    classes=st.lists(st.lists(st.sampled_from("abcd"), min_size=1, max_size=3), min_size=4, max_size=7),
    n_folds=st.integers(2, 3),
)
def test_make_folds_speaker_kfold_misses_no_class_that_another_choice_has(
    classes: list[list[str]], n_folds: int
) -> None:
    rows = [
        Utterance("c", f"{k}-{n}-{copy}.wav", name, speaker=f"s{k}")
        for k, names in enumerate(classes)
        for n, name in enumerate(names)
        for copy in range(2)
    ]
    folds = make_folds(rows, "speaker_kfold", n_folds=n_folds)
    of_speaker = {rows[i].speaker: fold.index - 1 for fold in folds for i in fold.test}
    found = tuple(of_speaker[f"s{k}"] for k in range(len(classes)))
    sets = [set(names) for names in classes]
    choices = itertools.product(range(n_folds), repeat=len(classes))
    best = min(_n_missing(choice, sets, n_folds) for choice in choices if len(set(choice)) == n_folds)
    assert _n_missing(found, sets, n_folds) == best
    for fold in folds:
        assert {rows[i].emotion for i in fold.train} >= {rows[i].emotion for i in fold.validation}


def test_make_folds_validation_speakers_are_searched_until_training_and_validation_have_every_class() -> None:
    # Each choice of one validation speaker lacks a class in validation; two complementary speakers do not.
    classes = ["ab", "ab", "cd", "cd", "ab", "cd"]
    rows = [
        Utterance("c", f"{k}-{name}-{n}.wav", name, speaker=f"s{k}")
        for k, names in enumerate(classes)
        for name in names
        for n in range(3)
    ]
    for seed in range(5):
        for fold in make_folds(rows, "speaker_kfold", n_folds=3, seed=seed, validation_fraction=0.2):
            assert {rows[i].emotion for i in fold.train} == set("abcd")
            assert not {rows[i].speaker for i in fold.train} & {rows[i].speaker for i in fold.validation}


def test_make_folds_without_any_choice_of_validation_speakers_draws_utterances() -> None:
    rows = [Utterance("c", f"{k}-{n}.wav", "abc"[k % 3], speaker=f"s{k}") for k in range(6) for n in range(6)]
    (fold, _) = make_folds(rows, "speaker_kfold", n_folds=2)
    train, validation, test = ({rows[i].speaker for i in part} for part in (fold.train, fold.validation, fold.test))
    assert train == validation and not train & test
    assert {rows[i].emotion for i in fold.validation} == set("abc")


@pytest.mark.parametrize("n_rare", [1, 2])
def test_make_folds_speaker_dependent_keeps_rare_classes_in_training(n_rare: int) -> None:
    rows = [Utterance("c", f"{i}.wav", "rare" if i < n_rare else "ab"[i % 2]) for i in range(40)]
    for fold in make_folds(rows, "speaker_dependent", n_folds=4):
        outside = {rows[i].emotion for i in (*fold.train, *fold.validation)}
        assert {rows[i].emotion for i in fold.train} == outside


@pytest.mark.parametrize("protocol", ["speaker_kfold", "speaker_dependent"])
def test_make_folds_of_ten_thousand_utterances_takes_seconds(protocol: str) -> None:
    rows = [Utterance("c", f"{i}.wav", f"class {i * 7 % 50}", speaker=f"s{i % 400}") for i in range(10_000)]
    started = time.monotonic()
    make_folds(rows, protocol)
    assert time.monotonic() - started < 20  # 0.5 s


def test_make_folds_without_scikit_learn_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(KanjoError, match=r"splits need scikit-learn: pip install 'kanjo\[evaluation\]'"):
        make_folds(make_utterances(6), "loso")


def test_splits_import_loads_no_scikit_learn() -> None:
    code = "import sys, kanjo.corpora.splits, kanjo.corpora.fold_classes; print('sklearn' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


@pytest.mark.corpus
def test_make_folds_speaker_kfold_of_real_corpora_has_every_emotion_everywhere(corpora: Path) -> None:
    rows = [*read_corpus("ravdess", corpora / "ravdess").utterances, *read_corpus("nemo", corpora / "nemo").utterances]
    every = {row.emotion for row in rows}
    for fold in make_folds(rows, "speaker_kfold"):
        for part in (fold.train, fold.validation, fold.test):
            assert {rows[i].emotion for i in part} == every
