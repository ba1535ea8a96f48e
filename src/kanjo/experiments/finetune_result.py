"""The result of ``kanjo finetune``: the original and the finetuned model on the same test clips."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kanjo import files
from kanjo.errors import KanjoError
from kanjo.evaluation.metrics import Interval, PairedDifference, format_bounds, paired_bootstrap, uar_interval
from kanjo.labels import UNSURE
from kanjo.parsing import parse_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kanjo.evaluation.evaluate import ScoredUtterance
    from kanjo.evaluation.metrics import Ints
    from kanjo.experiments.run_folder import RunFolder

_MAX_BYTES = 16_000_000
#: With fewer speakers than this, or unknown ones, intervals are computed over clips.
MIN_SPEAKERS = 5
ORIGINAL, FINETUNED = "original", "finetuned"


@dataclass(frozen=True)
class ModelScore:
    """The score of a model on test clips.

    Attributes:
        model: "original" or "finetuned".
        classes: The classes among which the model chose.
        n_clips: Number of test clips.
        uar: Unweighted average recall with its 95 % interval.
    """

    model: str
    classes: tuple[str, ...]
    n_clips: int
    uar: Interval


@dataclass(frozen=True)
class Comparison:
    """Scores of the original and the finetuned model on the same test clips.

    Attributes:
        scores: The finetuned model with all classes; before it, if the models share at least two classes, the original
            and the finetuned model on the clips of these classes, choosing among them.
        difference: UAR of the finetuned minus that of the original model on these clips, or None.
        interval_unit: What the bootstrap draws: "speakers" or "clips".
        recalls: Recall of each class of the finetuned model.
        notes: What limits the comparison.
    """

    scores: tuple[ModelScore, ...]
    difference: PairedDifference | None
    interval_unit: str
    recalls: dict[str, float]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class FinetuneResult:
    """What ``kanjo finetune`` produced.

    Attributes:
        folder: The run folder, with the report and the bundle.
        bundle: The bundle.
        classes: The classes that the bundle predicts.
        speaker_independent: Whether the scores are those of speakers that the models were not trained on.
        n_folds: Number of folds whose test clips were scored; 1: one split.
        comparison: The scores.
        minutes: Duration of the run; after a resume, of its last part.
    """

    folder: Path
    bundle: Path
    classes: tuple[str, ...]
    speaker_independent: bool
    n_folds: int
    comparison: Comparison
    minutes: float

    @property
    def uar(self) -> Interval:
        """UAR of the finetuned model over all classes."""
        return self.comparison.scores[-1].uar

    def describe(self) -> list[str]:
        """The scores as a few lines of text."""
        comparison = self.comparison
        n_clips = comparison.scores[-1].n_clips
        how = f"cross-validation with {self.n_folds} folds" if self.n_folds > 1 else "one split"
        speakers = "new speakers" if self.speaker_independent else "speaker-dependent"
        lines = [f"{how}, {n_clips} test clips, {speakers}; 95 % intervals over {comparison.interval_unit}"]
        for score in comparison.scores:
            names = ", ".join(score.classes) if len(score.classes) <= 10 else f"{len(score.classes)} classes"
            chance = f"chance {100 / len(score.classes):.1f} %"
            lines.append(f"{score.model:<10} UAR {score.uar!s:<24} {score.n_clips} clips, {chance}: {names}")
        if comparison.difference:
            uar = comparison.difference.uar
            bounds = format_bounds(uar.low, uar.high, sign="+")
            lines.insert(3, f"difference {100 * uar.value:+.1f} points {bounds}")
        recalls = ", ".join(f"{name} {100 * value:.0f} %" for name, value in comparison.recalls.items())
        return [*lines, f"recall of the finetuned model: {recalls}", *(f"note: {note}" for note in comparison.notes)]


def compare_models(
    labels: Sequence[str],
    finetuned: Sequence[ScoredUtterance],
    original: Sequence[ScoredUtterance],
    original_labels: Sequence[str],
    overlap: str = "",
) -> Comparison:
    """Score both models on the same test clips.

    Args:
        labels: The classes of the finetuned model.
        finetuned: Its predictions.
        original: The predictions of the original model for the same clips in the same order; empty if it has fewer
            than two of the classes.
        original_labels: The classes of the original model.
        overlap: What is known about test clips that the original model was trained on (describe_training_overlap).
    """
    units, unit = _bootstrap_units(finetuned)
    shared = tuple(name for name in labels if name in original_labels)
    scores: list[ModelScore] = []
    difference, notes = None, []
    if len(shared) > 1 and original:
        kept = [i for i, utterance in enumerate(finetuned) if utterance.emotion in shared]
        kept_units = [units[i] for i in kept]
        y_true = _indices([finetuned[i].emotion for i in kept], shared)
        predicted = [
            _choose_among(shared, labels, [predictions[i] for i in kept]) for predictions in (original, finetuned)
        ]
        for model, y_pred in zip((ORIGINAL, FINETUNED), predicted, strict=True):
            uar = uar_interval(y_true, y_pred, kept_units, len(shared))
            scores.append(ModelScore(model, shared, len(kept), uar))
        difference = paired_bootstrap(y_true, predicted[1], predicted[0], kept_units, len(shared))
    else:
        known = ", ".join(shared) or "none"
        notes.append(f"the original model knows {known} of these classes; at least two are needed to compare")
    if overlap:
        notes.append(overlap)
    y_true = _indices([utterance.emotion for utterance in finetuned], labels)
    y_pred = _choose_among(labels, labels, finetuned)
    recalls = {labels[k]: float((y_pred[y_true == k] == k).mean()) for k in sorted(set(y_true.tolist()))}
    all_classes = ModelScore(FINETUNED, tuple(labels), len(y_true), uar_interval(y_true, y_pred, units, len(labels)))
    if shared == tuple(labels) and scores:  # the same clips and classes: one row
        scores.pop()
    return Comparison((*scores, all_classes), difference, unit, recalls, tuple(notes))


def write_result(path: Path, result: FinetuneResult) -> None:
    """Write a result as JSON. Raises KanjoError if the file can't be written."""
    content = {**asdict(result), "folder": "", "bundle": ""}  # the folder may be moved
    files.write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def read_result(path: Path, folder: Path, bundle: Path) -> FinetuneResult:
    """Read a result that :func:`write_result` has written.

    Raises:
        KanjoError: The file is damaged.
    """
    try:
        content = parse_json(files.read_bytes(path, _MAX_BYTES), strict=False)
        return _parse_result(content, folder, bundle)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise KanjoError(f"{path} is damaged ({error}); remove the folder and start again") from error


