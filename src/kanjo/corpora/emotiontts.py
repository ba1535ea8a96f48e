"""emotiontts open DB, public part (KAIST and Selvas AI, Korean): ``{plain,emotional}-to-emotional/SPK/wav/SPKNNNNN``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from kanjo.corpora._base import Corpus, Named, by_name
from kanjo.corpora.manifest import Utterance

_STEM = re.compile(r"(?P<speaker>(?:em|ne)[a-z])(?P<number>\d{5})")
_EMOTIONS = ("일반", "기쁨", "화남", "슬픔")  # neutral, happy, angry, sad: a hundred numbers each
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
    folders=("emotiontts_ko", "emotiontts", "emotiontts_open_db"),
)
