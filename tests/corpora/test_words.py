from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kanjo.corpora.words import SPLIT_WORDS, is_missing, parse_sex, parse_speaker, parse_split, parse_text, parse_word
from kanjo.errors import CorpusError


@pytest.mark.parametrize(
    "word", ["f", "F", "female", " Female ", "FEMALE", "Frau", "weiblich", "w", "여", "여자", "女"]
)
def test_parse_sex_female_words(word: str) -> None:
    assert parse_sex(word) == "female"


@pytest.mark.parametrize("word", ["m", "M", "male", "Mann", "männlich", unicodedata.normalize("NFD", "남"), "男性"])
def test_parse_sex_male_words(word: str) -> None:
    assert parse_sex(word) == "male"


@pytest.mark.parametrize("word", ["", "nan", "NA", "unknown", "None"])
def test_parse_sex_missing_value_is_empty(word: str) -> None:
    assert parse_sex(word) == ""


@pytest.mark.parametrize("word", ["0", "1", "h", "x", "other", "fm"])
def test_parse_sex_unknown_word_is_refused(word: str) -> None:
    with pytest.raises(CorpusError, match=f"sex is '{word}'; expected female or male"):
        parse_sex(word)


def test_parse_split_words_of_each_part() -> None:
    assert {part: {parse_split(word.upper()) for word in words} for part, words in SPLIT_WORDS.items()} == {
        "train": {"train"},
        "validation": {"validation"},
        "test": {"test"},
    }


@pytest.mark.parametrize("word", ["exclude", "Test1", "train2", "none!"])
def test_parse_split_unknown_word_is_refused(word: str) -> None:
    with pytest.raises(CorpusError, match=f"split is '{word}'; expected train, validation"):
        parse_split(word)


@given(st.text(max_size=12))
def test_parse_words_of_any_cell_are_normalized_or_refused_in_one_line(cell: str) -> None:
    for parse in (parse_word, parse_text, parse_speaker, parse_sex, parse_split):
        try:
            word = parse(cell)
        except CorpusError as error:
            assert len(str(error).splitlines()) == 1
        else:
            assert word == unicodedata.normalize("NFC", word).strip()
            assert not is_missing(word) or word == "" or parse is parse_text


def test_parse_text_keeps_spoken_words() -> None:
    assert [parse_text(text) for text in ("None", "null", "nan", "")] == ["None", "null", "", ""]
