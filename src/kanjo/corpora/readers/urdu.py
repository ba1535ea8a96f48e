"""URDU (Latif et al. 2018, arXiv 1812.10411): ``Angry/SM1_F1_A01.wav``; clips of Urdu talk shows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from kanjo.corpora.corpus import Archive, Corpus, Named, by_name
from kanjo.corpora.manifest import Utterance

_STEM = re.compile(r"(?P<speaker>S(?P<sex>[FM])\d+)_F\d+_(?P<emotion>[AHNS])\d+", re.IGNORECASE)
_EMOTIONS = {"A": "anger", "H": "happiness", "N": "neutral", "S": "sadness"}


def read(root: Path) -> Iterator[Utterance]:
    """Utterances of all speakers. Raises CorpusError."""

    def named(path: Path) -> Named | None:
        match = _STEM.fullmatch(path.stem)
        if match is None:
            return None
        letter, sex = match["emotion"].upper(), "female" if match["sex"].upper() == "F" else "male"
        return Named(letter, match["speaker"].upper(), sex, emotion=_EMOTIONS[letter])

    return by_name(root, "urdu", "ur", named, "files such as Angry/SM1_F1_A01.wav")


URDU = Corpus(
    name="urdu",
    title="URDU-Dataset",
    language="ur",
    licence="free for research",
    homepage="https://github.com/siddiquelatif/URDU-Dataset",
    citation="S. Latif, A. Qayyum, M. Usman, J. Qadir. Cross lingual speech emotion recognition: Urdu vs. Western languages. "
    "FIT 2018, arXiv 1812.10411.",
    how_to_get="Clone the repository from the homepage.",
    emotions=dict.fromkeys(_EMOTIONS, 100),
    n_speakers=38,
    sample_rate=44_100,
    read=read,
    archives=(Archive("https://github.com/siddiquelatif/URDU-Dataset/archive/refs/heads/master.zip"),),
    folders=("urdu", "URDU", "URDU-Dataset"),
)
