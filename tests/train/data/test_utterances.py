"""Utterances of a recipe: labels outside the vocabulary, and corpora of the user."""

from __future__ import annotations

from pathlib import Path

import pytest

from kanjo.errors import CorpusError, RecipeError
from kanjo.train.config.loading import load_recipe
from kanjo.train.data.utterances import read_manifests


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "mine.csv"
    path.write_text("file,emotion\na.wav,grumpy\nb.wav,Grumpy\nc.wav,calm\n", encoding="utf-8")
    for name in ("a.wav", "b.wav", "c.wav"):
        (tmp_path / name).touch()
    return path


def _read(table: Path, *overrides: str) -> list[str]:
    recipe = load_recipe("cnn-lstm-1d", [f"corpora=[{{name: own, path: {table}}}]", "labels.include=null", *overrides])
    (manifest,) = read_manifests(recipe, None)
    return [row.emotion for row in manifest.utterances]


def test_label_map_of_a_recipe_gives_unknown_words_an_emotion(table: Path) -> None:
    assert _read(table, "labels.map={GRUMPY: anger}") == ["anger", "anger", "calm"]


def test_label_map_of_a_recipe_renames_emotions_once(table: Path) -> None:
    emotions = _read(table, "labels.map={grumpy: anger, calm: neutral, neutral: boredom}")
    assert emotions == ["anger", "anger", "neutral"]


def test_unknown_word_says_how_to_give_it_an_emotion(table: Path) -> None:
    with pytest.raises(CorpusError, match=r"mine.csv:2: unknown emotion label 'grumpy'.*--set labels.map.WORD=EMOTION"):
        _read(table)


@pytest.mark.parametrize("name", ["own", "manifest"])
def test_own_corpus_without_path_says_how_to_give_it(name: str) -> None:
    with pytest.raises(RecipeError, match=rf"corpus '{name}' needs a path: --set 'corpora=\[\{{name: {name}, path"):
        read_manifests(load_recipe("cnn-lstm-1d", [f"corpora=[{{name: {name}}}]"]), "/nowhere")


def _read_limited(folder: Path, rows: list[str], limit: int, seed: int = 0) -> list[str]:
    path = folder / "limited.csv"
    path.write_text("\n".join(["file,emotion", *rows]) + "\n", encoding="utf-8")
    for row in rows:
        (folder / row.split(",")[0]).touch()
    corpora = f"corpora=[{{name: own, path: {path}, limit_per_emotion: {limit}}}]"
    (manifest,) = read_manifests(load_recipe("cnn-lstm-1d", [corpora, f"split.seed={seed}"]), None)
    return [row.file for row in manifest.utterances]


def test_limit_per_emotion_draws_the_same_utterances_from_any_order(tmp_path: Path) -> None:
    rows = [f"{n:02d}.wav,{'anger' if n % 3 else 'fear'}" for n in range(30)]
    drawn = _read_limited(tmp_path, rows, 5)
    assert drawn == sorted(drawn)  # in the order of the table
    assert sum(int(name[:2]) % 3 == 0 for name in drawn) == 5 and len(drawn) == 10
    assert set(_read_limited(tmp_path, rows[::-1], 5)) == set(drawn)
    assert set(_read_limited(tmp_path, rows, 5, seed=1)) != set(drawn)
    assert set(drawn) < set(_read_limited(tmp_path, rows, 7))  # a larger limit only adds utterances


def test_limit_per_emotion_keeps_emotions_with_fewer_utterances(tmp_path: Path) -> None:
    assert _read_limited(tmp_path, ["a.wav,anger", "b.wav,fear", "c.wav,anger"], 100) == ["a.wav", "b.wav", "c.wav"]
