"""BAVED (Aouf 2019), Arabic. ``2/15-m-24-0-2-111.wav``: speaker, sex, age, word, level of emotion, recording."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from kanjo.corpora.corpus import SEX_BY_LETTER, Archive, Corpus, ParsedName, read_by_file_name
from kanjo.corpora.manifest import Utterance

_STEM = re.compile(r"(?P<speaker>\d+)-(?P<sex>[mf])-\d+-(?P<word>[0-6])-(?P<level>[0-2])-\d+", re.IGNORECASE)
_WORDS = ("اعجبني", "لم يعجبني", "هذا", "الفيلم", "رائع", "مقول", "سيئ")
_LEVELS = {"0": "subdued", "1": "neutral", "2": "intense"}


def read(root: Path) -> Iterator[Utterance]:
    """Yield all utterances, single words; the labels are levels of emotion. Raises CorpusError if there are none."""
    return read_by_file_name(root, "baved", "ar", _STEM, _parse, "0/15-m-24-0-2-111.wav", _LEVELS)


def _parse(match: re.Match[str], path: Path) -> ParsedName:
    return ParsedName(match["level"], match["speaker"], SEX_BY_LETTER[match["sex"].lower()], _WORDS[int(match["word"])])


BAVED = Corpus(
    name="baved",
    title="Basic Arabic Vocal Emotions Dataset (BAVED)",
    language="ar",
    license="free for research",
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
    notes="The labels are levels, not emotions: 0 tired or depressed, 1 everyday speech, 2 strong, whether happy or "
    "angry.",
)
