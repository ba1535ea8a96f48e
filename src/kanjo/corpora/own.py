"""Your own corpus: a CSV or TSV with ``file`` and ``emotion``, or a folder with one sub-folder an emotion."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path

from kanjo.corpora._base import nothing_found, recordings
from kanjo.corpora.filelist import is_filelist, read_filelist
from kanjo.corpora.manifest import Utterance
from kanjo.errors import CorpusError
from kanjo.files import reason
from kanjo.labels import mapped

#: Column names that are understood, the manifest's own first.
_COLUMNS = {
    "file": ("file", "path", "filename", "file_name", "wav", "audio", "name"),
    "emotion": ("emotion", "label", "emo", "class"),
    "speaker": ("speaker", "speaker_id", "spk"),
    "sex": ("sex", "gender"),
    "language": ("language", "lang"),
    "text": ("text", "transcript", "transcription", "sentence"),
    "start_s": ("start_s", "start"),
    "end_s": ("end_s", "end"),
    "split": ("split", "set", "subset"),
}


def read_table(path: Path, name: str, label_map: Mapping[str, str]) -> Iterator[Utterance]:
    """Utterances of a CSV or TSV with a header (``file`` relative to the table's folder, or absolute), or of a filelist.

    Raises CorpusError, naming the line, for a missing column, an unknown emotion or a number that is none.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            first = stream.readline()
            if is_filelist(first):
                yield from read_filelist(path, name)
                return
            stream.seek(0)
            delimiter = max("\t,;|", key=first.count)
            reader = csv.DictReader(stream, delimiter=delimiter)
            columns = _columns(reader.fieldnames or (), path)
            empty = True
            for record in reader:
                empty = False
                row = {ours: (record.get(theirs) or "").strip() for ours, theirs in columns.items()}
                yield _utterance(row, path, reader.line_num, name, label_map)
    except OSError as error:
        raise CorpusError(f"can't read {path}: {reason(error)}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise CorpusError(f"{path}: not a table in UTF-8 ({error})") from error
    if empty:
        raise CorpusError(f"{path}: a header and no rows")


def read_folder(root: Path, name: str, label_map: Mapping[str, str]) -> Iterator[Utterance]:
    """Utterances of a folder whose sub-folders are named after emotions: ``angry/anything.wav``.

    A layer between (``speaker/angry/x.wav`` or ``angry/speaker/x.wav``) names the speaker. Raises CorpusError when a
    sub-folder's name is no emotion.
    """
    found = False
    for path in recordings(root, name):
        layers = path.relative_to(root).parts[:-1]
        if not layers:
            continue
        emotion, raw, rest = _emotion_layer(layers, path, label_map)
        found = True
        yield Utterance(
            corpus=name,
            file=path.relative_to(root).as_posix(),
            emotion=emotion,
            labels_raw=raw,
            speaker="/".join(rest),
        )
    if not found:
        raise nothing_found(name, root, "one sub-folder for each emotion, such as angry/ and happy/, with recordings")


def _emotion_layer(layers: tuple[str, ...], path: Path, label_map: Mapping[str, str]) -> tuple[str, str, list[str]]:
    for place in reversed(range(len(layers))):
        try:
            emotion = mapped(layers[place], label_map)
        except CorpusError:
            continue
        return emotion, layers[place], [*layers[:place], *layers[place + 1 :]]
    try:
        mapped(layers[-1], label_map)
    except CorpusError as error:
        raise CorpusError(f"{path}: its folder names no emotion: {error}") from None
    raise AssertionError("unreachable: the last layer was tried above")


def _columns(found: object, path: Path) -> dict[str, str]:
    names = {str(name).strip().casefold(): str(name) for name in found}  # type: ignore[attr-defined]
    columns = {
        ours: names[next(alias for alias in aliases if alias in names)]
        for ours, aliases in _COLUMNS.items()
        if any(alias in names for alias in aliases)
    }
    missing = [name for name in ("file", "emotion") if name not in columns]
    if missing:
        raise CorpusError(f"{path}: no column {' and none '.join(missing)}; its header is {', '.join(names) or 'empty'}")
    return columns


def _utterance(row: dict[str, str], path: Path, line: int, name: str, label_map: Mapping[str, str]) -> Utterance:
    def seconds(column: str) -> float | None:
        word = row.get(column, "")
        try:
            return float(word) if word else None
        except ValueError:
            raise CorpusError(f"{path}:{line}: {column} is {word!r}, expected seconds") from None

    if not row["file"]:
        raise CorpusError(f"{path}:{line}: no file named")
    try:
        emotion = mapped(row["emotion"], label_map)
    except CorpusError as error:
        raise CorpusError(f"{path}:{line}: {error}") from None
    return Utterance(
        corpus=name,
        file=row["file"],
        emotion=emotion,
        labels_raw=row["emotion"],
        start_s=seconds("start_s"),
        end_s=seconds("end_s"),
        **{column: row.get(column, "") for column in ("speaker", "sex", "language", "text", "split")},
    )
