"""Filelists and leakage reports of a corpus, without training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kanjo.corpora import write_filelist
from kanjo.corpora.check import check_files
from kanjo.corpora.fold_classes import check_classes
from kanjo.corpora.leakage import check_leakage
from kanjo.corpora.original_filelists import original_parts
from kanjo.corpora.splits import make_folds
from kanjo.errors import CorpusError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from kanjo.corpora import Manifest, Utterance
    from kanjo.corpora.fold_classes import FoldClasses
    from kanjo.corpora.leakage import LeakageReport
    from kanjo.corpora.splits import Fold
    from kanjo.experiments.reporter import Reporter

#: Protocol of the filelists -> protocol of the split. "female" and "male" select speakers, and split as "all" does.
FILELIST_PROTOCOLS = {
    "all": "speaker_dependent",
    "female": "speaker_dependent",
    "male": "speaker_dependent",
    "loso": "loso",
    "cv": "speaker_kfold",
}
_N_CV_FOLDS, _N_DEPENDENT_FOLDS = 5, 10


@dataclass(frozen=True)
class WrittenLists:
    """What :func:`write_filelists` has written.

    Attributes:
        n_utterances: Utterances in the lists of one fold.
        shares_speakers: Whether the lists of a fold share speakers.
        is_original: Whether the parts are those of the reference implementation, which has no test list.
    """

    n_utterances: int
    shares_speakers: bool
    is_original: bool = False


def write_filelists(
    manifest: Manifest, name: str, protocol: str, output: Path, emotions: Sequence[str] | None = None
) -> WrittenLists:
    """Write the lists of training, validation and test files for each fold of a protocol.

    The parts of JTES, ESD, STUDIES and RAVDESS are those of the reference implementation, where it has the protocol.

    Args:
        manifest: The utterances.
        name: Name of the corpus; it starts the names of the files.
        protocol: A key of ``FILELIST_PROTOCOLS``.
        output: The folder of the lists: one folder per fold ("loso", "cv"), else one folder.
        emotions: Only utterances with these emotions (None: all, or those of the reference).

    Raises:
        CorpusError: There are no utterances.
    """
    originals = original_parts(name, protocol, manifest.utterances, emotions)
    if originals is not None:
        if not any(part.train for part in originals):
            raise CorpusError(f"{name}: no utterances for protocol {protocol} with these emotions")
        for part in originals:
            _write_lists(output / part.folder, name, (part.train, part.validation, ()), manifest.root)
        shared = {row.speaker_key for row in originals[0].train} & {row.speaker_key for row in originals[0].validation}
        return WrittenLists(len(originals[0].train) + len(originals[0].validation), bool(shared), is_original=True)
    manifest = manifest.relabel({}, emotions)
    rows = [row for row in manifest.utterances if protocol not in ("female", "male") or row.sex == protocol]
    if not rows:
        raise CorpusError(f"{name}: no utterances for protocol {protocol} with these emotions")
    kind = FILELIST_PROTOCOLS[protocol]
    n_folds = _N_CV_FOLDS if protocol == "cv" else min(_N_DEPENDENT_FOLDS, len(rows))
    folds = make_folds(rows, kind, n_folds=n_folds)
    for fold in folds[:1] if kind == "speaker_dependent" else folds:
        parts = [[rows[i] for i in indices] for indices in (fold.train, fold.validation, fold.test)]
        _write_lists(output / _folder_name(protocol, fold, rows), name, parts, manifest.root)
    return WrittenLists(len(rows), kind == "speaker_dependent")


def report_leakage(
    manifest: Manifest, protocol: str, n_folds: int, folds_file: Path | None, reporter: Reporter
) -> list[tuple[Fold, LeakageReport, FoldClasses]]:
    """Report which speakers, texts and recordings the parts of each fold share, and which emotions they lack.

    Args:
        manifest: The utterances.
        protocol: A protocol of kanjo.corpora.splits.
        n_folds: Folds of the protocols that don't fix their number.
        folds_file: The folds of protocol "emobox".
        reporter: Receives the progress.
    """
    rows = manifest.utterances
    folds = make_folds(rows, protocol, n_folds=n_folds, folds_file=folds_file, allow_shared_speakers=True)
    files = list(dict.fromkeys(row.file for row in rows))
    with reporter.progress("reading") as progress:
        digests = {check.file: check.fingerprint for check in check_files(manifest.root, files, True, progress)}
    fingerprints = [f"{digests[row.file] or row.file}@{row.start_s}-{row.end_s}" for row in rows]
    leakage = [check_leakage(rows, fold, fingerprints) for fold in folds]
    return list(zip(folds, leakage, check_classes(rows, folds), strict=True))


def _write_lists(folder: Path, name: str, parts: Sequence[Sequence[Utterance]], root: Path) -> None:
    """Write the lists of training, validation and test."""
    for part, rows in zip(("train", "val", "test"), parts, strict=True):
        write_filelist(folder / f"{name}_audio_sid_text_{part}_filelist.txt", rows, root)


def _folder_name(protocol: str, fold: Fold, rows: Sequence[Utterance]) -> str:
    if protocol == "loso":
        return f"loso{rows[fold.test[0]].speaker}"
    return f"cv{fold.index}" if protocol == "cv" else protocol
