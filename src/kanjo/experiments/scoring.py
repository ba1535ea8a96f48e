"""The scores of a bundle: on the test utterances of its own fold, and on other labeled recordings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kanjo.errors import CorpusError
from kanjo.evaluation import evaluate as evaluation
from kanjo.evaluation.robustness import evaluate_robustness
from kanjo.experiments.held_out import describe_none_held_out, find_held_out
from kanjo.inference.emotion_selection import select_emotions
from kanjo.inference.recognizer import Recognizer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from kanjo.bundle import Bundle, BundleMetadata
    from kanjo.corpora import Manifest, Utterance
    from kanjo.corpora.splits import Fold
    from kanjo.evaluation.evaluate import Evaluation
    from kanjo.experiments.reporter import Reporter
    from kanjo.train.data.experiment_data import ExperimentData


@dataclass(frozen=True)
class TestResult:
    """Evaluation of a bundle on labeled utterances.

    Attributes:
        plain: Evaluation without speaker profiles.
        enrolled: Evaluation with enrolled speakers; None if the model does not use them.
        metadata: The bundle's metadata with these scores.
    """

    __test__ = False  # not a pytest class

    plain: Evaluation
    enrolled: Evaluation | None
    metadata: BundleMetadata


@dataclass(frozen=True)
class BundleScores:
    """Evaluation of a bundle on a corpus.

    Attributes:
        plain: Evaluation without speaker profiles.
        enrolled: Evaluation with enrolled speakers; None if it was not requested.
        n_omitted: Utterances that were not scored because the bundle was trained on their speakers.
        description: The utterances that were scored, for the report.
        notes: What is not known about the speakers, for the user.
    """

    plain: Evaluation
    enrolled: Evaluation | None
    n_omitted: int
    description: str
    notes: tuple[str, ...] = ()


def evaluate_test_fold(
    bundle: Bundle, data: ExperimentData, fold: Fold, threads: int, reporter: Reporter, robustness: bool = False
) -> TestResult:
    """Evaluate a bundle on the test utterances of a fold.

    Args:
        bundle: The bundle.
        data: The utterances.
        fold: The fold.
        threads: Threads of ONNX Runtime; 0: all cores.
        reporter: Receives the progress.
        robustness: Whether degraded copies of the recordings are evaluated too (see kanjo.evaluation.robustness).
    """
    rows, paths = [data.utterances[i] for i in fold.test], [data.paths[i] for i in fold.test]
    recognizer = Recognizer(bundle, threads or None)
    with_enrollment = bool(bundle.metadata.speaker_size)
    plain, enrolled = _evaluate(recognizer, rows, paths, with_enrollment, reporter, "testing")
    by_corpus = evaluation.scores_by_corpus(plain.labels, plain.utterances)
    metadata = replace(
        bundle.metadata,
        scores=plain.scores.as_dict(),
        scores_enrolled=enrolled.scores.as_dict() if enrolled else None,
        scores_by_corpus={name: scores.as_dict() for name, scores in by_corpus.items()},
        robustness={},
    )
    if robustness:
        with reporter.progress("testing degraded recordings") as progress:
            scores_by_condition = dict(evaluate_robustness(recognizer, rows, paths, progress))
        uars = {condition: vars(scores.uar) for condition, scores in scores_by_condition.items()}
        metadata = replace(metadata, robustness=uars)
    return TestResult(plain, enrolled, metadata)


def evaluate_on_manifest(
    recognizer: Recognizer,
    manifest: Manifest,
    reporter: Reporter,
    *,
    include_training_speakers: bool = False,
    with_enrollment: bool = False,
    enrollment_clips: int = 0,
    emotions: Sequence[str] | str | None = None,
) -> BundleScores:
    """Evaluate a bundle on labeled recordings.

    Args:
        recognizer: The recognizer of the bundle.
        manifest: The recordings.
        reporter: Receives the progress.
        include_training_speakers: Whether speakers that the bundle was trained on are scored too.
        with_enrollment: Whether the recordings are also scored with enrolled speakers.
        enrollment_clips: Enroll each speaker with at most this many recordings (0: with half of them).
        emotions: The emotions among which the label is chosen; "all" for all of the bundle (default: those of the
            bundle's that occur in the manifest).

    Raises:
        CorpusError: No utterance can be scored.
        KanjoError: The bundle does not have an emotion.
    """
    requested = evaluation.labels_in_data(recognizer, manifest.utterances) if emotions is None else emotions
    labels = select_emotions(requested, recognizer.labels)
    held_out = find_held_out(recognizer.metadata, manifest)
    rows: Sequence[Utterance] = manifest.utterances if include_training_speakers else held_out.rows
    if not rows:
        raise CorpusError(
            f"{manifest.root}: {describe_none_held_out(held_out)}; --include-training-speakers scores them nevertheless"
        )
    paths = [manifest.audio_path(row) for row in rows]
    plain, enrolled = _evaluate(recognizer, rows, paths, with_enrollment, reporter, "scoring", labels, enrollment_clips)
    is_held_out = bool(recognizer.metadata.split.get("train_speakers")) and not include_training_speakers
    description = "no training speakers of the bundle" if is_held_out else "all speakers of the corpus"
    notes = () if include_training_speakers else held_out.notes
    if notes:
        description += "; " + "; ".join(notes)
    if len(labels) < len(recognizer.labels):
        description += f"; {evaluation.describe_labels(plain, recognizer.labels)}"
    n_omitted = 0 if include_training_speakers else held_out.n_training
    return BundleScores(plain, enrolled, n_omitted, description, notes)


def _evaluate(
    recognizer: Recognizer,
    rows: Sequence[Utterance],
    paths: Sequence[Path],
    with_enrollment: bool,
    reporter: Reporter,
    task: str,
    labels: Sequence[str] | None = None,
    enrollment_clips: int = 0,
) -> tuple[Evaluation, Evaluation | None]:
    """Evaluate utterances without and (optionally) with enrolled speakers, among ``labels`` (default: all)."""
    with reporter.progress(task) as progress:
        plain = evaluation.evaluate(recognizer, rows, paths, progress, labels=labels)
    if not with_enrollment:
        return plain, None
    with reporter.progress(f"{task} with enrolled speakers") as progress:
        enrolled = evaluation.evaluate_with_enrollment(recognizer, rows, paths, plain, enrollment_clips, progress)
    return plain, enrolled
