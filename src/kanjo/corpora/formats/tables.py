"""Read tables of utterances: the manifest, other CSV or TSV, Parquet, JSON lines, and filelists."""

from __future__ import annotations

import csv
import gc
from collections.abc import Iterator, Mapping
from pathlib import Path

from kanjo.corpora.formats import parquet
from kanjo.corpora.formats.filelist import is_filelist, read_filelist
from kanjo.corpora.formats.jsonl import read_json_lines
from kanjo.corpora.formats.rows import rows_to_utterances
from kanjo.corpora.manifest import Manifest, Utterance
from kanjo.errors import CorpusError
from kanjo.files import os_error_message

_DELIMITERS = "\t,;|"


def read_manifest(path: Path, root: Path | None = None, label_map: Mapping[str, str] | None = None) -> Manifest:
    """Read a table of utterances. A million rows take two seconds.

    Args:
        path: The table.
        root: The folder that its file paths are relative to; None for the folder of the table.
        label_map: Emotion for each label that is not a word of the vocabulary.

    Raises:
        CorpusError: As :func:`read_table`.
    """
    gc_was_enabled = gc.isenabled()
    gc.disable()  # utterances have no reference cycles; searching for some takes half of the time
    try:
        return Manifest(root or path.parent, tuple(read_table(path, path.stem, label_map or {})))
    finally:
        if gc_was_enabled:
            gc.enable()


def read_table(path: Path, name: str, label_map: Mapping[str, str]) -> Iterator[Utterance]:
    """Yield the utterances of a table with at least the columns ``file`` and ``emotion``.

    File paths are absolute, or relative to the folder of the table or to one of its parents (EmoBox).

    Args:
        path: A CSV, TSV, Parquet or JSON lines file, or a filelist.
        name: Corpus of rows that state none.
        label_map: Emotion for each label that is not a word of the vocabulary.

    Raises:
        CorpusError: The file can't be read, a column is missing, or a cell is invalid; with the line number.
    """
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        rows = enumerate(parquet.read_rows(path), 1)
        yield from rows_to_utterances(path, parquet.read_column_names(path), rows, name, label_map)
        return
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            if suffix in (".jsonl", ".ndjson"):
                yield from read_json_lines(path, stream, name, label_map)
                return
            first_line = stream.readline()
            if is_filelist(first_line):
                yield from read_filelist(path, name)
                return
            stream.seek(0)
            reader = csv.reader(stream, delimiter=max(_DELIMITERS, key=first_line.count))
            header = next(reader, [])
            yield from rows_to_utterances(path, header, ((reader.line_num, row) for row in reader), name, label_map)
    except OSError as error:
        raise CorpusError(f"can't read {path}: {os_error_message(error)}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise CorpusError(f"{path}: not a text table ({error}); expected CSV, TSV or JSON lines in UTF-8") from error
