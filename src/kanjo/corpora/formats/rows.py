"""Convert the rows of a table under a header to utterances; column names of other tools are understood, too."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kanjo.corpora.formats.label_conflicts import LabelConflicts
from kanjo.corpora.formats.paths import PathResolver
from kanjo.corpora.formats.times import check_times, parse_seconds
from kanjo.corpora.manifest import Utterance
from kanjo.corpora.text_files import describe_header, extra_cells_error
from kanjo.corpora.words import (
    is_missing,
    normalize,
    parse_language,
    parse_sex,
    parse_speaker,
    parse_split,
    parse_text,
    parse_word,
)
from kanjo.errors import CorpusError
from kanjo.labels import map_emotion

#: Accepted names of each column of the manifest; the first that exists is used.
COLUMN_ALIASES = {
    "corpus": ("corpus", "dataset", "database"),
    "file": ("file", "path", "filename", "file_name", "wav", "audio", "name"),
    "emotion": ("emotion", "label", "emo", "class"),
    "labels_raw": ("labels_raw",),
    "speaker": ("speaker", "speaker_id", "spk"),
    "sex": ("sex", "gender"),
    "language": ("language", "lang"),
    "text": ("text", "transcript", "transcription", "sentence"),
    "start_s": ("start_s", "start"),
    "end_s": ("end_s", "end"),
    "split": ("split", "set", "subset"),
}

Row = Sequence[str]


@dataclass(frozen=True)
class TableOptions:
    """How the rows of a table become utterances.

    Attributes:
        corpus: Corpus of rows that state none.
        label_map: Emotion for each label that is not a word of the vocabulary.
        root: The folder that relative paths start from.
        search_parents: Whether relative paths may start from a parent of ``root`` instead.
        validate: Refuse infinite, negative and reversed times, and recordings that are listed twice with different
            emotions; False leaves them to ``kanjo corpus check``.
        decimal_comma: Whether "1,500" is 1.5 and not ambiguous: the separator is a semicolon.
    """

    corpus: str
    label_map: Mapping[str, str]
    root: Path
    search_parents: bool = False
    validate: bool = True
    decimal_comma: bool = False


def rows_to_utterances(
    path: Path, header: Sequence[str], rows: Iterable[tuple[int, Row]], options: TableOptions
) -> Iterator[Utterance]:
    """Yield the utterances of the rows of a table.

    Args:
        path: The table, for error messages.
        header: Column names.
        rows: Line numbers and cells. Missing cells at the end are empty; rows without any value are skipped.
        options: How the rows become utterances.

    Raises:
        CorpusError: A column is missing or named twice, a cell is invalid or one too many, or there are no rows.
    """
    resolver = PathResolver(options.root, options.search_parents)
    yield from resolver.locate(_convert_rows(path, header, rows, options, resolver))


def _convert_rows(
    path: Path, header: Sequence[str], rows: Iterable[tuple[int, Row]], options: TableOptions, resolver: PathResolver
) -> Iterator[Utterance]:
    """Yield the utterances with paths as in the table."""
    convert = _RowConverter(column_indices(header, path), header, options, resolver)
    splits = _SplitColumn(path)
    conflicts = LabelConflicts() if options.validate else None
    width = len(header)
    padding = [""] * width
    split: str | None = None
    n_utterances = 0
    for number, row in rows:
        cells = list(map(str.strip, row))
        if not (cells and cells[0]) and not any(cells):
            continue
        if len(cells) != width:
            if any(cells[width:]):
                raise extra_cells_error(path, number, len(cells), header)
            cells = (cells + padding)[:width]
        cells.append("")  # missing columns have this index
        try:
            utterance = convert(cells)
            if conflicts:
                conflicts.check(utterance, number)
        except CorpusError as error:
            raise CorpusError(f"{path}:{number}: {error}") from None
        if utterance.split != split:
            splits.check(split := utterance.split, number)
        n_utterances += 1
        yield utterance
    if not n_utterances:
        raise CorpusError(f"{path}: the table has a header, but no rows; expected one row for each utterance")


def find_column(column: str, header: Iterable[str]) -> str | None:
    """Return the name in the header of a column of the manifest; None if it is missing."""
    names = {normalize(str(name)).casefold(): str(name) for name in header}
    return next((names[alias] for alias in COLUMN_ALIASES[column] if alias in names), None)


def column_indices(header: Sequence[str], path: Path) -> dict[str, int]:
    """Return the index of each column of the manifest; ``len(header)`` for missing columns.

    Raises:
        CorpusError: The column of the file or the emotion is missing, or two columns have the same name.
    """
    names = {column: find_column(column, header) for column in COLUMN_ALIASES}
    existing = [normalize(str(name)).casefold() for name in header]
    missing = [column for column in ("file", "emotion") if names[column] is None]
    if missing:
        raise CorpusError(
            f"{path}:1: missing column {' and '.join(missing)}; the header is "
            f"{describe_header(header)}. Expected at least a column "
            f"for the file ({', '.join(COLUMN_ALIASES['file'])}) and one for the emotion "
            f"({', '.join(COLUMN_ALIASES['emotion'])})"
        )
    for name in names.values():
        if name is not None and existing.count(normalize(name).casefold()) > 1:
            raise CorpusError(f"{path}:1: two columns are named {name.strip()!r}; rename or remove one of them")
    return {column: len(header) if name is None else list(header).index(name) for column, name in names.items()}


class _Memo(dict[str, str]):
    """Converts each different cell once: a million rows repeat the same few words."""

    def __init__(self, convert: Callable[[str], str]) -> None:
        super().__init__()
        self._convert = convert

    def __missing__(self, cell: str) -> str:
        value = self[cell] = self._convert(cell)
        return value


class _RowConverter:
    """Converts the cells of a row to an utterance; raises CorpusError for invalid cells."""

    def __init__(
        self, columns: Mapping[str, int], header: Sequence[str], options: TableOptions, resolver: PathResolver
    ) -> None:
        self._indices = tuple(columns[column] for column in COLUMN_ALIASES)
        self._file_column = header[columns["file"]]
        self._options, self._clean_path = options, resolver.clean
        self._words, self._texts, self._speakers = _Memo(parse_word), _Memo(parse_text), _Memo(parse_speaker)
        self._sexes, self._splits, self._emotions = _Memo(parse_sex), _Memo(parse_split), _Memo(self._map_emotion)
        self._labels, self._languages = _Memo(normalize), _Memo(parse_language)

    def __call__(self, cells: Sequence[str]) -> Utterance:
        """Convert the cells of a row; the last cell is empty and stands for missing columns."""
        corpus, file, emotion, raw, speaker, sex, language, text, start, end, split = self._indices
        file_name = cells[file]
        if len(file_name) <= 4 and is_missing(file_name):  # longer names can't be a word for a missing value
            raise CorpusError(f"no file; expected the path of a recording in column {self._file_column}")
        if "\0" in file_name:
            raise CorpusError(f"file is {file_name!r}, which contains a null character")
        if "\\" in file_name or "./" in file_name or "//" in file_name:
            file_name = self._clean_path(file_name)
        start_s = end_s = None
        if cells[start] or cells[end]:
            start_s = parse_seconds(cells[start], "start_s", self._options.decimal_comma)
            end_s = parse_seconds(cells[end], "end_s", self._options.decimal_comma)
            if self._options.validate and (problem := check_times(start_s, end_s)):
                raise CorpusError(problem)
        return Utterance._make(  # twice as fast as Utterance(...)
            (
                self._words[cells[corpus]] or self._options.corpus,
                file_name,
                self._emotions[cells[emotion]],
                self._words[cells[raw]] or self._labels[cells[emotion]],
                self._speakers[cells[speaker]],
                self._sexes[cells[sex]],
                self._languages[cells[language]],
                self._texts[cells[text]],
                start_s,
                end_s,
                self._splits[cells[split]],
            )
        )

    def _map_emotion(self, label: str) -> str:
        try:
            return map_emotion(label, self._options.label_map)
        except CorpusError as error:
            if is_missing(label):
                found = f" (the cell is {label!r})" if label else ""
                raise CorpusError(f"no emotion{found}; expected a word for an emotion, or remove the row") from None
            raise error from None


class _SplitColumn:
    """Refuses a table in which only some rows have a split: the others would silently train."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._with_split: tuple[int, str] | None = None
        self._without_split: int | None = None

    def check(self, split: str, number: int) -> None:
        """Register the split of a row. Raises CorpusError if it is empty and that of another row is not."""
        if split:
            self._with_split = self._with_split or (number, split)
        elif self._without_split is None:
            self._without_split = number
        if self._with_split and self._without_split is not None:
            other, word = self._with_split
            raise CorpusError(
                f"{self._path}:{self._without_split}: split is empty, but line {other} has {word!r}; expected train, "
                "validation or test in every row, or in none"
            )
