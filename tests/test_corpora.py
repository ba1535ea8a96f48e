from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kanjo.corpora import (
    CORPORA,
    Utterance,
    corpus_named,
    find_root,
    manifest_text,
    read_corpus,
    read_manifest,
    write_manifest,
)
from kanjo.corpora.check import check
from kanjo.errors import CorpusError
from tests import corpora_fixtures as tiny


def test_ravdess_layout(tmp_path: Path) -> None:
    tiny.ravdess(tmp_path, actors=2)
    tiny.clip(tmp_path / "Actor_01" / "03-02-05-01-01-01-01.wav")  # a song
    tiny.clip(tmp_path / "Actor_01" / "notes.wav")
    rows = read_corpus("ravdess", tmp_path).utterances
    assert len(rows) == 16
    first = next(row for row in rows if row.file == "Actor_02/03-01-05-01-01-01-02.wav")
    assert (first.emotion, first.labels_raw, first.speaker, first.sex) == ("anger", "angry", "02", "female")
    assert first.text == "Kids are talking by the door."


def test_nemo_layout_keeps_quotes_and_drops_stray_spaces(tmp_path: Path) -> None:
    rows = read_corpus("nemo", tiny.nemo(tmp_path)).utterances
    assert len(rows) == 18
    assert {row.speaker for row in rows} == {"WR0", "EB0", "IC0"}
    assert rows[0].text == 'Zdanie "0".'
    assert rows[0].file == "samples/WR0_anger_0.ogg"


def test_emotiontts_layout(tmp_path: Path) -> None:
    rows = read_corpus("emotiontts", tiny.emotiontts(tmp_path)).utterances
    assert [row.emotion for row in rows if row.speaker == "ema"] == ["neutral", "happiness", "anger", "sadness"]
    assert {row.sex for row in rows if row.speaker == "neo"} == {"male"}
    assert {row.text for row in rows} == {"안녕하세요."}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-8-sig"])
def test_esd_layout(tmp_path: Path, encoding: str) -> None:
    rows = read_corpus("esd", tiny.esd(tmp_path, encoding)).utterances
    assert len(rows) == 10
    assert {(row.speaker, row.language, row.sex) for row in rows} == {("0011", "en", "male"), ("0004", "zh", "male")}
    assert all(row.text for row in rows)


def test_esd_text_that_contradicts_the_folder(tmp_path: Path) -> None:
    tiny.esd(tmp_path)
    table = tmp_path / "0011" / "0011.txt"
    table.write_text(table.read_text().replace("Angry", "Happy"))
    with pytest.raises(CorpusError, match=r"lies under Angry, but 0011.txt calls it Happy"):
        read_corpus("esd", tmp_path)


def test_own_folder_in_any_language(tmp_path: Path) -> None:
    rows = read_corpus("own", tiny.own(tmp_path)).utterances
    assert Counter(row.emotion for row in rows) == {"anger": 2, "happiness": 2, "sadness": 2, "neutral": 2}


def test_own_folder_with_speakers(tmp_path: Path) -> None:
    tiny.clip(tmp_path / "kim" / "angry" / "1.wav")
    tiny.clip(tmp_path / "happy" / "lee" / "1.wav")
    assert {(row.speaker, row.emotion) for row in read_corpus("own", tmp_path).utterances} == {
        ("kim", "anger"),
        ("lee", "happiness"),
    }


def test_own_folder_named_after_no_emotion(tmp_path: Path) -> None:
    tiny.clip(tmp_path / "hapy" / "1.wav")
    with pytest.raises(CorpusError, match="did you mean 'happy'"):
        read_corpus("own", tmp_path)


@pytest.mark.parametrize("delimiter", [",", "\t", ";"])
def test_own_table(tmp_path: Path, delimiter: str) -> None:
    table = tmp_path / "mine.csv"
    lines = [
        ["path", "label", "speaker", "start", "end"],
        ["a b.wav", "Wut", "x", "0.5", "1.5"],
        ["ü.wav", "joy", "y", "", ""],
    ]
    table.write_text("\n".join(delimiter.join(line) for line in lines), encoding="utf-8-sig")
    rows = read_corpus("own", table).utterances
    assert rows[0] == Utterance("mine", "a b.wav", "anger", "Wut", speaker="x", start_s=0.5, end_s=1.5)
    assert rows[1].emotion == "happiness"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("file,mood\na.wav,angry", "no column emotion"),
        ("file,emotion\n,angry", "mine.csv:2: no file named"),
        ("file,emotion\na.wav,grumpy?", "mine.csv:2: unknown emotion label"),
        ("file,emotion,start\na.wav,angry,soon", "mine.csv:2: start_s is 'soon'"),
        ("file,emotion\n", "a header and no rows"),
        ("", "no column file and none emotion"),
    ],
)
def test_bad_tables_are_refused_naming_the_line(tmp_path: Path, text: str, said: str) -> None:
    table = tmp_path / "mine.csv"
    table.write_text(text)
    with pytest.raises(CorpusError, match=said):
        read_corpus("own", table)


