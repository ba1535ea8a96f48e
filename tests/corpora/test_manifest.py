from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kanjo.corpora import COLUMNS, Manifest, Utterance, manifest_to_csv, read_manifest, write_manifest

_TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20).map(str.strip)
_UTTERANCE = st.builds(
    Utterance,
    corpus=_TEXT.filter(bool),
    file=_TEXT.filter(bool),
    emotion=st.sampled_from(["anger", "neutral"]),
    labels_raw=_TEXT.filter(bool),
    speaker=_TEXT,
    sex=_TEXT,
    language=_TEXT,
    text=_TEXT,
    start_s=st.none() | st.floats(0, 1e4),
    end_s=st.none() | st.floats(0, 1e4),
    split=_TEXT,
)


def test_columns_are_the_fields_of_an_utterance() -> None:
    assert set(COLUMNS) == set(Utterance._fields)


@given(st.lists(_UTTERANCE, min_size=1, max_size=5))
def test_read_manifest_of_a_written_csv_returns_the_same_utterances(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Utterance]
) -> None:
    path = tmp_path_factory.mktemp("manifest") / "m.csv"
    write_manifest(path, rows)
    assert list(read_manifest(path).utterances) == rows
    assert path.read_text(encoding="utf-8") == manifest_to_csv(rows)


def test_read_manifest_of_a_written_parquet_returns_the_same_utterances(tmp_path: Path) -> None:
    rows = [
        Utterance("c", "ü b.wav", "anger", "Wut", "s1", "male", "de", "Nein!\nDoch.", 0.5, 1.25, "train"),
        Utterance("c", "c.wav", "neutral", "N"),
    ]
    write_manifest(tmp_path / "m.parquet", rows)
    assert list(read_manifest(tmp_path / "m.parquet").utterances) == rows


def test_relabel_maps_emotions_before_it_selects_them() -> None:
    rows = tuple(Utterance("c", f"{emotion}.wav", emotion) for emotion in ("anger", "calm", "neutral"))
    manifest = Manifest(Path("root"), rows)
    assert [row.emotion for row in manifest.relabel({"calm": "neutral"}, None).utterances] == [
        "anger",
        "neutral",
        "neutral",
    ]
    selected = manifest.relabel({"calm": "neutral"}, ["neutral"])
    assert [row.file for row in selected.utterances] == ["calm.wav", "neutral.wav"]
    assert selected.audio_path(rows[1]) == Path("root/calm.wav")
