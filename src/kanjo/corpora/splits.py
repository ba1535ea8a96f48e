"""Split utterances into folds of training, validation and test.

Test speakers are never used to select anything. Validation utterances always come from the training part of a fold,
as whole speakers. They are drawn by utterance only where training and test share speakers (protocol
``speaker_dependent``, EmoBox's folds of EmoDB), where speakers are unknown, or where every choice of speakers would
leave a class out of training. ``kanjo.corpora.fold_classes`` reports the classes that a fold lacks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kanjo.corpora.protocols import VALIDATION_WORDS, SplitOptions, Utterances, get_protocol
from kanjo.corpora.validation import draw_validation_speakers, draw_validation_utterances
from kanjo.errors import CorpusError


@dataclass(frozen=True)
class Fold:
    """One split: disjoint indices of the utterances. ``index`` counts from 1.

    Utterances of a manifest without a word in the split column are in no part.
    """

    index: int
    name: str
    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]


def make_folds(
    utterances: Utterances,
    protocol: str,
    *,
    n_folds: int = 5,
    seed: int = 0,
    validation_fraction: float = 0.2,
    folds_file: Path | None = None,
    allow_shared_speakers: bool = False,
    train_only: Sequence[bool] = (),
) -> list[Fold]:
    """Split utterances into all folds of a protocol. The same arguments give the same folds on every machine.

    Args:
        utterances: The utterances of all corpora.
        protocol: A key of :data:`kanjo.corpora.protocols.PROTOCOLS`.
        n_folds: Number of folds of ``speaker_kfold`` and ``speaker_dependent``.
        seed: Seed of all random draws.
        validation_fraction: Fraction of the training part that validates: of its speakers, or of its utterances where
            training and test share speakers.
        folds_file: EmoBox's folds: a CSV with the columns corpus, fold and utterance.
        allow_shared_speakers: Accept a manifest whose split has a speaker in both train and test.
        train_only: For each utterance, whether it trains in every fold and never validates or tests; empty for none.

    Raises:
        CorpusError: The protocol is unknown, or the utterances can't be split by it.
        KanjoError: scikit-learn is not installed.
    """
    options = SplitOptions(n_folds, seed, validation_fraction, folds_file, allow_shared_speakers)
    if any(train_only):
        return _make_folds_with_train_only(utterances, protocol, options, train_only)
    return _make_folds(utterances, protocol, options)


def _make_folds(utterances: Utterances, protocol: str, options: SplitOptions) -> list[Fold]:
    test_sets = get_protocol(protocol)(utterances, options)
    folds = []
    for index, (name, test) in enumerate(test_sets, 1):
        rest = [i for i, row in enumerate(utterances) if i not in test and (row.split or protocol != "manifest")]
        if not test or not rest:
            raise CorpusError(
                f"{protocol}, fold {index} ({name}): {len(test)} test and {len(rest)} training utterances; "
                "expected at least 1 of each"
            )
        validation = _manifest_validation(utterances, rest) if protocol == "manifest" else set()
        if not validation:
            validation = _draw_validation(utterances, rest, test, protocol, options, seed=options.seed + index)
        train = tuple(i for i in rest if i not in validation)
        if not train or not validation:
            raise CorpusError(
                f"{protocol}, fold {index} ({name}): {len(train)} training and {len(validation)} validation "
                "utterances; expected at least 1 of each. Use a corpus with more speakers or utterances"
            )
        if protocol == "manifest" and not options.allow_shared_speakers:
            _refuse_shared_speakers(utterances, rest, test)
        folds.append(Fold(index, name, train, tuple(sorted(validation)), tuple(sorted(test))))
    return folds


def _make_folds_with_train_only(
    utterances: Utterances, protocol: str, options: SplitOptions, train_only: Sequence[bool]
) -> list[Fold]:
    """Split the other utterances, then add those that only train to the training part of every fold."""
    split_indices = [i for i, is_train_only in enumerate(train_only) if not is_train_only]
    added_indices = tuple(i for i, is_train_only in enumerate(train_only) if is_train_only)
    if not split_indices:
        raise CorpusError("all corpora are train_only; expected at least one corpus to test on")
    folds = _make_folds([utterances[i] for i in split_indices], protocol, options)
    added_speakers = {utterances[i].speaker_key for i in added_indices} - {""}
    shared = sorted(added_speakers & {utterances[i].speaker_key for i in split_indices})
    if shared:
        raise CorpusError(
            f"speaker {', '.join(shared[:3])} is in a train_only corpus and in one that tests; "
            "a speaker must not be in both training and test"
        )

    def to_original(indices: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(split_indices[i] for i in indices)

    return [
        Fold(
            fold.index,
            fold.name,
            tuple(sorted((*to_original(fold.train), *added_indices))),
            to_original(fold.validation),
            to_original(fold.test),
        )
        for fold in folds
    ]


def _manifest_validation(utterances: Utterances, rest: Sequence[int]) -> set[int]:
    """Return the indices that the split column of the manifest assigns to validation."""
    return {i for i in rest if utterances[i].split.casefold() in VALIDATION_WORDS}


def _draw_validation(
    utterances: Utterances, rest: list[int], test: set[int], protocol: str, options: SplitOptions, seed: int
) -> set[int]:
    """Draw the validation utterances from ``rest``: whole speakers where speakers are known and not in test."""
    speakers = {utterances[i].speaker_key for i in rest}
    shares_speakers = bool({utterances[i].speaker_key for i in test} & speakers)
    fraction, drawn = options.validation_fraction, set[int]()
    if protocol != "speaker_dependent" and not shares_speakers and "" not in speakers and len(speakers) > 1:
        drawn = draw_validation_speakers(utterances, rest, fraction, seed)
    return drawn or draw_validation_utterances(utterances, rest, fraction, seed)


def _refuse_shared_speakers(utterances: Utterances, rest: Sequence[int], test: set[int]) -> None:
    """Raise CorpusError if the split of a manifest has a speaker in both train and test."""
    shared = sorted({utterances[i].speaker_key for i in rest} & {utterances[i].speaker_key for i in test} - {""})
    if shared:
        raise CorpusError(
            f"manifest: {len(shared)} speakers are in both train and test ({', '.join(shared[:3])}), so the scores "
            "would not be speaker-independent; change the split column, or set split.allow_shared_speakers=true"
        )
