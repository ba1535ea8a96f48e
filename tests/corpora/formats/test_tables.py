from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kanjo.corpora import Utterance, manifest_to_csv, read_corpus, read_manifest
from kanjo.errors import CorpusError


@pytest.mark.parametrize("delimiter", [",", "\t", ";"])
def test_read_table_accepts_other_column_names_and_delimiters(tmp_path: Path, delimiter: str) -> None:
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
    ("text", "message"),
    [
        ("file,mood\na.wav,angry", "mine.csv:1: missing column emotion; the header is file, mood"),
        ("file,emotion\n,angry", "mine.csv:2: no file"),
        ("file,emotion\na.wav,grumpy?", "mine.csv:2: unknown emotion label"),
        ("file,emotion\na.wav,happpy\n", r"mine.csv:2: unknown emotion label 'happpy'; did you mean 'happy'"),
        ("file,emotion,start\na.wav,angry,soon", "mine.csv:2: start_s is 'soon'; expected seconds"),
        ("file,emotion\n", "a header, but no rows"),
        ("", "missing column file and emotion; the header is empty"),
    ],
)
def test_read_table_invalid_table_is_refused_with_the_line(tmp_path: Path, text: str, message: str) -> None:
    table = tmp_path / "mine.csv"
    table.write_text(text)
    with pytest.raises(CorpusError, match=message):
        read_corpus("own", table)


def test_read_table_short_rows_are_padded_and_long_rows_cut(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("file,emotion,speaker,text\na.wav,sad\n\nb.wav,joy,s2,hello,and more\n")
    rows = read_corpus("own", tmp_path / "t.csv").utterances
    assert [(row.file, row.speaker, row.text) for row in rows] == [("a.wav", "", ""), ("b.wav", "s2", "hello")]


_CELL = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@given(
    st.lists(st.lists(_CELL, max_size=5), max_size=5),
    st.sampled_from([",", "\t", ";", "|"]),
    st.sampled_from(["csv", "jsonl"]),
)
def test_read_table_any_content_is_read_or_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]], delimiter: str, suffix: str
) -> None:
    path = tmp_path_factory.mktemp("t") / f"t.{suffix}"
    lines = [delimiter.join(["file", "emotion", "start"]), *(delimiter.join(row) for row in rows)]
    path.write_text("\n".join(lines), encoding="utf-8", newline="")
    try:
        utterances = read_corpus("own", path).utterances
    except CorpusError as error:
        assert str(path) in str(error) and len(str(error).split("\n")) == 1
    else:
        assert all(row.file and row.emotion for row in utterances)


def test_read_manifest_200_000_rows_are_read_fast_and_in_little_memory(tmp_path: Path) -> None:
    """The requirement is 3 s and 1 GB for a million rows; this is a fifth, with a margin for a busy machine."""
    rows = [
        Utterance("c", f"wav/f{n % 100:02d}/{n}.wav", "anger", "ang", f"f{n % 100}", "female", "ja", f"text {n % 50}")
        for n in range(200_000)
    ]
    (tmp_path / "m.csv").write_text(manifest_to_csv(rows), encoding="utf-8")
    code = (
        "import resource, sys, time; from pathlib import Path; from kanjo.corpora import read_manifest;"
        "base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; start = time.process_time();"
        "manifest = read_manifest(Path(sys.argv[1])); duration = time.process_time() - start;"
        "print(len(manifest.utterances), duration, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "m.csv"], capture_output=True, text=True, check=True
    )
    n_rows, duration_s, memory_kb = result.stdout.split()
    assert int(n_rows) == 200_000
    assert float(duration_s) < 1.5  # measured: 0.5 s
    assert int(memory_kb) / 1024 < 200  # measured: 53 MB


def test_read_manifest_enables_the_garbage_collector_again_after_an_error(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("file,emotion\na.wav,unknown?\n")
    with pytest.raises(CorpusError):
        read_manifest(tmp_path / "m.csv")
    assert gc.isenabled()
