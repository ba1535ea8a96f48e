"""Read JSON lines: one JSON object for each utterance, such as EmoBox's tables."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from kanjo.corpora.formats.rows import rows_to_utterances
from kanjo.corpora.manifest import Utterance
from kanjo.errors import CorpusError


def read_json_lines(path: Path, lines: Iterable[str], name: str, label_map: Mapping[str, str]) -> Iterator[Utterance]:
    """Yield the utterances of a JSON lines file; the keys of the first object are the columns.

    Raises:
        CorpusError: The file is empty, or a line is not a JSON object with a file and an emotion.
    """
    records = ((number, _parse_object(path, number, line)) for number, line in enumerate(lines, 1) if line.strip())
    first = next(records, None)
    if first is None:
        raise CorpusError(f"{path}: the file is empty; expected a JSON object on each line")
    header = list(first[1])
    rows = ((number, [_to_text(record.get(key)) for key in header]) for number, record in chain([first], records))
    yield from rows_to_utterances(path, header, rows, name, label_map)


def _to_text(value: Any) -> str:
    return "" if value is None else str(value)


def _parse_object(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except ValueError as error:
        raise CorpusError(f"{path}:{number}: not JSON ({error}); expected a JSON object on each line") from error
    if not isinstance(record, dict):
        kind = type(record).__name__
        raise CorpusError(f"{path}:{number}: a JSON {kind}; expected a JSON object with the file and its emotion")
    return record
