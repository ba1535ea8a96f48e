"""JTES (Takeishi et al. 2016), Japanese. ``wav/f01/ang/f01_ang_01.wav``: speaker, emotion, sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from kanjo.corpora.corpus import SEX_BY_LETTER, Corpus, ParsedName, read_by_file_name
from kanjo.corpora.manifest import Utterance
from kanjo.corpora.text_files import read_lines

_STEM = re.compile(r"(?P<speaker>(?P<sex>[fm])\d\d)_(?P<sentence>(?P<emotion>neu|joy|sad|ang)_\d\d)")
_EMOTIONS = ("neu", "joy", "sad", "ang")


def read(root: Path) -> Iterator[Utterance]:
    """Yield all utterances, with texts if ``trans/kanji.txt`` exists. Raises CorpusError if there are none."""
    table = root / "trans" / "kanji.txt"
    lines = read_lines(table, "jtes", ("utf-8-sig", "cp932", "euc_jp")) if table.is_file() else []
    texts = {words[0]: words[1].strip() for line in lines if len(words := line.split(maxsplit=1)) == 2}

    def parse(match: re.Match[str], path: Path) -> ParsedName:
        sex = SEX_BY_LETTER[match["sex"]]
        return ParsedName(match["emotion"], match["speaker"], sex, texts.get(match["sentence"], ""))

    return read_by_file_name(root, "jtes", "ja", _STEM, parse, "wav/f01/ang/f01_ang_01.wav")


JTES = Corpus(
    name="jtes",
    title="Japanese Twitter-based Emotional Speech (JTES)",
    language="ja",
    license="research only",
    homepage="https://doi.org/10.1109/ICSDA.2016.7918977",
    citation="E. Takeishi, T. Nose, Y. Chiba, A. Ito. Construction and analysis of phonetically and prosodically "
    "balanced emotional speech database. O-COCOSDA 2016.",
    how_to_get="Request it from the authors (Ito-Nose laboratory, Tohoku University); put wav/ and trans/ into one "
    "folder.",
    emotions=dict.fromkeys(_EMOTIONS, 5_000),
    n_speakers=100,
    sample_rate=48_000,
    read=read,
    folders=("jtes", "JTES"),
    notes="Each emotion has fifty sentences that no other emotion has, the same for all 100 speakers: the text alone "
    "predicts the emotion, and speaker-independent splits are not text-independent.",
)
