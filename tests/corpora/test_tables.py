"""Your own corpus in the shapes that other tools write it in."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import audformat
import pandas as pd
import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from kanjo.corpora import Utterance, manifest_text, read_corpus, read_manifest, write_manifest
from kanjo.corpora.check import check
from kanjo.errors import CorpusError
from tests import corpora_fixtures as tiny


def _row(row: Utterance) -> tuple[object, ...]:
    return (row.file, row.emotion, row.speaker, row.sex, row.start_s, row.end_s)


# Parquet


def test_a_manifest_as_parquet_is_the_manifest(tmp_path: Path) -> None:
    rows = [
        Utterance("c", "ü b.wav", "anger", "Wut", "s1", "male", "de", "Nein!\nDoch.", 0.5, 1.25, "train"),
        Utterance("c", "c.wav", "neutral", "N"),
    ]
    write_manifest(tmp_path / "m.parquet", rows)
    assert list(read_manifest(tmp_path / "m.parquet").utterances) == rows


def test_parquet_of_anybodys(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {"path": ["a.wav", "b.wav"], "label": ["joy", "sad"], "speaker": [3, 12], "start": [0.0, float("nan")]}
    )
    frame.to_parquet(tmp_path / "mine.parquet")
    rows = read_corpus("own", tmp_path / "mine.parquet").utterances
    assert [_row(row) for row in rows] == [
        ("a.wav", "happiness", "3", "", 0.0, None), ("b.wav", "sadness", "12", "", None, None),
    ]  # fmt: skip


def test_what_is_no_parquet_is_said(tmp_path: Path) -> None:
    path = tmp_path / "mine.parquet"
    path.write_bytes(b"file,emotion\n")
    with pytest.raises(CorpusError, match="mine.parquet: not a Parquet file"):
        read_corpus("own", path)
    parquet.write_table(pyarrow.table({"file": ["a.wav"], "mood": ["sad"]}), path)
    with pytest.raises(CorpusError, match="no column emotion; its header is file, mood"):
        read_corpus("own", path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(CorpusError, match=r"mine.parquet: (not a Parquet file|damaged)"):
        read_corpus("own", path)


# EmoBox


def _emobox(root: Path) -> Path:
    rows = [
        {"key": "emodb-14b10Tc", "dataset": "emodb", "wav": "downloads/emodb/wav/14b10Tc.wav", "type": "raw",
         "sample_rate": 16000, "num_frame": 54583.0, "task": "category", "length": 3.41, "emo": "sad", "channel": 1},
        {"key": "emodb-03a01Wa", "dataset": "emodb", "wav": "downloads/emodb/wav/03a01Wa.wav", "emo": "angry"},
    ]  # fmt: skip
    table = root / "data" / "emodb" / "fold_1" / "emodb_test_fold_1.jsonl"
    table.parent.mkdir(parents=True)
    table.write_text("".join(json.dumps(row) + "\n" for row in rows) + "\n")
    tiny.tree(root, *(row["wav"] for row in rows))  # type: ignore[misc]
    return table


def test_emobox_json_lines_find_their_recordings_from_the_folder_above(tmp_path: Path) -> None:
    table = _emobox(tmp_path)
    found = read_corpus("own", table)
    assert [(row.corpus, row.emotion, row.labels_raw) for row in found.utterances] == [
        ("emodb", "sadness", "sad"),
        ("emodb", "anger", "angry"),
    ]
    assert all(found.path(row).is_file() for row in found.utterances)
    assert check("own", table).ok


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "a.jsonl:2: not JSON"),
        ("[1]", "a.jsonl:2: expected a JSON object"),
        ('{"wav": "b.wav", "emo": "grumpyish"}', "a.jsonl:2: unknown emotion label 'grumpyish'"),
        ('{"emo": "sad"}', "a.jsonl:2: no file named"),
    ],
)
def test_bad_json_lines_are_named(tmp_path: Path, line: str, said: str) -> None:
    (tmp_path / "a.jsonl").write_text('{"wav": "a.wav", "emo": "sad"}\n' + line + "\n")
    with pytest.raises(CorpusError, match=said.replace("[", r"\[")):
        read_corpus("own", tmp_path / "a.jsonl")
    (tmp_path / "a.jsonl").write_text("\n")
    with pytest.raises(CorpusError, match="empty, expected a JSON object on each line"):
        read_corpus("own", tmp_path / "a.jsonl")


# Kaldi


def _kaldi(root: Path) -> Path:
    tiny.tree(root, "wav/a.wav", "wav/b c.wav")
    for name, lines in {
        "wav.scp": f"a wav/a.wav\nlong {root}/wav/b c.wav\n",
        "utt2spk": "a kim\nlong-1 lee\nlong-2 lee\n",
        "utt2emo": "a hap\nlong-1 ang\nlong-2 neu\n",
        "spk2gender": "kim f\nlee m\n",
        "segments": "long-1 long 0.0 0.05\nlong-2 long 0.05 0.1\n",
        "text": "a 안녕 하세요\nlong-1 no\u2028way\n",
    }.items():
        (root / name).write_text(lines, encoding="utf-8")
    return root


def test_kaldi_data_folder(tmp_path: Path) -> None:
    rows = read_corpus("own", _kaldi(tmp_path)).utterances
    assert [_row(row) for row in rows] == [
        ("wav/a.wav", "happiness", "kim", "female", None, None),
        (f"{tmp_path}/wav/b c.wav", "anger", "lee", "male", 0.0, 0.05),
        (f"{tmp_path}/wav/b c.wav", "neutral", "lee", "male", 0.05, 0.1),
    ]
    assert [row.text for row in rows] == ["안녕 하세요", "no\u2028way", ""]
    assert check("own", tmp_path).ok


@pytest.mark.parametrize(
    ("table", "content", "said"),
    [
        ("wav.scp", "a sox x.mp3 -t wav - |\n", "wav.scp: a is a command; write its sound to a file"),
        ("wav.scp", "b wav/a.wav\n", r"utt2emo:1: wav.scp has no recording a"),
        ("utt2emo", "a grumpyish\n", "utt2emo:1: unknown emotion label 'grumpyish'"),
        ("utt2emo", "", "utt2emo: empty"),
        ("segments", "a long 0.0\n", "segments: 'long 0.0', expected a recording and its start and end"),
    ],
)
def test_a_kaldi_folder_that_does_not_fit_is_said(tmp_path: Path, table: str, content: str, said: str) -> None:
    _kaldi(tmp_path)
    (tmp_path / table).write_text(content)
    with pytest.raises(CorpusError, match=said):
        read_corpus("own", tmp_path)
    (tmp_path / "utt2emo").unlink()
    with pytest.raises(CorpusError, match="can't read .*utt2emo"):
        read_corpus("own", tmp_path)


# audformat


def _database(root: Path, storage: str) -> Path:
    """A database that audformat itself writes: emotions of files, speakers in a table of their own, sexes in a third."""
    tiny.tree(root, "wav/a.wav", "wav/b.wav")
    db = audformat.Database("mine")
    db.schemes["emotion"] = audformat.Scheme(labels=["anger", "happiness"])
    db.schemes["speaker"] = audformat.Scheme("int")
    db.schemes["gender"] = audformat.Scheme(labels=["female", "male"])
    files = audformat.filewise_index(["wav/a.wav", "wav/b.wav"])
    db["emotion"] = audformat.Table(files)
    db["emotion"]["emotion"] = audformat.Column(scheme_id="emotion")
    db["emotion"]["emotion"].set(["anger", "happiness"])
    db["files"] = audformat.Table(files)
    db["files"]["speaker"] = audformat.Column(scheme_id="speaker")
    db["files"]["speaker"].set([3, 8])
    db["speaker"] = audformat.MiscTable(pd.Index([3, 8], name="speaker", dtype="Int64"))
    db["speaker"]["gender"] = audformat.Column(scheme_id="gender")
    db["speaker"]["gender"].set(["male", "female"])
    db.save(str(root), storage_format=storage)
    return root


@pytest.mark.parametrize("storage", ["csv", "parquet"])
def test_an_audformat_database(tmp_path: Path, storage: str) -> None:
    rows = read_corpus("own", _database(tmp_path, storage)).utterances
    assert [_row(row) for row in rows] == [
        ("wav/a.wav", "anger", "3", "male", None, None), ("wav/b.wav", "happiness", "8", "female", None, None),
    ]  # fmt: skip
    assert check("own", tmp_path).ok


@pytest.mark.parametrize("storage", ["csv", "parquet"])
def test_audformat_segments(tmp_path: Path, storage: str) -> None:
    tiny.tree(tmp_path, "a.wav")
    db = audformat.Database("mine")
    db.schemes["emotion"] = audformat.Scheme(labels=["anger", "sadness"])
    index = audformat.segmented_index(["a.wav", "a.wav"], ["0s", "0.0525s"], ["0.05s", pd.NaT])
    db["segments"] = audformat.Table(index)
    db["segments"]["emotion"] = audformat.Column(scheme_id="emotion")
    db["segments"]["emotion"].set(["anger", "sadness"])
    db.save(str(tmp_path), storage_format=storage)
    rows = read_corpus("own", tmp_path).utterances
    assert [(row.emotion, row.start_s, row.end_s) for row in rows] == [("anger", 0.0, 0.05), ("sadness", 0.0525, None)]
    if storage == "csv":
        assert read_corpus("own", tmp_path / "db.segments.csv").utterances[1].start_s == 0.0525


def test_a_database_without_emotions_says_what_it_has(tmp_path: Path) -> None:
    (tmp_path / "db.yaml").write_text("name: mine\n")
    with pytest.raises(CorpusError, match="no table with the columns file and emotion .* found no table"):
        read_corpus("own", tmp_path)
    (tmp_path / "db.files.csv").write_text("file,duration\na.wav,0 days 00:00:01\n")
    with pytest.raises(CorpusError, match=r"found db.files.csv: file, duration"):
        read_corpus("own", tmp_path)


# any table


_CELL = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@given(
    st.lists(st.lists(_CELL, max_size=5), max_size=5),
    st.sampled_from([",", "\t", ";", "|"]),
    st.sampled_from(["csv", "jsonl"]),
)
def test_a_hostile_table_is_read_or_refused_in_a_line(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]], delimiter: str, kind: str
) -> None:
    path = tmp_path_factory.mktemp("t") / f"t.{kind}"
    lines = [delimiter.join(["file", "emotion", "start"]), *(delimiter.join(row) for row in rows)]
    path.write_text("\n".join(lines), encoding="utf-8", newline="")
    try:
        found = read_corpus("own", path).utterances
    except CorpusError as error:
        assert str(path) in str(error) and len(str(error).split("\n")) == 1
    else:
        assert all(row.file and row.emotion for row in found)


def test_rows_of_other_lengths_than_the_header(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("file,emotion,speaker,text\na.wav,sad\n\nb.wav,joy,s2,hello,and more\n")
    rows = read_corpus("own", tmp_path / "t.csv").utterances
    assert [(row.file, row.speaker, row.text) for row in rows] == [("a.wav", "", ""), ("b.wav", "s2", "hello")]


def test_a_large_manifest_loads_fast_and_small(tmp_path: Path) -> None:
    """A million rows: under 3 s and 1 GB. A fifth of them here, with room for a busy machine."""
    rows = [
        Utterance("c", f"wav/f{n % 100:02d}/{n}.wav", "anger", "ang", f"f{n % 100}", "female", "ja", f"text {n % 50}")
        for n in range(200_000)
    ]
    (tmp_path / "m.csv").write_text(manifest_text(rows), encoding="utf-8")
    code = (
        "import resource, sys, time; from pathlib import Path; from kanjo.corpora import read_manifest;"
        "base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; started = time.process_time();"
        "found = read_manifest(Path(sys.argv[1])); took = time.process_time() - started;"
        "print(len(found.utterances), took, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base)"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "m.csv"], capture_output=True, text=True, check=True)
    n, took, grown = done.stdout.split()
    assert int(n) == 200_000
    assert float(took) < 1.5  # 0.5 s measured
    assert int(grown) / 1024 < 200  # MB; 53 measured


def test_reading_leaves_the_garbage_collector_as_it_was(tmp_path: Path) -> None:
    import gc

    (tmp_path / "m.csv").write_text("file,emotion\na.wav,odd?\n")
    with pytest.raises(CorpusError):
        read_manifest(tmp_path / "m.csv")
    assert gc.isenabled()
