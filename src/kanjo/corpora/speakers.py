"""What the speakers of a set of utterances allow."""

from __future__ import annotations

from collections.abc import Iterable

from kanjo.corpora.manifest import Utterance

_MIN_SPEAKERS, _MIN_CLASSES = 2, 2


def speakers_support_enrollment(utterances: Iterable[Utterance]) -> bool:
    """Return whether a model can learn to use speakers' mean embeddings.

    The mean embedding of a speaker with clips of one class is a mean of this class, and says nothing about the speaker.
    So at least two speakers must have clips of at least two classes.
    """
    classes_of_speaker: dict[str, set[str]] = {}
    for row in utterances:
        if row.speaker:
            classes_of_speaker.setdefault(row.speaker_key, set()).add(row.emotion)
    return sum(len(classes) >= _MIN_CLASSES for classes in classes_of_speaker.values()) >= _MIN_SPEAKERS
