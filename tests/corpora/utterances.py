"""Utterances without recordings, for tests of splits."""

from __future__ import annotations

from kanjo.corpora import Utterance

EMOTIONS = ("anger", "happiness", "neutral")


def make_utterances(n_speakers: int, n_texts: int = 2, corpus: str = "c") -> list[Utterance]:
    """Return one utterance for each speaker, emotion and text; sexes alternate."""
    return [
        Utterance(
            corpus,
            f"{speaker}-{emotion}-{text}.wav",
            emotion,
            speaker=f"s{speaker}",
            sex="female" if speaker % 2 else "male",
            text=f"text {text}",
        )
        for speaker in range(n_speakers)
        for emotion in EMOTIONS
        for text in range(n_texts)
    ]
