"""The manifest: a table with one row for each utterance, the same for every corpus.

This module writes it as CSV or Parquet; ``kanjo.corpora.formats.tables`` reads it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from kanjo import files
from kanjo.file_names import encode_name


class Utterance(NamedTuple):
    """One labeled utterance: a row of the manifest. Unknown text fields are "".

    This is a named tuple because it is created faster than a dataclass: manifests may have a million rows.

    Attributes:
        corpus: Name of the corpus.
        file: Path of the recording, relative to the root of the corpus, with forward slashes.
        emotion: Word of the shared vocabulary (``kanjo.labels``).
        labels_raw: Label of the corpus.
        speaker: Name of the speaker in the corpus.
        sex: "female" or "male".
        language: Code of the spoken language, such as "en".
        text: What is spoken.
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
    """Utterances, and the folder that their file paths are relative to.

    Attributes:
        root: The folder.
        utterances: The utterances.
        assumed_corpus: Corpus of the utterances for which own data state none: the name of the table or folder. ""
            if the corpus of all utterances is known.
    """

    root: Path
    utterances: tuple[Utterance, ...]
    assumed_corpus: str = ""

    def audio_path(self, utterance: Utterance) -> Path:
        """Return the path of the recording of an utterance."""
        return self.root / utterance.file

    def path(self, utterance: Utterance) -> Path:
        """Do the same as :meth:`audio_path`, under its earlier name."""
        return self.audio_path(utterance)

    def relabel(self, mapping: dict[str, str], include: Sequence[str] | None) -> Manifest:
        """Replace emotions by ``mapping``, then keep only the utterances with an emotion in ``include`` (None: all)."""
        rows = (row._replace(emotion=mapping.get(row.emotion, row.emotion)) for row in self.utterances)
        return replace(self, utterances=tuple(row for row in rows if include is None or row.emotion in include))


def write_manifest(path: Path, utterances: Iterable[Utterance]) -> None:
    """Write a manifest atomically: Parquet if the file name ends in .parquet, else CSV (UTF-8, RFC 4180).

    The name of a recording that is not UTF-8 is written as by :func:`kanjo.file_names.encode_name`; readers of tables
    find the recording.

    Raises:
        KanjoError: The file can't be written.
    """
    if path.suffix.lower() == ".parquet":
        from kanjo.corpora.formats.parquet import write_rows

        rows = [row._replace(file=encode_name(row.file)) for row in utterances]
        write_rows(path, {name: [getattr(row, name) for row in rows] for name in COLUMNS})
    else:
        files.write_text(path, manifest_to_csv(utterances))


def manifest_to_csv(utterances: Iterable[Utterance]) -> str:
    """Return the manifest as CSV text, with the names of recordings as in :func:`write_manifest`."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in utterances:
        row = row._replace(file=encode_name(row.file))
        writer.writerow(["" if (value := getattr(row, name)) is None else value for name in COLUMNS])
    return buffer.getvalue()
