"""EmoTale (Hjuler et al. 2025, arXiv 2508.14548): ``DK_004_A_5.wav``: language, speaker, emotion, sentence."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path

from kanjo.corpora.corpus import Corpus, Named, by_name, table_of
from kanjo.corpora.manifest import Utterance

_STEM = re.compile(r"(?P<language>DK|EN)_(?P<speaker>\d{3})_(?P<emotion>[ABHNS])_(?P<sentence>[1-5])")
_EMOTIONS = {"A": "anger", "B": "boredom", "H": "happiness", "N": "neutral", "S": "sadness"}
_LANGUAGES = {"DK": "da", "EN": "en"}
_TEXTS = {
    "da": (
        "Dugen ligger på køleskabet.",
        "Det sorte ark papir er placeret deroppe ved siden af tømmerstykket.",
        "De bar det bare ovenpå og nu skal de ned igen.",
        "Det vil være på det sted, hvor vi altid opbevarer det.",
        "Om syv timer er det morgen.",
    ),
    "en": (
        "The tablecloth is lying on the fridge.",
        "The black sheet of paper is located up there besides the piece of timber.",
        "They just carried it upstairs and now they are going down again.",
        "It will be in the place where we always store it.",
        "In seven hours it will be morning.",
    ),
}
_SEXES = {"f": "female", "female": "female", "m": "male", "male": "male"}


def read(root: Path) -> Iterator[Utterance]:
    """Utterances in both languages; sexes where ``speaker_info.csv`` is there. Raises CorpusError."""
    sexes = _sexes(root / "speaker_info.csv")

    def named(path: Path) -> Named | None:
        match = _STEM.fullmatch(path.stem)
        if match is None:
            return None
        language, speaker = _LANGUAGES[match["language"]], match["speaker"]
        text = _TEXTS[language][int(match["sentence"]) - 1]
        return Named(
            match["emotion"], speaker, sexes.get(int(speaker), ""), text, language, _EMOTIONS[match["emotion"]]
        )

    return by_name(root, "emotale", "da", named, "files such as DK_004_A_5.wav")


def _sexes(table: Path) -> dict[int, str]:
    """``{speaker: sex}``: the first column is the speaker, and the one that speaks of sex or gender the sex."""
    if not table.is_file():
        return {}
    rows = csv.reader(table_of(table, "emotale"))
    header = [word.strip().casefold() for word in next(rows, [])]
    place = next((n for n, word in enumerate(header) if word in ("sex", "gender")), None)
    found = ((re.search(r"\d+", row[0]), row[place]) for row in rows if place is not None and len(row) > place)
    return {int(number[0]): _SEXES.get(word.strip().casefold(), "") for number, word in found if number}


EMOTALE = Corpus(
    name="emotale",
    title="EmoTale",
    language="da, en",
    licence="as its datasheet says",
    homepage="https://github.com/snehadas/EmoTale",
    citation="M. J. Hjuler, H. V. Skat-Rørdam, L. H. Clemmensen, S. Das. EmoTale: an enacted speech-emotion dataset in Danish. "
    "ASRU 2025, arXiv 2508.14548.",
    how_to_get="Follow the homepage; keep speaker_info.csv beside the recordings.",
    emotions=dict.fromkeys(_EMOTIONS, 160),
    n_speakers=18,
    sample_rate=48_000,
    read=read,
    folders=("emotale", "EmoTale"),
    notes="450 utterances in Danish, 350 in English (select.languages=[da]). Five sentences in each, the same in every emotion.",
)
