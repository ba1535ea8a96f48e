"""URDU (Latif et al. 2018, arXiv 1812.10411), clips of talk shows. ``Angry/SM1_F1_A01.wav``: speaker, file, emotion."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from kanjo.corpora.corpus import SEX_BY_LETTER, Archive, Corpus, ParsedName, read_by_file_name
from kanjo.corpora.manifest import Utterance

_STEM = re.compile(r"(?P<speaker>S(?P<sex>[FM])\d+)_F\d+_(?P<emotion>[AHNS])\d+", re.IGNORECASE)
_EMOTIONS = {"A": "anger", "H": "happiness", "N": "neutral", "S": "sadness"}


def read(root: Path) -> Iterator[Utterance]:
    """Yield all utterances. Raises CorpusError if there are none."""
    return read_by_file_name(root, "urdu", "ur", _STEM, _parse, "Angry/SM1_F1_A01.wav", _EMOTIONS)


def _parse(match: re.Match[str], path: Path) -> ParsedName:
    return ParsedName(match["emotion"].upper(), match["speaker"].upper(), SEX_BY_LETTER[match["sex"].lower()])


URDU = Corpus(
    name="urdu",
    title="URDU-Dataset",
    language="ur",
    license="free for research",
    homepage="https://github.com/siddiquelatif/URDU-Dataset",
    citation="S. Latif, A. Qayyum, M. Usman, J. Qadir. Cross lingual speech emotion recognition: Urdu vs. Western "
    "languages. FIT 2018, arXiv 1812.10411.",
    how_to_get="Clone the repository from the homepage.",
    emotions=dict.fromkeys(_EMOTIONS, 100),
    n_speakers=38,
    sample_rate=44_100,
    read=read,
    archives=(Archive("https://github.com/siddiquelatif/URDU-Dataset/archive/refs/heads/master.zip"),),
    folders=("urdu", "URDU", "URDU-Dataset"),
)
