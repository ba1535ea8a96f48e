"""emotiontts open DB, public part (KAIST and Selvas AI, Korean): ``{plain,emotional}-to-emotional/SPK/wav/SPKNNNNN``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from kanjo.corpora.corpus import Corpus, Named, by_name
from kanjo.corpora.manifest import Utterance

_STEM = re.compile(r"(?P<speaker>(?:em|ne)[a-z])(?P<number>\d{5})")
#: Neutral, happy, sad, angry: a hundred numbers each. **The corpus's own README has the last two the other way round, and is wrong**: in the scripts
#: that were written for the emotions, 201 ("정말 마음이 아프다", my heart really aches) to 300 are sad, and 301 ("억지 주장을 하고 있으니", with such
#: absurd claims) to 400 angry; and by voice, 201 to 300 are the lowest, the softest and the slowest of all four in both parts.
_EMOTIONS = ("일반", "기쁨", "슬픔", "화남")
_FEMALE = frozenset(["ema", "emb", "nea", "neb", "nec", "ned", "nee"])


def read(root: Path) -> Iterator[Utterance]:
    """Utterances of all speakers, with their scripts where they are there. Raises CorpusError."""

    def named(path: Path) -> Named | None:
        match = _STEM.fullmatch(path.stem)
        if match is None or not 1 <= int(match["number"]) <= 100 * len(_EMOTIONS):
            return None
        speaker = match["speaker"]
        label = _EMOTIONS[(int(match["number"]) - 1) // 100]
        return Named(label, speaker, "female" if speaker in _FEMALE else "male", _script(root / path))

    return by_name(root, "emotiontts", "ko", named, "files such as emotional-to-emotional/nea/wav/nea00101.wav")


def _script(path: Path) -> str:
    script = path.parent.parent / "script" / f"{path.stem}.txt"
    try:
        return script.read_text(encoding="utf-8-sig").strip()
    except (OSError, UnicodeDecodeError):
        return ""


EMOTIONTTS = Corpus(
    name="emotiontts",
    title="emotiontts open DB, public part",
    language="ko",
    licence="CC BY-NC-SA 4.0, research only",
    homepage="https://github.com/emotiontts/emotiontts_open_db",
    citation="KAIST and Selvas AI. Emotional speech corpus of project 10080667, 2017-2018.",
    how_to_get="Clone the repository from the homepage (5 % of the corpus is public).",
    emotions=dict.fromkeys(_EMOTIONS, 75),
    n_speakers=15,
    sample_rate=22_050,
    read=read,
    notes="Its README says that 201 to 300 are angry and 301 to 400 sad. It is the other way round: scripts and voices say so, and so does kanjo.",
    folders=("emotiontts_ko", "emotiontts", "emotiontts_open_db"),
)
