from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kanjo.corpora import read_corpus
from kanjo.corpora.check import check_corpus
from kanjo.errors import CorpusError
from tests import corpora_fixtures


def _write_emobox_table(root: Path) -> Path:
    rows = [
        {
            "key": "emodb-14b10Tc",
            "dataset": "emodb",
            "wav": "downloads/emodb/wav/14b10Tc.wav",
            "type": "raw",
            "sample_rate": 16000,
            "num_frame": 54583.0,
            "task": "category",
            "length": 3.41,
            "emo": "sad",
            "channel": 1,
        },
        {"key": "emodb-03a01Wa", "dataset": "emodb", "wav": "downloads/emodb/wav/03a01Wa.wav", "emo": "angry"},
    ]
    table = root / "data" / "emodb" / "fold_1" / "emodb_test_fold_1.jsonl"
    table.parent.mkdir(parents=True)
    table.write_text("".join(json.dumps(row) + "\n" for row in rows) + "\n")
    corpora_fixtures.write_clips(root, *(str(row["wav"]) for row in rows))
    return table


def test_read_json_lines_emobox_paths_start_in_a_parent_folder(tmp_path: Path) -> None:
    table = _write_emobox_table(tmp_path)
    manifest = read_corpus("own", table)
    assert [(row.corpus, row.emotion, row.labels_raw) for row in manifest.utterances] == [
        ("emodb", "sadness", "sad"),
        ("emodb", "anger", "angry"),
    ]
    assert all(manifest.audio_path(row).is_file() for row in manifest.utterances)
    assert check_corpus("own", table).ok


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "a.jsonl:2: not JSON"),
        ("[1]", "a.jsonl:2: a JSON list; expected a JSON object"),
        ('{"wav": "b.wav", "emo": "grumpyish"}', "a.jsonl:2: unknown emotion label 'grumpyish'"),
        ('{"emo": "sad"}', "a.jsonl:2: no file"),
    ],
)
def test_read_json_lines_invalid_line_is_refused_with_its_number(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "a.jsonl").write_text('{"wav": "a.wav", "emo": "sad"}\n' + line + "\n")
    with pytest.raises(CorpusError, match=re.escape(message)):
        read_corpus("own", tmp_path / "a.jsonl")


def test_read_json_lines_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("\n")
    with pytest.raises(CorpusError, match="empty; expected a JSON object on each line"):
        read_corpus("own", tmp_path / "a.jsonl")


def _write_lines(path: Path, *records: dict[str, object]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def test_read_json_lines_keys_of_later_objects_are_read(tmp_path: Path) -> None:
    path = _write_lines(
        tmp_path / "a.jsonl",
        {"wav": "a.wav", "emo": "sad"},
        {"Speaker": 3, "wav": "b.wav", "emo": "sad", "gender": "F", "start": 0.5},
        {"file": "c.wav", "emo": "sad", "speaker": 3.0, "text": None},
        {"file": "d.wav", "emo": "sad", "speaker": float("nan"), "start": float("nan"), "end": "1,5"},
    )
    rows = read_corpus("own", path).utterances
    assert [(row.file, row.speaker, row.sex, row.start_s, row.end_s) for row in rows] == [
        ("a.wav", "", "", None, None),
        ("b.wav", "3", "female", 0.5, None),
        ("c.wav", "3", "", None, None),
        ("d.wav", "", "", None, 1.5),
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"wav": "b.wav", "emo": ["sad", "joy"]}', "a.jsonl:2: emo is a list; expected a text or a number"),
        ('{"wav": "b.wav", "emo": "sad", "speaker": {"id": 1}}', "a.jsonl:2: speaker is an object"),
        ('{"wav": "b.wav", "emo": "sad", "emo": "joy"}', "a.jsonl:2: a key is in the object twice"),
        ('{"wav": "b.wav", "emo": "sad", "end": Infinity}', "a.jsonl:2: end_s is inf"),
        ('{"wav": "b.wav", "emo": "sad", "speaker": "\\ud800"}', "a.jsonl:2: speaker is"),
        ('{"wav": "b.wav"}', "a.jsonl:2: no emotion"),
        ('{"wav": "b.wav", "emo": "sad", "split": "test"}', "a.jsonl:1: split is empty, but line 2 has 'test'"),
        ("[" * 100_000, "a.jsonl:2: not JSON"),
    ],
)
def test_read_json_lines_unclear_value_is_refused_with_its_line(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "a.jsonl").write_text('{"wav": "a.wav", "emo": "sad"}\n' + line + "\n")
    with pytest.raises(CorpusError, match=re.escape(message)):
        read_corpus("own", tmp_path / "a.jsonl")


_VALUES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.lists(st.none(), max_size=1)
)
_KEYS = st.sampled_from(["file", "emotion", "speaker", "sex", "start", "end", "split", "text", "other", "File"])


@given(st.lists(st.dictionaries(_KEYS, _VALUES, max_size=5), max_size=3))
def test_read_json_lines_any_objects_are_read_or_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, records: list[dict[str, object]]
) -> None:
    path = _write_lines(tmp_path_factory.mktemp("j") / "a.jsonl", {"file": "a.wav", "emotion": "sad"}, *records)
    try:
        rows = read_corpus("own", path).utterances
    except CorpusError as error:
        assert str(path) in str(error) and len(str(error).splitlines()) == 1
    else:
        assert len(rows) <= len(records) + 1 and all(row.speaker.casefold() != "nan" for row in rows)
