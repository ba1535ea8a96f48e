"""BAVED (Aouf 2019): ``2/15-m-24-0-2-111.wav``: speaker, sex, age, word, level of emotion, record; Arabic."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from kanjo.corpora.corpus import Archive, Corpus, Named, by_name
from kanjo.corpora.manifest import Utterance

_STEM = re.compile(r"(?P<speaker>\d+)-(?P<sex>[mf])-\d+-(?P<word>[0-6])-(?P<level>[0-2])-\d+", re.IGNORECASE)
_WORDS = ("اعجبني", "لم يعجبني", "هذا", "الفيلم", "رائع", "مقول", "سيئ")
_LEVELS = {"0": "subdued", "1": "neutral", "2": "intense"}


def read(root: Path) -> Iterator[Utterance]:
    """Utterances of all speakers, single words. Its labels are levels of emotion, not emotions. Raises CorpusError."""

    def named(path: Path) -> Named | None:
        match = _STEM.fullmatch(path.stem)
        if match is None:
            return None
        sex = "male" if match["sex"].lower() == "m" else "female"
        return Named(match["level"], match["speaker"], sex, _WORDS[int(match["word"])], emotion=_LEVELS[match["level"]])

    return by_name(root, "baved", "ar", named, "files such as 0/15-m-24-0-2-111.wav")


BAVED = Corpus(
    name="baved",
    title="Basic Arabic Vocal Emotions Dataset (BAVED)",
    language="ar",
    licence="free for research",
    homepage="https://github.com/40uf411/Basic-Arabic-Vocal-Emotions-Dataset",
    citation="A. Aouf. Basic Arabic Vocal Emotions Dataset (BAVED). 2019.",
    how_to_get="Clone the repository from the homepage.",
    emotions=dict.fromkeys(_LEVELS, 0),
    n_utterances=1935,
    n_speakers=61,
    sample_rate=16_000,
    read=read,
    folders=("baved", "BAVED", "Basic-Arabic-Vocal-Emotions-Dataset"),
    archives=(Archive("https://github.com/40uf411/Basic-Arabic-Vocal-Emotions-Dataset/archive/refs/heads/master.zip"),),
    notes="Levels, not emotions: 0 tired or down, 1 as one speaks daily, 2 strong, whether glad or angry.",
)
