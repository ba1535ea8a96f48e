"""SAVEE (Haq & Jackson 2009), English. ``AudioData/DC/a01.wav`` or ``DC_a01.wav``: speaker, emotion, sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from kanjo.corpora.corpus import Corpus, ParsedName, read_by_file_name
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
    """Yield the utterances of the four men, in either layout. Raises CorpusError if there are none."""
    return read_by_file_name(root, "savee", "en", _STEM, _parse, "AudioData/DC/a01.wav, or DC_a01.wav", _EMOTIONS)


def _parse(match: re.Match[str], path: Path) -> ParsedName | None:
    speaker = match["speaker"] or path.parent.name
    if speaker not in _SPEAKERS:
        return None
    label, number = match["emotion"], match["sentence"]
    # sentences 1 to 3 are the same in every emotion; the others belong to one emotion each
    sentence = number if int(number) <= 3 else f"{label}{number}"
    return ParsedName(label, speaker, "male", f"sentence {sentence}", recording=number)


SAVEE = Corpus(
    name="savee",
    title="Surrey Audio-Visual Expressed Emotion (SAVEE)",
    language="en",
    license="research only",
    homepage="http://kahlan.eps.surrey.ac.uk/savee/",
    citation="S. Haq, P. J. B. Jackson. Speaker-dependent audio-visual emotion recognition. AVSP 2009.",
    how_to_get="Register on the homepage; unpack AudioData.zip.",
    emotions={letters: 120 if letters == "n" else 60 for letters in _EMOTIONS},
    n_speakers=4,
    sample_rate=44_100,
    read=read,
    folders=("savee", "SAVEE"),
)
