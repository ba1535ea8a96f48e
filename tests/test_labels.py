from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kanjo import labels
from kanjo.errors import CorpusError


@pytest.mark.parametrize(
    ("word", "emotion"),
    [("angry", "anger"), (" Anger ", "anger"), ("화남", "anger"), ("슬픔", "sadness"), ("怒り", "anger"), ("surprised", "surprise"),
     ("Wut", "anger"), ("radość", "happiness"), ("NEUTRAL", "neutral"), ("일반", "neutral"), ("calm", "calm")],
)  # fmt: skip
def test_corpus_words_reach_the_vocabulary(word: str, emotion: str) -> None:
    assert labels.canonical(word) == emotion


def test_every_alias_leads_into_the_vocabulary() -> None:
    assert set(labels.ALIASES.values()) == set(labels.EMOTIONS)


def test_unknown_word_names_the_nearest() -> None:
    with pytest.raises(CorpusError, match=r"unknown emotion label 'hapy'; did you mean 'happy'"):
        labels.canonical("hapy")


def test_label_map_goes_first() -> None:
    mapping = labels.parse_label_map(["Calm=neutral", "Q7=anger"])
    assert labels.mapped("calm", mapping) == "neutral"
    assert labels.mapped("q7", mapping) == "anger"
    assert labels.mapped("sad", mapping) == "sadness"


@pytest.mark.parametrize("pair", ["calm", "=neutral", "calm=nothing-known"])
def test_bad_label_maps_are_refused(pair: str) -> None:
    with pytest.raises(CorpusError):
        labels.parse_label_map([pair])


@given(st.text())
def test_any_word_is_known_or_refused_in_one_line(word: str) -> None:
    try:
        assert labels.canonical(word) in labels.EMOTIONS
    except CorpusError as error:
        assert len(str(error).splitlines()) == 1
