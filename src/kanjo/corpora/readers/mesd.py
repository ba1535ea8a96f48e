"""MESD (Duville et al. 2021, doi 10.17632/cy34mh68j9), Mexican Spanish.

``Anger_C_A_abajo.wav``: emotion, voice (female, male, child), part, word.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from kanjo.corpora.corpus import SEX_BY_LETTER, Corpus, ParsedName, read_by_file_name
from kanjo.corpora.manifest import Utterance

_STEM = re.compile(
    r"(?P<emotion>Anger|Disgust|Fear|Happiness|Neutral|Sadness)_(?P<voice>[FMC])_(?P<part>[AB])_(?P<word>.+)"
)
_EMOTIONS = ("Anger", "Disgust", "Fear", "Happiness", "Neutral", "Sadness")


def read(root: Path) -> Iterator[Utterance]:
    """Yield the utterances of women, men and children, without speakers: the file names do not identify them.

    Raises:
        CorpusError: There are no utterances.
    """
    return read_by_file_name(root, "mesd", "es", _STEM, _parse, "Anger_C_A_abajo.wav")


def _parse(match: re.Match[str], path: Path) -> ParsedName:
    sex = SEX_BY_LETTER.get(match["voice"].lower(), "")  # C: a child
    return ParsedName(match["emotion"], sex=sex, text=match["word"].replace("_", " "))


MESD = Corpus(
    name="mesd",
    title="Mexican Emotional Speech Database (MESD)",
    language="es",
    license="CC BY 4.0",
    homepage="https://data.mendeley.com/datasets/cy34mh68j9",
    citation="M. M. Duville, L. M. Alonso-Valerdi, D. I. Ibarra-Zarate. The Mexican Emotional Speech Database (MESD): "
    "elaboration and assessment based on machine learning. IEEE EMBC 2021.",
    how_to_get="Download the archive from the homepage and unpack it.",
    emotions=dict.fromkeys(_EMOTIONS, 144),
    n_speakers=0,
    sample_rate=48_000,
    read=read,
    folders=("mesd", "MESD", "Mexican Emotional Speech Database (MESD)"),
    notes="The file names do not identify the speakers: only protocol speaker_dependent is possible.",
)
