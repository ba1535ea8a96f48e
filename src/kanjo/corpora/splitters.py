"""scikit-learn's splitters, without its warnings, and with the same result in each of its versions.

scikit-learn is imported inside the functions, because kanjo works without it.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from kanjo.corpora.class_coverage import Assignment, class_masks, improve_assignment, n_missing, part_masks
from kanjo.corpora.manifest import Utterance
from kanjo.errors import requires_extra


def stratified_speaker_folds(
    utterances: Sequence[Utterance], speakers: Sequence[str], n_folds: int, seed: int
) -> dict[str, int]:
    """Assign speakers to folds by scikit-learn's StratifiedGroupKFold, stratified by corpus and emotion.

    scikit-learn's own shuffling of groups differs between its versions, so it is not used. Speakers whose utterances
    are distributed alike are assigned in the order of ``speakers``. Then speakers are moved if a class is missing in
    a fold.

    Args:
        utterances: The utterances; all have a speaker.
        speakers: Keys of all speakers, shuffled.
        n_folds: Number of folds, at most the number of speakers.
        seed: Seed of the search for missing classes.

    Returns:
        The fold of each speaker, from 0.
    """
    number = {key: k for k, key in enumerate(speakers)}
    groups = [number[row.speaker_key] for row in utterances]
    by_corpus = [(row.corpus, row.emotion) for row in utterances]
    classes = _strata([by_corpus, [row.emotion for row in utterances]], n_folds)
    assignment = [k % n_folds for k in range(len(speakers))]
    with _model_selection() as model_selection:
        splits = list(model_selection.StratifiedGroupKFold(n_folds).split(classes, classes, groups))
    if all(len(test) for _, test in splits):
        for fold, (_, test) in enumerate(splits):
            for i in test:
                assignment[groups[i]] = fold
    return dict(zip(speakers, _cover_classes(utterances, groups, assignment, n_folds, seed), strict=True))


def _cover_classes(
    utterances: Sequence[Utterance],
    speaker_of_utterance: Sequence[int],
    assignment: Assignment,
    n_folds: int,
    seed: int,
) -> Assignment:
    """Move speakers so that training and test of every fold have every class, as far as this is possible."""
    classes: list[set[str]] = [set() for _ in assignment]
    n_clips = [0] * len(assignment)
    for row, speaker in zip(utterances, speaker_of_utterance, strict=True):
        classes[speaker].add(row.emotion)
        n_clips[speaker] += 1
    masks = class_masks(classes)
    n_speakers_of_class = Counter(name for names in classes for name in names).values()
    every = (1 << len(n_speakers_of_class)) - 1
    # A class of one speaker is missing in training where this speaker tests, and in test everywhere else.
    lowest = (sum(n == 1 for n in n_speakers_of_class), sum(max(0, n_folds - n) for n in n_speakers_of_class))

    def cost(folds: Sequence[int]) -> tuple[float, ...]:
        test = part_masks(folds, masks, n_folds)
        once, twice = 0, 0
        for mask in test:
            once, twice = once | mask, twice | (once & mask)
        sizes = [0] * n_folds
        for fold, n in zip(folds, n_clips, strict=True):
            sizes[fold] += n
        missing_in_training = n_missing(twice, every)
        return missing_in_training, sum(n_missing(mask, every) for mask in test), max(sizes) - min(sizes)

    return improve_assignment(assignment, masks, n_folds, cost, lowest, seed)


def leave_one_group_out(groups: Sequence[int]) -> list[set[int]]:
    """Return the indices of each group, by scikit-learn's LeaveOneGroupOut, in the order of the groups' numbers."""
    with _model_selection() as model_selection:
        splits = model_selection.LeaveOneGroupOut().split(groups, groups=groups)
        return [set(test.tolist()) for _, test in splits]


def stratified_kfold(classes: Sequence[str], n_folds: int, seed: int) -> list[set[int]]:
    """Return the indices of ``n_folds`` random groups, by scikit-learn's StratifiedKFold."""
    strata = _strata([classes], n_folds)
    with _model_selection() as model_selection:
        splitter = model_selection.StratifiedKFold(n_folds, shuffle=True, random_state=seed % 2**32)
        return [set(test.tolist()) for _, test in splitter.split(strata, strata)]


def _strata(candidates: Sequence[Sequence[Hashable]], n_folds: int) -> list[int]:
    """Number the first strata of which at least one has ``n_folds`` utterances; without any, all are one stratum."""
    for strata in candidates:
        if max(Counter(strata).values()) >= n_folds:
            number = {name: k for k, name in enumerate(dict.fromkeys(strata))}
            return [number[name] for name in strata]
    return [0] * len(candidates[0])


@contextmanager
def _model_selection() -> Iterator[Any]:
    """Import scikit-learn's splitters, and silence their warnings: kanjo reports small classes itself."""
    with requires_extra("evaluation", "splits need scikit-learn"):
        from sklearn import model_selection
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield model_selection
