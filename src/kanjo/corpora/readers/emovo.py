"""EMOVO (Costantini et al. 2014): ``f1/gio-f1-b1.wav``; Italian."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from kanjo.corpora.corpus import Corpus, Named, by_name
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
    """Utterances of the six actors. Raises CorpusError."""

    def named(path: Path) -> Named | None:
        match = _STEM.fullmatch(path.stem)
        if match is None:
            return None
        label, sex = match["emotion"], "female" if match["sex"] == "f" else "male"
        return Named(label, match["speaker"], sex, f"sentence {match['sentence']}", emotion=_EMOTIONS[label])

    return by_name(root, "emovo", "it", named, "files such as f1/gio-f1-b1.wav")


EMOVO = Corpus(
    name="emovo",
    title="EMOVO",
    language="it",
    licence="free for research",
    homepage="http://voice.fub.it/activities/corpora/emovo/index.html",
    citation="G. Costantini, I. Iaderola, A. Paoloni, M. Todisco. EMOVO corpus: an Italian emotional speech database. LREC 2014.",
    how_to_get="Download the archive from the homepage and unpack it.",
    emotions=dict.fromkeys(_EMOTIONS, 84),
    n_speakers=6,
    sample_rate=48_000,
    read=read,
    folders=("emovo", "EMOVO"),
    notes="Fourteen sentences, the same for every speaker and emotion.",
)
