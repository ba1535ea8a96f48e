"""The bundle that a training started from, evaluated on the test utterances of the trained model."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from kanjo.corpora import CORPORA
from kanjo.corpora.fold_classes import join_names
from kanjo.corpora.words import normalize
from kanjo.evaluation.evaluate import Evaluation, compute_scores, evaluate
from kanjo.evaluation.reports.run_info import OriginalModel
from kanjo.inference.recognizer import Recognizer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kanjo.bundle import Bundle, BundleMetadata
    from kanjo.corpora import Utterance
    from kanjo.evaluation.evaluate import ScoredUtterance
    from kanjo.experiments.reporter import Reporter


def evaluate_original(
    source: Bundle,
    emotions: Sequence[str],
    rows: Sequence[Utterance],
    paths: Sequence[Path],
    threads: int,
    reporter: Reporter,
) -> Evaluation | None:
    """Evaluate the original model on test utterances, among the emotions that it shares with the trained model.

    Utterances with an emotion that the original model does not have count as errors, so that both models are scored on
    the same utterances.

    Args:
        source: The bundle that the training started from.
        emotions: The emotions of the trained model.
        rows: The test utterances.
        paths: The recording of each utterance.
        threads: Threads of ONNX Runtime; 0: all cores.
        reporter: Receives the progress.

    Returns:
        The evaluation, or None if the models share fewer than two emotions.
    """
    shared = [name for name in source.metadata.labels if name in emotions]
    if len(shared) < 2:
        return None
    # evaluate() leaves out utterances whose emotion the model lacks, so all get an emotion that it has for this call.
    candidates = [row._replace(emotion=shared[0]) for row in rows]
    with reporter.progress("testing the original model") as progress:
        predicted = evaluate(Recognizer(source, threads or None), candidates, paths, progress, labels=shared)
    utterances = []
    for utterance in predicted.utterances:
        by_emotion = dict(zip(predicted.labels, utterance.probabilities, strict=True))
        probabilities = tuple(by_emotion.get(name, 0.0) for name in emotions)
        utterances.append(
            replace(utterance, emotion=rows[utterance.index].emotion, probabilities=probabilities, embedding=None)
        )
    scores = compute_scores(emotions, utterances)
    return Evaluation(tuple(emotions), tuple(utterances), scores, predicted.failures)


def describe_original(source: BundleMetadata, evaluation: Evaluation) -> OriginalModel:
    """The row of the original model in a report, with what limits the comparison.

    Args:
        source: Metadata of the bundle that the training started from.
        evaluation: Result of :func:`evaluate_original`.
    """
    return OriginalModel(
        source.name, evaluation.scores, " ".join(_notes(source, evaluation.labels, evaluation.utterances))
    )


def _notes(source: BundleMetadata, emotions: Sequence[str], utterances: Sequence[ScoredUtterance]) -> list[str]:
    notes = []
    shared = [name for name in source.labels if name in emotions]
    if len(shared) < len(source.labels):
        notes.append(f"The original model chose among {', '.join(shared)}.")
    lacking = [name for name in emotions if name not in shared]
    n_wrong = sum(utterance.emotion in lacking for utterance in utterances)
    if n_wrong:
        notes.append(
            f"The original model does not have {', '.join(lacking)}: {n_wrong} test utterances count as its errors."
        )
    overlap = describe_training_overlap(source, utterances)
    return [*notes, f"{overlap[0].upper()}{overlap[1:]}."] if overlap else notes


def describe_training_overlap(
    source: BundleMetadata, utterances: Sequence[ScoredUtterance], scores: str = "both scores are"
) -> str:
    """Say whether the original model was, or may have been, trained on the recordings or speakers of a test.

    Args:
        source: Metadata of the original model.
        utterances: The test utterances.
        scores: The scores that are then too high, with their verb.

    Returns:
        A sentence without full stop; "" if the recordings are from other speakers or corpora.
    """
    test_speakers = {utterance.speaker for utterance in utterances} - {""}
    if n_seen := len(test_speakers & set(source.split.get("train_speakers", ()))):
        return f"the original model was trained on {n_seen} of the {len(test_speakers)} speakers; {scores} too high"
    trained = [corpus["name"] for corpus in source.corpora]
    unknown = [row for row in utterances if row.corpus not in CORPORA or (row.corpus in trained and not row.speaker)]
    if not trained or not unknown:
        return ""
    n_similar = Counter(name for row in unknown for name in trained if _is_named_as(row, name))
    if n_similar:
        name, n = n_similar.most_common(1)[0]
        return (
            f"{n} of {len(utterances)} recordings are named as those of {name}, which the original model was trained "
            f"on; if they are from there, {scores} too high"
        )
    return (
        f"the original model was trained on {join_names(trained)}; if your recordings are from there, {scores} too high"
    )


def _is_named_as(utterance: ScoredUtterance, corpus: str) -> bool:
    """Whether a recording is of a corpus, or its name has the form of the names in this corpus."""
    stem = CORPORA[corpus].stem if corpus in CORPORA else None
    return utterance.corpus == corpus or bool(stem and stem.fullmatch(normalize(Path(utterance.file).stem)))
