"""IEMOCAP (Busso et al. 2008): ``SessionN/sentences/wav/*/Ses01F_impro01_F000.wav``, labels in ``dialog/EmoEvaluation``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from kanjo.corpora.corpus import Corpus, Named, by_name, recordings, text_of
from kanjo.corpora.manifest import Utterance
from kanjo.errors import CorpusError

_STEM = re.compile(r"(?P<session>Ses0[1-5])[FM]_(?:impro|script)\w+_(?P<sex>[FM])\w?\d\d\d")
_LABEL = re.compile(r"\[\d+\.\d+ - \d+\.\d+\]\s+(?P<turn>\S+)\s+(?P<emotion>[a-z]{3})\s", re.MULTILINE)
_LINE = re.compile(r"^(?P<turn>Ses0\S+)\s+\[[\d.]+-[\d.]+\]:\s*(?P<text>.*)$", re.MULTILINE)
_EMOTIONS = {
    "ang": 1103, "hap": 595, "exc": 1041, "sad": 1084, "neu": 1708, "fru": 1849, "sur": 107, "fea": 40, "dis": 2, "oth": 3,
    "xxx": 2507,
}  # fmt: skip


def read(root: Path) -> Iterator[Utterance]:
    """Utterances that the raters' majority labelled; ``xxx``, no majority, is our "other". The speaker is session and sex.

    Raises CorpusError where the labels are missing.
    """
    labels = _labels(root)
    texts: dict[str, str] = {}
    for table in sorted(root.glob("Session[1-5]/dialog/transcriptions/Ses*.txt")):
        texts |= {
            match["turn"]: match["text"].strip()
            for match in _LINE.finditer(text_of(table, "iemocap", ("utf-8", "cp1252")))
        }

    def named(path: Path) -> Named | None:
        match = _STEM.fullmatch(path.stem)
        if match is None or "sentences" not in path.parts:  # whole dialogues have names of the same kind
            return None
        if not labels:
            raise CorpusError(f"iemocap: no labels; expected {root}/Session1/dialog/EmoEvaluation/Ses01F_impro01.txt")
        label = labels.get(path.stem)
        if label is None:
            return None
        sex = "female" if match["sex"] == "F" else "male"
        return Named(label, f"{match['session']}{match['sex']}", sex, texts.get(path.stem, ""))

    return by_name(
        root, "iemocap", "en", named, "files such as Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav"
    )


def missing(root: Path) -> list[str]:
    """Turns that were labelled and whose recording is not there."""
    there = {path.stem for path in recordings(root, "iemocap")}
    return [turn for turn in _labels(root) if turn not in there]


def _labels(root: Path) -> dict[str, str]:
    labels: dict[str, str] = {}
    for table in sorted(root.glob("Session[1-5]/dialog/EmoEvaluation/Ses*.txt")):
        labels |= {
            match["turn"]: match["emotion"] for match in _LABEL.finditer(text_of(table, "iemocap", ("utf-8", "cp1252")))
        }
    return labels


IEMOCAP = Corpus(
    name="iemocap",
    title="Interactive Emotional Dyadic Motion Capture (IEMOCAP)",
    language="en",
    licence="research only",
    homepage="https://sail.usc.edu/iemocap/",
    citation="C. Busso, M. Bulut, C.-C. Lee, A. Kazemzadeh, E. Mower, S. Kim, J. N. Chang, S. Lee, S. S. Narayanan. IEMOCAP: "
    "interactive emotional dyadic motion capture database. Language Resources and Evaluation 42:335-359, 2008.",
    how_to_get="Sign the form on the homepage; unpack IEMOCAP_full_release.",
    emotions=_EMOTIONS,
    n_speakers=10,
    sample_rate=16_000,
    read=read,
    missing=missing,
    folders=("iemocap", "IEMOCAP", "IEMOCAP_full_release"),
    notes="The usual four classes: labels.map={excitement: happiness}, labels.keep=[anger, happiness, neutral, sadness] (5531 "
    "utterances). Two speakers share each session: test on whole sessions where the dialogue should be unheard too.",
)
