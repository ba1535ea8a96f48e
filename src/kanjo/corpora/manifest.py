"""The manifest: one row an utterance, whatever corpus it comes from, as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from kanjo import files
from kanjo.errors import CorpusError
from kanjo.labels import canonical


@dataclass(frozen=True, slots=True)
class Utterance:
    """One labelled stretch of speech.

    ``file`` is relative to the corpus's root, with forward slashes. ``start_s`` and ``end_s`` (seconds) are None for a
    whole file. ``emotion`` is the shared vocabulary's word, ``labels_raw`` the corpus's own. Unknown text fields are "".
    """

    corpus: str
    file: str
    emotion: str
    labels_raw: str = ""
    speaker: str = ""
    sex: str = ""
    language: str = ""
    text: str = ""
    start_s: float | None = None
    end_s: float | None = None
    split: str = ""

    @property
    def speaker_key(self) -> str:
        """The speaker, told apart from another corpus's speaker of the same name."""
        return f"{self.corpus}/{self.speaker}" if self.speaker else ""


COLUMNS = ("corpus", "file", "start_s", "end_s", "speaker", "sex", "language", "text", "emotion", "labels_raw", "split")
assert {field.name for field in fields(Utterance)} == set(COLUMNS)


@dataclass(frozen=True)
class Manifest:
    """Utterances, and the folder that their files are relative to."""

    root: Path
    utterances: tuple[Utterance, ...]

    def path(self, utterance: Utterance) -> Path:
        return self.root / utterance.file

    def relabelled(self, mapping: dict[str, str], keep: Sequence[str] | None) -> Manifest:
        """Emotions joined by ``mapping`` (emotion -> emotion), then only those in ``keep`` (None keeps all)."""
        rows = (replace(row, emotion=mapping.get(row.emotion, row.emotion)) for row in self.utterances)
        return Manifest(self.root, tuple(row for row in rows if keep is None or row.emotion in keep))


def write_manifest(path: Path, utterances: Iterable[Utterance]) -> None:
    """Write a manifest as CSV (UTF-8, RFC 4180), whole or not at all. Raises KanjoError."""
    files.write_text(path, manifest_text(utterances))


def manifest_text(utterances: Iterable[Utterance]) -> str:
    """The manifest as CSV text."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in utterances:
        writer.writerow(["" if (value := getattr(row, name)) is None else value for name in COLUMNS])
    return buffer.getvalue()


def read_manifest(path: Path, root: Path | None = None) -> Manifest:
    """Read a manifest that kanjo wrote; ``root`` defaults to the manifest's own folder.

    Raises CorpusError, naming the line, for a missing column, an unknown emotion or a number that is none.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            missing = [name for name in ("file", "emotion") if name not in (reader.fieldnames or ())]
            if missing:
                raise CorpusError(
                    f"{path}: no column {' or '.join(missing)}; found {', '.join(reader.fieldnames or ()) or 'nothing'}"
                )
            rows = tuple(_row(record, path, reader.line_num) for record in reader)
    except OSError as error:
        raise CorpusError(f"can't read {path}: {files.reason(error)}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise CorpusError(f"{path}: not a CSV in UTF-8 ({error})") from error
    if not rows:
        raise CorpusError(f"{path}: no utterances in it")
    return Manifest(root or path.parent, rows)


def _row(record: dict[str, str | None], path: Path, line: int) -> Utterance:
    def text(name: str) -> str:
        return (record.get(name) or "").strip()

    def seconds(name: str) -> float | None:
        word = text(name)
        try:
            return float(word) if word else None
        except ValueError:
            raise CorpusError(f"{path}:{line}: {name} is {word!r}, expected seconds") from None

    try:
        emotion = canonical(text("emotion"))
    except CorpusError as error:
        raise CorpusError(f"{path}:{line}: {error}") from None
    if not text("file"):
        raise CorpusError(f"{path}:{line}: no file named")
    return Utterance(
        corpus=text("corpus") or path.stem,
        file=text("file"),
        emotion=emotion,
        labels_raw=text("labels_raw") or text("emotion"),
        speaker=text("speaker"),
        sex=text("sex"),
        language=text("language"),
        text=text("text"),
        start_s=seconds("start_s"),
        end_s=seconds("end_s"),
        split=text("split"),
    )
