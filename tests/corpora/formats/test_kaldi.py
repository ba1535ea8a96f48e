from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kanjo.corpora import read_corpus
from kanjo.corpora.check import check_corpus
from kanjo.errors import CorpusError
from tests import corpora_fixtures


def _write_data_folder(root: Path) -> Path:
    corpora_fixtures.write_clips(root, "wav/a.wav", "wav/b c.wav")
    for name, content in {
        "wav.scp": f"a wav/a.wav\nlong {root}/wav/b c.wav\n",
        "utt2spk": "a kim\nlong-1 lee\nlong-2 lee\n",
        "utt2emo": "a hap\nlong-1 ang\nlong-2 neu\n",
        "spk2gender": "kim f\nlee m\n",
        "segments": "long-1 long 0.0 0.05\nlong-2 long 0.05 0.1\n",
        "text": "a 안녕 하세요\nlong-1 no\u2028way\n",
    }.items():
        (root / name).write_text(content, encoding="utf-8")
    return root


def test_read_kaldi_joins_all_tables(tmp_path: Path) -> None:
    rows = read_corpus("own", _write_data_folder(tmp_path)).utterances
    assert [(row.file, row.emotion, row.speaker, row.sex, row.start_s, row.end_s) for row in rows] == [
        ("wav/a.wav", "happiness", "kim", "female", None, None),
        (f"{tmp_path}/wav/b c.wav", "anger", "lee", "male", 0.0, 0.05),
        (f"{tmp_path}/wav/b c.wav", "neutral", "lee", "male", 0.05, 0.1),
    ]
    assert [row.text for row in rows] == ["안녕 하세요", "no\u2028way", ""]
    assert check_corpus("own", tmp_path).ok


@pytest.mark.parametrize(
    ("table", "content", "message"),
    [
        ("wav.scp", "a sox x.mp3 -t wav - |\n", "wav.scp:1: recording a is a command, which kanjo does not run"),
        ("wav.scp", "b wav/a.wav\n", r"utt2emo:1: wav.scp has no recording a"),
        ("utt2emo", "a grumpyish\n", "utt2emo:1: unknown emotion label 'grumpyish'"),
        ("utt2emo", "", "utt2emo: the file is empty"),
        ("segments", "a long 0.0\n", "segments:1: 'long 0.0'; expected a recording"),
        ("segments", "long-1 long 0 1\na long 2 1\n", "segments:2: start_s is 2 and end_s is 1; expected an end after"),
        ("segments", "a long nan inf\n", "segments:1: end_s is inf"),
        ("utt2emo", "a hap\nlong-1 ang\na sad\n", "utt2emo:3: a is in line 1 already"),
        ("spk2gender", "kim f\nlee x\n", "spk2gender:2: sex is 'x'; expected female or male"),
    ],
)
def test_read_kaldi_invalid_table_is_refused(tmp_path: Path, table: str, content: str, message: str) -> None:
    _write_data_folder(tmp_path)
    (tmp_path / table).write_text(content)
    with pytest.raises(CorpusError, match=message):
        read_corpus("own", tmp_path)


def test_read_kaldi_end_of_minus_one_is_the_end_of_the_recording(tmp_path: Path) -> None:
    _write_data_folder(tmp_path)
    (tmp_path / "segments").write_text("long-1 long 0.0 0.05\nlong-2 long 0.05 -1\n")
    row = read_corpus("own", tmp_path).utterances[2]
    assert (row.start_s, row.end_s) == (0.05, None)


def test_read_kaldi_other_unicode_form_and_backslash_find_the_recording(tmp_path: Path) -> None:
    _write_data_folder(tmp_path)
    corpora_fixtures.write_clip(tmp_path / "wav" / unicodedata.normalize("NFD", "가.wav"))
    (tmp_path / "wav.scp").write_text(f"a wav\\가.wav\nlong {tmp_path}/wav/b c.wav\n", encoding="utf-8")
    (tmp_path / "utt2spk").write_text(unicodedata.normalize("NFD", "a 김\n"), encoding="utf-8")
    manifest = read_corpus("own", tmp_path)
    assert manifest.audio_path(manifest.utterances[0]).is_file() and manifest.utterances[0].speaker == "김"


def test_read_kaldi_without_emotions_is_refused(tmp_path: Path) -> None:
    (_write_data_folder(tmp_path) / "utt2emo").unlink()
    with pytest.raises(CorpusError, match="can't read .*utt2emo"):
        read_corpus("own", tmp_path)


_LINES = st.lists(st.tuples(st.sampled_from(["a", "b"]), st.text(st.characters(exclude_categories=["Cs"]), max_size=8)))


@given(st.sampled_from(["wav.scp", "utt2emo", "utt2spk", "spk2gender", "segments", "text"]), _LINES)
def test_read_kaldi_any_table_is_read_or_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, table: str, lines: list[tuple[str, str]]
) -> None:
    root = tmp_path_factory.mktemp("kaldi")
    (root / "wav.scp").write_text("a a.wav\nb b.wav\n")
    (root / "utt2emo").write_text("a hap\nb sad\n")
    (root / table).write_text("\n".join(map(" ".join, lines)), encoding="utf-8", newline="")
    try:
        rows = read_corpus("own", root).utterances
    except CorpusError as error:
        assert str(root) in str(error) and len(str(error).split("\n")) == 1
    else:
        assert all(row.sex in ("", "female", "male") and row.emotion for row in rows)
