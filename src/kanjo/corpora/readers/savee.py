"""SAVEE (Haq & Jackson 2009): ``AudioData/DC/a01.wav``, or ``DC_a01.wav`` in one folder."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from kanjo.corpora.corpus import Corpus, Named, by_name
from kanjo.corpora.manifest import Utterance

_STEM = re.compile(r"(?:(?P<speaker>DC|JE|JK|KL)_)?(?P<emotion>a|d|f|h|n|sa|su)(?P<sentence>\d\d)")
_EMOTIONS = {
    "a": "anger",
    "d": "disgust",
    "f": "fear",
    "h": "happiness",
    "n": "neutral",
    "sa": "sadness",
    "su": "surprise",
}
_SPEAKERS = ("DC", "JE", "JK", "KL")


def read(root: Path) -> Iterator[Utterance]:
    """Utterances of the four men, in either layout. Raises CorpusError."""

    def named(path: Path) -> Named | None:
        match = _STEM.fullmatch(path.stem)
        if match is None:
            return None
        speaker = match["speaker"] or path.parent.name
        if speaker not in _SPEAKERS:
            return None
        letters = match["emotion"]
        # sentences 1 to 3 are the same in every emotion; the rest are each emotion's own
        sentence = match["sentence"] if int(match["sentence"]) <= 3 else f"{letters}{match['sentence']}"
        return Named(letters, speaker, "male", f"sentence {sentence}", emotion=_EMOTIONS[letters])

    return by_name(root, "savee", "en", named, "files such as AudioData/DC/a01.wav, or DC_a01.wav")


SAVEE = Corpus(
    name="savee",
    title="Surrey Audio-Visual Expressed Emotion (SAVEE)",
    language="en",
    licence="research only",
    homepage="http://kahlan.eps.surrey.ac.uk/savee/",
    citation="S. Haq, P. J. B. Jackson. Speaker-dependent audio-visual emotion recognition. AVSP 2009.",
    how_to_get="Register on the homepage; unpack AudioData.zip.",
    emotions={letters: 120 if letters == "n" else 60 for letters in _EMOTIONS},
    n_speakers=4,
    sample_rate=44_100,
    read=read,
    folders=("savee", "SAVEE"),
)
