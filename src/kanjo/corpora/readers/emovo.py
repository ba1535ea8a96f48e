"""EMOVO (Costantini et al. 2014), Italian. ``f1/gio-f1-b1.wav``: emotion, speaker, sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from kanjo.corpora.corpus import SEX_BY_LETTER, Corpus, ParsedName, read_by_file_name
from kanjo.corpora.manifest import Utterance

_STEM = re.compile(r"(?P<emotion>neu|dis|gio|pau|rab|sor|tri)-(?P<speaker>(?P<sex>[fm])[123])-(?P<sentence>\w+)")
_EMOTIONS = {
    "neu": "neutral",
    "dis": "disgust",
    "gio": "happiness",
    "pau": "fear",
    "rab": "anger",
    "sor": "surprise",
    "tri": "sadness",
}


def read(root: Path) -> Iterator[Utterance]:
    """Yield all utterances. Raises CorpusError if there are none."""
    return read_by_file_name(root, "emovo", "it", _STEM, _parse, "f1/gio-f1-b1.wav", _EMOTIONS)


def _parse(match: re.Match[str], path: Path) -> ParsedName:
    return ParsedName(match["emotion"], match["speaker"], SEX_BY_LETTER[match["sex"]], f"sentence {match['sentence']}")


EMOVO = Corpus(
    name="emovo",
    title="EMOVO",
    language="it",
    license="free for research",
    homepage="http://voice.fub.it/activities/corpora/emovo/index.html",
    citation="G. Costantini, I. Iaderola, A. Paoloni, M. Todisco. EMOVO corpus: an Italian emotional speech database. "
    "LREC 2014.",
    how_to_get="Download the archive from the homepage and unpack it.",
    emotions=dict.fromkeys(_EMOTIONS, 84),
    n_speakers=6,
    sample_rate=48_000,
    read=read,
    folders=("emovo", "EMOVO"),
    notes="Fourteen sentences, the same for every speaker and emotion.",
)
