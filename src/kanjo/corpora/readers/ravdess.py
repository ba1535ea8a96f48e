"""RAVDESS, speech and song (Livingstone & Russo 2018, doi 10.1371/journal.pone.0196391), English.

``Actor_01/03-01-05-01-02-01-01.wav``: modality, vocal channel, emotion, intensity, statement, repetition, actor.
Modality 01 (video with sound) has the same sound as 03 (sound only); 02 (video without sound) is skipped.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from kanjo.corpora.corpus import Archive, Corpus, ParsedName, read_by_file_name
from kanjo.corpora.manifest import Utterance

_STEM = re.compile(r"0[13]-(?P<channel>0[12])-(?P<emotion>0[1-8])-0[12]-(?P<statement>0[12])-0[12]-(?P<actor>\d\d)")
_EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
_STATEMENTS = {"01": "Kids are talking by the door.", "02": "Dogs are sitting by the door."}
_ZENODO = "https://zenodo.org/records/1188976/files"


def read(root: Path) -> Iterator[Utterance]:
    """Yield the utterances of the speech part. Raises CorpusError if there are none."""
    return read_by_file_name(root, "ravdess", "en", _STEM, _channel_parser("01"), "Actor_01/03-01-05-01-02-01-01.wav")


def read_song(root: Path) -> Iterator[Utterance]:
    """Yield the utterances of the song part. Raises CorpusError if there are none."""
    return read_by_file_name(
        root, "ravdess-song", "en", _STEM, _channel_parser("02"), "Actor_01/03-02-05-01-02-01-01.wav"
    )


def _channel_parser(channel: str) -> Callable[[re.Match[str], Path], ParsedName | None]:
    """Build a parser for the names of one vocal channel; it skips recordings of the other one."""

    def parse(match: re.Match[str], path: Path) -> ParsedName | None:
        if match["channel"] != channel:
            return None
        sex = "male" if int(match["actor"]) % 2 else "female"
        label = _EMOTIONS[int(match["emotion"]) - 1]
        recording = match.string[3:]  # without the modality
        return ParsedName(label, match["actor"], sex, _STATEMENTS[match["statement"]], recording=recording)

    return parse


RAVDESS = Corpus(
    name="ravdess",
    title="RAVDESS, speech",
    language="en",
    license="CC BY-NC-SA 4.0",
    homepage="https://zenodo.org/records/1188976",
    citation="S. R. Livingstone, F. A. Russo. The Ryerson Audio-Visual Database of Emotional Speech and Song "
    "(RAVDESS). PLoS ONE 13(5): e0196391, 2018.",
    how_to_get="Download Audio_Speech_Actors_01-24.zip from the homepage and unpack it.",
    emotions={word: 96 if word == "neutral" else 192 for word in _EMOTIONS},
    n_speakers=24,
    sample_rate=48_000,
    read=read,
    folders=("ravdess", "RAVDESS"),
    stem=_STEM,
    archives=(
        Archive(f"{_ZENODO}/Audio_Speech_Actors_01-24.zip", "md5:bc696df654c87fed845eb13823edef8a", 208_468_073),
    ),
    notes="All 24 actors speak the same two statements in all 8 emotions: speaker-independent splits are not "
    "text-independent.",
)

RAVDESS_SONG = replace(
    RAVDESS,
    name="ravdess-song",
    title="RAVDESS, song",
    how_to_get="Download Audio_Song_Actors_01-24.zip from the homepage and unpack it.",
    emotions={word: 92 if word == "neutral" else 184 for word in _EMOTIONS[:6]},
    n_speakers=23,
    read=read_song,
    archives=(Archive(f"{_ZENODO}/Audio_Song_Actors_01-24.zip", "md5:5411230427d67a21e18aa4d466e6d1b9", 225_505_317),),
    folders=("ravdess-song", "RAVDESS-song", "ravdess_song"),
    notes="Sung, not spoken. Actor 18 does not sing.",
)
