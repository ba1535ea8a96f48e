from __future__ import annotations

from pathlib import Path

import pytest

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
        ("wav.scp", "a sox x.mp3 -t wav - |\n", "wav.scp: recording a is a command, which kanjo does not run"),
        ("wav.scp", "b wav/a.wav\n", r"utt2emo:1: wav.scp has no recording a"),
        ("utt2emo", "a grumpyish\n", "utt2emo:1: unknown emotion label 'grumpyish'"),
        ("utt2emo", "", "utt2emo: the file is empty"),
        ("segments", "a long 0.0\n", "segments: utterance a has 'long 0.0'; expected a recording"),
    ],
)
def test_read_kaldi_invalid_table_is_refused(tmp_path: Path, table: str, content: str, message: str) -> None:
    _write_data_folder(tmp_path)
    (tmp_path / table).write_text(content)
    with pytest.raises(CorpusError, match=message):
        read_corpus("own", tmp_path)


def test_read_kaldi_without_emotions_is_refused(tmp_path: Path) -> None:
    (_write_data_folder(tmp_path) / "utt2emo").unlink()
    with pytest.raises(CorpusError, match="can't read .*utt2emo"):
        read_corpus("own", tmp_path)
