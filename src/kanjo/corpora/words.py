"""Words of the closed columns of a table (sex, split), and of cells without a value."""

from __future__ import annotations

import unicodedata

from kanjo.errors import CorpusError, KanjoError
from kanjo.languages import language_code

#: How programs write a cell without a value: an empty cell, and the words of pandas, SQL, JSON and Excel.
_MISSING = frozenset(["", "nan", "nat", "<na>", "none", "null", "n/a", "#n/a"])
#: "None" and "null" may be spoken, so they are missing values in other columns only.
_MISSING_TEXTS = frozenset(["", "nan", "<na>"])

#: Words for each sex in the languages of the corpora.
_SEX_WORDS = {
    "female": (
        "female f woman girl weiblich frau w k kobieta żeńska femme féminin femmina femminile donna mujer femenino "
        "kvinde kvinna kadın kız женский женщина ж 여 여자 여성 女 女性 女子 女の人 أنثى امرأة زن ሴት عورت"
    ),
    "male": (
        "male m man boy männlich mann mężczyzna męska homme masculin maschio maschile uomo hombre masculino "
        "mand erkek мужской мужчина м 남 남자 남성 男 男性 男子 男の人 ذكر رجل مرد ወንድ"
    ),
}
_NO_SEX = frozenset(["unknown", "na"])
_NO_LANGUAGE = frozenset(["unknown"])

#: Words for each part of a published split.
SPLIT_WORDS = {
    "train": frozenset(["train", "training"]),
    "validation": frozenset(["validation", "valid", "val", "dev", "devel", "development"]),
    "test": frozenset(["test", "eval", "evaluation"]),
}


def normalize(word: str) -> str:
    """Return a word without surrounding spaces, in Unicode form NFC: equal words become equal strings."""
    word = word.strip()
    return word if word.isascii() else unicodedata.normalize("NFC", word)


def is_missing(cell: str) -> bool:
    """Return whether a cell has no value: it is empty or contains "nan", "None", "null", "N/A" or the like."""
    return cell.strip().casefold() in _MISSING


def parse_word(cell: str) -> str:
    """Return the normalized word of a cell; "" for a missing value."""
    return "" if is_missing(cell) else normalize(cell)


def parse_text(cell: str) -> str:
    """Return the normalized spoken text of a cell; "" for a missing value."""
    text = normalize(cell)
    return "" if text.casefold() in _MISSING_TEXTS else text


def parse_speaker(cell: str) -> str:
    """Return the name of a speaker; "" for a missing value.

    Raises:
        CorpusError: The cell is "NA", which may be a missing value (R writes it) or a name.
    """
    if cell.strip() == "NA":
        raise CorpusError(
            "speaker is 'NA', which is a missing value or a name; leave the cell empty, or change the name"
        )
    return parse_word(cell)


def _fold(word: str) -> str:
    return unicodedata.normalize("NFKC", word).strip().casefold()


_SEXES = {_fold(word): sex for sex, words in _SEX_WORDS.items() for word in words.split()}
_SPLITS = {word: split for split, words in SPLIT_WORDS.items() for word in words}


def parse_sex(cell: str) -> str:
    """Return "female" or "male" for a word such as "F", "Mann" or "여"; "" for a missing value.

    Raises:
        CorpusError: The word is unknown.
    """
    word = _fold(cell)
    if word in _MISSING or word in _NO_SEX:
        return ""
    if word not in _SEXES:
        raise CorpusError(
            f"sex is {cell.strip()!r}; expected female or male, a short form such as f or m, or an empty cell"
        )
    return _SEXES[word]


def parse_language(cell: str) -> str:
    """Return the code of a language for a code or a name such as "eng" or "English"; "" for a missing value.

    Raises:
        CorpusError: The language is unknown.
    """
    if is_missing(cell) or _fold(cell) in _NO_LANGUAGE:
        return ""
    try:
        return language_code(cell)
    except KanjoError as error:
        raise CorpusError(str(error)) from None


def is_split_word(word: str) -> bool:
    """Return whether a word names a part of a split, such as "train" or "dev"."""
    return _fold(word) in _SPLITS


def parse_split(cell: str) -> str:
    """Return "train", "validation" or "test" for a word such as "dev"; "" for a missing value.

    Raises:
        CorpusError: The word is unknown.
    """
    word = _fold(cell)
    if word in _MISSING or word == "na":
        return ""
    if word not in _SPLITS:
        raise CorpusError(
            f"split is {cell.strip()!r}; expected train, validation (dev, devel, development, val, valid) or test "
            "(eval, evaluation). Change the word, or remove the row"
        )
    return _SPLITS[word]
