"""CaFE (Gournay et al. 2018, doi 10.5281/zenodo.1478765), Canadian French.

``Colère/Fort/01-C-2-1.wav``: actor, emotion, intensity, sentence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from kanjo.corpora.corpus import Archive, Corpus, ParsedName, read_by_file_name
from kanjo.corpora.manifest import Utterance

_STEM = re.compile(r"(?P<actor>\d\d)-(?P<emotion>[CDJNPST])-(?P<intensity>[012])-(?P<sentence>[1-6])")
_EMOTIONS = {
    "C": "anger",
    "D": "disgust",
    "J": "happiness",
    "N": "neutral",
    "P": "fear",
    "S": "surprise",
    "T": "sadness",
}


def read(root: Path) -> Iterator[Utterance]:
    """Yield the utterances of both intensities. Raises CorpusError if there are none.

    The emotion is the letter in the file name, because the accents in folder names have two Unicode forms.
    """
    return read_by_file_name(root, "cafe", "fr", _STEM, _parse, "Colère/Fort/01-C-2-1.wav", _EMOTIONS)


def _parse(match: re.Match[str], path: Path) -> ParsedName:
    sex = "male" if int(match["actor"]) % 2 else "female"
    return ParsedName(match["emotion"], match["actor"], sex, f"sentence {match['sentence']}")


CAFE = Corpus(
    name="cafe",
    title="Canadian French Emotional speech dataset (CaFE)",
    language="fr",
    license="CC BY-NC-SA 4.0",
    homepage="https://zenodo.org/records/1478765",
    citation="P. Gournay, O. Lahaie, R. Lefebvre. A Canadian French emotional speech dataset. ACM MMSys 2018.",
    how_to_get="Download CaFE_48k.zip from the homepage and unpack it.",
    emotions={letter: 72 if letter == "N" else 144 for letter in _EMOTIONS},
    n_speakers=12,
    sample_rate=48_000,
    read=read,
    archives=(Archive("https://zenodo.org/records/1478765/files/CaFE_48k.zip"),),
    folders=("cafe", "CaFE", "CaFE_48k"),
    notes="Six sentences, the same for every actor and emotion.",
)
