"""Baselines that the field uses: openSMILE functionals and a linear support vector machine (SVM).

The features are eGeMAPSv02 (88 functionals; Eyben et al. 2016) or ComParE_2016 (6373; Schuller et al. 2016) of each
utterance at its original sampling rate. They are standardized with the mean and the standard deviation of the training
utterances. The SVM weights the emotions by the inverse of their frequencies. Its parameter C is chosen on the
validation speakers; then the SVM is fitted on training and validation speakers. Needs the extra ``baselines``.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kanjo import files
from kanjo.array_files import DamagedFileError, load_arrays, save_arrays
from kanjo.corpora import Utterance
from kanjo.corpora.splits import Fold
from kanjo.errors import AudioError, KanjoError, requires_extra
from kanjo.evaluation.evaluate import Progress, ScoredUtterance, read_utterance
from kanjo.evaluation.metrics import unweighted_average_recall

#: Name in the command line -> openSMILE's name of the feature set.
FEATURE_SETS = {"egemaps": "eGeMAPSv02", "compare": "ComParE_2016"}
#: Candidate values of the SVM's parameter C.
C_VALUES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
#: Candidate factors by which the SVM's scores are multiplied before the softmax.
SCALES = np.geomspace(0.1, 100, 200)
#: Score of an emotion that does not occur in training.
_MISSING_CLASS_SCORE = -1e3

Features = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int_]


@dataclass(frozen=True)
class FittedBaseline:
    """The result of one fold: predictions for the test utterances, the chosen C and its UAR on validation speakers."""

    utterances: tuple[ScoredUtterance, ...]
    c: float
    validation_uar: float


def opensmile_features(
    name: str,
    rows: Sequence[Utterance],
    paths: Sequence[Path],
    cache: Path,
    jobs: int = 0,
    progress: Progress | None = None,
) -> Features:
    """Compute the functionals (U, F) of utterances, or read them from the cache.

    Args:
        name: Feature set, "egemaps" or "compare".
        rows: The utterances (U).
        paths: The recording of each utterance.
        cache: Folder of the cache. The file name is a digest of feature set, version, recordings and utterances.
        jobs: Number of processes; 0: one for each core.
        progress: Called after each utterance.

    Raises:
        KanjoError: openSMILE is not installed, or a recording can't be read.
    """
    feature_set = FEATURE_SETS[name]
    cached = cache / f"{feature_set}-{_cache_key(feature_set, rows, paths)}.npz"
    with suppress(FileNotFoundError, DamagedFileError, KeyError):
        return np.asarray(load_arrays(cached)["functionals"])
    tasks = [(feature_set, row, path) for row, path in zip(rows, paths, strict=True)]
    vectors: list[Features] = []
    with ProcessPoolExecutor(jobs or os.cpu_count() or 1) as pool:
        for vector in pool.map(_functionals, tasks, chunksize=4):
            vectors.append(vector)
            if progress:
                progress(len(vectors), len(tasks))
    features = np.stack(vectors)
    save_arrays(cached, functionals=features)
    return features


def standardize_by_speaker(features: Features, speakers: Sequence[str]) -> Features:
    """Standardize the features (U, F) of each speaker with the speaker's own mean and standard deviation.

    This uses all utterances of the test speakers, without their labels.
    """
    standardized = np.empty_like(features)
    speaker_of_utterance = np.asarray(speakers)
    for speaker in sorted(set(speakers)):
        mask = speaker_of_utterance == speaker
        standardized[mask] = (features[mask] - features[mask].mean(0)) / np.maximum(features[mask].std(0), 1e-6)
    return standardized


def fit_svm(
    features: Features, rows: Sequence[Utterance], labels: Sequence[int], emotions: Sequence[str], fold: Fold
) -> FittedBaseline:
    """Fit the SVM of one fold and predict the test utterances.

    Validation speakers choose C by UAR, and the scale that turns scores into probabilities by cross-entropy.

    Args:
        features: Features (U, F).
        rows: The utterances (U).
        labels: Index of the true emotion of each utterance (U).
        emotions: The emotions (E).
        fold: Indices of training, validation and test utterances.

    Raises:
        KanjoError: scikit-learn is not installed.
    """
    y = np.asarray(labels)
    train, validation, test = (np.asarray(part, int) for part in (fold.train, fold.validation, fold.test))
    candidates = []
    for c in C_VALUES:
        scores = _svm_scores(features, y, train, validation, c, len(emotions))
        candidates.append((unweighted_average_recall(y[validation], scores.argmax(1)), c, scores))
    best_uar, c, validation_scores = max(candidates, key=lambda candidate: (candidate[0], -candidate[1]))
    scale = _fit_scale(validation_scores, y[validation])
    train_and_validation = np.concatenate([train, validation])
    test_scores = _svm_scores(features, y, train_and_validation, test, c, len(emotions))
    utterances = tuple(
        ScoredUtterance(
            corpus=rows[i].corpus,
            file=rows[i].file,
            speaker=rows[i].speaker_key,
            sex=rows[i].sex,
            emotion=emotions[y[i]],
            predicted=emotions[int(probabilities.argmax())],
            probabilities=tuple(probabilities.tolist()),
        )
        for i, probabilities in zip(test, _softmax(scale * test_scores), strict=True)
    )
    return FittedBaseline(utterances, c, best_uar)


def _cache_key(feature_set: str, rows: Sequence[Utterance], paths: Sequence[Path]) -> str:
    digest = hashlib.sha256(f"{feature_set} {_import_opensmile().__version__}".encode())
    for row, path in zip(rows, paths, strict=True):
        try:
            status = path.stat()
        except OSError as error:
            raise KanjoError(f"can't read {path}: {files.os_error_message(error)}") from error
        digest.update(f"{path} {status.st_size} {status.st_mtime_ns} {row.start_s} {row.end_s}\n".encode())
    return digest.hexdigest()[:16]


def _functionals(task: tuple[str, Utterance, Path]) -> Features:
    """Functionals (F,) of one utterance; functionals that openSMILE can't compute are 0."""
    feature_set, row, path = task
    signal, rate = read_utterance(row, path)
    opensmile = _import_opensmile()
    extractor = opensmile.Smile(getattr(opensmile.FeatureSet, feature_set), opensmile.FeatureLevel.Functionals)
    values = np.asarray(extractor.process_signal(signal, rate), np.float32)[0]
    if not np.isfinite(values).any():
        raise AudioError(f"{path}: openSMILE computed no functionals; the utterance may be too short")
    return np.asarray(np.nan_to_num(values))


