"""The recordings and labels of ``kanjo finetune``: read, checked, and without those that can't be used."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from kanjo import audio
from kanjo.corpora import CORPORA, OWN_CORPUS, find_root, read_corpus
from kanjo.corpora.check import check_files
from kanjo.corpora.readers.class_folders import read_class_folders
from kanjo.errors import CorpusError
from kanjo.files import os_error_message
from kanjo.inference.options import MIN_DURATION_S
from kanjo.labels import OwnClasses

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kanjo.corpora import Manifest, Utterance
    from kanjo.corpora.check import FileCheck
    from kanjo.experiments.reporter import Reporter

#: Names of this many files are shown for each reason why files are left out.
_N_SHOWN = 3


@dataclass(frozen=True)
class LabeledData:
    """Labeled recordings.

    Attributes:
        name: Name for run folders and bundles.
        corpus: A published corpus, or "own".
        root: The folder or table that was read.
        rows: The utterances (U) that can be used.
        paths: The recording of each utterance (U).
        n_found: Number of utterances that were found.
        omitted: Why utterances were left out, one sentence for each reason.
        notes: What else was found, such as words that were merged into one class.
        seconds: Duration of each utterance (U); empty before :func:`check_recordings`.
        fingerprints: One string for each utterance, equal for equal samples; empty before :func:`check_recordings`.
    """

    name: str
    corpus: str
    root: Path
    rows: tuple[Utterance, ...]
    paths: tuple[Path, ...]
    n_found: int
    omitted: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: tuple[float, ...] = ()
    fingerprints: tuple[str, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """Number of utterances of each class, in alphabetical order."""
        return dict(sorted(Counter(row.emotion for row in self.rows).items()))

    def without(self, problems: Mapping[int, str], noun: str = "recording") -> LabeledData:
        """Leave out utterances.

        Args:
            problems: Index and reason of each utterance that is left out.
            noun: What is left out, in the singular, for the sentence about it.
        """
        if not problems:
            return self
        files_by_reason: dict[str, list[str]] = {}
        for index, reason in problems.items():
            files_by_reason.setdefault(reason, []).append(self.rows[index].file)
        sentences = [
            f"{format_count(len(files), noun)}: {reason} ({_shown(files)})" for reason, files in files_by_reason.items()
        ]
        kept = [i for i in range(len(self.rows)) if i not in problems]
        return replace(
            self,
            rows=tuple(self.rows[i] for i in kept),
            paths=tuple(self.paths[i] for i in kept),
            seconds=tuple(self.seconds[i] for i in kept) if self.seconds else (),
            fingerprints=tuple(self.fingerprints[i] for i in kept) if self.fingerprints else (),
            omitted=(*self.omitted, *sentences),
        )


def read_labeled_data(data: str | Path, corpus_root: str | None = None) -> LabeledData:
    """Read a folder of class folders, a table, a manifest, or a published corpus. Recordings are not decoded.

    Args:
        data: Path of the folder or table, or name of a published corpus.
        corpus_root: The folder of the published corpora.

    Raises:
        CorpusError: There are no such data, they can't be read, or more than half of the recordings are missing.
    """
    corpus, path = _find_data(data, corpus_root)
    classes = OwnClasses()
    outside: tuple[str, ...] = ()
    if corpus != OWN_CORPUS:
        manifest = read_corpus(corpus, path)
    elif path.is_file():
        manifest = read_corpus(OWN_CORPUS, path, classes)
    else:
        folders = read_class_folders(path, path.resolve().name, classes)
        manifest, outside = folders.manifest, folders.outside
    name = corpus if corpus != OWN_CORPUS else path.resolve().stem
    read = LabeledData(
        name=name,
        corpus=corpus,
        root=path,
        rows=manifest.utterances,
        paths=tuple(manifest.audio_path(row) for row in manifest.utterances),
        n_found=len(manifest.utterances) + len(outside),
        notes=tuple(classes.describe_merged()),
        omitted=(f"{format_count(len(outside), 'recording')}: in no class folder ({_shown(outside)})",)
        if outside
        else (),
    )
    return _require_most(read.without(_find_missing(manifest, read.paths)), "missing")


def check_recordings(data: LabeledData, reporter: Reporter) -> LabeledData:
    """Decode all recordings; leave out those that can't be decoded, are silent, or are too short.

    Raises:
        CorpusError: More than half of the recordings can't be used.
    """
    names = list(dict.fromkeys(str(path) for path in data.paths))
    with reporter.progress("reading") as progress:
        checks = {check.file: check for check in check_files(Path(), names, True, progress)}
    problems, seconds, fingerprints = {}, [], []
    for index, (row, path) in enumerate(zip(data.rows, data.paths, strict=True)):
        check = checks[str(path)]
        start_s, end_s = row.start_s or 0.0, check.duration_s if row.end_s is None else row.end_s
        seconds.append(end_s - start_s)
        fingerprints.append(f"{check.fingerprint or path}@{row.start_s}-{row.end_s}")
        if reason := _find_problem(check, start_s, end_s):
            problems[index] = reason
    checked = replace(data, seconds=tuple(seconds), fingerprints=tuple(fingerprints)).without(problems)
    usable = _require_most(checked, "unusable")
    return replace(usable, notes=(*usable.notes, *_describe_relabeled_copies(usable)))


def format_count(n: int, noun: str) -> str:
    """Return a number with its noun, in the plural unless it is one."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def _find_data(data: str | Path, corpus_root: str | None) -> tuple[str, Path]:
    """Return the name of the corpus, or "own", and the path of the data."""
    path = Path(data)
    try:
        if path.is_file():
            if path.suffix.lower() in audio.SUFFIXES:
                raise CorpusError(
                    f"{path} is one recording; expected a folder with one sub-folder for each class, or a table with "
                    "the columns file and emotion"
                )
            return OWN_CORPUS, path
        if path.is_dir():
            folder_name = path.resolve().name
            published = (name for name, corpus in CORPORA.items() if folder_name in corpus.folders)
            return next(published, OWN_CORPUS), path
        exists = path.exists()
    except OSError as error:
        raise CorpusError(f"can't read {data}: {os_error_message(error)}") from error
    if str(data) not in CORPORA or exists:
        raise CorpusError(
            f"{data}: no such file or folder, and no published corpus of this name; expected a folder with one "
            "sub-folder for each class, a table with the columns file and emotion, or a corpus ('kanjo corpus list')"
        )
    if corpus_root is None:
        raise CorpusError(f"the folder of corpus {data} is not given; use --corpus-root, or set KANJO_CORPORA")
    return str(data), find_root(str(data), Path(corpus_root))


