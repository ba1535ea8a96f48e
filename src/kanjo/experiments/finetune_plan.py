"""What ``kanjo finetune`` will do with recordings: classes, split, speakers and duration. Nothing is trained."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kanjo.corpora.leakage import check_leakage
from kanjo.corpora.protocols import TEST_WORDS, TRAIN_WORDS
from kanjo.corpora.splits import make_folds
from kanjo.errors import CorpusError
from kanjo.experiments.finetune_data import format_count

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kanjo.corpora import Utterance
    from kanjo.corpora.splits import Fold
    from kanjo.experiments.finetune_data import LabeledData

#: With fewer clips than this, all folds are trained, and the bundle is trained on all clips.
MAX_CROSSVAL_CLIPS = 500
#: Folds, where there are enough speakers or clips.
N_FOLDS = 5
#: Training, validation and test need at least one clip of each class.
MIN_CLIPS_PER_CLASS = 3
#: More classes than this are taken for a mistake, such as a column of file names.
MAX_CLASSES = 100
_N_SHOWN = 5
_NO_PROFILES = "the new model can't use speaker profiles (kanjo enroll)"


@dataclass(frozen=True)
class FinetunePlan:
    """How labeled recordings are split, and what is trained.

    Attributes:
        data: The recordings that are used.
        protocol: Name of the split protocol (kanjo.corpora.protocols).
        folds: The folds that are trained.
        cross_validates: Whether the scores are those of all folds, and the bundle is trained on all clips.
        speaker_independent: Whether test speakers are never training speakers.
        reason: Why the clips are not split by speaker, or "".
        enrollment: Whether the heads that use a speaker profile are trained.
        notes: What else is unusual about the split, such as classes that parts of folds lack.
    """

    data: LabeledData
    protocol: str
    folds: tuple[Fold, ...]
    cross_validates: bool
    speaker_independent: bool
    reason: str
    enrollment: bool
    notes: tuple[str, ...] = ()

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes in the order of the model's outputs."""
        return tuple(self.data.counts)

    @property
    def n_speakers(self) -> int:
        """Number of speakers; 0 if they are unknown."""
        return len({row.speaker_key for row in self.data.rows} - {""})

    def describe(self) -> list[str]:
        """Say what was understood and what will be done, one sentence for each line."""
        data, rows = self.data, self.data.rows
        n_files = len(set(data.paths))
        segments = f" in {n_files} recordings" if n_files < len(rows) else ""
        seconds = sum(data.seconds)
        lines = [
            f"{data.root}: {len(rows)} clips{segments}, {_format_duration(seconds)}",
            f"classes: {', '.join(f'{name} {n}' for name, n in data.counts.items())}",
            *(f"note: {note}" for note in data.notes),
            self._describe_speakers(),
            *(f"left out: {sentence}" for sentence in data.omitted),
            self._describe_split(),
        ]
        leaks = self._describe_leaks()
        return [*lines, *(f"note: {note}" for note in (*self.notes, *leaks))]

    def _describe_speakers(self) -> str:
        n_unknown = sum(not row.speaker for row in self.data.rows)
        names = list(dict.fromkeys(row.speaker for row in self.data.rows if row.speaker))
        if not names:
            return f"speakers: none are named, so {_NO_PROFILES}"
        shown = ", ".join(names[:_N_SHOWN]) + (", ..." if len(names) > _N_SHOWN else "")
        unknown = f"; {n_unknown} clips without a speaker" if n_unknown else ""
        heads = "" if self.enrollment else f"; fewer than two have clips of two or more classes, so {_NO_PROFILES}"
        return f"speakers: {self.n_speakers} ({shown}){unknown}{heads}"

    def _describe_split(self) -> str:
        unit = "the split column" if self.protocol == "manifest" else "speaker" if self.speaker_independent else "clip"
        how = f"split: by {unit}"
        if self.reason:
            how += f", because {self.reason}"
        if self.speaker_independent:
            how += "; the score is that of new speakers"
        else:
            how += "; the score is speaker-dependent: it is too high for new speakers"
        if self.cross_validates:
            return f"{how}. Cross-validation with {len(self.folds)} folds; the bundle is then trained on all clips"
        fold = self.folds[0]
        return f"{how}. {len(fold.train)} training, {len(fold.validation)} validation and {len(fold.test)} test clips"

    def _describe_leaks(self) -> list[str]:
        """Say how many test clips are identical to training clips."""
        if not self.data.fingerprints:
            return []
        shared = sum(
            check_leakage(self.data.rows, fold, self.data.fingerprints).shared_recordings for fold in self.folds
        )
        if not shared:
            return []
        verb = "is" if shared == 1 else "are"
        return [f"{format_count(shared, 'test clip')} {verb} identical to training clips; the score is too high"]


