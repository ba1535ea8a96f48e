from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from kanjo.bundle import BundleMetadata, read_bundle
from kanjo.corpora import Manifest, Utterance
from kanjo.experiments.held_out import describe_none_held_out, find_held_out


def _metadata(train_speakers: Sequence[str]) -> BundleMetadata:
    corpora = tuple({"name": name} for name in sorted({key.split("/")[0] for key in train_speakers}))
    return replace(read_bundle("default").metadata, split={"train_speakers": list(train_speakers)}, corpora=corpora)


def _manifest(*speakers: tuple[str, str], assumed: str = "") -> Manifest:
    rows = [Utterance(corpus, str(n), "anger", speaker=speaker) for n, (corpus, speaker) in enumerate(speakers)]
    return Manifest(Path(), tuple(rows), assumed)


def test_find_held_out_compares_corpus_and_name() -> None:
    manifest = _manifest(("a", "1"), ("a", "2"), ("b", "1"), ("a", ""), ("b", ""))
    held_out = find_held_out(_metadata(["a/1", "ravdess/9"]), manifest)
    assert [row.file for row in held_out.rows] == ["1", "2", "4"]
    assert (held_out.n_training, held_out.n_unclear, held_out.notes) == (2, 0, ())


def test_find_held_out_knows_that_the_singers_of_ravdess_are_its_speakers() -> None:
    manifest = _manifest(("ravdess-song", "01"), ("ravdess-song", "02"))
    assert [row.speaker for row in find_held_out(_metadata(["ravdess/01"]), manifest).rows] == ["02"]


@pytest.mark.parametrize("name", ["01", "1", "0001"])
def test_find_held_out_unknown_corpus_leaves_out_speakers_with_the_name_of_a_training_speaker(name: str) -> None:
    manifest = _manifest(("list", name), ("list", "2"), ("list", ""), assumed="list")
    held_out = find_held_out(_metadata(["ravdess/01", "nemo/01"]), manifest)
    assert [row.speaker for row in held_out.rows] == ["2", ""]
    assert (held_out.n_training, held_out.n_unclear) == (0, 1)
    omitted, unknown = held_out.notes
    assert (
        f"1 utterances of speakers ({name})" in omitted and "of nemo and ravdess" in omitted and "--corpus" in omitted
    )
    assert "the corpus of list is unknown" in unknown and "1 scored utterances have no speaker" in unknown


def test_find_held_out_corpus_of_the_training_is_known() -> None:
    held_out = find_held_out(
        _metadata(["mine/anna", "ravdess/01"]), _manifest(("mine", "anna"), ("mine", "01"), assumed="mine")
    )
    assert [row.speaker for row in held_out.rows] == ["01"] and held_out.notes == ()


def test_describe_none_held_out_says_why() -> None:
    metadata = _metadata(["ravdess/01"])
    trained = find_held_out(metadata, _manifest(("ravdess", "01")))
    assert describe_none_held_out(trained).startswith("the bundle was trained on all 1 utterances of this corpus, or")
    unclear = find_held_out(metadata, _manifest(("list", "01"), assumed="list"))
    assert "--corpus NAME" in describe_none_held_out(unclear)
