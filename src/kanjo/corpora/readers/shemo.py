"""ShEMO (Mohamad Nezami et al. 2019, doi 10.1007/s10579-018-9427-x), Persian radio plays.

``female/F01A01.wav``: speaker, emotion, number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from kanjo.corpora.corpus import SEX_BY_LETTER, Archive, Corpus, ParsedName, read_by_file_name
from kanjo.corpora.manifest import Utterance

_STEM = re.compile(r"(?P<speaker>(?P<sex>[FM])\d\d)(?P<emotion>[AFHNSW])\d\d\d?")
_EMOTIONS = {"A": "anger", "F": "fear", "H": "happiness", "N": "neutral", "S": "sadness", "W": "surprise"}


def read(root: Path) -> Iterator[Utterance]:
    """Yield all utterances. Raises CorpusError if there are none."""
    return read_by_file_name(root, "shemo", "fa", _STEM, _parse, "female/F01A01.wav", _EMOTIONS)


def _parse(match: re.Match[str], path: Path) -> ParsedName:
    return ParsedName(match["emotion"], match["speaker"], SEX_BY_LETTER[match["sex"].lower()])


SHEMO = Corpus(
    name="shemo",
    title="Sharif Emotional Speech Database (ShEMO)",
    language="fa",
    license="free for research",
    homepage="https://github.com/mansourehk/ShEMO",
    citation="O. Mohamad Nezami, P. Jamshid Lou, M. Karami. ShEMO: a large-scale validated database for Persian speech "
    "emotion detection. Language Resources and Evaluation 53:1-16, 2019.",
    how_to_get="Download male.zip and female.zip from the repository on the homepage; unpack both into one folder.",
    emotions={"A": 1059, "F": 38, "H": 201, "N": 1028, "S": 449, "W": 225},
    n_speakers=87,
    sample_rate=44_100,
    read=read,
    archives=tuple(
        Archive(f"https://github.com/mansourehk/ShEMO/raw/master/{sex}.zip", target=sex) for sex in ("female", "male")
    ),
    folders=("shemo", "ShEMO"),
)
