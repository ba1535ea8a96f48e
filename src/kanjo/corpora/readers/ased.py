"""ASED (Retta et al. 2023, doi 10.1145/3529759), Amharic.

``a5-03-01-02-50.wav``: emotion and number of its folder, sentence, repetition, sex, speaker.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from kanjo.corpora.corpus import Archive, Corpus, ParsedName, read_by_file_name
from kanjo.corpora.manifest import Utterance

_STEM = re.compile(
    r"(?P<emotion>[afhns])(?P<folder>\d)-(?P<sentence>\d\d)-\d\d-(?P<sex>0[12])-(?P<speaker>\d\d)", re.IGNORECASE
)
_EMOTIONS = {"n": "neutral", "f": "fear", "h": "happiness", "s": "sadness", "a": "anger"}
_COUNTS = {"n": 522, "f": 510, "h": 486, "s": 470, "a": 486}


def read(root: Path) -> Iterator[Utterance]:
    """Yield all utterances. Raises CorpusError if there are none."""
    return read_by_file_name(root, "ased", "am", _STEM, _parse, "05Angry/a5-03-01-02-50.wav", _EMOTIONS)


def _parse(match: re.Match[str], path: Path) -> ParsedName:
    label = match["emotion"].lower()
    sex = "female" if match["sex"] == "01" else "male"
    # the numbers of sentences are unique only within the folder of an emotion
    return ParsedName(label, match["speaker"], sex, f"sentence {label}{match['folder']}-{match['sentence']}")


ASED = Corpus(
    name="ased",
    title="Amharic Speech Emotion Dataset (ASED)",
    language="am",
    license="free for research",
    homepage="https://github.com/Ethio2021/ASED_V1",
    citation="E. A. Retta, E. Almekhlafi, R. Sutcliffe, M. Mhamed, H. Ali, J. Feng. A new Amharic speech emotion "
    "dataset and classification benchmark. ACM TALLIP 22(1), 2023, arXiv 2201.02710.",
    how_to_get="Clone the repository from the homepage.",
    emotions=_COUNTS,
    n_speakers=65,
    sample_rate=0,
    read=read,
    folders=("ased", "ASED", "ASED_V1"),
    archives=(Archive("https://github.com/Ethio2021/ASED_V1/archive/refs/heads/main.zip"),),
    notes="Most sentences belong to one emotion only: the text predicts the emotion, so scores depend on words, too.",
)
