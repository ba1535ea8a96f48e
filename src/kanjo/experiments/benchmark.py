"""Score a bundle on every corpus in a folder, on speakers that it was not trained on."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kanjo.corpora import CORPORA, OWN_CORPUS, find_root, get_corpus, read_corpus
from kanjo.corpora.identify import identify_corpora
from kanjo.errors import CorpusError, KanjoError
from kanjo.evaluation import evaluate as evaluation
from kanjo.evaluation.metrics import require_scikit_learn
from kanjo.evaluation.robustness import evaluate_robustness
from kanjo.experiments.held_out import describe_none_held_out, find_held_out
from kanjo.inference.adaptation import describe as describe_adaptation

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from kanjo.corpora import Utterance
    from kanjo.evaluation.evaluate import Evaluation
    from kanjo.evaluation.metrics import Scores
    from kanjo.experiments.reporter import Reporter
    from kanjo.inference.recognizer import Recognizer

#: Numbers of clips that each speaker is enrolled with.
ENROLLMENT_CLIPS = (1, 2, 5, 10)


@dataclass(frozen=True)
class BenchmarkOptions:
    """What is scored besides the plain predictions.

    Attributes:
        enrollment: With enrolled speakers, if the bundle supports it.
        adaptation: After adaptation to the scored recordings of each corpus, without their labels.
        robustness: Degraded copies of at most 500 recordings of each corpus: noise, telephone and others.
    """

    enrollment: bool = True
    adaptation: bool = False
    robustness: bool = False


@dataclass(frozen=True)
class FoundCorpus:
    """A corpus below the folder of corpora.

    Attributes:
        name: A published corpus, or the name of an own folder or table.
        path: Its folder or table; None if it was not found.
        reader: The name of its reader: that of the corpus, or "own".
        error: Why it was not found, or "".
    """

    name: str
    path: Path | None
    reader: str
    error: str = ""


@dataclass(frozen=True)
class CorpusScores:
    """The scores of a bundle on one corpus.

    Attributes:
        among_bundle_labels: Evaluation among all emotions of the bundle.
        among_corpus_labels: Evaluation among those that occur in the corpus.
        enrolled: The second evaluation with each speaker enrolled, by the number of clips of the profiles.
        n_omitted: Utterances left out because the bundle was trained on their speakers.
        adapted: The second evaluation after adaptation to these recordings, or None.
        conditions: Scores among the emotions of the corpus on degraded copies, by the name of the condition.
        notes: What the reader of the scores must know.
    """

    among_bundle_labels: Evaluation
    among_corpus_labels: Evaluation
    enrolled: Mapping[int, Evaluation]
    n_omitted: int
    adapted: Evaluation | None = None
    conditions: Mapping[str, Scores] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def n_speakers(self) -> int:
        """Number of speakers; 0 if they are unknown."""
        return len({utterance.speaker for utterance in self.among_corpus_labels.utterances} - {""})

    @property
    def emotions(self) -> tuple[str, ...]:
        """The true emotions of the scored utterances."""
        return self.among_corpus_labels.scores.labels_present

    @property
    def chance_uar(self) -> float:
        """UAR of a random choice among the emotions that occur."""
        return self.among_corpus_labels.scores.chance_uar

    def as_dict(self) -> dict[str, Any]:
        """All scores for JSON."""
        plain = self.among_corpus_labels
        return {
            "speakers": self.n_speakers,
            "utterances": plain.scores.n,
            "emotions": list(self.emotions),
            "chance_uar": self.chance_uar,
            "omitted_utterances_of_training_speakers": self.n_omitted,
            "excluded_emotions": dict(plain.excluded_emotions),
            "failures": [{"file": path, "error": error} for path, error in plain.failures],
            "notes": list(self.notes),
            "among_bundle_labels": self.among_bundle_labels.scores.as_dict(),
            "among_corpus_labels": plain.scores.as_dict(),
            "enrolled": {str(n): scored.scores.as_dict() for n, scored in self.enrolled.items()},
            "adapted": self.adapted.scores.as_dict() if self.adapted else None,
            "conditions": {name: scores.as_dict() for name, scores in self.conditions.items()},
        }


@dataclass(frozen=True)
class BenchmarkResult:
    """One corpus of a benchmark.

    Attributes:
        corpus: Name of the corpus.
        scores: The scores, or None.
        error: Why there are no scores, or "".
        seconds: Duration.
    """

    corpus: str
    scores: CorpusScores | None = field(repr=False)
    error: str = ""
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """The result for JSON."""
        scores = self.scores.as_dict() if self.scores else {}
        return {"corpus": self.corpus, "error": self.error, "seconds": round(self.seconds, 1), **scores}


def find_corpora(corpora_root: Path, names: Sequence[str] | None = None) -> list[FoundCorpus]:
    """Find the corpora in a folder.

    Args:
        corpora_root: A folder of corpora, or the folder of one corpus.
        names: Published corpora, and folders or tables of the user in this folder. None: all published corpora
            that are there.

    Raises:
        CorpusError: The folder does not exist or has no corpora, or a name is unknown.
    """
    if not corpora_root.is_dir():
        raise CorpusError(f"{corpora_root}: no such folder; expected a folder that contains corpora")
    if names is not None:
        return [_find_named(name, corpora_root) for name in dict.fromkeys(names)]
    found: dict[Path, FoundCorpus] = {}
    for name in CORPORA:
        corpus = _find_named(name, corpora_root)
        if corpus.path is not None:  # two corpora may be two readings of one folder: the first counts
            found.setdefault(corpus.path.resolve(), corpus)
    if not found:
        raise CorpusError(
            f"{corpora_root}: no corpora found; expected folders such as ravdess or emodb ('kanjo corpus list' shows "
            "the names), or name folders or tables of your own with --corpora"
        )
    return list(found.values())


def _find_named(name: str, corpora_root: Path) -> FoundCorpus:
    if name not in CORPORA:
        path = corpora_root / name
        if not path.exists() or path.parent != corpora_root or name == "..":
            get_corpus(name)  # raises an error that suggests the nearest name
        return FoundCorpus(name, path, OWN_CORPUS)
    try:
        return FoundCorpus(name, find_root(name, corpora_root), name)
    except CorpusError as error:
        return FoundCorpus(name, None, name, str(error).removeprefix(f"{name}: "))


def benchmark_corpora(
    recognizer: Recognizer, corpora: Sequence[FoundCorpus], reporter: Reporter, options: BenchmarkOptions
) -> Iterator[BenchmarkResult]:
    """Score a bundle on corpora, one after the other.

    Args:
        recognizer: The recognizer of the bundle.
        corpora: The corpora.
        reporter: Receives the progress.
        options: What is scored besides the plain predictions.

    Yields:
        One result for each corpus. A corpus that can't be read or scored gets a result with its error.

    Raises:
        KanjoError: scikit-learn is not installed.
    """
    require_scikit_learn()
    for corpus in corpora:
        started = time.monotonic()
        scores, message = None, corpus.error
        if corpus.path is not None:
            try:
                scores = _score_corpus(recognizer, corpus, corpus.path, reporter, options)
            except (KanjoError, OSError, UnicodeError) as error:
                message = str(error).removeprefix(f"{corpus.name}: ")
        yield BenchmarkResult(corpus.name, scores, message, time.monotonic() - started)


def _score_corpus(
    recognizer: Recognizer, corpus: FoundCorpus, path: Path, reporter: Reporter, options: BenchmarkOptions
) -> CorpusScores:
    manifest = identify_corpora(read_corpus(corpus.reader, path))
    held_out = find_held_out(recognizer.metadata, manifest)
    rows, n_omitted = held_out.rows, held_out.n_omitted
    if not rows:
        raise CorpusError(describe_none_held_out(held_out))
    paths = [manifest.audio_path(row) for row in rows]
    labels = evaluation.labels_in_data(recognizer, manifest.utterances)
    with reporter.progress(f"{corpus.name}, among the bundle's emotions") as progress:
        among_bundle_labels = evaluation.evaluate(recognizer, rows, paths, progress)
    among_corpus_labels = among_bundle_labels
    if labels != recognizer.labels:
        with reporter.progress(f"{corpus.name}, among the corpus's emotions") as progress:
            among_corpus_labels = evaluation.evaluate(recognizer, rows, paths, progress, labels=labels)
    enrolled, conditions = {}, {}
    if options.enrollment and recognizer.metadata.speaker_size:
        for n_clips in _possible_clips(among_corpus_labels):
            with reporter.progress(f"{corpus.name}, enrolled with {n_clips}") as progress:
                enrolled[n_clips] = evaluation.evaluate_with_enrollment(
                    recognizer, rows, paths, among_corpus_labels, max_clips=n_clips, progress=progress
                )
    adapted, notes = None, [*_describe_limits(among_corpus_labels), *held_out.notes]
    if options.adaptation:
        adapted, note = _score_adapted(recognizer, corpus.name, rows, paths, among_corpus_labels.labels, reporter)
        notes.append(note)
    if options.robustness:
        with reporter.progress(f"{corpus.name}, degraded copies") as progress:
            scores = evaluate_robustness(recognizer, rows, paths, progress, labels=among_corpus_labels.labels)
            conditions = dict(scores)
    return CorpusScores(
        among_bundle_labels, among_corpus_labels, enrolled, n_omitted, adapted, conditions, tuple(notes)
    )


def _score_adapted(
    recognizer: Recognizer,
    name: str,
    rows: Sequence[Utterance],
    paths: Sequence[Path],
    labels: Sequence[str],
    reporter: Reporter,
) -> tuple[Evaluation | None, str]:
    """The evaluation after adaptation to the recordings, and what the adaptation is made of."""
    try:
        profile = recognizer.adapt(paths, emotions=labels)
    except KanjoError as error:  # too few recordings
        return None, f"not adapted: {error}"
    with reporter.progress(f"{name}, adapted") as progress:
        adapted = evaluation.evaluate(recognizer, rows, paths, progress, labels=labels, adaptation=profile)
    return adapted, describe_adaptation(profile)


def _possible_clips(plain: Evaluation) -> list[int]:
    """The numbers of clips that at least one speaker can be enrolled with: the half of their clips limits them."""
    counts = Counter(utterance.speaker for utterance in plain.utterances if utterance.speaker)
    largest_half = max(counts.values(), default=0) // 2
    return [n_clips for n_clips in ENROLLMENT_CLIPS if n_clips <= largest_half]


def _describe_limits(plain: Evaluation) -> tuple[str, ...]:
    """What limits the meaning of the scores."""
    notes = []
    present = plain.scores.labels_present
    if len(present) == 1:
        notes.append(f"only one emotion of the bundle occurs ({present[0]}), so that the UAR is its recall")
    n_unknown = sum(not utterance.speaker for utterance in plain.utterances)
    if n_unknown:
        notes.append(f"{n_unknown} utterances without speaker: no interval over speakers, and no enrollment for them")
    if plain.excluded_emotions:
        excluded = ", ".join(f"{name} ({n})" for name, n in plain.excluded_emotions)
        notes.append(f"not scored, because the bundle has no such label: {excluded}")
    if plain.failures:
        file, error = plain.failures[0]
        notes.append(f"{len(plain.failures)} recordings failed, the first: {file}: {error}")
    return tuple(notes)
