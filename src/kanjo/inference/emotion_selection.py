"""Prediction among some of a bundle's emotions: which ones a caller requests, and their renormalized probabilities."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from kanjo.errors import CorpusError, KanjoError
from kanjo.labels import ALIASES, canonical_emotion

#: The word that stands for all emotions of a bundle.
ALL_EMOTIONS = "all"


def select_emotions(requested: Sequence[str] | str | None, labels: Sequence[str]) -> tuple[str, ...]:
    """Find the requested emotions among those of a bundle.

    Args:
        requested: Emotions or words for them ("angry"), as a sequence or as one string with commas. None and "all"
            request all emotions.
        labels: The emotions of the bundle.

    Returns:
        The emotions in the order of ``labels``, each once.

    Raises:
        KanjoError: A word names no emotion of the bundle, or there are fewer than two different emotions.
    """
    if requested is None:
        return tuple(labels)
    words = requested.split(",") if isinstance(requested, str) else list(requested)
    if not all(isinstance(word, str) for word in words):
        raise KanjoError(f"emotions {requested!r}: expected words, such as anger and sadness")
    words = [word.strip() for word in words if word.strip()]
    if [_fold(word) for word in words] == [ALL_EMOTIONS]:
        return tuple(labels)
    selected = {_find_label(word, labels) for word in words}
    if len(selected) < 2:
        raise KanjoError(
            f"emotions {', '.join(words) or '(none)'}: expected at least two different ones of: {', '.join(labels)}"
        )
    return tuple(label for label in labels if label in selected)


def restrict_probabilities(
    probabilities: npt.NDArray[np.float32], indices: Sequence[int] | None
) -> npt.NDArray[np.float32]:
    """Return the probabilities of some emotions, divided by their sum.

    Args:
        probabilities: Probability of each emotion of the bundle.
        indices: The emotions to keep; None keeps the probabilities unchanged.

    Returns:
        Probabilities with the sum 1. If the probabilities of all kept emotions are 0 (a softmax can underflow), they
        become equal.

    Shape:
        - probabilities: (E,) or (T, E)
        - Returns: (K,) or (T, K) for K indices
    """
    if indices is None:
        return probabilities
    kept = np.asarray(probabilities, np.float64)[..., list(indices)]
    total = kept.sum(-1, keepdims=True)
    uniform = np.full_like(kept, 1 / len(indices))
    restricted: npt.NDArray[np.float64] = np.divide(kept, total, out=uniform, where=total > 0)
    return restricted.astype(np.float32)


def _find_label(word: str, labels: Sequence[str]) -> str:
    """The label that a word names. Labels come before the vocabulary, because a bundle can have labels of its own."""
    if word in labels:
        return word
    by_word = {_fold(label): label for label in labels}
    if _fold(word) in by_word:
        return by_word[_fold(word)]
    try:
        emotion = canonical_emotion(word)
    except CorpusError:
        words = {alias: emotion for alias, emotion in ALIASES.items() if emotion in labels} | by_word
        similar = difflib.get_close_matches(_fold(word), words, n=1)
        hint = f" (did you mean {words[similar[0]]}?)" if similar else ""
        raise KanjoError(f"unknown emotion {word!r}{hint}; the bundle has: {', '.join(labels)}") from None
    if emotion not in labels:
        raise KanjoError(f"emotion {word!r}: the bundle has only {', '.join(labels)}")
    return emotion


def _fold(word: str) -> str:
    return unicodedata.normalize("NFKC", word).strip().casefold()
