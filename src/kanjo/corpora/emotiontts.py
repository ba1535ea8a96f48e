"""emotiontts open DB, public part (KAIST and Selvas AI, Korean): ``{plain,emotional}-to-emotional/SPK/wav/SPKNNNNN``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from kanjo.corpora._base import Corpus, nothing_found, recordings
from kanjo.corpora.manifest import Utterance
from kanjo.labels import canonical

_STEM = re.compile(r"(?P<speaker>(?:em|ne)[a-z])(?P<number>\d{5})")
_EMOTIONS = ("일반", "기쁨", "화남", "슬픔")  # neutral, happy, angry, sad: a hundred numbers each
_FEMALE = frozenset(["ema", "emb", "nea", "neb", "nec", "ned", "nee"])


def read(root: Path) -> Iterator[Utterance]:
    """Utterances of all speakers, with their scripts where they are there. Raises CorpusError."""
    found = False
    for path in recordings(root, "emotiontts"):
        match = _STEM.fullmatch(path.stem)
        if match is None or not 1 <= int(match["number"]) <= 100 * len(_EMOTIONS):
            continue
        found = True
        raw = _EMOTIONS[(int(match["number"]) - 1) // 100]
        yield Utterance(
            corpus="emotiontts",
            file=path.relative_to(root).as_posix(),
            emotion=canonical(raw),
            labels_raw=raw,
            speaker=match["speaker"],
            sex="female" if match["speaker"] in _FEMALE else "male",
            language="ko",
            text=_script(path),
        )
    if not found:
        raise nothing_found("emotiontts", root, "files such as emotional-to-emotional/nea/wav/nea00101.wav")


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
