from __future__ import annotations

from pathlib import Path

import audformat
import pandas as pd
import pytest

from kanjo.corpora import read_corpus
from kanjo.corpora.check import check_corpus
from kanjo.errors import CorpusError
from tests import corpora_fixtures


def _add_column(table: audformat.Table, name: str, values: list[object], scheme: str | None = None) -> None:
    table[name] = audformat.Column(scheme_id=scheme or name)
    table[name].set(values)


def _write_database(root: Path, storage: str) -> Path:
    """Write a database with audformat: emotions of files, their speakers in a second table, sexes in a third."""
    corpora_fixtures.write_clips(root, "wav/a.wav", "wav/b.wav")
    database = audformat.Database("mine")
    database.schemes["emotion"] = audformat.Scheme(labels=["anger", "happiness"])
    database.schemes["speaker"] = audformat.Scheme("int")
    database.schemes["gender"] = audformat.Scheme(labels=["female", "male"])
    files = audformat.filewise_index(["wav/a.wav", "wav/b.wav"])
    database["emotion"] = audformat.Table(files)
    _add_column(database["emotion"], "emotion", ["anger", "happiness"])
    database["files"] = audformat.Table(files)
    _add_column(database["files"], "speaker", [3, 8])
    database["speaker"] = audformat.MiscTable(pd.Index([3, 8], name="speaker", dtype="Int64"))
    _add_column(database["speaker"], "gender", ["male", "female"])
    database.save(str(root), storage_format=storage)
    return root


@pytest.mark.parametrize("storage", ["csv", "parquet"])
def test_read_audformat_joins_speakers_and_sexes(tmp_path: Path, storage: str) -> None:
    rows = read_corpus("own", _write_database(tmp_path, storage)).utterances
    assert [(row.file, row.emotion, row.speaker, row.sex, row.start_s) for row in rows] == [
        ("wav/a.wav", "anger", "3", "male", None),
        ("wav/b.wav", "happiness", "8", "female", None),
    ]
    assert check_corpus("own", tmp_path).ok


@pytest.mark.parametrize("storage", ["csv", "parquet"])
def test_read_audformat_segments_have_times(tmp_path: Path, storage: str) -> None:
    corpora_fixtures.write_clips(tmp_path, "a.wav")
    database = audformat.Database("mine")
    database.schemes["emotion"] = audformat.Scheme(labels=["anger", "sadness"])
    index = audformat.segmented_index(["a.wav", "a.wav"], ["0s", "0.0525s"], ["0.05s", pd.NaT])
    database["segments"] = audformat.Table(index)
    _add_column(database["segments"], "emotion", ["anger", "sadness"])
    database.save(str(tmp_path), storage_format=storage)
    rows = read_corpus("own", tmp_path).utterances
    assert [(row.emotion, row.start_s, row.end_s) for row in rows] == [("anger", 0.0, 0.05), ("sadness", 0.0525, None)]
    if storage == "csv":
        assert read_corpus("own", tmp_path / "db.segments.csv").utterances[1].start_s == 0.0525


def test_read_audformat_without_emotions_lists_the_tables(tmp_path: Path) -> None:
    (tmp_path / "db.yaml").write_text("name: mine\n")
    with pytest.raises(CorpusError, match="expected a table with the columns file and emotion .* found no table"):
        read_corpus("own", tmp_path)
    (tmp_path / "db.files.csv").write_text("file,duration\na.wav,0 days 00:00:01\n")
    with pytest.raises(CorpusError, match=r"found db.files.csv: file, duration"):
        read_corpus("own", tmp_path)


def test_read_audformat_missing_values_and_unclosed_quotes(tmp_path: Path) -> None:
    (tmp_path / "db.yaml").write_text("name: mine\n")
    (tmp_path / "db.emotion.csv").write_text("file,emotion\na.wav,anger\nb.wav,sadness\n")
    (tmp_path / "db.files.csv").write_text("file,speaker\na.wav,nan\nb.wav,3\n")
    assert [row.speaker for row in read_corpus("own", tmp_path).utterances] == ["", "3"]
    (tmp_path / "db.files.csv").write_text('file,speaker,text\na.wav,1,"no\nb.wav,3,x\n')
    with pytest.raises(CorpusError, match=r"db.files.csv:2: a cell of this row begins with a quotation mark"):
        read_corpus("own", tmp_path)
    (tmp_path / "db.files.csv").write_text("file,speaker\na.wav,1\nb.wav,3,x\n")
    with pytest.raises(CorpusError, match=r"db.files.csv:3: 3 cells, but the header has 2"):
        read_corpus("own", tmp_path)
