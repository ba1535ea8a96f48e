"""The manifest: a table with one row for each utterance, the same for every corpus.

This module writes it as CSV or Parquet; ``kanjo.corpora.formats.tables`` reads it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from kanjo import files
from kanjo.errors import CorpusError


class Utterance(NamedTuple):
    """One labeled utterance: a row of the manifest. Unknown text fields are "".

    This is a named tuple because it is created faster than a dataclass: manifests may have a million rows.

    Attributes:
        corpus: Name of the corpus.
        file: Path of the recording, relative to the root of the corpus, with forward slashes.
        emotion: Word of the shared vocabulary (``kanjo.labels``).
        labels_raw: Label of the corpus.
        start_s: Start in the recording, seconds; None for a whole file.
        end_s: End in the recording, seconds; None for the end of the file.
        split: "train", "validation" or "test" as published; "" if the corpus has no split.
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
        """Identify the speaker across corpora; "" if the speaker is unknown."""
        return f"{self.corpus}/{self.speaker}" if self.speaker else ""


#: Columns of the manifest, in the order in which they are written.
COLUMNS = ("corpus", "file", "start_s", "end_s", "speaker", "sex", "language", "text", "emotion", "labels_raw", "split")


@dataclass(frozen=True)
class Manifest:
    """Utterances, and the folder that their file paths are relative to."""

    root: Path
    utterances: tuple[Utterance, ...]

    def audio_path(self, utterance: Utterance) -> Path:
        """Return the path of the recording of an utterance."""
        return self.root / utterance.file

    def path(self, utterance: Utterance) -> Path:
        """Do the same as :meth:`audio_path`, under its earlier name."""
        return self.audio_path(utterance)

    def relabel(self, mapping: dict[str, str], include: Sequence[str] | None) -> Manifest:
        """Replace emotions by ``mapping``, then keep only the utterances with an emotion in ``include`` (None: all)."""
        rows = (row._replace(emotion=mapping.get(row.emotion, row.emotion)) for row in self.utterances)
        return Manifest(self.root, tuple(row for row in rows if include is None or row.emotion in include))


def write_manifest(path: Path, utterances: Iterable[Utterance]) -> None:
    """Write a manifest atomically: Parquet if the file name ends in .parquet, else CSV (UTF-8, RFC 4180).

    Raises:
        CorpusError: The name of a recording is not UTF-8.
        KanjoError: The file can't be written.
    """
    if path.suffix.lower() == ".parquet":
        from kanjo.corpora.formats.parquet import write_rows

        rows = list(utterances)
        for row in rows:
            _refuse_other_encodings(row.file)
        write_rows(path, {name: [getattr(row, name) for row in rows] for name in COLUMNS})
    else:
        files.write_text(path, manifest_to_csv(utterances))


def manifest_to_csv(utterances: Iterable[Utterance]) -> str:
    """Return the manifest as CSV text.

    Raises:
        CorpusError: The name of a recording is not UTF-8.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in utterances:
        _refuse_other_encodings(row.file)
        writer.writerow(["" if (value := getattr(row, name)) is None else value for name in COLUMNS])
    return buffer.getvalue()


def _refuse_other_encodings(file: str) -> None:
    """Raise CorpusError for a name whose bytes on disk are not UTF-8; Python reads them as lone surrogates."""
    if not file.isascii() and any("\ud800" <= character <= "\udfff" for character in file):
        raise CorpusError(f"the file name {file!r} is not UTF-8, so a manifest can't contain it; rename the file")
