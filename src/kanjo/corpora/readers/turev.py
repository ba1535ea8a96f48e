"""TurEV-DB (Canpolat et al. 2020), Turkish. ``Sound Source/Angry/1157_kz_acik.wav``: emotion, speaker, word."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from kanjo.corpora.corpus import Archive, Corpus, ParsedName, read_by_file_name
from kanjo.corpora.manifest import Utterance

_STEM = re.compile(r"(?P<speaker>\d{4})_[a-z]{2}_(?P<word>\w+?)", re.IGNORECASE)
_EMOTIONS = ("Angry", "Calm", "Happy", "Sad")
_FILTERED = "Model Output for Test Data"  # the folder of the repository with filtered copies of some recordings


def read(root: Path) -> Iterator[Utterance]:
    """Yield all utterances, single words, without the filtered copies. Raises CorpusError if there are none."""
    return read_by_file_name(root, "turev", "tr", _STEM, _parse, "Sound Source/Angry/1157_kz_acik.wav")


def _parse(match: re.Match[str], path: Path) -> ParsedName | None:
    if path.parent.name not in _EMOTIONS or _FILTERED in path.parts:
        return None
    return ParsedName(path.parent.name, match["speaker"], text=match["word"])


TUREV = Corpus(
    name="turev",
    title="Turkish Emotion-Voice Database (TurEV-DB)",
    language="tr",
    license="CC BY-NC-SA 4.0",
    homepage="https://github.com/Xeonen/TurEV-DB",
    citation="S. F. Canpolat, Z. Ormanoğlu, D. Zeyrek. Turkish Emotion Voice Database (TurEV-DB). SLTU 2020.",
    how_to_get="Clone the repository from the homepage.",
    emotions=dict.fromkeys(_EMOTIONS, 0),
    n_utterances=1735,
    n_speakers=6,
    sample_rate=0,
    read=read,
    folders=("turev", "TurEV-DB", "TurEV-DB-master"),
    archives=(Archive("https://github.com/Xeonen/TurEV-DB/archive/refs/heads/master.zip", only="Sound Source"),),
    notes="82 words, the same in every emotion and by every speaker.",
)
