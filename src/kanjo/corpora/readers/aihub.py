"""AIHUB emotional dialogue speech (감정 분류를 위한 대화 음성 데이터셋): WAV named by id, CSVs of five raters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from kanjo.corpora.corpus import Corpus, list_recordings, no_utterances_error, without_copies
from kanjo.corpora.manifest import Utterance
from kanjo.corpora.text_files import describe_header, extra_cells_error, open_table, read_records
from kanjo.corpora.words import normalize, parse_sex
from kanjo.errors import CorpusError
from kanjo.labels import canonical_emotion

_N_RATERS = 5
#: Column names of the yearly tables, Korean and English, casefolded and without spaces.
_COLUMN_ALIASES = {
    "id": ("wav_id", "wavid", "id"),
    "text": ("발화문", "text", "utterance", "sentence"),
    "sex": ("성별", "gender", "sex"),
}
_EMOTIONS = ("Angry", "Disgust", "Fear", "Happiness", "Neutral", "Sadness", "Surprise")


@dataclass(frozen=True)
class _RatedUtterance:
    id: str
    path: Path | None
    votes: tuple[str, ...]
    sex: str
    text: str


def read(root: Path) -> Iterator[Utterance]:
    """Yield the utterances with the emotion that most raters chose; ties are left out.

    Raises:
        CorpusError: A table lacks a column, or no id of a table has a recording.
    """
    return _read_utterances(root, _majority)


def read_first_rater(root: Path) -> Iterator[Utterance]:
    """Yield the utterances with the label of the first rater. Raises CorpusError like :func:`read`."""
    return _read_utterances(root, lambda votes: votes[0])


def count_ties(root: Path) -> int:
    """Count the utterances that :func:`read` leaves out because no emotion has the most votes."""
    return sum(not _majority(row.votes) for row in _read_tables(root) if row.path)


def list_missing(root: Path) -> list[str]:
    """List the ids in the tables that have no recording."""
    return [row.id for row in _read_tables(root) if row.path is None]


def _majority(votes: tuple[str, ...]) -> str:
    """Return the emotion with the most votes; "" for a tie."""
    first, *rest = Counter(votes).most_common(2)
    return "" if rest and rest[0][1] == first[1] else first[0]


def _read_utterances(root: Path, choose_label: Callable[[tuple[str, ...]], str]) -> Iterator[Utterance]:
    n_recordings = 0
    for row in _read_tables(root):
        label = choose_label(row.votes)
        n_recordings += row.path is not None
        if label and row.path:
            file = row.path.relative_to(root).as_posix()
            yield Utterance("aihub", file, canonical_emotion(label), label, sex=row.sex, language="ko", text=row.text)
    if not n_recordings:
        raise no_utterances_error(
            "aihub", root, "one CSV for each year (4차년도.csv, ...) and folders of WAV named by wav_id"
        )


def _read_tables(root: Path) -> Iterator[_RatedUtterance]:
    """Yield the rows of all tables that have at least one vote, with the paths of their recordings."""
    paths_by_id = without_copies((normalize(path.stem), path) for path in list_recordings(root, "aihub"))
    for table in sorted(root.rglob("*.csv")):
        records = read_records(open_table(table, "aihub", ("utf-8-sig", "cp949")), table)
        _, header = next(records, (1, []))
        columns, vote_columns = _find_columns(header, table)
        for number, cells in records:
            if any(cells[len(header) :]):
                raise extra_cells_error(table, number, len(cells), header)
            values = {name: cells[i].strip() if i < len(cells) else "" for name, i in columns.items()}
            votes = tuple(cells[i].strip().capitalize() for i in vote_columns if i < len(cells) and cells[i].strip())
            if not votes:
                continue
            try:
                sex = parse_sex(values.get("sex", ""))
            except CorpusError as error:
                raise CorpusError(f"{table}:{number}: {error}") from None
            path = paths_by_id.get(normalize(values["id"]))
            yield _RatedUtterance(values["id"], path, votes, sex, normalize(values.get("text", "")))


def _find_columns(header: list[str], table: Path) -> tuple[dict[str, int], list[int]]:
    """Return the indices of the columns by name, and those of the votes."""
    indices = {"".join(word.casefold().split()): i for i, word in enumerate(header)}
    columns = {name: indices[word] for name, words in _COLUMN_ALIASES.items() for word in words if word in indices}
    vote_aliases = [(f"{n}번감정", f"emotion{n}", f"emotion_{n}", f"{n}_emotion") for n in range(1, _N_RATERS + 1)]
    vote_columns = [indices[word] for aliases in vote_aliases for word in aliases if word in indices]
    if "id" not in columns or not vote_columns:
        raise CorpusError(
            f"aihub: {table}:1: the header is {describe_header(header)}; "
            f"expected wav_id and 1번 감정 to {_N_RATERS}번 감정"
        )
    return columns, vote_columns


AIHUB = Corpus(
    name="aihub",
    title="AIHUB emotional dialogue speech (감정 분류를 위한 대화 음성 데이터셋)",
    language="ko",
    license="AIHUB's terms (residents of Korea, research)",
    homepage="https://aihub.or.kr/aihubdata/data/view.do?dataSetSn=263",
    citation="AIHUB. Dialogue speech dataset for emotion classification (감정 분류를 위한 대화 음성 데이터셋), "
    "2020-2021.",
    how_to_get="Apply on the homepage; put the yearly CSVs and the unpacked folders of WAV into one folder.",
    emotions=dict.fromkeys(_EMOTIONS, 0),
    n_speakers=0,
    sample_rate=16_000,
    read=read,
    folders=("aihub", "AIHUB", "감정 분류를 위한 대화 음성 데이터셋"),
    list_missing=list_missing,
    extra_counts={"utterances without a majority": count_ties},
    notes="The label is the majority of the raters; ties are left out. aihub-first uses the label of the first rater. "
    "The speakers are not published.",
)

AIHUB_FIRST = replace(
    AIHUB, name="aihub-first", title=f"{AIHUB.title}, first rater's label", read=read_first_rater, extra_counts={}
)
