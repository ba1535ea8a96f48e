from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kanjo.corpora import COLUMNS, Manifest, Utterance, manifest_to_csv, read_manifest, write_manifest
from kanjo.corpora.formats.filelist import write_filelist
from kanjo.corpora.words import is_missing
from kanjo.errors import CorpusError

_TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20).map(str.strip)
_TEXT = _TEXT.map(lambda text: unicodedata.normalize("NFC", text)).map(str.strip)
_WORD = _TEXT.filter(lambda word: not is_missing(word) and word != "NA")
_PATH = _WORD.filter(lambda path: not {"\\", "/", ".", "%"} & set(path)).map(lambda name: f"wav/{name}.wav")
_SPLIT = st.sampled_from(["train", "validation", "test"])


def _utterances(split: st.SearchStrategy[str]) -> st.SearchStrategy[Utterance]:
    return st.builds(
        Utterance,
        corpus=_WORD,
        file=_PATH,
        emotion=st.sampled_from(["anger", "neutral"]),
        labels_raw=_WORD,
        speaker=st.just("") | _WORD,
        sex=st.sampled_from(["", "female", "male"]),
        language=st.sampled_from(["", "en", "yue"]),
        text=st.just("") | _WORD | st.just('Nein!\nDoch, "ja".'),
        start_s=st.none() | st.floats(0, 1e4),
        end_s=st.none() | st.floats(1.1e4, 2e4),
        split=split,
    )


def test_columns_are_the_fields_of_an_utterance() -> None:
    assert set(COLUMNS) == set(Utterance._fields)


def _part_of_recording(row: Utterance) -> tuple[str, float | None, float | None]:
    """Rows of the same part with different emotions are refused."""
    return row.file, row.start_s, row.end_s


@given(
    st.sampled_from([st.just(""), _SPLIT]).flatmap(
        lambda split: st.lists(_utterances(split), min_size=1, max_size=5, unique_by=_part_of_recording)
    )
)
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
        Utterance("c", "c.wav", "neutral", "N", split="test"),
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


@pytest.mark.parametrize("suffix", ["csv", "parquet", "txt"])
def test_written_name_that_is_not_utf8_is_found_again(tmp_path: Path, suffix: str) -> None:
    names = [os.fsdecode(b"sad/caf\xe9\n.wav"), "sad/100%.wav", "sad/%E9.wav"]
    (tmp_path / "sad").mkdir()
    for name in names:
        (tmp_path / name).touch()
    rows = [Utterance("c", name, "sadness", language="en") for name in names]
    table = tmp_path / f"m.{suffix}"
    if suffix == "txt":
        write_filelist(table, rows, tmp_path)
    else:
        write_manifest(table, rows)
    manifest = read_manifest(table)
    assert [manifest.audio_path(row) for row in manifest.utterances] == [tmp_path / name for name in names]


def test_read_manifest_language_is_a_code_or_an_error_that_names_the_row(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("file,emotion,language\na.wav,sad,English\nb.wav,sad,deu\nc.wav,sad,unknown\n")
    assert [row.language for row in read_manifest(table).utterances] == ["en", "de", ""]
    table.write_text("file,emotion,language\na.wav,sad,englich\n")
    with pytest.raises(CorpusError, match=r"t\.csv:2: language 'englich': .* did you mean en \(English\)"):
        read_manifest(table)