def remove_intermediate_files(folder: RunFolder, n_folds: int) -> None:
    """Remove what only an interrupted run needs.

    Args:
        folder: The folder of a finished run.
        n_folds: Its number of folds.
    """
    runs = [folder.fold(index + 1) for index in range(n_folds)]
    for path in (*(run.path for run in runs), folder.checkpoints, folder.refit.path, folder.segment_features):
        shutil.rmtree(path, ignore_errors=True)


def _parse_result(content: dict[str, Any], folder: Path, bundle: Path) -> FinetuneResult:
    comparison = content["comparison"]
    difference = comparison["difference"]
    scores = [
        ModelScore(score["model"], tuple(score["classes"]), score["n_clips"], Interval(**score["uar"]))
        for score in comparison["scores"]
    ]
    return FinetuneResult(
        folder=folder,
        bundle=bundle,
        classes=tuple(content["classes"]),
        speaker_independent=content["speaker_independent"],
        n_folds=content["n_folds"],
        comparison=Comparison(
            tuple(scores),
            difference and PairedDifference(Interval(**difference["uar"]), difference["p_value"]),
            comparison["interval_unit"],
            comparison["recalls"],
            tuple(comparison["notes"]),
        ),
        minutes=content["minutes"],
    )


def _bootstrap_units(utterances: Sequence[ScoredUtterance]) -> tuple[list[str], str]:
    """The unit of each utterance that the bootstrap draws, and what the units are."""
    speakers = [utterance.speaker for utterance in utterances]
    if "" not in speakers and len(set(speakers)) >= MIN_SPEAKERS:
        return speakers, "speakers"
    return [str(i) for i in range(len(utterances))], "clips"


def _indices(emotions: Sequence[str], labels: Sequence[str]) -> Ints:
    return np.asarray([labels.index(emotion) for emotion in emotions])


def _choose_among(chosen: Sequence[str], labels: Sequence[str], utterances: Sequence[ScoredUtterance]) -> Ints:
    """The most probable of the chosen classes for each utterance; ``len(chosen)`` for "unsure"."""
    columns = [labels.index(name) for name in chosen]
    probabilities = np.asarray([utterance.probabilities for utterance in utterances])[:, columns]
    unsure = np.asarray([utterance.predicted == UNSURE for utterance in utterances])
    return np.where(unsure, len(chosen), probabilities.argmax(1))
