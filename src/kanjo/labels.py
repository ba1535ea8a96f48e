"""Emotion vocabulary, and the words for each emotion in the languages of the corpora.

A manifest has the word of the corpus (``labels_raw``) and the emotion of this vocabulary (``emotion``), so that corpora
can be combined and compared. The basic six emotions follow Ekman (1992).
"""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable, Mapping

from kanjo.errors import CorpusError

EMOTIONS: tuple[str, ...] = (
    "anger",
    "anxiety",
    "boredom",
    "calm",
    "contempt",
    "disgust",
    "excitement",
    "fear",
    "frustration",
    "happiness",
    "neutral",
    "other",
    "sadness",
    "sarcasm",
    "surprise",
    # Levels of the corpus BAVED. They are at the end because filelists contain indices into this tuple.
    "subdued",
    "intense",
)

#: Label of a prediction that is not reliable; never a training label.
UNSURE = "unsure"
#: Label of a segment without speech; never a training label.
SILENCE = "silence"

#: Words for each emotion in the languages of the corpora, and the abbreviations that corpora use.
_WORDS: dict[str, str] = {
    "anger": (
        "angry ang anger hot_anger wut ärger zorn wütend złość gniew rabbia collera 화남 분노 화 怒り 怒 生气 愤怒"
    ),
    "anxiety": "anxious anxiety angst 불안",
    "boredom": "bored boredom langeweile 지루함 退屈",
    "calm": "calm ruhe 평온 落ち着き 平静",
    "contempt": "contempt contemptuous verachtung 경멸",
    "disgust": "disgusted disgust dis ekel wstręt 혐오 嫌悪 厌恶 disgusto",
    "excitement": "excited excitement exc 흥분",
    "fear": "fearful fear fea scared afraid furcht strach 두려움 공포 恐怖 恐れ 恐惧 paura",
    "frustration": "frustrated frustration fru 좌절",
    "happiness": (
        "happy hap happiness joy joyful joyous amused amusement freude glück radość gioia 기쁨 행복 "
        "喜び 喜 楽しい 开心 高兴"
    ),
    "neutral": "neutral neu normal plain neutralny neutralność 일반 중립 무감정 中立 中性 neutrale neutralität",
    "other": "other oth xxx others 기타 その他",
    "sadness": "sad sadness sorrow trauer traurig smutek 슬픔 悲しみ 悲 伤心 悲伤 tristezza",
    "sarcasm": "sarcastic sarcasm",
    "subdued": "subdued",
    "intense": "intense",
    "surprise": "surprised surprise sur surp überraschung zaskoczenie 놀람 당황 驚き 惊讶 sorpresa",
}


def fold_word(word: str) -> str:
    """Normalize a word for comparison: Unicode NFKC, no surrounding spaces, no case."""
    return unicodedata.normalize("NFKC", word).strip().casefold()


#: Emotion of each word.
ALIASES: dict[str, str] = {fold_word(word): emotion for emotion, words in _WORDS.items() for word in words.split()} | {
    emotion: emotion for emotion in EMOTIONS
}


def canonical_emotion(word: str) -> str:
    """Return the emotion for a word of a corpus: ``canonical_emotion("화남") == "anger"``.

    Raises:
        CorpusError: The word is unknown; the message names the most similar word.
    """
    folded = fold_word(word)
    if folded in ALIASES:
        return ALIASES[folded]
    similar = difflib.get_close_matches(folded, ALIASES, n=1)
    hint = f"; did you mean {similar[0]!r}?" if similar else "."
    raise CorpusError(
        f"unknown emotion label {word!r}{hint} Expected one of: {', '.join(EMOTIONS)} (or a synonym in another "
        "language). Give other words an emotion: --label-map WORD=EMOTION, or in a recipe --set "
        "labels.map.WORD=EMOTION; 'kanjo finetune' accepts any word"
    )


def parse_label_map(pairs: Iterable[str]) -> dict[str, str]:
    """Parse pairs such as ``["calm=neutral", "Wut=anger"]`` of a word of the corpus and an emotion.

    Raises:
        CorpusError: A pair has no ``=``, or its emotion is unknown.
    """
    mapping: dict[str, str] = {}
    for pair in pairs:
        word, equals, emotion = pair.partition("=")
        if not equals or not word.strip():
            raise CorpusError(f"label map {pair!r}: expected WORD=EMOTION, such as calm=neutral")
        mapping[fold_word(word)] = canonical_emotion(emotion)
    return mapping


def map_emotion(word: str, mapping: Mapping[str, str]) -> str:
    """Return the emotion for a word: that of the user's label map, else that of the vocabulary.

    Args:
        word: The word of the corpus.
        mapping: Result of :func:`parse_label_map`.

    Raises:
        CorpusError: The word is in neither.
    """
    folded = fold_word(word)
    return mapping[folded] if folded in mapping else canonical_emotion(word)


#: How programs write a cell without a value.
_MISSING = frozenset(["", "nan", "nat", "<na>", "na", "none", "null", "n/a", "#n/a"])


class OwnClasses(dict[str, str]):
    """A label map that keeps words outside the vocabulary as classes of their own, such as "stressed".

    Known words get their emotion of the vocabulary. Other words become classes in the form that
    :func:`map_emotion` compares: Unicode NFKC, without surrounding spaces, in lower case.

    Attributes:
        words: The words that were looked up, by class.
    """

    def __init__(self) -> None:
        super().__init__()
        self.words: dict[str, set[str]] = {}

    def __contains__(self, folded: object) -> bool:
        """Every word has a class, except the words for a missing value."""
        return folded not in _MISSING

    def __missing__(self, folded: str) -> str:
        """Return the class of a word, and remember the word.

        Raises:
            CorpusError: The word is a label that kanjo gives to recordings without a prediction.
        """
        if folded in (UNSURE, SILENCE):
            raise CorpusError(
                f"label {folded!r} is reserved for recordings without a prediction; rename or remove this class"
            )
        emotion = ALIASES.get(folded, folded)
        self.words.setdefault(emotion, set()).add(folded)
        return emotion

    def describe_merged(self) -> list[str]:
        """Say which words were merged into one class."""
        return [
            f"{' and '.join(sorted(words))} are one class: {emotion}"
            for emotion, words in sorted(self.words.items())
            if len(words) > 1
        ]


def is_known_word(word: str) -> bool:
    """Whether a word names an emotion of the vocabulary."""
    return fold_word(word) in ALIASES
