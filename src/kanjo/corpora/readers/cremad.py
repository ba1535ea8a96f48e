"""CREMA-D (Cao et al. 2014, doi 10.1109/TAFFC.2014.2336244): ``AudioWAV/1001_DFA_ANG_XX.wav``."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from kanjo.corpora.corpus import Archive, Corpus, Named, by_name, table_of
from kanjo.corpora.manifest import Utterance

_STEM = re.compile(r"(?P<actor>1\d{3})_(?P<sentence>[A-Z]{3})_(?P<emotion>ANG|DIS|FEA|HAP|NEU|SAD)_(?:LO|MD|HI|XX|X)")
_REPOSITORY = "https://raw.githubusercontent.com/CheyneyComputerScience/CREMA-D/master"
_LFS = "https://media.githubusercontent.com/media/CheyneyComputerScience/CREMA-D/master"
_LIST = "SentenceFilenames.csv"
_SENTENCES = {
    "IEO": "It's eleven o'clock.",
    "TIE": "That is exactly what happened.",
    "IOM": "I'm on my way to the meeting.",
    "IWW": "I wonder what this is about.",
    "TAI": "The airplane is almost full.",
    "MTI": "Maybe tomorrow it will be cold.",
    "IWL": "I would like a new alarm clock.",
    "ITH": "I think I have a doctor's appointment.",
    "DFA": "Don't forget a jacket.",
    "ITS": "I think I've seen this before.",
    "TSI": "The surface is slick.",
    "WSI": "We'll stop in a couple of minutes.",
}


def read(root: Path) -> Iterator[Utterance]:
    """Utterances of all actors; their sex from ``VideoDemographics.csv`` where that is there. Raises CorpusError."""
    table = next(
        (path for path in (root / "VideoDemographics.csv", root.parent / "VideoDemographics.csv") if path.is_file()),
        None,
    )
    lines: Iterable[str] = table_of(table, "crema-d") if table else ()
    sexes = {row.get("ActorID", ""): (row.get("Sex") or "").strip().lower() for row in csv.DictReader(lines)}

    def named(path: Path) -> Named | None:
        match = _STEM.fullmatch(path.stem)
        if match is None:
            return None
        return Named(
            match["emotion"], match["actor"], sexes.get(match["actor"], ""), _SENTENCES.get(match["sentence"], "")
        )

    return by_name(root, "crema-d", "en", named, "files such as AudioWAV/1001_DFA_ANG_XX.wav")


def recordings_listed(root: Path) -> Iterator[Archive]:
    """Every recording that ``SentenceFilenames.csv`` names: the repository holds them one by one, in git-lfs."""
    for row in csv.DictReader(table_of(root / _LIST, "crema-d")):
        stem = (row.get("Filename") or "").strip()
        if _STEM.fullmatch(stem):
            yield Archive(f"{_LFS}/AudioWAV/{stem}.wav", place=f"AudioWAV/{stem}.wav")


CREMAD = Corpus(
    name="crema-d",
    title="Crowd-sourced Emotional Multimodal Actors Dataset (CREMA-D)",
    language="en",
    licence="ODbL 1.0",
    homepage="https://github.com/CheyneyComputerScience/CREMA-D",
    citation="H. Cao, D. G. Cooper, M. K. Keutmann, R. C. Gur, A. Nenkova, R. Verma. CREMA-D: Crowd-sourced emotional "
    "multimodal actors dataset. IEEE Transactions on Affective Computing 5(4):377-390, 2014.",
    how_to_get="Clone the repository from the homepage with git-lfs; AudioWAV/ and VideoDemographics.csv are what is read.",
    emotions={"ANG": 1271, "DIS": 1271, "FEA": 1271, "HAP": 1271, "NEU": 1087, "SAD": 1271},
    n_speakers=91,
    sample_rate=16_000,
    read=read,
    archives=tuple(Archive(f"{_REPOSITORY}/{name}", place=name) for name in (_LIST, "VideoDemographics.csv")),
    more=recordings_listed,
    folders=("crema-d", "CREMA-D", "cremad"),
    notes="Labels are what the actors were asked for, not what raters heard. Twelve sentences, the same for all.",
)
