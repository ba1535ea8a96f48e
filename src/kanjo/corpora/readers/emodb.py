"""EmoDB (Burkhardt et al. 2005), German. ``wav/03a01Fa.wav``: speaker, sentence, emotion (German initial), take."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from kanjo.corpora.corpus import Archive, Corpus, ParsedName, first_existing_file, read_by_file_name
from kanjo.corpora.manifest import Utterance
from kanjo.corpora.text_files import read_lines

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
#: ``03a01Fa.wav  90,00  100,00 ...``: file, percentage of listeners who recognized the emotion, further columns.
_RECOGNITION_RATE = re.compile(
    r"\s*(?:wav[\\/])?\d\d[ab]\d\d[WLEAFTN][a-z](?:\.wav)?[\s\xa0]+(?P<percent>\d+(?:[.,]\d+)?)"
)
_RECOGNITION_TABLE = "erkennung.txt"
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
    """Yield all utterances. Raises CorpusError if there are none."""
    return read_by_file_name(root, "emodb", "de", _STEM, _parse, "wav/03a01Fa.wav", _EMOTIONS)


def _parse(match: re.Match[str], path: Path) -> ParsedName:
    sex = "male" if match["speaker"] in _MALE else "female"
    return ParsedName(match["emotion"], match["speaker"], sex, _TEXTS.get(match["text"], ""))


def count_poorly_recognized(root: Path) -> int:
    """Count the utterances that fewer than 80 % of the listeners recognized; 0 if ``erkennung.txt`` does not exist."""
    table = first_existing_file(root / _RECOGNITION_TABLE, root.parent / _RECOGNITION_TABLE)
    if table is None:
        return 0
    matches = (_RECOGNITION_RATE.match(line) for line in read_lines(table, "emodb", ("utf-8-sig", "cp1252")))
    return sum(float(match["percent"].replace(",", ".")) < 80 for match in matches if match)


EMODB = Corpus(
    name="emodb",
    title="Berlin Database of Emotional Speech (EmoDB)",
    language="de",
    license="free to use (CC0 as published on Zenodo)",
    homepage="http://emodb.bilderbar.info/",
    citation="F. Burkhardt, A. Paeschke, M. Rolfes, W. Sendlmeier, B. Weiss. A database of German emotional speech. "
    "Interspeech 2005.",
    how_to_get="Download the archive from the homepage and unpack it.",
    emotions={"W": 127, "L": 81, "E": 46, "A": 69, "F": 71, "T": 62, "N": 79},
    n_speakers=10,
    sample_rate=16_000,
    read=read,
    extra_counts={"recognized by under 80 %": count_poorly_recognized},
    archives=(Archive("http://emodb.bilderbar.info/download/download.zip"),),
    folders=("emodb", "EmoDB", "emo-db"),
    notes="Ten sentences, the same for every speaker and emotion: speaker-independent splits are not text-independent. "
    "Ages: speaker 03 31, 08 34, 09 21, 10 32, 11 26, 12 30, 13 32, 14 35, 15 25, 16 31.",
)
