"""What people use today, measured as our networks are: openSMILE's functionals and a linear SVM. Needs the extra ``baselines``.

eGeMAPSv02 (88 functionals; Eyben et al. 2016) or ComParE_2016 (6373; Schuller et al. 2016) of each utterance at its own rate, standardised by the
training utterances, a linear support vector machine with balanced classes. Its C is chosen on the validation speakers, then it is fitted on them too.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kanjo import audio, files
from kanjo.corpora import Utterance
from kanjo.corpora.splits import Fold
from kanjo.errors import AudioError, KanjoError
from kanjo.evaluation.evaluate import Answer
from kanjo.evaluation.metrics import confusion_matrix, uar

#: The command's word -> openSMILE's set.
SETS = {"egemaps": "eGeMAPSv02", "compare": "ComParE_2016"}
#: What C is chosen from.
CHOICES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
Matrix = npt.NDArray[np.float32]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Fitted:
    """A fold's answers, the C that was chosen and its validation UAR."""

    answers: tuple[Answer, ...]
    c: float
    validation_uar: float


def functionals(
    name: str,
    rows: Sequence[Utterance],
    paths: Sequence[Path],
    cache: Path,
    jobs: int = 0,
    progress: Progress | None = None,
) -> Matrix:
    """Functionals (U, F) of utterances, kept in ``cache`` under a digest of what they were made of. Raises KanjoError."""
    kind, version = SETS[name], _opensmile().__version__
    stamp = hashlib.sha256(f"{kind} {version}".encode())
    for row, path in zip(rows, paths, strict=True):
        try:
            found = path.stat()
        except OSError as error:
            raise KanjoError(f"can't read {path}: {files.reason(error)}") from error
        stamp.update(f"{path} {found.st_size} {found.st_mtime_ns} {row.start_s} {row.end_s}\n".encode())
    kept = cache / f"{kind}-{stamp.hexdigest()[:16]}.npy"
    if kept.is_file():
        return np.asarray(np.load(kept, allow_pickle=False))
    work = [(kind, str(path), row.start_s, row.end_s) for row, path in zip(rows, paths, strict=True)]
    made: list[npt.NDArray[np.float32]] = []
    with ProcessPoolExecutor(jobs or os.cpu_count() or 1) as pool:
        for vector in pool.map(_functionals, work, chunksize=4):
            made.append(vector)
            if progress:
                progress(len(made), len(work))
    features = np.stack(made)
    with files.written_whole(kept) as temporary:
        np.save(temporary, features)
    return features


def by_speaker(features: Matrix, speakers: Sequence[str]) -> Matrix:
    """Each speaker's functionals (U, F) standardised by that speaker's own, test speakers too: their unlabelled clips are seen."""
    out = np.empty_like(features)
    for speaker in sorted(set(speakers)):
        own = np.asarray([name == speaker for name in speakers])
        out[own] = (features[own] - features[own].mean(0)) / np.maximum(features[own].std(0), 1e-6)
    return out


def fit(
    features: Matrix, rows: Sequence[Utterance], labels: Sequence[int], emotions: Sequence[str], fold: Fold
) -> Fitted:
    """One fold: C by validation UAR, the temperature of its answers too, then the test utterances' answers."""
    y = np.asarray(labels)
    train, validation, test = (np.asarray(side, int) for side in (fold.train, fold.validation, fold.test))
    tried = []
    for c in CHOICES:
        margins = _margins(features, y, train, validation, c, len(emotions))
        tried.append((float(uar(confusion_matrix(y[validation], margins.argmax(1), len(emotions)))), c, margins))
    best, c, margins = max(tried, key=lambda item: (item[0], -item[1]))
    scale = _scale(margins, y[validation])
    shares = _softmax(scale * _margins(features, y, np.concatenate([train, validation]), test, c, len(emotions)))
    answers = tuple(
        Answer(
            rows[i].corpus, rows[i].file, rows[i].speaker_key, rows[i].sex, emotions[y[i]], emotions[int(row.argmax())],
            tuple(row.tolist()),
        )
        for i, row in zip(test, shares, strict=True)
    )  # fmt: skip
    return Fitted(answers, c, best)


def _functionals(work: tuple[str, str, float | None, float | None]) -> npt.NDArray[np.float32]:
    kind, path, start_s, end_s = work
    source = audio.open_source(path)
    signal = audio.stretch(source.signal(), source.native_rate, start_s, end_s, path)
    opensmile = _opensmile()
    smile = opensmile.Smile(getattr(opensmile.FeatureSet, kind), opensmile.FeatureLevel.Functionals)
    found: npt.NDArray[np.float32] = np.asarray(smile.process_signal(signal, source.native_rate), np.float32)[0]
    if not np.isfinite(found).any():
        raise AudioError(f"{path}: openSMILE finds nothing in it")
    return np.asarray(np.nan_to_num(found))


def _margins(
    features: Matrix,
    y: npt.NDArray[np.int_],
    known: npt.NDArray[np.int_],
    asked: npt.NDArray[np.int_],
    c: float,
    n: int,
) -> npt.NDArray[np.float64]:
    """Distances (A, E) of asked utterances from each emotion's plane, learnt on known ones."""
    from sklearn.svm import LinearSVC

    mean, deviation = features[known].mean(0), np.maximum(features[known].std(0), 1e-6)
    machine = LinearSVC(C=c, class_weight="balanced", dual=True, max_iter=5000, tol=1e-3, random_state=0)
    machine.fit((features[known] - mean) / deviation, y[known])
    found = machine.decision_function((features[asked] - mean) / deviation)
    margins = np.full((len(asked), n), -1e3)
    margins[:, machine.classes_] = np.stack([-found, found], 1) if found.ndim == 1 else found
    return margins


def _softmax(margins: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    raised = np.exp(margins - margins.max(1, keepdims=True))
    return np.asarray(raised / raised.sum(1, keepdims=True))


def _scale(margins: npt.NDArray[np.float64], truth: npt.NDArray[np.int_]) -> float:
    """What margins are multiplied with to be probabilities: the least cross-entropy on validation speakers, 0.1 to 100."""
    grid = np.geomspace(0.1, 100, 200)
    losses = [-np.mean(np.log(np.maximum(_softmax(g * margins)[np.arange(len(truth)), truth], 1e-12))) for g in grid]
    return float(grid[int(np.argmin(losses))])


def _opensmile() -> Any:
    try:
        import opensmile
    except (ImportError, OSError) as error:
        raise KanjoError("the baselines need openSMILE: pip install 'kanjo[baselines]'") from error
    return opensmile