def plan_finetuning(data: LabeledData, n_folds: int | None = None) -> FinetunePlan:
    """Choose classes and split.

    Args:
        data: Labeled recordings.
        n_folds: Number of folds of a cross-validation (default: five if there are fewer than 500 clips, else one
            split; fewer if there are fewer speakers).

    Raises:
        CorpusError: There are too few clips or classes, or they can't be split.
    """
    data = _choose_classes(data)
    protocol, folds, reason = _split(data.rows, n_folds)
    cross_validates = protocol != "manifest" and (n_folds is not None or len(data.rows) < MAX_CROSSVAL_CLIPS)
    folds = folds if cross_validates else folds[:1]
    speakers = [row.speaker_key for row in data.rows]
    independent = all(
        "" not in (speakers[i] for i in fold.test)
        and not {speakers[i] for i in fold.test} & {speakers[i] for i in (*fold.train, *fold.validation)}
        for fold in folds
    )
    return FinetunePlan(
        data=data,
        protocol=protocol,
        folds=tuple(folds),
        cross_validates=cross_validates,
        speaker_independent=independent,
        reason=reason,
        enrollment=_supports_enrollment(data.rows),
        notes=(
            *_describe_split_column(data.rows, folds, protocol),
            *(_describe_fewer_folds(data.rows, len(folds), protocol, n_folds or N_FOLDS) if cross_validates else ()),
            *_describe_missing_classes(data.rows, folds),
        ),
    )


def _choose_classes(data: LabeledData) -> LabeledData:
    """Leave out classes with too few clips.

    Raises:
        CorpusError: There are fewer than two classes left, or too many.
    """
    counts = data.counts
    if len(counts) > MAX_CLASSES:
        raise CorpusError(
            f"{data.root}: {len(counts)} classes ({_shown(counts)}); expected at most {MAX_CLASSES}. Is it the column "
            "or the folder level of the emotions?"
        )
    rare = {name: n for name, n in counts.items() if n < MIN_CLIPS_PER_CLASS}
    if len(counts) - len(rare) < 2:
        raise CorpusError(
            f"{data.root}: {len(counts)} class{'es' if len(counts) != 1 else ''} ({_shown(counts)}); expected at least "
            f"two classes with at least {MIN_CLIPS_PER_CLASS} clips each, for training, validation and test"
        )
    problems = {
        index: f"the class {row.emotion} has {rare[row.emotion]} of at least {MIN_CLIPS_PER_CLASS} clips"
        for index, row in enumerate(data.rows)
        if row.emotion in rare
    }
    return data.without(problems, "clip")


