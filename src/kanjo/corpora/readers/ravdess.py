"""RAVDESS, speech and song (Livingstone & Russo 2018, doi 10.1371/journal.pone.0196391): ``Actor_NN/MM-CC-EE-II-SS-RR-AA``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from kanjo.corpora.corpus import Archive, Corpus, Named, by_name
from kanjo.corpora.manifest import Utterance

_STEM = re.compile(r"0[123]-(?P<channel>0[12])-(?P<emotion>0[1-8])-0[12]-(?P<statement>0[12])-0[12]-(?P<actor>\d\d)")
_EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
_STATEMENTS = {"01": "Kids are talking by the door.", "02": "Dogs are sitting by the door."}
_ZENODO = "https://zenodo.org/records/1188976/files"
_SPEECH, _SONG = "01", "02"


def read(root: Path) -> Iterator[Utterance]:
    """Utterances of the speech part; songs and foreign files are left out. Raises CorpusError."""
    return by_name(
        root, "ravdess", "en", lambda path: _named(path, _SPEECH), "files such as Actor_01/03-01-05-01-02-01-01.wav"
    )


def read_song(root: Path) -> Iterator[Utterance]:
    """Utterances of the song part; speech and foreign files are left out. Raises CorpusError."""
    return by_name(
        root, "ravdess-song", "en", lambda path: _named(path, _SONG), "files such as Actor_01/03-02-05-01-02-01-01.wav"
    )


def _named(path: Path, channel: str) -> Named | None:
    match = _STEM.fullmatch(path.stem)
    if match is None or match["channel"] != channel:
        return None
    sex = "male" if int(match["actor"]) % 2 else "female"
    label = _EMOTIONS[int(match["emotion"]) - 1]
    return Named(label, match["actor"], sex, _STATEMENTS[match["statement"]])


RAVDESS = Corpus(
    name="ravdess",
    title="RAVDESS, speech",
    language="en",
    licence="CC BY-NC-SA 4.0",
    homepage="https://zenodo.org/records/1188976",
    citation="S. R. Livingstone, F. A. Russo. The Ryerson Audio-Visual Database of Emotional Speech and Song (RAVDESS). "
    "PLoS ONE 13(5): e0196391, 2018.",
    how_to_get="Download Audio_Speech_Actors_01-24.zip from the homepage and unpack it.",
    emotions={word: 96 if word == "neutral" else 192 for word in _EMOTIONS},
    n_speakers=24,
    sample_rate=48_000,
    read=read,
    folders=("ravdess", "RAVDESS"),
    archives=(
        Archive(f"{_ZENODO}/Audio_Speech_Actors_01-24.zip", "md5:bc696df654c87fed845eb13823edef8a", 208_468_073),
    ),
    notes="Two statements, spoken by all 24 actors in all 8 emotions: speaker-independent is not text-independent.",
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
