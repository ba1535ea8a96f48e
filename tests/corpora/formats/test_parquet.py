from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow
import pytest
from pyarrow import parquet

from kanjo.corpora import read_corpus
from kanjo.errors import CorpusError


def test_read_parquet_of_pandas_accepts_other_column_names(tmp_path: Path) -> None:
    columns = {
        "path": ["a.wav", "b.wav"],
        "label": ["joy", "sad"],
        "speaker": [3, 12],
        "start": [0.0, float("nan")],
    }
    pd.DataFrame(columns).to_parquet(tmp_path / "mine.parquet")
    rows = read_corpus("own", tmp_path / "mine.parquet").utterances
    assert [(row.file, row.emotion, row.speaker, row.start_s, row.end_s) for row in rows] == [
        ("a.wav", "happiness", "3", 0.0, None),
        ("b.wav", "sadness", "12", None, None),
    ]


def test_read_parquet_other_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.parquet"
    path.write_bytes(b"file,emotion\n")
    with pytest.raises(CorpusError, match="mine.parquet: not a Parquet file"):
        read_corpus("own", path)


def test_read_parquet_missing_column_or_truncated_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.parquet"
    parquet.write_table(pyarrow.table({"file": ["a.wav"], "mood": ["sad"]}), path)
    with pytest.raises(CorpusError, match="missing column emotion; the header is file, mood"):
        read_corpus("own", path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(CorpusError, match=r"mine.parquet: .*(not a Parquet file|damaged)"):
        read_corpus("own", path)


def test_read_rows_missing_speakers_and_whole_numbers(tmp_path: Path) -> None:
    columns = {"file": ["a.wav", "b.wav", "c.wav"], "emotion": ["sad"] * 3, "speaker": [3.0, float("nan"), None]}
    parquet.write_table(pyarrow.table(columns), tmp_path / "t.parquet")
    assert [row.speaker for row in read_corpus("own", tmp_path / "t.parquet").utterances] == ["3", "", ""]


def test_read_table_parquet_object_in_a_used_column_is_refused(tmp_path: Path) -> None:
    audio = [{"bytes": b"x", "path": "a.wav"}]
    parquet.write_table(pyarrow.table({"audio": audio, "emotion": ["sad"]}), tmp_path / "t.parquet")
    with pytest.raises(CorpusError, match="t.parquet: audio is an object; expected a text or a number"):
        read_corpus("own", tmp_path / "t.parquet")
    unused = pyarrow.table({"file": ["a.wav"], "audio": audio, "emotion": ["sad"]})
    parquet.write_table(unused, tmp_path / "t.parquet")
    assert read_corpus("own", tmp_path / "t.parquet").utterances[0].file == "a.wav"
