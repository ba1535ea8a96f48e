from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kanjo.corpora import Utterance, read_corpus, write_filelist
from kanjo.corpora.check import check_corpus
from kanjo.corpora.words import parse_text
from kanjo.errors import CorpusError
from tests import corpora_fixtures

_TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20).map(str.strip)


def test_write_filelist_is_reproducible_and_can_be_read(tmp_path: Path) -> None:
    root = corpora_fixtures.make_jtes(tmp_path / "jtes")
    rows = read_corpus("jtes", root).utterances
    write_filelist(tmp_path / "a.txt", rows, root)
    content = (tmp_path / "a.txt").read_bytes()
    write_filelist(tmp_path / "a.txt", rows, root)
    assert (tmp_path / "a.txt").read_bytes() == content
    assert content.decode().splitlines()[0] == f"{root.as_posix()}/wav/f01/ang/f01_ang_07.wav|f01|なぜだ|3|0"
    rows_read = read_corpus("own", tmp_path / "a.txt").utterances
    assert [(row.emotion, row.speaker, row.text, row.language) for row in rows_read] == [
        (row.emotion, row.speaker, row.text, row.language) for row in rows
    ]
    assert check_corpus("own", tmp_path / "a.txt").ok


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a.wav|f01|x|99|0", "a.txt:2: unknown emotion '99'; expected 0 to 16"),
        ("a.wav|f01|3", "a.txt:2: 3 cells; expected path|speaker|text|emotion|language"),
        ("a.wav\tf01\tx\t3\t0", "a.txt:2: 1 cell (this line has tabs; the separator is a bar); expected path|"),
        ("a.wav|f01|x|3|99", "a.txt:2: unknown language 99; expected 0 to 14"),
        ("|f01|x|3|0", "a.txt:2: no path; expected path|speaker|text|emotion|language"),
    ],
)
def test_read_filelist_invalid_line_is_refused_with_its_number(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "a.txt").write_text(f"b.wav|f01|x|3|0\n{line}\n")
    with pytest.raises(CorpusError) as caught:
        read_corpus("own", tmp_path / "a.txt")
    assert message in str(caught.value)


@given(_TEXT, _TEXT)
def test_write_filelist_any_text_and_speaker_keep_five_cells(
    tmp_path_factory: pytest.TempPathFactory, text: str, speaker: str
) -> None:
    path = tmp_path_factory.mktemp("list") / "a.txt"
    speaker = "" if speaker == "NA" else speaker.replace("|", "")
    row = Utterance("c", "a.wav", "fear", "fear", speaker=speaker, text=text, language="pl")
    write_filelist(path, [row, row], Path("/d"))
    rows = read_corpus("own", path).utterances
    assert len(rows) == 2
    assert rows[0].text == parse_text(" ".join(text.replace("|", " ").split())) and rows[0].language == "pl"


def test_read_filelist_missing_speaker_backslashes_and_unicode_forms(tmp_path: Path) -> None:
    corpora_fixtures.write_clip(tmp_path / "wav" / unicodedata.normalize("NFD", "가.wav"))
    nfd = unicodedata.normalize("NFD", "김")
    (tmp_path / "a.txt").write_text(f"wav\\가.wav|{nfd}|nan|3|0\nb.wav|nan|x|anger|0\n", encoding="utf-16")
    manifest = read_corpus("own", tmp_path / "a.txt")
    assert manifest.audio_path(manifest.utterances[0]).is_file()
    assert [(row.speaker, row.text) for row in manifest.utterances] == [("김", ""), ("", "x")]


def test_read_filelist_path_that_fits_two_files_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpora_fixtures.write_clips(tmp_path, "here/a.wav", "lists/a.wav", "here/b.wav")
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "lists" / "a.txt").write_text("b.wav|f01|x|3|0\na.wav|f01|x|3|0\n")
    with pytest.raises(CorpusError, match="a.txt:2: a.wav exists in the working folder and beside the filelist"):
        read_corpus("own", tmp_path / "lists" / "a.txt")


_CELLS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@given(st.lists(st.lists(_CELLS, min_size=4, max_size=6), max_size=4))
def test_read_filelist_any_content_is_read_or_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, lines: list[list[str]]
) -> None:
    path = tmp_path_factory.mktemp("list") / "a.txt"
    path.write_text("\n".join(["a.wav|f01|x|3|0", *map("|".join, lines)]), encoding="utf-8", newline="")
    try:
        rows = read_corpus("own", path).utterances
    except CorpusError as error:
        assert str(path) in str(error) and len(str(error).split("\n")) == 1
    else:
        assert all(row.file and row.emotion for row in rows)
