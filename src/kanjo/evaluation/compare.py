"""Several runs side by side: what each reaches, and whether one is better than another by more than luck."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kanjo.errors import CorpusError
from kanjo.evaluation.evaluate import Answer, read_answers, scores_of
from kanjo.evaluation.metrics import Scores, paired_bootstrap


@dataclass(frozen=True)
class Run:
    """A run folder's test answers, its scores, and what its ``metrics.csv`` tells of training ({} where there is none)."""

    name: str
    folder: Path
    labels: tuple[str, ...]
    answers: tuple[Answer, ...]
    scores: Scores
    curves: dict[str, tuple[float, ...]]

    @property
    def tested_on(self) -> frozenset[tuple[str, str, str]]:
        return frozenset((answer.corpus, answer.file, answer.emotion) for answer in self.answers)


@dataclass(frozen=True)
class Difference:
    """UAR of ``better`` less that of ``other`` on the same utterances, its 95 % interval, and the share of draws against it.

    ``units`` is what was drawn with replacement: "speakers", or "utterances" where there are fewer than three speakers.
    """

    better: str
    other: str
    value: float
    low: float
    high: float
    against: float
    units: str

    @property
    def certain(self) -> bool:
        return self.low > 0

    def sentence(self) -> str:
        """Who wins, by how much, and whether that is more than luck."""
        span = f"{100 * self.value:+.1f} points [{100 * self.low:+.1f}, {100 * self.high:+.1f}] over {self.units}"
        if self.certain:
            return f"{self.better} is better than {self.other}: {span}"
        return f"{self.better} and {self.other} can't be told apart: {span}"


def read_run(folder: Path) -> Run:
    """A run folder that has been tested. Raises CorpusError for one that has not."""
    labels, answers = read_answers(folder / "predictions.csv")
    if not answers:
        raise CorpusError(f"{folder / 'predictions.csv'}: no answers in it")
    return Run(folder.name, folder, labels, tuple(answers), scores_of(labels, answers), _curves(folder / "metrics.csv"))


def named_apart(runs: Sequence[Run]) -> list[Run]:
    """Runs under names that tell them apart: as much of their paths' ends as that takes."""
    for depth in range(1, 6):
        names = ["/".join(run.folder.resolve().parts[-depth:]) for run in runs]
        if len(set(names)) == len(names):
            break
    return [
        Run(name, run.folder, run.labels, run.answers, run.scores, run.curves)
        for name, run in zip(names, runs, strict=True)
    ]


def differences(runs: Sequence[Run]) -> list[Difference]:
    """Every pair of runs that were tested on the same utterances, the better one first."""
    found = []
    for i, one in enumerate(runs):
        for two in runs[i + 1 :]:
            if one.labels == two.labels and one.tested_on == two.tested_on:
                better, other = (one, two) if one.scores.uar.value >= two.scores.uar.value else (two, one)
                found.append(_difference(better, other))
    return found


def _difference(better: Run, other: Run) -> Difference:
    theirs = {(answer.corpus, answer.file): answer for answer in other.answers}
    pairs = [(answer, theirs[answer.corpus, answer.file]) for answer in better.answers]
    speakers = [answer.speaker for answer, _ in pairs]
    by_speaker = len(set(speakers)) >= 3 and "" not in speakers
    units = speakers if by_speaker else [str(n) for n in range(len(pairs))]
    place = {name: i for i, name in enumerate(better.labels)}
    truth = np.asarray([place[answer.emotion] for answer, _ in pairs])
    # an "unsure" answer is a wrong one, so it takes a column that no truth has
    first, second = (np.asarray([place.get(pair[side].answer, len(place)) for pair in pairs]) for side in (0, 1))
    value, low, high, against = paired_bootstrap(truth, first, second, units, len(place))
    return Difference(better.name, other.name, value, low, high, against, "speakers" if by_speaker else "utterances")


def _curves(path: Path) -> dict[str, tuple[float, ...]]:
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    return {name: tuple(float(row[name]) for row in rows) for name in (rows[0] if rows else ())}
