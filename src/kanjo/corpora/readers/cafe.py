"""CaFE (Gournay et al. 2018, doi 10.5281/zenodo.1478765): ``Colère/Fort/01-C-2-1.wav``; Canadian French."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from kanjo.corpora.corpus import Archive, Corpus, Named, by_name
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
    """Utterances of all actors, both intensities. The emotion is the file name's letter: folders' accents come in two
    Unicode forms. Raises CorpusError."""

    def named(path: Path) -> Named | None:
        match = _STEM.fullmatch(path.stem)
        if match is None:
            return None
        sex = "male" if int(match["actor"]) % 2 else "female"
        letter = match["emotion"]
        return Named(letter, match["actor"], sex, f"sentence {match['sentence']}", emotion=_EMOTIONS[letter])

    return by_name(root, "cafe", "fr", named, "files such as Colère/Fort/01-C-2-1.wav")


CAFE = Corpus(
    name="cafe",
    title="Canadian French Emotional speech dataset (CaFE)",
    language="fr",
    licence="CC BY-NC-SA 4.0",
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