def _svm_scores(features: Features, y: Ints, train: Ints, test: Ints, c: float, n_classes: int) -> Floats:
    """Decision function (T, E) for the utterances ``test`` of an SVM that is fitted on the utterances ``train``."""
    with requires_extra("baselines", "the baselines need scikit-learn"):
        from sklearn.svm import LinearSVC

    mean, std = features[train].mean(0), np.maximum(features[train].std(0), 1e-6)
    svm = LinearSVC(C=c, class_weight="balanced", dual=True, max_iter=5000, tol=1e-3, random_state=0)
    svm.fit((features[train] - mean) / std, y[train])
    decision = svm.decision_function((features[test] - mean) / std)
    scores = np.full((len(test), n_classes), _MISSING_CLASS_SCORE)
    scores[:, svm.classes_] = np.stack([-decision, decision], 1) if decision.ndim == 1 else decision
    return scores


def _softmax(scores: Floats) -> Floats:
    exponentials = np.exp(scores - scores.max(1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(1, keepdims=True))


def _fit_scale(scores: Floats, y_true: Ints) -> float:
    """The factor for ``scores`` (U, E) that gives the lowest cross-entropy after the softmax."""
    utterances = np.arange(len(y_true))
    losses = [-np.mean(np.log(np.maximum(_softmax(scale * scores)[utterances, y_true], 1e-12))) for scale in SCALES]
    return float(SCALES[int(np.argmin(losses))])


def _import_opensmile() -> Any:
    try:
        with requires_extra("baselines", "the baselines need openSMILE"):
            import opensmile
    except OSError as error:  # its shared library can't be loaded
        raise KanjoError(f"openSMILE can't be loaded: {error}") from error
    return opensmile
