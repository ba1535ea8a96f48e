"""EmoTale (Hjuler et al. 2025, arXiv 2508.14548). ``DK_004_A_5.wav``: language, speaker, emotion, sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from kanjo.corpora.corpus import Corpus, ParsedName, read_by_file_name
from kanjo.corpora.manifest import Utterance
from kanjo.corpora.text_files import open_table, read_records
from kanjo.corpora.words import parse_sex

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


def read(root: Path) -> Iterator[Utterance]:
    """Yield the utterances of both languages, with sexes if ``speaker_info.csv`` exists.

    Raises:
        CorpusError: There are no utterances.
    """
    sexes = _read_sexes(root / "speaker_info.csv")

    def parse(match: re.Match[str], path: Path) -> ParsedName:
        language, speaker = _LANGUAGES[match["language"]], match["speaker"]
        text = _TEXTS[language][int(match["sentence"]) - 1]
        return ParsedName(match["emotion"], speaker, sexes.get(int(speaker), ""), text, language)

    return read_by_file_name(root, "emotale", "da", _STEM, parse, "DK_004_A_5.wav", _EMOTIONS)


def _read_sexes(table: Path) -> dict[int, str]:
    """Return ``{speaker: sex}``: the first column is the speaker; the sex is in the column "sex" or "gender"."""
    if not table.is_file():
        return {}
    records = read_records(open_table(table, "emotale"), table)
    header = [word.strip().casefold() for word in next(records, (1, []))[1]]
    column = next((i for i, word in enumerate(header) if word in ("sex", "gender")), None)
    if column is None:
        return {}
    cells = ((re.search(r"\d+", row[0]), row[column]) for _, row in records if len(row) > column)
    return {int(number[0]): parse_sex(word) for number, word in cells if number}


EMOTALE = Corpus(
    name="emotale",
    title="EmoTale",
    language="da, en",
    license="see its datasheet",
    homepage="https://github.com/snehadas/EmoTale",
    citation="M. J. Hjuler, H. V. Skat-Rørdam, L. H. Clemmensen, S. Das. EmoTale: an enacted speech-emotion dataset in "
    "Danish. ASRU 2025, arXiv 2508.14548.",
    how_to_get="Follow the instructions on the homepage; keep speaker_info.csv in the folder of the recordings.",
    emotions=dict.fromkeys(_EMOTIONS, 160),
    n_speakers=18,
    sample_rate=48_000,
    read=read,
    folders=("emotale", "EmoTale"),
    notes="450 utterances in Danish, 350 in English (select.languages=[da]). Five sentences in each language, the same "
    "in every emotion.",
)
