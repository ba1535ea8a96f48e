from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kanjo.corpora import Utterance, read_corpus, write_filelist
from kanjo.corpora.check import check_corpus
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
        ("a.wav|f01|x|3", "a.txt:2: 4 cells; expected path|speaker|text|emotion|language"),
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
    row = Utterance("c", "a.wav", "fear", "fear", speaker=speaker.replace("|", ""), text=text, language="xx")
    write_filelist(path, [row, row], Path("/d"))
    rows = read_corpus("own", path).utterances
    assert len(rows) == 2
    assert rows[0].text == " ".join(text.replace("|", " ").split()) and rows[0].language == "xx"
