"""emotiontts open DB, public part (KAIST and Selvas AI), Korean.

``{plain,emotional}-to-emotional/nea/wav/nea00101.wav``: speaker and number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from kanjo.corpora.corpus import Corpus, ParsedName, read_by_file_name
from kanjo.corpora.manifest import Utterance

_STEM = re.compile(r"(?P<speaker>(?:em|ne)[a-z])(?P<number>\d{5})")
#: Neutral, happy, sad, angry: a hundred numbers each. **The README of the corpus swaps the last two by mistake**: in
#: the scripts written for the emotions, 201 ("정말 마음이 아프다", my heart really aches) to 300 are sad, and 301
#: ("억지 주장을 하고 있으니", with such absurd claims) to 400 angry. The voices agree: in both parts, 201 to 300
#: are the lowest, softest and slowest of the four.
_EMOTIONS = ("일반", "기쁨", "슬픔", "화남")
_NUMBERS_PER_EMOTION = 100
_FEMALE = frozenset(["ema", "emb", "nea", "neb", "nec", "ned", "nee"])


def read(root: Path) -> Iterator[Utterance]:
    """Yield all utterances, with their scripts where these exist. Raises CorpusError if there are none."""

    def parse(match: re.Match[str], path: Path) -> ParsedName | None:
        speaker, number = match["speaker"], int(match["number"])
        if not 1 <= number <= _NUMBERS_PER_EMOTION * len(_EMOTIONS):
            return None
        label = _EMOTIONS[(number - 1) // _NUMBERS_PER_EMOTION]
        return ParsedName(label, speaker, "female" if speaker in _FEMALE else "male", _read_script(root / path))

    return read_by_file_name(root, "emotiontts", "ko", _STEM, parse, "emotional-to-emotional/nea/wav/nea00101.wav")


def _read_script(path: Path) -> str:
    """Return the text of a recording; "" if it can't be read."""
    script = path.parent.parent / "script" / f"{path.stem}.txt"
    try:
        return script.read_text(encoding="utf-8-sig").strip()
    except (OSError, UnicodeDecodeError):
        return ""


EMOTIONTTS = Corpus(
    name="emotiontts",
    title="emotiontts open DB, public part",
    language="ko",
    license="CC BY-NC-SA 4.0, research only",
    homepage="https://github.com/emotiontts/emotiontts_open_db",
    citation="KAIST and Selvas AI. Emotional speech corpus of project 10080667, 2017-2018.",
    how_to_get="Clone the repository from the homepage (5 % of the corpus is public).",
    emotions=dict.fromkeys(_EMOTIONS, 75),
    n_speakers=15,
    sample_rate=22_050,
    read=read,
    notes="Its README labels 201 to 300 as angry and 301 to 400 as sad. Scripts and voices show that the two are "
    "swapped; kanjo labels 201 to 300 as sad and 301 to 400 as angry.",
    stem=_STEM,
    folders=("emotiontts_ko", "emotiontts", "emotiontts_open_db"),
)