@pytest.mark.parametrize("name", sorted(CORPORA))
def test_an_empty_folder_says_what_was_expected(tmp_path: Path, name: str) -> None:
    with pytest.raises(CorpusError, match="no utterances under|can't read"):
        read_corpus(name, tmp_path)
    with pytest.raises(CorpusError, match="no such folder"):
        read_corpus(name, tmp_path / "missing")


def test_unknown_corpus_names_the_nearest() -> None:
    with pytest.raises(CorpusError, match="did you mean ravdess"):
        corpus_named("ravdes")
    with pytest.raises(CorpusError, match="not found below"):
        find_root("nemo", Path("/nonexistent"))


def test_every_corpus_describes_itself() -> None:
    for corpus in CORPORA.values():
        assert corpus.homepage.startswith("https://")
        assert corpus.n_files > 0 and corpus.n_speakers > 0
        assert corpus.citation and corpus.licence and corpus.how_to_get


_TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20).map(str.strip)


@given(
    st.lists(
        st.builds(
            Utterance, corpus=_TEXT.filter(bool), file=_TEXT.filter(bool), emotion=st.sampled_from(["anger", "neutral"]),
            labels_raw=_TEXT.filter(bool), speaker=_TEXT, text=_TEXT, start_s=st.none() | st.floats(0, 1e4), split=_TEXT,
        ), min_size=1, max_size=5,
    )
)  # fmt: skip
def test_a_manifest_survives_the_round_trip(tmp_path_factory: pytest.TempPathFactory, rows: list[Utterance]) -> None:
    path = tmp_path_factory.mktemp("manifest") / "m.csv"
    write_manifest(path, rows)
    assert list(read_manifest(path).utterances) == rows
    assert path.read_text(encoding="utf-8") == manifest_text(rows)


def test_manifest_with_an_unknown_emotion(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("file,emotion\na.wav,happpy\n")
    with pytest.raises(CorpusError, match=r"m.csv:2: unknown emotion label 'happpy'; did you mean 'happy'"):
        read_manifest(tmp_path / "m.csv")


def test_check_of_a_part_differs_and_of_bad_files_names_them(tmp_path: Path) -> None:
    tiny.ravdess(tmp_path, actors=1)
    (tmp_path / "Actor_01" / "03-01-01-01-01-01-01.wav").write_bytes(b"")
    report = check("ravdess", tmp_path)
    found = {line.what: (line.found, line.status) for line in report.lines}
    assert found["speakers"] == ("1", "differs")
    assert report.bad == (("Actor_01/03-01-01-01-01-01-01.wav", "an empty file (0 bytes)"),)
    assert not report.ok


def test_check_of_your_own(tmp_path: Path) -> None:
    assert check("own", tiny.own(tmp_path)).ok


@pytest.mark.parametrize(
    ("name", "folder", "utterances"),
    [("ravdess", "ravdess", 1440), ("nemo", "nemo", 4481), ("emotiontts", "emotiontts_ko", 300)],
)
def test_the_real_corpora_are_all_there(corpora: Path, name: str, folder: str, utterances: int) -> None:
    report = check(name, corpora / folder, decode=False)
    assert report.ok, [line for line in report.lines if line.status == "differs"]
    rows = read_corpus(name, corpora / folder).utterances
    assert len(rows) == utterances
    assert all(row.text and row.sex and row.speaker for row in rows)


def test_the_real_esd_part(corpora: Path) -> None:
    rows = read_corpus("esd", corpora / "esd").utterances
    assert len(rows) == 16
    assert {row.speaker for row in rows} == {"0019"}
    assert all(row.text for row in rows)
    assert not check("esd", corpora / "esd").ok


def test_unreadable_folder(tmp_path: Path) -> None:
    import os

    if os.geteuid() == 0:
        pytest.skip("root reads everything")
    tmp_path.chmod(0)
    try:
        with pytest.raises(CorpusError, match="no permission"):
            read_corpus("ravdess", tmp_path)
    finally:
        tmp_path.chmod(0o700)
        shutil.rmtree(tmp_path)