def _split(rows: Sequence[Utterance], n_folds: int | None) -> tuple[str, list[Fold], str]:
    """Split by the split column, else by speaker, else by clip.

    Returns:
        Protocol, folds, and why the clips are not split by speaker.

    Raises:
        CorpusError: The clips can't be split.
    """
    words = {row.split.casefold() for row in rows}
    if words & TRAIN_WORDS and words & TEST_WORDS:
        folds = make_folds(rows, "manifest", allow_shared_speakers=True)
        _require_classes(rows, folds[0])
        return "manifest", folds, ""
    speakers = {row.speaker_key for row in rows}
    n_unknown = sum(not row.speaker for row in rows)
    if speakers == {""}:
        reason = "no speakers are named"
    elif n_unknown:
        reason = f"{n_unknown} of {len(rows)} clips have no speaker"
    elif len(speakers) == 1:
        reason = "there is only one speaker"
    else:
        folds = make_folds(rows, "speaker_kfold", n_folds=min(n_folds or N_FOLDS, len(speakers)))
        missing = sorted({name for fold in folds for name in _missing_classes(rows, fold.train)})
        if not missing:
            return "speaker_kfold", folds, ""
        reason = f"folds of speakers would have no training clip of {', '.join(missing)}"
    smallest = min(Counter(row.emotion for row in rows).values())
    folds = make_folds(rows, "speaker_dependent", n_folds=min(n_folds or N_FOLDS, smallest))
    for fold in folds:
        _require_classes(rows, fold)
    return "speaker_dependent", folds, reason


def _missing_classes(rows: Sequence[Utterance], indices: Sequence[int]) -> list[str]:
    """Classes that some clips lack."""
    return sorted({row.emotion for row in rows} - {rows[i].emotion for i in indices})


def _require_classes(rows: Sequence[Utterance], fold: Fold) -> None:
    """Raise CorpusError if a class has no training clip."""
    missing = _missing_classes(rows, fold.train)
    if missing:
        raise CorpusError(
            f"no training clip of {', '.join(missing)}; expected at least one of each class. Change the split column, "
            "or leave these classes out"
        )


def _describe_missing_classes(rows: Sequence[Utterance], folds: Sequence[Fold]) -> list[str]:
    """Say which classes validation or test of each fold lacks."""
    notes = []
    for fold in folds:
        for part, indices in (("validation", fold.validation), ("test", fold.test)):
            if missing := _missing_classes(rows, indices):
                notes.append(f"fold {fold.index}: {part} has no clip of {', '.join(missing)}")
    return notes


def _describe_split_column(rows: Sequence[Utterance], folds: Sequence[Fold], protocol: str) -> list[str]:
    """Say how many speakers a split column puts into both training and test."""
    if protocol != "manifest":
        return []
    fold = folds[0]
    test = {rows[i].speaker_key for i in fold.test}
    shared = test.intersection(rows[i].speaker_key for i in (*fold.train, *fold.validation)) - {""}
    if not shared:
        return []
    names = format_count(len(shared), "speaker")
    return [f"the split column has test clips of {names} of the training; without this column, kanjo splits by speaker"]


def _describe_fewer_folds(rows: Sequence[Utterance], n: int, protocol: str, wanted: int) -> list[str]:
    """Say why there are fewer folds than wanted."""
    if n >= wanted:
        return []
    if protocol == "speaker_kfold":
        reason = f"there are {len({row.speaker_key for row in rows})} speakers"
    else:
        name, n_clips = min(Counter(row.emotion for row in rows).items(), key=lambda item: (item[1], item[0]))
        reason = f"the class {name} has {n_clips} clips"
    return [f"{n} folds instead of {wanted}, because {reason}"]


def _supports_enrollment(rows: Sequence[Utterance]) -> bool:
    """Whether at least two speakers have clips of two classes: else a speaker's mean is the mean of one class."""
    classes: dict[str, set[str]] = {}
    for row in rows:
        if row.speaker:
            classes.setdefault(row.speaker_key, set()).add(row.emotion)
    return sum(len(names) > 1 for names in classes.values()) >= 2


def _shown(counts: Mapping[str, int]) -> str:
    items = [f"{name} {n}" for name, n in counts.items()]
    return ", ".join(items[:_N_SHOWN]) + (", ..." if len(items) > _N_SHOWN else "")


def _format_duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"
