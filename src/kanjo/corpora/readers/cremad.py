"""CREMA-D (Cao et al. 2014, doi 10.1109/TAFFC.2014.2336244), English.

``AudioWAV/1001_DFA_ANG_XX.wav``: actor, sentence, emotion, intensity.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from kanjo.corpora.corpus import (
    Archive,
    Corpus,
    ParsedName,
    first_existing_file,
    read_by_file_name,
    read_table_rows,
)
from kanjo.corpora.manifest import Utterance
from kanjo.corpora.words import parse_sex

_STEM = re.compile(r"(?P<actor>1\d{3})_(?P<sentence>[A-Z]{3})_(?P<emotion>ANG|DIS|FEA|HAP|NEU|SAD)_(?:LO|MD|HI|XX|X)")
_REPOSITORY = "https://raw.githubusercontent.com/CheyneyComputerScience/CREMA-D/master"
_LFS = "https://media.githubusercontent.com/media/CheyneyComputerScience/CREMA-D/master"
_FILE_LIST = "SentenceFilenames.csv"
_ACTORS = "VideoDemographics.csv"
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
    """Yield all utterances, with sexes if ``VideoDemographics.csv`` exists.

    A clone of the repository has every recording twice, in AudioWAV/ and AudioMP3/; the WAV is read.

    Raises:
        CorpusError: There are no utterances, or a sex is unknown.
    """
    table = first_existing_file(root / _ACTORS, root.parent / _ACTORS)
    actors = read_table_rows(table, "crema-d", ()) if table else ()
    sexes = {row.get("ActorID", ""): parse_sex(row.get("Sex", "")) for row in actors}

    def parse(match: re.Match[str], path: Path) -> ParsedName:
        actor = match["actor"]
        return ParsedName(match["emotion"], actor, sexes.get(actor, ""), _SENTENCES.get(match["sentence"], ""))

    return read_by_file_name(root, "crema-d", "en", _STEM, parse, "AudioWAV/1001_DFA_ANG_XX.wav")


def list_recordings_to_download(root: Path) -> Iterator[Archive]:
    """Yield every recording in ``SentenceFilenames.csv``: the repository stores single files in Git LFS."""
    for row in read_table_rows(root / _FILE_LIST, "crema-d", ()):
        stem = row.get("Filename", "").strip()
        if _STEM.fullmatch(stem):
            yield Archive(f"{_LFS}/AudioWAV/{stem}.wav", target=f"AudioWAV/{stem}.wav")


CREMAD = Corpus(
    name="crema-d",
    title="Crowd-sourced Emotional Multimodal Actors Dataset (CREMA-D)",
    language="en",
    license="ODbL 1.0",
    homepage="https://github.com/CheyneyComputerScience/CREMA-D",
    citation="H. Cao, D. G. Cooper, M. K. Keutmann, R. C. Gur, A. Nenkova, R. Verma. CREMA-D: Crowd-sourced emotional "
    "multimodal actors dataset. IEEE Transactions on Affective Computing 5(4):377-390, 2014.",
    how_to_get="Clone the repository from the homepage with git-lfs; kanjo reads AudioWAV/ and VideoDemographics.csv.",
    emotions={"ANG": 1271, "DIS": 1271, "FEA": 1271, "HAP": 1271, "NEU": 1087, "SAD": 1271},
    n_speakers=91,
    sample_rate=16_000,
    read=read,
    archives=tuple(Archive(f"{_REPOSITORY}/{name}", target=name) for name in (_FILE_LIST, _ACTORS)),
    list_further_archives=list_recordings_to_download,
    folders=("crema-d", "CREMA-D", "cremad"),
    notes="The labels are the emotions that the actors intended, not ratings. Twelve sentences, the same for all "
    "actors.",
)
