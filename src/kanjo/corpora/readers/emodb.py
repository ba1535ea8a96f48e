"""EmoDB (Burkhardt et al. 2005): ``wav/SSTTTEv.wav``: speaker, text, emotion's first letter in German, version."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from kanjo.corpora.corpus import Archive, Corpus, Named, by_name, lines_of
from kanjo.corpora.manifest import Utterance

_STEM = re.compile(r"(?P<speaker>\d\d)(?P<text>[ab]\d\d)(?P<emotion>[WLEAFTN])[a-z]")
_EMOTIONS = {
    "W": "anger",
    "L": "boredom",
    "E": "disgust",
    "A": "fear",
    "F": "happiness",
    "T": "sadness",
    "N": "neutral",
}
#: ``03a01Fa.wav  90,00  100,00 ...``: file, listeners who recognised the emotion (per cent, with a comma), and further columns.
_RATE = re.compile(r"\s*(?:wav[\\/])?\d\d[ab]\d\d[WLEAFTN][a-z](?:\.wav)?[\s\xa0]+(?P<rate>\d+(?:[.,]\d+)?)")
_MALE = frozenset(["03", "10", "11", "12", "15"])
_TEXTS = {
    "a01": "Der Lappen liegt auf dem Eisschrank.",
    "a02": "Das will sie am Mittwoch abgeben.",
    "a04": "Heute abend könnte ich es ihm sagen.",
    "a05": "Das schwarze Stück Papier befindet sich da oben neben dem Holzstück.",
    "a07": "In sieben Stunden wird es soweit sein.",
    "b01": "Was sind denn das für Tüten, die da unter dem Tisch stehen?",
    "b02": "Sie haben es gerade hochgetragen und jetzt gehen sie wieder runter.",
    "b03": "An den Wochenenden bin ich jetzt immer nach Hause gefahren und habe Agnes besucht.",
    "b09": "Ich will das eben wegbringen und dann mit Karl was trinken gehen.",
    "b10": "Die wird auf dem Platz sein, wo wir sie immer hinlegen.",
}


def read(root: Path) -> Iterator[Utterance]:
    """Utterances of all ten speakers. Raises CorpusError."""

    def named(path: Path) -> Named | None:
        match = _STEM.fullmatch(path.stem)
        if match is None:
            return None
        sex = "male" if match["speaker"] in _MALE else "female"
        letter = match["emotion"]
        return Named(letter, match["speaker"], sex, _TEXTS.get(match["text"], ""), emotion=_EMOTIONS[letter])

    return by_name(root, "emodb", "de", named, "files such as wav/03a01Fa.wav")


def poorly_recognised(root: Path) -> int:
    """How many utterances fewer than 80 % of the listeners recognised, by ``erkennung.txt`` (0 where that is not there)."""
    table = next((path for path in (root / "erkennung.txt", root.parent / "erkennung.txt") if path.is_file()), None)
    if table is None:
        return 0
    rates = (_RATE.match(line) for line in lines_of(table, "emodb", ("utf-8-sig", "cp1252")))
    return sum(float(rate["rate"].replace(",", ".")) < 80 for rate in rates if rate)


EMODB = Corpus(
    name="emodb",
    title="Berlin Database of Emotional Speech (EmoDB)",
    language="de",
    licence="free to use (CC0 as published on Zenodo)",
    homepage="http://emodb.bilderbar.info/",
    citation="F. Burkhardt, A. Paeschke, M. Rolfes, W. Sendlmeier, B. Weiss. A database of German emotional speech. "
    "Interspeech 2005.",
    how_to_get="Download the archive from the homepage and unpack it.",
    emotions={"W": 127, "L": 81, "E": 46, "A": 69, "F": 71, "T": 62, "N": 79},
    n_speakers=10,
    sample_rate=16_000,
    read=read,
    also={"utterances that under 80 % of listeners recognised": poorly_recognised},
    archives=(Archive("http://emodb.bilderbar.info/download/download.zip"),),
    folders=("emodb", "EmoDB", "emo-db"),
    notes="Ten sentences, the same for every speaker and emotion: speaker-independent is not text-independent. Ages: speaker 03 "
    "31, 08 34, 09 21, 10 32, 11 26, 12 30, 13 32, 14 35, 15 25, 16 31.",
)
