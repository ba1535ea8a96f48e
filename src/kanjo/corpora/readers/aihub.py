"""AIHUB's emotional dialogue speech (감정 분류를 위한 대화 음성 데이터셋): WAV named by id, a CSV a year with five raters' labels."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from kanjo.corpora.corpus import Corpus, nothing_found, recordings, table_of
from kanjo.corpora.manifest import Utterance
from kanjo.errors import CorpusError
from kanjo.labels import canonical

_RATERS = 5
#: Header words of the years' tables, Korean and English, folded and without spaces.
_HEADERS = {
    "id": ("wav_id", "wavid", "id"),
    "text": ("발화문", "text", "utterance", "sentence"),
    "sex": ("성별", "gender", "sex"),
}
_SEXES = {"male": ("남", "남자", "남성", "male", "m"), "female": ("여", "여자", "여성", "female", "f")}
_EMOTIONS = ("Angry", "Disgust", "Fear", "Happiness", "Neutral", "Sadness", "Surprise")


@dataclass(frozen=True)
class _Row:
    id: str
    path: Path | None
    votes: tuple[str, ...]
    sex: str
    text: str


def read(root: Path) -> Iterator[Utterance]:
    """Utterances with the emotion that most of the five raters heard; those whose raters tie are left out.

    Raises CorpusError for a table without the columns, or when no table's id has its recording.
    """
    return _utterances(root, _majority)


def read_first(root: Path) -> Iterator[Utterance]:
    """The same with the first rater's label, as the mission's second system used it. Raises CorpusError."""
    return _utterances(root, lambda votes: votes[0])


def ties(root: Path) -> int:
    """How many utterances :func:`read` leaves out because no emotion has the most votes."""
    return sum(not _majority(row.votes) for row in _rows(root) if row.path)


def missing(root: Path) -> list[str]:
    """Ids that the tables list and whose recording is not there."""
    return [row.id for row in _rows(root) if row.path is None]


def _majority(votes: tuple[str, ...]) -> str:
    """The emotion with the most votes; "" where two share the first place."""
    first, *rest = Counter(votes).most_common(2)
    return "" if rest and rest[0][1] == first[1] else first[0]


def _utterances(root: Path, label: Callable[[tuple[str, ...]], str]) -> Iterator[Utterance]:
    found = False
    for row in _rows(root):
        chosen = label(row.votes)
        found = found or row.path is not None
        if chosen and row.path:
            file = row.path.relative_to(root).as_posix()
            yield Utterance("aihub", file, canonical(chosen), chosen, sex=row.sex, language="ko", text=row.text)
    if not found:
        raise nothing_found("aihub", root, "the years' CSVs (4차년도.csv, ...) and folders of WAV named by wav_id")


def _rows(root: Path) -> Iterator[_Row]:
    """Rows of the tables that say what was heard, and where their recordings are."""
    by_id = {path.stem: path for path in recordings(root, "aihub")}
    for table in sorted(root.rglob("*.csv")):
        reader = csv.reader(table_of(table, "aihub", ("utf-8-sig", "cp949")))
        columns, raters = _columns(next(reader, []), table)
        for cells in reader:
            named = {what: cells[place].strip() if place < len(cells) else "" for what, place in columns.items()}
            votes = tuple(
                cells[place].strip().capitalize() for place in raters if place < len(cells) and cells[place].strip()
            )
            path = by_id.get(named["id"])
            if not votes:
                continue
            sex = next((sex for sex, words in _SEXES.items() if named.get("sex", "").casefold() in words), "")
            yield _Row(named["id"], path, votes, sex, named.get("text", ""))


def _columns(header: list[str], table: Path) -> tuple[dict[str, int], list[int]]:
    places = {"".join(word.casefold().split()): place for place, word in enumerate(header)}
    columns = {what: places[word] for what, words in _HEADERS.items() for word in words if word in places}
    words = [(f"{n}번감정", f"emotion{n}", f"emotion_{n}", f"{n}_emotion") for n in range(1, _RATERS + 1)]
    raters = [places[word] for spellings in words for word in spellings if word in places]
    if "id" not in columns or not raters:
        raise CorpusError(
            f"aihub: {table} has the columns {', '.join(header) or '(none)'}; expected wav_id and 1번 감정 to {_RATERS}번 감정"
        )
    return columns, raters


AIHUB = Corpus(
    name="aihub",
    title="AIHUB emotional dialogue speech (감정 분류를 위한 대화 음성 데이터셋)",
    language="ko",
    licence="AIHUB's terms (residents of Korea, research)",
    homepage="https://aihub.or.kr/aihubdata/data/view.do?dataSetSn=263",
    citation="AIHUB. Dialogue speech dataset for emotion classification (감정 분류를 위한 대화 음성 데이터셋), 2020-2021.",
    how_to_get="Apply on the homepage; put the years' CSVs and unpacked folders of WAV into one folder.",
    emotions=dict.fromkeys(_EMOTIONS, 0),
    n_speakers=0,
    sample_rate=16_000,
    read=read,
    folders=("aihub", "AIHUB", "감정 분류를 위한 대화 음성 데이터셋"),
    missing=missing,
    also={"utterances without a majority, left out": ties},
    notes="The label is the raters' majority; ties are left out. aihub-first takes the first rater's. Speakers can't be told apart.",
)

AIHUB_FIRST = replace(AIHUB, name="aihub-first", title=f"{AIHUB.title}, first rater's label", read=read_first, also={})
