"""RAVDESS, speech part (Livingstone & Russo 2018, doi 10.1371/journal.pone.0196391): ``Actor_NN/MM-CC-EE-II-SS-RR-AA``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from kanjo.corpora._base import Corpus, nothing_found, recordings
from kanjo.corpora.manifest import Utterance
from kanjo.labels import canonical

_STEM = re.compile(r"0[123]-(?P<channel>0[12])-(?P<emotion>0[1-8])-0[12]-(?P<statement>0[12])-0[12]-(?P<actor>\d\d)")
_EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
_STATEMENTS = {"01": "Kids are talking by the door.", "02": "Dogs are sitting by the door."}
_SPEECH = "01"


def read(root: Path) -> Iterator[Utterance]:
    """Utterances of the speech part; songs (vocal channel 02) and foreign files are left out. Raises CorpusError."""
    found = False
    for path in recordings(root, "ravdess"):
        match = _STEM.fullmatch(path.stem)
        if match is None or match["channel"] != _SPEECH:
            continue
        found = True
        raw = _EMOTIONS[int(match["emotion"]) - 1]
        yield Utterance(
            corpus="ravdess",
            file=path.relative_to(root).as_posix(),
            emotion=canonical(raw),
            labels_raw=raw,
            speaker=match["actor"],
            sex="male" if int(match["actor"]) % 2 else "female",
            language="en",
            text=_STATEMENTS[match["statement"]],
        )
    if not found:
        raise nothing_found("ravdess", root, "files such as Actor_01/03-01-05-01-02-01-01.wav")


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
    notes="Two statements, spoken by all 24 actors in all 8 emotions: speaker-independent is not text-independent.",
)
