"""Tables that list a recording twice with different emotions."""

from __future__ import annotations

from pathlib import Path

import pytest

from kanjo.corpora import read_corpus
from kanjo.corpora.check import check_corpus
from kanjo.errors import CorpusError
from tests.corpora_fixtures import write_clip
from tests.shell import run_kanjo


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a recording of two seconds and another one."""
    write_clip(tmp_path / "a.wav", 0, seconds=2.0)
    write_clip(tmp_path / "b.wav", 1)
    return tmp_path


CONFLICTS = {
    "whole.csv": ("file,emotion\na.wav,angry\nb.wav,happy\n./a.wav,sad\n", 4, 2, "a.wav is sadness"),
    "part.csv": ("file,emotion,start,end\na.wav,angry,0.5,1\na.wav,sad,0.50,1.0\n", 3, 2, "a.wav from 0.5 s to 1 s"),
    "rows.jsonl": ('{"file": "a.wav", "emotion": "angry"}\n{"file": "a.wav", "emotion": "sad"}\n', 2, 1, "a.wav"),
    "list.txt": ("a.wav|ana||anger|en\na.wav|ana||sadness|en\n", 2, 1, "a.wav"),
}


@pytest.mark.parametrize("name", CONFLICTS)
def test_read_corpus_with_conflicting_emotions_names_both_lines(name: str, folder: Path) -> None:
    content, line, other, recording = CONFLICTS[name]
    (folder / name).write_text(content, encoding="utf-8")
    with pytest.raises(CorpusError) as error:
        read_corpus("own", folder / name)
    assert str(error.value).startswith(f"{folder / name}:{line}: {recording}")
    assert f"line {other}; correct or remove one of the two lines" in str(error.value)


def test_read_kaldi_with_conflicting_emotions_names_both_lines(folder: Path) -> None:
    (folder / "wav.scp").write_text("r a.wav\n", encoding="utf-8")
    (folder / "segments").write_text("u1 r 0 1\nu2 r 1 2\nu3 r 0 1\n", encoding="utf-8")
    (folder / "utt2emo").write_text("u1 angry\nu2 sad\nu3 sad\n", encoding="utf-8")
    with pytest.raises(CorpusError, match=r"utt2emo:3: a\.wav from 0 s to 1 s is sadness here, but anger in line 1"):
        read_corpus("own", folder)


def test_read_corpus_with_other_parts_or_equal_emotions_is_accepted(folder: Path) -> None:
    table = folder / "t.csv"
    table.write_text("file,emotion,start,end\na.wav,angry,0,1\na.wav,sad,1,2\na.wav,Anger,0,1\n", encoding="utf-8")
    assert [row.emotion for row in read_corpus("own", table).utterances] == ["anger", "sadness", "anger"]


def test_check_corpus_lists_all_conflicting_emotions(folder: Path) -> None:
    table = folder / "t.csv"
    table.write_text("file,emotion\na.wav,angry\na.wav,sad\nb.wav,sad\nb.wav,happy\n", encoding="utf-8")
    report = check_corpus("own", table)
    assert report.label_conflicts == (("a.wav", "anger and sadness"), ("b.wav", "happiness and sadness"))
    assert not report.ok and report.as_dict()["label_conflicts"]["a.wav"] == "anger and sadness"
    result = run_kanjo("corpus", "check", "own", table)
    assert result.returncode == 1 and "several emotions: b.wav is happiness and sadness" in result.stdout


def test_train_and_finetune_with_conflicting_emotions_are_refused_in_one_line(folder: Path) -> None:
    (folder / "t.csv").write_text("file,emotion\na.wav,angry\na.wav,sad\nb.wav,sad\n", encoding="utf-8")
    corpora = f"corpora=[{{name: own, path: {folder / 't.csv'}}}]"
    for arguments in (("finetune", folder / "t.csv"), ("train", "finetune-default", "--set", corpora)):
        result = run_kanjo(*arguments, "-o", folder / "run")
        assert result.returncode == 1 and len(result.stderr.splitlines()) == 1, result.stderr
        assert "t.csv:3: a.wav is sadness here, but anger in line 2" in result.stderr
        assert not (folder / "run").exists()
