"""ASED (Retta et al. 2023, doi 10.1145/3529759): ``a5-03-01-02-50.wav``: emotion and folder, sentence, repetition, sex, speaker."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from kanjo.corpora.corpus import Archive, Corpus, Named, by_name
from kanjo.corpora.manifest import Utterance

_STEM = re.compile(
    r"(?P<emotion>[afhns])(?P<folder>\d)-(?P<sentence>\d\d)-\d\d-(?P<sex>0[12])-(?P<speaker>\d\d)", re.IGNORECASE
)
_EMOTIONS = {"n": "neutral", "f": "fear", "h": "happiness", "s": "sadness", "a": "anger"}
_COUNTS = {"n": 522, "f": 510, "h": 486, "s": 470, "a": 486}


def read(root: Path) -> Iterator[Utterance]:
    """Utterances of all speakers. The text is the sentence's number within its emotion's folder. Raises CorpusError."""

    def named(path: Path) -> Named | None:
        match = _STEM.fullmatch(path.stem)
        if match is None:
            return None
        letter, sex = match["emotion"].lower(), "female" if match["sex"] == "01" else "male"
        return Named(
            letter,
            match["speaker"],
            sex,
            f"sentence {letter}{match['folder']}-{match['sentence']}",
            emotion=_EMOTIONS[letter],
        )

    return by_name(root, "ased", "am", named, "files such as 05Angry/a5-03-01-02-50.wav")


ASED = Corpus(
    name="ased",
    title="Amharic Speech Emotion Dataset (ASED)",
    language="am",
    licence="free for research",
    homepage="https://github.com/Ethio2021/ASED_V1",
    citation="E. A. Retta, E. Almekhlafi, R. Sutcliffe, M. Mhamed, H. Ali, J. Feng. A new Amharic speech emotion dataset and "
    "classification benchmark. ACM TALLIP 22(1), 2023, arXiv 2201.02710.",
    how_to_get="Clone the repository from the homepage.",
    emotions=_COUNTS,
    n_speakers=65,
    sample_rate=0,
    read=read,
    folders=("ased", "ASED", "ASED_V1"),
    archives=(Archive("https://github.com/Ethio2021/ASED_V1/archive/refs/heads/main.zip"),),
    notes="Most sentences belong to one emotion each: what is said tells the emotion, so scores measure words, too.",
)
