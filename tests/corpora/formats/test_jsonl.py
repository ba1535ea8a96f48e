from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

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
