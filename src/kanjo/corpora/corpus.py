"""The description of a published corpus, and the steps that the readers of corpora share."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from kanjo import audio
from kanjo.corpora.manifest import Utterance
from kanjo.corpora.text_files import UTF8, describe_header, extra_cells_error, open_table, read_records
from kanjo.corpora.words import normalize
from kanjo.errors import CorpusError
from kanjo.files import os_error_message
from kanjo.labels import canonical_emotion

Reader = Callable[[Path], Iterator[Utterance]]

#: The sex that a letter in file names and tables stands for.
SEX_BY_LETTER = {"f": "female", "m": "male"}
#: Formats that lose nothing; of two copies of a recording, kanjo reads the one in such a format.
_LOSSLESS_SUFFIXES = frozenset([".wav", ".flac", ".aif", ".aiff", ".aifc", ".au", ".caf", ".w64", ".rf64"])


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
        stem: Matches the names of recordings, without suffix, if these names are unlike those of other corpora.
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
    stem: re.Pattern[str] | None = None
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
    """What the name and folder of a recording state.

    Attributes:
        label: The corpus's own word for the emotion.
        recording: Identifies the recording among those with the same label and speaker; "" for the stem of the file.
            Two files with the same label, speaker and recording are copies, and one of them is read.
    """

    label: str
    speaker: str = ""
    sex: str = ""
    text: str = ""
    language: str = ""
    recording: str = ""


#: The errors of folders that can't be read, while :func:`collect_unreadable_folders` collects them.
_unreadable_folders: ContextVar[list[OSError] | None] = ContextVar("unreadable_folders", default=None)


@contextmanager
def collect_unreadable_folders() -> Iterator[list[OSError]]:
    """Let readers go on without the folders that can't be read, and yield the list that gets their errors.

    Otherwise such a folder is an error, because a model would be trained on a part of the corpus.
    """
    errors: list[OSError] = []
    token = _unreadable_folders.set(errors)
    try:
        yield errors
    finally:
        _unreadable_folders.reset(token)


def list_recordings(root: Path, corpus: str) -> list[Path]:
    """List all recordings under ``root``, sorted.

    Raises:
        CorpusError: ``root`` is not a folder, or it or a folder below it can't be read.
    """

    def refuse(error: OSError) -> None:
        collected = _unreadable_folders.get()
        if collected is not None:
            collected.append(error)
            return
        raise CorpusError(f"{corpus}: can't read {error.filename}: {os_error_message(error)}") from error

    try:
        if not root.is_dir():
            problem = "this is a file; expected the folder of the corpus" if root.exists() else "no such folder"
            raise CorpusError(f"{corpus}: {root}: {problem}")
        next(root.iterdir(), None)
    except OSError as error:
        raise CorpusError(f"{corpus}: can't read {root}: {os_error_message(error)}") from error
    return list(audio.find_recordings(root, refuse))


_Key = TypeVar("_Key", bound=Hashable)


def without_copies(recordings: Iterable[tuple[_Key, Path]]) -> dict[_Key, Path]:
    """Return one path for each key: lossless formats first, then the fewest folders, then the first path.

    Published corpora contain second copies: CREMA-D as WAV and MP3, RAVDESS and TESS in a nested folder.
    """
    chosen: dict[_Key, Path] = {}
    for key, path in recordings:
        if key not in chosen or _preference(path) < _preference(chosen[key]):
            chosen[key] = path
    return chosen


def _preference(path: Path) -> tuple[bool, int, Path]:
    return path.suffix.lower() not in _LOSSLESS_SUFFIXES, len(path.parts), path


def read_by_file_name(
    root: Path,
    corpus: str,
    language: str,
    pattern: re.Pattern[str],
    parse: Callable[[re.Match[str], Path], ParsedName | None],
    example: str,
    emotions: Mapping[str, str] | None = None,
) -> Iterator[Utterance]:
    """Yield the utterances of a corpus whose file names state speaker and emotion; of copies, the one to prefer.

    Args:
        root: Folder of the corpus.
        corpus: Name of the corpus.
        language: Language of utterances for which ``parse`` states none.
        pattern: Must match the stem of a recording in Unicode form NFC; other recordings are skipped.
        parse: Interprets the match and the path relative to ``root``; None skips the recording.
        example: A path of the corpus, for the error message.
        emotions: Emotion of each label that the vocabulary does not contain.

    Raises:
        CorpusError: No recording matches.
    """
    emotions = emotions or {}
    parsed_names: dict[Path, ParsedName] = {}
    keys: list[tuple[tuple[str, str, str], Path]] = []
    for path in list_recordings(root, corpus):
        relative, stem = path.relative_to(root), normalize(path.stem)
        match = pattern.fullmatch(stem)
        parsed = parse(match, relative) if match else None
        if parsed is not None:
            parsed_names[relative] = parsed
            keys.append(((parsed.label, parsed.speaker, parsed.recording or stem), relative))
    if not keys:
        raise no_utterances_error(corpus, root, f"files such as {example}")
    kept = set(without_copies(keys).values())
    for relative, parsed in parsed_names.items():
        if relative not in kept:
            continue
        yield Utterance(
            corpus=corpus,
            file=relative.as_posix(),
            emotion=emotions.get(parsed.label) or canonical_emotion(parsed.label),
            labels_raw=parsed.label,
            speaker=parsed.speaker,
            sex=parsed.sex,
            language=parsed.language or language,
            text=normalize(parsed.text),
        )


def no_utterances_error(corpus: str, root: Path, expected: str) -> CorpusError:
    """Build the error for a folder without utterances of the corpus."""
    if root.is_dir() and next(audio.find_recordings(root), None) is None:
        return CorpusError(
            f"{corpus}: no utterances under {root}: no recordings ({audio.describe_suffixes()}); expected {expected}"
        )
    return CorpusError(f"{corpus}: no utterances under {root}; expected {expected}. Check the path of the folder")


def first_existing_file(*paths: Path) -> Path | None:
    """Return the first path that is a file; None if there is none."""
    return next((path for path in paths if path.is_file()), None)


def read_table_rows(
    path: Path, corpus: str, columns: Sequence[str], encodings: Sequence[str] = UTF8, **csv_options: Any
) -> Iterator[dict[str, str]]:
    """Yield the rows of a CSV file with a header.

    Args:
        path: The CSV file.
        corpus: Name of the corpus, for error messages.
        columns: Required columns.
        encodings: Tried in this order.
        csv_options: Passed to ``csv.reader``.

    Raises:
        CorpusError: The file can't be read, a required column is missing, or a row has too many cells.
    """
    records = read_records(open_table(path, corpus, encodings), path, **csv_options)
    _, header = next(records, (1, []))
    missing = sorted(set(columns) - set(header))
    if missing:
        raise CorpusError(
            f"{corpus}: {path}:1: missing column {', '.join(missing)}; the header is {describe_header(header)}"
        )
    for number, cells in records:
        if any(cells[len(header) :]):
            raise extra_cells_error(path, number, len(cells), header)
        if cells:
            yield dict(zip(header, cells + [""] * (len(header) - len(cells)), strict=False))
