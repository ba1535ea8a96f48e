"""MESD (Duville et al. 2021, doi 10.17632/cy34mh68j9): ``Anger_C_A_abajo.wav``; Mexican Spanish, single words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from kanjo.corpora.corpus import Corpus, Named, by_name
from kanjo.corpora.manifest import Utterance

_STEM = re.compile(
    r"(?P<emotion>Anger|Disgust|Fear|Happiness|Neutral|Sadness)_(?P<voice>[FMC])_(?P<part>[AB])_(?P<word>.+)"
)
_EMOTIONS = ("Anger", "Disgust", "Fear", "Happiness", "Neutral", "Sadness")
_SEXES = {"F": "female", "M": "male", "C": ""}


def read(root: Path) -> Iterator[Utterance]:
    """Utterances of women, men and children. Their names don't say who speaks, so no speaker is known. Raises CorpusError."""

    def named(path: Path) -> Named | None:
        match = _STEM.fullmatch(path.stem)
        if match is None:
            return None
        return Named(match["emotion"], sex=_SEXES[match["voice"]], text=match["word"].replace("_", " "))

    return by_name(root, "mesd", "es", named, "files such as Anger_C_A_abajo.wav")


MESD = Corpus(
    name="mesd",
    title="Mexican Emotional Speech Database (MESD)",
    language="es",
    licence="CC BY 4.0",
    homepage="https://data.mendeley.com/datasets/cy34mh68j9",
    citation="M. M. Duville, L. M. Alonso-Valerdi, D. I. Ibarra-Zarate. The Mexican Emotional Speech Database (MESD): "
    "elaboration and assessment based on machine learning. IEEE EMBC 2021.",
    how_to_get="Download the archive from the homepage and unpack it.",
    emotions=dict.fromkeys(_EMOTIONS, 144),
    n_speakers=0,
    sample_rate=48_000,
    read=read,
    folders=("mesd", "MESD", "Mexican Emotional Speech Database (MESD)"),
    notes="Speakers can't be told apart: only --protocol random is possible, and it is speaker-dependent.",
)
