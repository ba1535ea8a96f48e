"""Tables of utterances: kanjo's own manifest, a CSV or TSV of anybody's, Parquet, JSON lines (EmoBox's), filelists."""

from __future__ import annotations

import csv
import gc
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from kanjo.corpora.formats import parquet
from kanjo.corpora.formats.filelist import is_filelist, read_filelist
from kanjo.corpora.manifest import Manifest, Utterance
from kanjo.errors import CorpusError
from kanjo.files import reason
from kanjo.labels import mapped

#: Column names that are understood, the manifest's own first.
_COLUMNS = {
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
#: ``0 days 00:00:01.500``, as pandas and audformat write a length of time.
_DAYS = re.compile(r"(?:(?P<days>\d+) days? )?(?P<hours>\d+):(?P<minutes>\d\d):(?P<seconds>\d\d(?:\.\d+)?)")
#: EmoBox's tables lie two or three folders below the place that their paths start from.
_ABOVE = 4

Row = Sequence[str]


def read_manifest(path: Path, root: Path | None = None, label_map: Mapping[str, str] | None = None) -> Manifest:
    """Read a table of utterances; ``root``, which its files are relative to, defaults to the table's own folder.

    A million rows take two seconds. Raises CorpusError as :func:`read_table` does.
    """
    collecting = gc.isenabled()
    gc.disable()  # nothing of it is a cycle, and looking for some takes half of the time
    try:
        return Manifest(root or path.parent, tuple(read_table(path, path.stem, label_map or {})))
    finally:
        if collecting:
            gc.enable()


def read_table(path: Path, name: str, label_map: Mapping[str, str]) -> Iterator[Utterance]:
    """Utterances of a table with at least the columns ``file`` and ``emotion``: CSV, TSV, Parquet, JSON lines, or a filelist.

    Files are relative to the table's folder, or to one of those above it (EmoBox), or absolute. ``name`` is the corpus of
    rows that name none. Raises CorpusError, naming the line, for a missing column, an unknown emotion or a number that is none.
    """
    kind = path.suffix.lower()
    if kind == ".parquet":
        yield from utterances(path, parquet.columns_of(path), enumerate(parquet.read_rows(path), 1), name, label_map)
        return
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            if kind in (".jsonl", ".ndjson"):
                yield from _json_lines(path, stream, name, label_map)
                return
            first = stream.readline()
            if is_filelist(first):
                yield from read_filelist(path, name)
                return
            stream.seek(0)
            reader = csv.reader(stream, delimiter=max("\t,;|", key=first.count))
            header = next(reader, [])
            yield from utterances(path, header, ((reader.line_num, row) for row in reader), name, label_map)
    except OSError as error:
        raise CorpusError(f"can't read {path}: {reason(error)}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise CorpusError(f"{path}: not a table in UTF-8 ({error})") from error


def utterances(
    path: Path, header: Sequence[str], rows: Iterable[tuple[int, Row]], name: str, label_map: Mapping[str, str]
) -> Iterator[Utterance]:
    """Utterances of numbered rows under a header. Raises CorpusError."""
    corpus, file, emotion, raw, speaker, sex, language, text, start, end, split = (
        _places(header, path)[what] for what in _COLUMNS
    )
    width = len(header)
    blanks = [""] * width
    emotions: dict[str, str] = {}
    words: dict[str, str] = {}
    keep = words.setdefault  # the same few words stand in a million rows: each is kept once
    make = Utterance._make
    above: str | None = None
    for number, row in rows:
        if not row:
            continue
        cells = list(map(str.strip, row))
        if len(cells) != width:
            cells = (cells + blanks)[:width]
        cells.append("")  # what a missing column reads
        if not (name_of := cells[file]):
            raise CorpusError(f"{path}:{number}: no file named")
        if above is None:
            above = _above(path, name_of)
        if (label := cells[emotion]) not in emotions:
            emotions[label] = _emotion(label, label_map, path, number)
        yield make(
            (
                keep(cells[corpus], cells[corpus]) or name,
                above + name_of,
                emotions[label],
                keep(cells[raw] or label, cells[raw] or label),
                keep(cells[speaker], cells[speaker]),
                keep(cells[sex], cells[sex]),
                keep(cells[language], cells[language]),
                keep(cells[text], cells[text]),
                _seconds(cells[start], "start_s", path, number) if cells[start] else None,
                _seconds(cells[end], "end_s", path, number) if cells[end] else None,
                keep(cells[split], cells[split]),
            )
        )
    if above is None:
        raise CorpusError(f"{path}: a header and no rows")


def column_of(what: str, header: Iterable[str]) -> str | None:
    """The header's name for one of a manifest's columns; None where it has none."""
    names = {str(name).strip().casefold(): str(name) for name in header}
    return next((names[alias] for alias in _COLUMNS[what] if alias in names), None)


def _places(header: Sequence[str], path: Path) -> dict[str, int]:
    """Where each of a manifest's columns stands; one past the end for those that are not there."""
    found = {what: column_of(what, header) for what in _COLUMNS}
    missing = [what for what in ("file", "emotion") if found[what] is None]
    if missing:
        said = ", ".join(str(name).strip() for name in header) or "empty"
        raise CorpusError(f"{path}: no column {' and none '.join(missing)}; its header is {said}")
    return {what: len(header) if name is None else list(header).index(name) for what, name in found.items()}


def _emotion(label: str, label_map: Mapping[str, str], path: Path, number: int) -> str:
    try:
        return mapped(label, label_map)
    except CorpusError as error:
        raise CorpusError(f"{path}:{number}: {error}") from None


def _seconds(word: str, column: str, path: Path, number: int) -> float | None:
    if word in ("NaT", "nan"):
        return None
    try:
        return float(word)
    except ValueError:
        match = _DAYS.fullmatch(word)
    if match is None:
        raise CorpusError(f"{path}:{number}: {column} is {word!r}, expected seconds")
    hours = 24 * int(match["days"] or 0) + int(match["hours"])
    return 3600.0 * hours + 60 * int(match["minutes"]) + float(match["seconds"])


def _above(path: Path, file: str) -> str:
    """What leads from the table's folder to the one that its paths start from: "" where that is the table's own."""
    folder = path.resolve().parent
    for climbed in range(_ABOVE):
        if (folder / file).exists():
            return "../" * climbed
        folder = folder.parent
    return ""


def _json_lines(path: Path, stream: Iterable[str], name: str, label_map: Mapping[str, str]) -> Iterator[Utterance]:
    records = ((number, _object(path, number, line)) for number, line in enumerate(stream, 1) if line.strip())
    first = next(records, None)
    if first is None:
        raise CorpusError(f"{path}: empty, expected a JSON object on each line")
    header = list(first[1])
    rows = ((number, [_text(record.get(column)) for column in header]) for number, record in chain([first], records))
    yield from utterances(path, header, rows, name, label_map)


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _object(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except ValueError as error:
        raise CorpusError(f"{path}:{number}: not JSON ({error})") from error
    if not isinstance(record, dict):
        raise CorpusError(f"{path}:{number}: expected a JSON object with the file and its emotion")
    return record
