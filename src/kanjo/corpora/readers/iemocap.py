"""IEMOCAP (Busso et al. 2008).

``Session1/sentences/wav/*/Ses01F_impro01_F000.wav``; the labels are in ``Session1/dialog/EmoEvaluation``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from kanjo.corpora.corpus import SEX_BY_LETTER, Corpus, ParsedName, list_recordings, read_by_file_name
from kanjo.corpora.manifest import Utterance
from kanjo.corpora.text_files import read_text
from kanjo.errors import CorpusError

_STEM = re.compile(r"(?P<session>Ses0[1-5])[FM]_(?:impro|script)\w+_(?P<sex>[FM])\w?\d\d\d")
_LABEL = re.compile(r"\[\d+\.\d+ - \d+\.\d+\]\s+(?P<turn>\S+)\s+(?P<value>[a-z]{3})\s", re.MULTILINE)
_TRANSCRIPT = re.compile(r"^(?P<turn>Ses0\S+)\s+\[[\d.]+-[\d.]+\]:\s*(?P<value>.*)$", re.MULTILINE)
_EMOTIONS = {
    "ang": 1103,
    "hap": 595,
    "exc": 1041,
    "sad": 1084,
    "neu": 1708,
    "fru": 1849,
    "sur": 107,
    "fea": 40,
    "dis": 2,
    "oth": 3,
    "xxx": 2507,
}


def read(root: Path) -> Iterator[Utterance]:
    """Yield the labeled utterances. The speaker is session and sex; ``xxx`` (no majority of raters) becomes "other".

    Raises:
        CorpusError: There are no utterances, or the labels are missing.
    """
    labels = _read_labels(root)
    texts = _read_turns(root, "transcriptions", _TRANSCRIPT)

    def parse(match: re.Match[str], path: Path) -> ParsedName | None:
        if "sentences" not in path.parts:  # recordings of whole dialogues have similar names
            return None
        if not labels:
            raise CorpusError(
                f"iemocap: no labels under {root}; expected files such as Session1/dialog/EmoEvaluation/"
                "Ses01F_impro01.txt. Unpack the full release"
            )
        if path.stem not in labels:
            return None
        speaker, sex = f"{match['session']}{match['sex']}", SEX_BY_LETTER[match["sex"].lower()]
        return ParsedName(labels[path.stem], speaker, sex, texts.get(path.stem, ""))

    example = "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav"
    return read_by_file_name(root, "iemocap", "en", _STEM, parse, example)


def list_missing(root: Path) -> list[str]:
    """List the labeled turns whose recording does not exist."""
    existing = {path.stem for path in list_recordings(root, "iemocap")}
    return [turn for turn in _read_labels(root) if turn not in existing]


def _read_labels(root: Path) -> dict[str, str]:
    return _read_turns(root, "EmoEvaluation", _LABEL)


def _read_turns(root: Path, folder: str, pattern: re.Pattern[str]) -> dict[str, str]:
    """Return ``{turn: value}`` of all matches in the text files of a folder of every session."""
    values: dict[str, str] = {}
    for path in sorted(root.glob(f"Session[1-5]/dialog/{folder}/Ses*.txt")):
        text = read_text(path, "iemocap", ("utf-8", "cp1252"))
        values |= {match["turn"]: match["value"].strip() for match in pattern.finditer(text)}
    return values


IEMOCAP = Corpus(
    name="iemocap",
    title="Interactive Emotional Dyadic Motion Capture (IEMOCAP)",
    language="en",
    license="research only",
    homepage="https://sail.usc.edu/iemocap/",
    citation="C. Busso, M. Bulut, C.-C. Lee, A. Kazemzadeh, E. Mower, S. Kim, J. N. Chang, S. Lee, S. S. Narayanan. "
    "IEMOCAP: interactive emotional dyadic motion capture database. Language Resources and Evaluation 42:335-359, "
    "2008.",
    how_to_get="Sign the form on the homepage; unpack IEMOCAP_full_release.",
    emotions=_EMOTIONS,
    n_speakers=10,
    sample_rate=16_000,
    read=read,
    list_missing=list_missing,
    folders=("iemocap", "IEMOCAP", "IEMOCAP_full_release"),
    notes="The usual four classes: labels.map={excitement: happiness}, labels.include=[anger, happiness, neutral, "
    "sadness] (5531 utterances). Two speakers share each session: test on whole sessions if the dialogues must be "
    "unseen, too.",
)
