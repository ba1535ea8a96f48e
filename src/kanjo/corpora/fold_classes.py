"""The classes that training, validation and test of a fold lack; known before anything is computed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kanjo.corpora.manifest import Utterance
from kanjo.corpora.splits import Fold
from kanjo.errors import CorpusError

_MAX_NAMES = 5


@dataclass(frozen=True)
class FoldClasses:
    """The classes that the parts of a fold lack.

    A class without training utterances is left out: the model of the fold does not have it, and its test utterances
    are not scored.

    Attributes:
        fold: Number of the fold, from 1.
        name: Name of the fold.
        n_classes: Number of classes with training utterances.
        untrained: Classes without training utterances.
        n_unscored: Number of test utterances of these classes.
        missing_in_validation: Classes that are in training, but not in validation.
        missing_in_test: Classes that are in training, but not in test.
        untrained_in_validation: Whether validation has a class that training lacks.
        validation_shares_speakers: Whether validation and training share speakers, and test has others.
    """

    fold: int
    name: str
    n_classes: int
    untrained: tuple[str, ...]
    n_unscored: int
    missing_in_validation: tuple[str, ...]
    missing_in_test: tuple[str, ...]
    untrained_in_validation: bool = False
    validation_shares_speakers: bool = False

    @property
    def n_scored(self) -> int:
        """Number of classes that the test utterances are scored on."""
        return self.n_classes - len(self.missing_in_test)

    def describe(self) -> list[str]:
        """Return warnings as short sentences; an empty list if every part has every class."""
        lines = []
        if self.untrained:
            lines.append(
                f"no training utterance of {join_names(self.untrained)}: left out of this fold's model and scores "
                f"({self.n_unscored} test utterances)"
            )
        if self.missing_in_validation:
            lines.append(
                f"no validation utterance of {join_names(self.missing_in_validation)}: "
                "the epoch and the temperature are chosen without it"
            )
        if self.missing_in_test:
            chance = f", chance {100 / self.n_scored:.1f} %" if self.n_scored else ""
            lines.append(
                f"no test utterance of {join_names(self.missing_in_test)}: "
                f"UAR over {self.n_scored} of {self.n_classes} classes{chance}"
            )
        if self.validation_shares_speakers:
            lines.append("validation and training share speakers; the test speakers are others")
        return lines


def check_classes(
    utterances: Sequence[Utterance], folds: Iterable[Fold], emotions: Sequence[str] | None = None
) -> list[FoldClasses]:
    """Find the classes that training, validation and test of each fold lack.

    Args:
        utterances: All utterances that the folds' indices refer to.
        folds: The folds.
        emotions: All classes, in the order of the messages. Default: those of the utterances, sorted.
    """
    names = sorted({row.emotion for row in utterances}) if emotions is None else list(emotions)
    return [_check_fold(utterances, fold, names) for fold in folds]


def require_scorable(report: FoldClasses, protocol: str) -> None:
    """Check that a fold can be trained and scored.

    Raises:
        CorpusError: Training has fewer than two classes, test has none of them, or the split column of a manifest
            leaves a class out of training.
    """
    fold = f"{protocol}, fold {report.fold} ({report.name})"
    if report.untrained and (protocol == "manifest" or report.untrained_in_validation):
        raise CorpusError(
            f"{fold}: no training utterance of {join_names(report.untrained)}; change the split column, or leave out "
            "these emotions with labels.include"
        )
    if report.n_classes < 2:
        raise CorpusError(
            f"{fold}: training has only {report.n_classes} emotion; expected at least 2. Use another split.protocol, "
            "or more recordings"
        )
    if not report.n_scored:
        raise CorpusError(
            f"{fold}: training has no utterance of the emotions of test ({join_names(report.untrained)}); use another "
            "split.protocol, or leave out these emotions with labels.include"
        )


def join_names(names: Sequence[str]) -> str:
    """Join names with commas; long lists end with the number of the others."""
    shown = ", ".join(names[:_MAX_NAMES])
    return shown if len(names) <= _MAX_NAMES else f"{shown} and {len(names) - _MAX_NAMES} others"


def _check_fold(utterances: Sequence[Utterance], fold: Fold, names: Sequence[str]) -> FoldClasses:
    train, validation, test = (
        {utterances[i].emotion for i in part} for part in (fold.train, fold.validation, fold.test)
    )
    train_speakers, validation_speakers, test_speakers = (
        {utterances[i].speaker_key for i in part} - {""} for part in (fold.train, fold.validation, fold.test)
    )
    trained = [name for name in names if name in train]
    return FoldClasses(
        fold=fold.index,
        name=fold.name,
        n_classes=len(trained),
        untrained=tuple(name for name in names if name not in train),
        n_unscored=sum(utterances[i].emotion not in train for i in fold.test),
        missing_in_validation=tuple(name for name in trained if name not in validation),
        missing_in_test=tuple(name for name in trained if name not in test),
        untrained_in_validation=not validation <= train,
        validation_shares_speakers=bool(train_speakers & validation_speakers)
        and not test_speakers & (train_speakers | validation_speakers),
    )
