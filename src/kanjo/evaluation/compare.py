"""Compare runs: their scores, and whether the differences between them are statistically significant."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np

from kanjo.errors import CorpusError
from kanjo.evaluation.evaluate import ScoredUtterance, compute_scores
from kanjo.evaluation.metrics import MIN_SPEAKERS, PairedDifference, Scores, format_bounds, paired_bootstrap
from kanjo.evaluation.predictions_file import read_predictions


@dataclass(frozen=True)
class EvaluatedRun:
    """A run with predictions for its test utterances.

    Attributes:
        name: Name in tables and figures.
        folder: Run folder.
        labels: The emotions (E).
        utterances: The test utterances with their predictions.
        scores: The scores of these utterances.
        metrics_by_epoch: Columns of ``metrics.csv``, one value for each epoch; empty if there is no such file.
    """

    name: str
    folder: Path
    labels: tuple[str, ...]
    utterances: tuple[ScoredUtterance, ...]
    scores: Scores
    metrics_by_epoch: dict[str, tuple[float, ...]]

    @property
    def test_set(self) -> frozenset[tuple[str, str, str]]:
        """Corpus, file and true emotion of each test utterance."""
        return frozenset((utterance.corpus, utterance.file, utterance.emotion) for utterance in self.utterances)


@dataclass(frozen=True)
class RunDifference:
    """The UAR of the better one of two runs minus that of the other, on the same utterances.

    Attributes:
        better: Name of the run with the higher UAR.
        other: Name of the other run.
        difference: The difference with its interval.
        unit: What the bootstrap draws: "speakers", or "utterances" if there are fewer than three speakers.
    """

    better: str
    other: str
    difference: PairedDifference
    unit: str

    @property
    def is_significant(self) -> bool:
        """Whether the 95 % interval excludes zero."""
        low = self.difference.uar.low
        return low is not None and low > 0

    def describe(self) -> str:
        """One sentence with the difference and its interval."""
        uar = self.difference.uar
        verdict = (
            f"{self.better} is better than {self.other}"
            if self.is_significant
            else f"{self.better} and {self.other} are not significantly different"
        )
        bounds = format_bounds(uar.low, uar.high, sign="+")
        return f"{verdict}: {100 * uar.value:+.1f} points {bounds} over {self.unit}"


def read_run(folder: Path, predictions: Path, metrics: Path) -> EvaluatedRun:
    """Read a run that has been tested.

    Args:
        folder: The run folder; its name becomes the run's name.
        predictions: Its predictions for the test utterances.
        metrics: Its metrics of each epoch; the file may be missing.

    Raises:
        CorpusError: The predictions can't be read, or there are none.
    """
    labels, utterances = read_predictions(predictions)
    if not utterances:
        raise CorpusError(f"{predictions}: this file has no predictions; test the run first (kanjo train)")
    scores = compute_scores(labels, utterances)
    return EvaluatedRun(folder.name, folder, labels, tuple(utterances), scores, _read_metrics(metrics))


def with_distinct_names(runs: Sequence[EvaluatedRun]) -> list[EvaluatedRun]:
    """Name runs by the last parts of their paths, as many parts as make the names distinct (at most five)."""
    for n_parts in range(1, 6):
        names = ["/".join(run.folder.resolve().parts[-n_parts:]) for run in runs]
        if len(set(names)) == len(names):
            break
    return [replace(run, name=name) for name, run in zip(names, runs, strict=True)]


def compare_pairs(runs: Sequence[EvaluatedRun]) -> list[RunDifference]:
    """Compare every pair of runs that were tested on the same utterances."""
    differences = []
    for first, second in combinations(runs, 2):
        if first.labels == second.labels and first.test_set == second.test_set:
            swap = second.scores.uar.value > first.scores.uar.value
            differences.append(_compare_pair(second, first) if swap else _compare_pair(first, second))
    return differences


def _compare_pair(better: EvaluatedRun, other: EvaluatedRun) -> RunDifference:
    other_by_file = {(utterance.corpus, utterance.file): utterance for utterance in other.utterances}
    other_utterances = [other_by_file[utterance.corpus, utterance.file] for utterance in better.utterances]
    speakers = [utterance.speaker for utterance in better.utterances]
    draw_speakers = len(set(speakers)) >= MIN_SPEAKERS and "" not in speakers
    units = speakers if draw_speakers else [str(n) for n in range(len(speakers))]
    index_of_label = {name: i for i, name in enumerate(better.labels)}
    unsure = len(better.labels)  # one more class, which is never true
    difference = paired_bootstrap(
        np.asarray([index_of_label[utterance.emotion] for utterance in better.utterances]),
        np.asarray([index_of_label.get(utterance.predicted, unsure) for utterance in better.utterances]),
        np.asarray([index_of_label.get(utterance.predicted, unsure) for utterance in other_utterances]),
        units,
        len(better.labels),
    )
    return RunDifference(better.name, other.name, difference, "speakers" if draw_speakers else "utterances")


def _read_metrics(path: Path) -> dict[str, tuple[float, ...]]:
    """The columns of a ``metrics.csv``; an empty dict if the file is missing or has no rows."""
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    return {name: tuple(float(row[name]) for row in rows) for name in (rows[0] if rows else ())}