def _find_missing(manifest: Manifest, paths: Sequence[Path]) -> dict[int, str]:
    """Index and reason of the utterances whose recording does not exist or is not a file."""
    states: dict[Path, str] = {}
    for path in dict.fromkeys(paths):
        try:
            states[path] = "" if path.is_file() else "no such file"
        except OSError as error:
            states[path] = os_error_message(error)
    return {index: states[path] for index, path in enumerate(paths) if states[path]}


def _find_problem(check: FileCheck, start_s: float, end_s: float) -> str:
    """Why an utterance can't be used; "" if it can."""
    if not check.sample_rate:
        return f"can't be decoded: {check.problem}"
    if check.quality == "silent":
        return "silent"
    if start_s >= check.duration_s:
        return "starts after the end of its recording"
    if min(end_s, check.duration_s) - start_s < MIN_DURATION_S:
        return f"shorter than {MIN_DURATION_S} s"
    return ""


def _describe_relabeled_copies(data: LabeledData) -> list[str]:
    """Say how many utterances have the same samples as one of another class; they are used as labeled."""
    classes: dict[str, set[str]] = {}
    for row, fingerprint in zip(data.rows, data.fingerprints, strict=True):
        classes.setdefault(fingerprint, set()).add(row.emotion)
    files = [row.file for row, key in zip(data.rows, data.fingerprints, strict=True) if len(classes[key]) > 1]
    return [f"{len(files)} clips have the same sound as a clip of another class, such as {files[0]}"] if files else []


def _require_most(data: LabeledData, problem: str) -> LabeledData:
    """Raise CorpusError if fewer than half of the utterances are left."""
    if 2 * len(data.rows) < data.n_found or not data.rows:
        n_left_out = data.n_found - len(data.rows)
        raise CorpusError(
            f"{data.root}: {n_left_out} of {data.n_found} recordings are {problem}, more than half: "
            f"{'; '.join(data.omitted) or 'none were found'}. Correct the paths or the files"
        )
    return data


def _shown(files: Sequence[str]) -> str:
    further = f" and {len(files) - _N_SHOWN} more" if len(files) > _N_SHOWN else ""
    return ", ".join(files[:_N_SHOWN]) + further
