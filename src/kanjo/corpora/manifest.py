"""The manifest: one row an utterance, whatever corpus it comes from; written as CSV or Parquet, read by ``tables``."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from kanjo import files


class Utterance(NamedTuple):
    """One labelled stretch of speech. (A named tuple: a million of them are made in two seconds.)

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
assert set(Utterance._fields) == set(COLUMNS)


@dataclass(frozen=True)
class Manifest:
    """Utterances, and the folder that their files are relative to."""

    root: Path
    utterances: tuple[Utterance, ...]

    def path(self, utterance: Utterance) -> Path:
        return self.root / utterance.file

    def relabelled(self, mapping: dict[str, str], keep: Sequence[str] | None) -> Manifest:
        """Emotions joined by ``mapping`` (emotion -> emotion), then only those in ``keep`` (None keeps all)."""
        rows = (row._replace(emotion=mapping.get(row.emotion, row.emotion)) for row in self.utterances)
        return Manifest(self.root, tuple(row for row in rows if keep is None or row.emotion in keep))


def write_manifest(path: Path, utterances: Iterable[Utterance]) -> None:
    """Write a manifest, whole or not at all: as Parquet where the name says so, else as CSV (UTF-8, RFC 4180).

    Raises KanjoError.
    """
    if path.suffix.lower() == ".parquet":
        from kanjo.corpora.formats.parquet import write_rows

        rows = list(utterances)
        write_rows(path, {name: [getattr(row, name) for row in rows] for name in COLUMNS})
    else:
        files.write_text(path, manifest_text(utterances))


def manifest_text(utterances: Iterable[Utterance]) -> str:
    """The manifest as CSV text."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in utterances:
        writer.writerow(["" if (value := getattr(row, name)) is None else value for name in COLUMNS])
    return buffer.getvalue()
