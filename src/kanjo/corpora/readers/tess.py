"""TESS (Pichora-Fuller & Dupuis 2020, doi 10.5683/SP2/E8H2MF), English.

``OAF_angry/OAF_back_angry.wav``: speaker, word, emotion.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from kanjo.corpora.corpus import Archive, Corpus, ParsedName, read_by_file_name
from kanjo.corpora.manifest import Utterance

# one file of the published archive is named OA_bite_neutral
_STEM = re.compile(
    r"(?P<speaker>OAF?|YAF?)_(?P<word>[a-z]+)_(?P<emotion>angry|disgust|fear|happy|neutral|ps|sad)", re.IGNORECASE
)
_EMOTIONS = ("angry", "disgust", "fear", "happy", "neutral", "ps", "sad")


def read(root: Path) -> Iterator[Utterance]:
    """Yield the utterances of both actresses. Raises CorpusError if there are none."""
    return read_by_file_name(root, "tess", "en", _STEM, _parse, "OAF_angry/OAF_back_angry.wav", {"ps": "surprise"})


def _parse(match: re.Match[str], path: Path) -> ParsedName:
    speaker, word = f"{match['speaker'][:2].upper()}F", match["word"].lower()
    return ParsedName(match["emotion"].lower(), speaker, "female", f"Say the word {word}.", recording=word)


TESS = Corpus(
    name="tess",
    title="Toronto Emotional Speech Set (TESS)",
    language="en",
    license="CC BY-NC-ND 4.0",
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
    notes="Two speakers, one carrier sentence: an accuracy of 99 % on speaker-dependent splits proves little.",
)
