"""Read JSON lines: one JSON object for each utterance, such as EmoBox's tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from kanjo.corpora.formats.cells import cell_to_text
from kanjo.corpora.formats.rows import COLUMN_ALIASES, TableOptions, rows_to_utterances
from kanjo.corpora.manifest import Utterance
from kanjo.errors import CorpusError
from kanjo.parsing import parse_json


def read_json_lines(path: Path, lines: Iterable[str], options: TableOptions) -> Iterator[Utterance]:
    """Yield the utterances of a JSON lines file. A key that an object lacks is a missing value of this utterance.

    Raises:
        CorpusError: The file is empty, or a line is not a JSON object with a file and an emotion.
    """
    records = ((number, _parse_object(path, number, line)) for number, line in enumerate(lines, 1) if line.strip())
    first = next(records, None)
    if first is None:
        raise CorpusError(f"{path}: the file is empty; expected a JSON object on each line")

    def rows() -> Iterator[tuple[int, list[str]]]:
        yield first[0], _to_cells(path, *first)
        for number, record in records:
            yield number, _to_cells(path, number, record)

    yield from rows_to_utterances(path, tuple(COLUMN_ALIASES), rows(), options)


def _to_cells(path: Path, number: int, record: dict[str, Any]) -> list[str]:
    """Return a cell for each column of the manifest; "" for missing keys and null."""
    try:
        return [
            next((text for name in names if (text := cell_to_text(record.get(name), name))), "")
            for names in COLUMN_ALIASES.values()
        ]
    except CorpusError as error:
        raise CorpusError(f"{path}:{number}: {error}") from None


def _parse_object(path: Path, number: int, line: str) -> dict[str, Any]:
    """Return the object of a line, its keys casefolded."""
    try:
        record = parse_json(line, strict=False, object_pairs_hook=_Object)
    except ValueError as error:
        raise CorpusError(f"{path}:{number}: not JSON ({error}); expected a JSON object on each line") from error
    if not isinstance(record, _Object):
        kind = type(record).__name__
        raise CorpusError(f"{path}:{number}: a JSON {kind}; expected a JSON object with the file and its emotion")
    if len(record) < record.n_pairs:
        raise CorpusError(f"{path}:{number}: a key is in the object twice; remove one of the two")
    return record


class _Object(dict[str, Any]):
    """A JSON object with casefolded keys, and the number of its pairs, which may contain a key twice."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__((key.strip().casefold(), value) for key, value in pairs)
        self.n_pairs = len(pairs)
