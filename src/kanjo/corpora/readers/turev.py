"""TurEV-DB (Canpolat et al. 2020): ``Sound Source/Angry/1157_kz_acik.wav``: speaker, emotion, word; Turkish."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from kanjo.corpora.corpus import Archive, Corpus, Named, by_name
from kanjo.corpora.manifest import Utterance

_STEM = re.compile(r"(?P<speaker>\d{4})_[a-z]{2}_(?P<word>\w+?)", re.IGNORECASE)
_EMOTIONS = ("Angry", "Calm", "Happy", "Sad")
_FILTERED = "Model Output for Test Data"  # the repository holds copies of some recordings, put through filters


def read(root: Path) -> Iterator[Utterance]:
    """Utterances of all speakers, single words; the repository's filtered copies are left out. Raises CorpusError."""

    def named(path: Path) -> Named | None:
        match = _STEM.fullmatch(path.stem)
        if match is None or path.parent.name not in _EMOTIONS or _FILTERED in path.parts:
            return None
        return Named(path.parent.name, match["speaker"], text=match["word"])

    return by_name(root, "turev", "tr", named, "files such as Sound Source/Angry/1157_kz_acik.wav")


TUREV = Corpus(
    name="turev",
    title="Turkish Emotion-Voice Database (TurEV-DB)",
    language="tr",
    licence="CC BY-NC-SA 4.0",
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
