"""The emotion vocabulary, and the words for it in the corpora's languages.

A corpus keeps its own word (``labels_raw``) and gets one of ours (``emotion``), so that corpora can be joined and
compared. The basic six follow Ekman (1992); ``calm`` is RAVDESS's, ``boredom`` EmoDB's.
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
    "subdued",  # BAVED's levels; at the end, so that filelists' numbers stay
    "intense",
)

#: What an answer says when there is nothing to go by; never a training label.
UNSURE = "unsure"
#: What a timeline says where nobody speaks; never a training label.
SILENCE = "silence"

_WORDS: dict[str, str] = {
    # emotion: words for it, in English, German, Polish, Korean, Japanese, Chinese and the corpora's short forms
    "anger": "angry ang anger wut ärger zorn złość gniew 화남 분노 화 怒り 怒 生气 愤怒 rabbia collera wütend hot_anger",
    "anxiety": "anxious anxiety angst 불안",
    "boredom": "bored boredom langeweile 지루함 退屈",
    "calm": "calm ruhe 평온 落ち着き 平静",
    "contempt": "contempt contemptuous verachtung 경멸",
    "disgust": "disgusted disgust dis ekel wstręt 혐오 嫌悪 厌恶 disgusto",
    "excitement": "excited excitement exc 흥분",
    "fear": "fearful fear fea scared afraid furcht strach 두려움 공포 恐怖 恐れ 恐惧 paura",
    "frustration": "frustrated frustration fru 좌절",
    "happiness": (
        "happy hap happiness joy joyful joyous freude glück radość 기쁨 행복 喜び 喜 楽しい 开心 高兴 gioia amused amusement"
    ),
    "neutral": "neutral neu normal plain neutralny neutralność 일반 중립 무감정 中立 中性 neutrale neutralität",
    "other": "other oth xxx others 기타 その他",
    "sadness": "sad sadness sorrow trauer traurig smutek 슬픔 悲しみ 悲 伤心 悲伤 tristezza",
    "sarcasm": "sarcastic sarcasm",
    "subdued": "subdued",
    "intense": "intense",
    "surprise": "surprised surprise sur surp überraschung zaskoczenie 놀람 당황 驚き 惊讶 sorpresa",
}


def _fold(word: str) -> str:
    return unicodedata.normalize("NFKC", word).strip().casefold()


ALIASES: dict[str, str] = {_fold(word): emotion for emotion, words in _WORDS.items() for word in words.split()} | {
    emotion: emotion for emotion in EMOTIONS
}


def canonical(word: str) -> str:
    """The vocabulary's name for a corpus's word: ``canonical("화남") == "anger"``.

    Raises CorpusError for a word that is not in the vocabulary, naming the nearest that is.
    """
    folded = _fold(word)
    if folded in ALIASES:
        return ALIASES[folded]
    near = difflib.get_close_matches(folded, ALIASES, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    raise CorpusError(
        f"unknown emotion label {word!r}{hint} Expected one of: {', '.join(EMOTIONS)} (or a known word for one of them); "
        "map your own words with --label-map WORD=EMOTION or labels.map in the recipe"
    )


def parse_label_map(pairs: Iterable[str]) -> dict[str, str]:
    """``["calm=neutral", "Wut=anger"]`` as a dictionary; the words on the left are the corpus's own.

    Raises CorpusError for a pair without ``=`` or an emotion that is not in the vocabulary.
    """
    mapping: dict[str, str] = {}
    for pair in pairs:
        word, equals, emotion = pair.partition("=")
        if not equals or not word.strip():
            raise CorpusError(f"label map {pair!r}: expected WORD=EMOTION, such as calm=neutral")
        mapping[_fold(word)] = canonical(emotion)
    return mapping


def mapped(word: str, mapping: Mapping[str, str]) -> str:
    """``canonical(word)`` after the user's own map has had its say."""
    folded = _fold(word)
    return mapping[folded] if folded in mapping else canonical(word)
