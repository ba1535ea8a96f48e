from __future__ import annotations

import pytest

from kanjo.corpora import CORPORA
from kanjo.errors import KanjoError
from kanjo.languages import language_code


@pytest.mark.parametrize(
    ("word", "code"),
    [
        ("en", "en"),
        ("English", "en"),
        (" ENG ", "en"),
        ("en-US", "en"),
        ("zh_Hant", "zh"),
        ("cmn", "zh"),
        ("ger", "de"),
        ("deu", "de"),
        ("Deutsch", "de"),
        ("한국어", "ko"),
        ("yue", "yue"),
        ("und", ""),
        ("", ""),
    ],
)
def test_language_code_of_codes_and_names(word: str, code: str) -> None:
    assert language_code(word) == code


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("englich", "did you mean en (English)?"),
        ("kr", "did you mean ko (Korean)?"),
        ("xx", "expected an ISO 639-1 code such as ko, or an English name such as Korean"),
        ("x" * 100_000, "'xxx"),
        (7, "language 7: expected"),
    ],
)
def test_language_code_of_unknown_language_names_the_nearest(word: str, message: str) -> None:
    with pytest.raises(KanjoError) as error:
        language_code(word)
    assert message in str(error.value) and len(str(error.value)) < 250


def test_languages_of_all_corpora_are_codes() -> None:
    codes = [code.strip() for corpus in CORPORA.values() for code in corpus.language.split(",")]
    assert [language_code(code) for code in codes] == codes
