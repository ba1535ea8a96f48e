"""Read tables of utterances: the manifest, other CSV or TSV, Parquet, JSON lines, and filelists."""

from __future__ import annotations

import gc
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TextIO

from kanjo.corpora.formats import parquet
from kanjo.corpora.formats.filelist import is_filelist, read_filelist
from kanjo.corpora.formats.jsonl import read_json_lines
from kanjo.corpora.formats.paths import rebase_paths
from kanjo.corpora.formats.rows import TableOptions, column_indices, find_column, rows_to_utterances
from kanjo.corpora.manifest import Manifest, Utterance
from kanjo.corpora.text_files import decoding_error, detect_encoding, read_records
from kanjo.errors import CorpusError
from kanjo.files import os_error_message
from kanjo.labels import map_emotion

_DELIMITERS = "\t,;|"
#: The first line of a CSV file of Excel may name the separator.
_SEPARATOR_LINE = re.compile(r'"?sep=(?P<separator>.)"?\s*', re.IGNORECASE)


def read_manifest(
    path: Path,
    root: Path | None = None,
    label_map: Mapping[str, str] | None = None,
    *,
    corpus: str = "",
    validate: bool = True,
) -> Manifest:
    """Read a table of utterances. A million rows take two to three seconds.

    Args:
        path: The table.
        root: The folder that its file paths are relative to; None for the folder of the table or one of its parents.
            Paths of another machine are looked for in this folder, without their first folders.
        label_map: Emotion for each label that is not a word of the vocabulary.
        corpus: Corpus of the rows that state none; "" if it is not known: then the name of the table stands for it.
        validate: Refuse infinite, negative and reversed times, and recordings that are listed twice with different
            emotions; False leaves them to ``kanjo corpus check``.

    Raises:
        CorpusError: As :func:`read_table`.
    """
    options = TableOptions(
        corpus or path.stem, {} if label_map is None else label_map, root or path.parent, root is None, validate
    )
    gc_was_enabled = gc.isenabled()
    gc.disable()  # utterances have no reference cycles; searching for some takes half of the time
    try:
        rows = read_table(path, options)
        if root is not None:
            rows = rebase_paths(rows, root)
        return Manifest(options.root, tuple(rows), "" if corpus else options.corpus)
    finally:
        if gc_was_enabled:
            gc.enable()


def read_table(path: Path, options: TableOptions) -> Iterator[Utterance]:
    """Yield the utterances of a table with at least the columns ``file`` and ``emotion``.

    File paths are absolute, or relative to the root or to one of its parents (EmoBox).

    Args:
        path: A CSV, TSV, Parquet or JSON lines file, or a filelist.
        options: How the rows become utterances.

    Raises:
        CorpusError: The file can't be read, a column is missing, or a cell is invalid; with the line number.
    """
    suffix = path.suffix.lower()
    encoding = ""
    try:
        if suffix == ".parquet":
            yield from _read_parquet(path, options)
            return
        if suffix == ".json":
            raise CorpusError(f"{path}: expected one JSON object for each line, in a file that ends in .jsonl")
        encoding = detect_encoding(path)
        with path.open(encoding=encoding, newline="") as stream:
            if suffix in (".jsonl", ".ndjson"):
                yield from read_json_lines(path, stream, options)
            elif is_filelist(path, stream.readline()):
                yield from read_filelist(path, options)
            else:
                yield from _read_delimited(path, stream, options)
    except OSError as error:
        raise CorpusError(f"can't read {path}: {os_error_message(error)}") from error
    except UnicodeError as error:
        raise decoding_error(path, encoding) from error


def _read_parquet(path: Path, options: TableOptions) -> Iterator[Utterance]:
    header = parquet.read_column_names(path)
    used = sorted({index for index in column_indices(header, path).values() if index < len(header)})
    columns = [header[index] for index in used]
    yield from rows_to_utterances(path, columns, enumerate(parquet.read_rows(path, columns), 1), options)


def _read_delimited(path: Path, stream: TextIO, options: TableOptions) -> Iterator[Utterance]:
    """Yield the utterances of a CSV or TSV file; the separator is the one that gives the required columns."""
    stream.seek(0)
    separator_line = _SEPARATOR_LINE.fullmatch(stream.readline().rstrip("\r\n"))
    lines_before = 1 if separator_line else 0
    delimiter = separator_line["separator"] if separator_line else _detect_delimiter(path, stream)
    stream.seek(0)
    header_records = read_records(islice(stream, lines_before, None), path, lines_before, delimiter=delimiter)
    _, header = next(header_records, (1, []))
    check = _SwallowedRowCheck(path, header, delimiter, options.label_map)
    stream.seek(0)
    records = read_records(islice(stream, lines_before, None), path, lines_before, check, delimiter=delimiter)
    next(records, None)
    yield from rows_to_utterances(path, header, records, replace(options, decimal_comma=delimiter == ";"))


def _detect_delimiter(path: Path, stream: TextIO) -> str:
    """Return the separator with which the header has a file and an emotion, else the one with the most cells."""
    headers: dict[str, list[str]] = {}
    error = None
    for delimiter in _DELIMITERS:
        stream.seek(0)
        try:
            _, headers[delimiter] = next(read_records(stream, path, delimiter=delimiter), (1, []))
        except CorpusError as problem:
            error = error or problem
    if not headers:
        raise error or CorpusError(f"{path}:1: no header; expected the names of the columns")
    for delimiter, header in headers.items():
        if find_column("file", header) and find_column("emotion", header):
            return delimiter
    return max(headers, key=lambda delimiter: len(headers[delimiter]))


class _SwallowedRowCheck:
    """Refuses a record of several lines if one of the later lines is a row by itself.

    Two quotation marks that are not closed, in two rows, look like one quoted cell with a line break.
    """

    def __init__(self, path: Path, header: Sequence[str], delimiter: str, label_map: Mapping[str, str]) -> None:
        self._path, self._delimiter, self._label_map = path, delimiter, label_map
        self._n_columns, self._emotion = len(header), column_indices(header, path)["emotion"]

    def __call__(self, first_line: int, last_line: int, cells: list[str]) -> None:
        first, *others = (line.split(self._delimiter) for line in self._delimiter.join(cells).splitlines())
        if len(first) > 1 and any(map(self._is_row, others)):
            raise CorpusError(
                f"{self._path}:{first_line}: a cell begins with a quotation mark and contains the rows up to line "
                f"{last_line}; close the quotation mark, and write quotation marks in the cell twice"
            )

    def _is_row(self, cells: list[str]) -> bool:
        """Return whether there are as many cells as columns, with a known emotion."""
        if len(cells) != self._n_columns:
            return False
        try:
            return bool(map_emotion(cells[self._emotion].strip(' "'), self._label_map))
        except CorpusError:
            return False
