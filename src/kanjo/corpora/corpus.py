"""The description of a published corpus, and the steps that the readers of corpora share."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kanjo import audio
from kanjo.corpora.manifest import Utterance
from kanjo.errors import CorpusError
from kanjo.files import os_error_message
from kanjo.labels import canonical_emotion

Reader = Callable[[Path], Iterator[Utterance]]

UTF8 = ("utf-8-sig",)
#: The sex that a letter in file names and tables stands for.
SEX_BY_LETTER = {"f": "female", "m": "male"}


@dataclass(frozen=True)
class Archive:
    """A file that the publisher of a corpus offers for download.

    Attributes:
        url: Address of the file.
        digest: "md5:..." or "sha256:..." as published; "" if none is published.
        size_bytes: Size of the file; 0 if unknown.
        target: Path below the corpus folder. An archive (zip, tar) is unpacked into this folder, without its single
            top folder if it has one. Any other file is saved under this path.
        only: Unpack only this folder of the archive; "" unpacks everything.
    """

    url: str
    digest: str = ""
    size_bytes: int = 0
    target: str = ""
    only: str = ""


@dataclass(frozen=True)
class Corpus:
    """A published corpus: what it contains, how to get it, and how to read it.

    Attributes:
        name: Name on the command line.
        language: ISO 639-1 codes, separated by commas.
        emotions: Published number of utterances for each label of the corpus; 0 if not published.
        n_speakers: Published number of speakers; 0 if not published.
        sample_rate: Published sample rate in Hz; 0 if not published.
        read: Yields the utterances of the corpus in a folder.
        n_utterances: Published number of utterances, where it is not published for each label.
        folders: Names of the folder of the corpus below a folder of corpora.
        extra_counts: Further numbers that a check reports: name and function of the corpus folder.
        list_missing: Lists the recordings that the tables of the corpus name and that do not exist.
        archives: Files to download; empty if users must request the corpus.
        list_further_archives: Lists files to download that are known only after ``archives`` are unpacked.
    """

    name: str
    title: str
    language: str
    license: str
    homepage: str
    citation: str
    how_to_get: str
    emotions: Mapping[str, int]
    n_speakers: int
    sample_rate: int
    read: Reader
    n_utterances: int = 0
    folders: tuple[str, ...] = ()
    notes: str = ""
    extra_counts: Mapping[str, Callable[[Path], int]] = field(default_factory=dict)
    list_missing: Callable[[Path], Sequence[str]] | None = None
    archives: tuple[Archive, ...] = ()
    list_further_archives: Callable[[Path], Iterator[Archive]] | None = None

    @property
    def expected_utterances(self) -> int:
        """Published number of utterances; 0 if not published."""
        return self.n_utterances or sum(self.emotions.values())


@dataclass(frozen=True)
class ParsedName:
    """What the name and folder of a recording state; ``label`` is the corpus's own word."""

    label: str
    speaker: str = ""
    sex: str = ""
    text: str = ""
    language: str = ""


def list_recordings(root: Path, corpus: str) -> list[Path]:
    """List all recordings under ``root``, sorted.

    Raises:
        CorpusError: ``root`` is not a folder or can't be read.
    """
    try:
        if not root.is_dir():
            problem = "this is a file; expected the folder of the corpus" if root.exists() else "no such folder"
            raise CorpusError(f"{corpus}: {root}: {problem}")
        next(root.iterdir(), None)
    except OSError as error:
        raise CorpusError(f"{corpus}: can't read {root}: {os_error_message(error)}") from error
    return list(audio.find_recordings(root))


def read_by_file_name(
    root: Path,
    corpus: str,
    language: str,
    pattern: re.Pattern[str],
    parse: Callable[[re.Match[str], Path], ParsedName | None],
    example: str,
    emotions: Mapping[str, str] | None = None,
) -> Iterator[Utterance]:
    """Yield the utterances of a corpus whose file names state speaker and emotion.

    Args:
        root: Folder of the corpus.
        corpus: Name of the corpus.
        language: Language of utterances for which ``parse`` states none.
        pattern: Must match the stem of a recording; other recordings are skipped.
        parse: Interprets the match and the path relative to ``root``; None skips the recording.
        example: A path of the corpus, for the error message.
        emotions: Emotion of each label that the vocabulary does not contain.

    Raises:
        CorpusError: No recording matches.
    """
    emotions = emotions or {}
    n_utterances = 0
    for path in list_recordings(root, corpus):
        relative = path.relative_to(root)
        match = pattern.fullmatch(path.stem)
        parsed = parse(match, relative) if match else None
        if parsed is None:
            continue
        n_utterances += 1
        yield Utterance(
            corpus=corpus,
            file=relative.as_posix(),
            emotion=emotions.get(parsed.label) or canonical_emotion(parsed.label),
            labels_raw=parsed.label,
            speaker=parsed.speaker,
            sex=parsed.sex,
            language=parsed.language or language,
            text=parsed.text,
        )
    if not n_utterances:
        raise no_utterances_error(corpus, root, f"files such as {example}")


def no_utterances_error(corpus: str, root: Path, expected: str) -> CorpusError:
    """Build the error for a folder without utterances of the corpus."""
    return CorpusError(f"{corpus}: no utterances under {root}; expected {expected}. Check the path of the folder")


def first_existing_file(*paths: Path) -> Path | None:
    """Return the first path that is a file; None if there is none."""
    return next((path for path in paths if path.is_file()), None)


def read_text(path: Path, corpus: str, encodings: Sequence[str] = UTF8) -> str:
    """Read a text file in the first encoding that fits; UTF-16 is recognized by its byte order mark.

    Raises:
        CorpusError: The file can't be read, or no encoding fits.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CorpusError(f"{corpus}: can't read {path}: {os_error_message(error)}") from error
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encodings = ("utf-16",)
    for encoding in encodings:
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise CorpusError(f"{corpus}: {path} is not text in {' or '.join(encodings)}; convert the file to UTF-8")


def read_lines(path: Path, corpus: str, encodings: Sequence[str] = UTF8) -> list[str]:
    """Read the lines of a text file; only a line feed ends a line, because texts may contain other Unicode breaks."""
    return [line.rstrip("\r") for line in read_text(path, corpus, encodings).rstrip("\r\n").split("\n")]


def open_table(path: Path, corpus: str, encodings: Sequence[str] = UTF8) -> io.StringIO:
    """Open a text file for the csv module, which needs the original line ends."""
    return io.StringIO(read_text(path, corpus, encodings), newline="")


def read_table_rows(
    path: Path, corpus: str, columns: Sequence[str], encodings: Sequence[str] = UTF8, **csv_options: Any
) -> Iterator[dict[str, str]]:
    """Yield the rows of a CSV file with a header.

    Args:
        path: The CSV file.
        corpus: Name of the corpus, for error messages.
        columns: Required columns.
        encodings: Tried in this order.
        csv_options: Passed to ``csv.DictReader``.

    Raises:
        CorpusError: The file can't be read, or a required column is missing.
    """
    reader = csv.DictReader(open_table(path, corpus, encodings), restval="", **csv_options)
    header = reader.fieldnames or ()
    missing = sorted(set(columns) - set(header))
    if missing:
        raise CorpusError(
            f"{corpus}: {path}:1: missing column {', '.join(missing)}; the header is {', '.join(header) or 'empty'}"
        )
    yield from reader
