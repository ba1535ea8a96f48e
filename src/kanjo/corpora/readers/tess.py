"""TESS (Pichora-Fuller & Dupuis 2020, doi 10.5683/SP2/E8H2MF): ``OAF_angry/OAF_back_angry.wav``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from kanjo.corpora.corpus import Archive, Corpus, Named, by_name
from kanjo.corpora.manifest import Utterance

# one file of the published archive is named OA_bite_neutral
_STEM = re.compile(
    r"(?P<speaker>OAF?|YAF?)_(?P<word>[a-z]+)_(?P<emotion>angry|disgust|fear|happy|neutral|ps|sad)", re.IGNORECASE
)
_EMOTIONS = ("angry", "disgust", "fear", "happy", "neutral", "ps", "sad")


def read(root: Path) -> Iterator[Utterance]:
    """Utterances of both actresses; the archive holds some twice, in a folder of the same name within: these count once."""
    seen: set[str] = set()

    def named(path: Path) -> Named | None:
        match = _STEM.fullmatch(path.stem)
        if match is None or path.stem in seen:
            return None
        seen.add(path.stem)
        label = match["emotion"].lower()
        text = f"Say the word {match['word'].lower()}."
        return Named(
            label, f"{match['speaker'][:2].upper()}F", "female", text, emotion="surprise" if label == "ps" else ""
        )

    return by_name(root, "tess", "en", named, "files such as OAF_angry/OAF_back_angry.wav")


TESS = Corpus(
    name="tess",
    title="Toronto Emotional Speech Set (TESS)",
    language="en",
    licence="CC BY-NC-ND 4.0",
    homepage="https://doi.org/10.5683/SP2/E8H2MF",
    citation="M. K. Pichora-Fuller, K. Dupuis. Toronto emotional speech set (TESS). Scholars Portal Dataverse, 2020.",
    how_to_get="Download the archive from the homepage and unpack it.",
    emotions=dict.fromkeys(_EMOTIONS, 400),
    n_speakers=2,
    sample_rate=24_414,
    read=read,
    archives=(
        Archive("https://borealisdata.ca/api/access/dataset/:persistentId/?persistentId=doi:10.5683/SP2/E8H2MF"),
    ),
    folders=("tess", "TESS", "TESS Toronto emotional speech set data"),
    notes="Two speakers, one carrier sentence: scores of 99 % on random splits of it mean little.",
)
