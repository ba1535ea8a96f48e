"""The emotion vocabulary."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kanjo import labels
from kanjo.errors import CorpusError


@pytest.mark.parametrize(
    ("word", "emotion"),
    [
        ("angry", "anger"),
        (" Anger ", "anger"),
        ("화남", "anger"),
        ("슬픔", "sadness"),
        ("怒り", "anger"),
        ("surprised", "surprise"),
        ("Wut", "anger"),
        ("radość", "happiness"),
        ("NEUTRAL", "neutral"),
        ("일반", "neutral"),
        ("calm", "calm"),
    ],
)
def test_canonical_emotion_accepts_words_of_the_corpora(word: str, emotion: str) -> None:
    assert labels.canonical_emotion(word) == emotion


def test_aliases_contain_every_emotion_and_no_other() -> None:
    assert set(labels.ALIASES.values()) == set(labels.EMOTIONS)


def test_canonical_emotion_unknown_word_names_the_most_similar() -> None:
    with pytest.raises(CorpusError, match=r"unknown emotion label 'hapy'; did you mean 'happy'"):
        labels.canonical_emotion("hapy")


def test_map_emotion_uses_the_label_map_first() -> None:
    mapping = labels.parse_label_map(["Calm=neutral", "Q7=anger"])
    assert labels.map_emotion("calm", mapping) == "neutral"
    assert labels.map_emotion("q7", mapping) == "anger"
    assert labels.map_emotion("sad", mapping) == "sadness"


@pytest.mark.parametrize("pair", ["calm", "=neutral", "calm=no-emotion"])
def test_parse_label_map_invalid_pair_raises(pair: str) -> None:
    with pytest.raises(CorpusError, match="expected WORD=EMOTION|unknown emotion label"):
        labels.parse_label_map([pair])


@given(st.text())
def test_canonical_emotion_any_word_is_accepted_or_refused_in_one_line(word: str) -> None:
    try:
        assert labels.canonical_emotion(word) in labels.EMOTIONS
    except CorpusError as error:
        assert len(str(error).splitlines()) == 1
