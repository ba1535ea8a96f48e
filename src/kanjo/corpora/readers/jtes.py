"""JTES (Takeishi et al. 2016): ``wav/{f,m}NN/{neu,joy,sad,ang}/f01_ang_01``, texts in ``trans/kanji.txt``; Japanese."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from kanjo.corpora.corpus import Corpus, Named, by_name, lines_of
from kanjo.corpora.manifest import Utterance

_STEM = re.compile(r"(?P<speaker>(?P<sex>[fm])\d\d)_(?P<sentence>(?P<emotion>neu|joy|sad|ang)_\d\d)")
_EMOTIONS = ("neu", "joy", "sad", "ang")


def read(root: Path) -> Iterator[Utterance]:
    """Utterances of all speakers, with their sentences where ``trans/kanji.txt`` is there. Raises CorpusError."""
    table = root / "trans" / "kanji.txt"
    lines = lines_of(table, "jtes", ("utf-8-sig", "cp932", "euc_jp")) if table.is_file() else []
    texts = {words[0]: words[1].strip() for line in lines if len(words := line.split(maxsplit=1)) == 2}

    def named(path: Path) -> Named | None:
        match = _STEM.fullmatch(path.stem)
        if match is None:
            return None
        sex = "female" if match["sex"] == "f" else "male"
        return Named(match["emotion"], match["speaker"], sex, texts.get(match["sentence"], ""))

    return by_name(root, "jtes", "ja", named, "files such as wav/f01/ang/f01_ang_01.wav")


JTES = Corpus(
    name="jtes",
    title="Japanese Twitter-based Emotional Speech (JTES)",
    language="ja",
    licence="research only",
    homepage="https://doi.org/10.1109/ICSDA.2016.7918977",
    citation="E. Takeishi, T. Nose, Y. Chiba, A. Ito. Construction and analysis of phonetically and prosodically balanced "
    "emotional speech database. O-COCOSDA 2016.",
    how_to_get="Ask the authors (Ito-Nose laboratory, Tohoku University); put wav/ and trans/ into one folder.",
    emotions=dict.fromkeys(_EMOTIONS, 5_000),
    n_speakers=100,
    sample_rate=48_000,
    read=read,
    folders=("jtes", "JTES"),
    notes="Each emotion has fifty sentences of its own, the same for all 100 speakers: the text alone tells the emotion, and "
    "speaker-independent is not text-independent.",
)
