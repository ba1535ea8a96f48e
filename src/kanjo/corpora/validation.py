"""Draw the validation utterances of a fold from its training side: whole speakers, or else utterances."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from kanjo.corpora.class_coverage import class_masks, improve_assignment, n_missing, part_masks, union
from kanjo.corpora.protocols import Utterances, balanced_speaker_order, stratified_order

_TRAINING, _VALIDATION = 0, 1
#: Validation speakers must have so many classes together; else utterances are drawn.
_MIN_CLASSES = 2


def draw_validation_speakers(utterances: Utterances, rest: Sequence[int], fraction: float, seed: int) -> set[int]:
    """Draw whole speakers so that training and validation have every class, if this is possible.

    The first choice is random, with balanced corpora and sexes. It is kept if training and validation then have every
    class of ``rest``. Otherwise, speakers are moved and swapped.

    Args:
        utterances: All utterances.
        rest: Training side of the fold. All speakers are known, and there are at least two.
        fraction: Fraction of the speakers that validate.
        seed: Seed of all random draws.

    Returns:
        Indices of the validation utterances. Empty if every choice of speakers leaves a class out of training, or
        leaves validation with one class only.
    """
    classes_of_speaker: dict[str, set[str]] = defaultdict(set)
    for i in rest:
        classes_of_speaker[utterances[i].speaker_key].add(utterances[i].emotion)
    speakers = sorted(classes_of_speaker)
    n_speakers = min(max(1, round(fraction * len(speakers))), len(speakers) - 1)
    chosen = set(balanced_speaker_order(utterances, speakers, seed)[:n_speakers])
    masks = class_masks([classes_of_speaker[key] for key in speakers])
    assignment = [_VALIDATION if key in chosen else _TRAINING for key in speakers]
    every = union(masks)
    if part_masks(assignment, masks, 2) != [every, every]:
        assignment = _search(assignment, masks, n_speakers, seed)
        training, validation = part_masks(assignment, masks, 2)
        if training != every or n_missing(0, validation) < min(_MIN_CLASSES, n_missing(0, every)):
            return set()
    chosen = {key for key, part in zip(speakers, assignment, strict=True) if part == _VALIDATION}
    return {i for i in rest if utterances[i].speaker_key in chosen}


def draw_validation_utterances(utterances: Utterances, rest: Sequence[int], fraction: float, seed: int) -> set[int]:
    """Draw utterances, stratified by emotion.

    Training keeps at least one utterance of each class, and validation gets one of each class that has two.
    """
    step = max(2, round(1 / fraction))
    order = stratified_order(utterances, rest, seed)
    drawn = set(order[::step])
    indices_of_class: dict[str, list[int]] = defaultdict(list)
    for i in order:
        indices_of_class[utterances[i].emotion].append(i)
    if all(0 < len(drawn & set(indices)) < len(indices) for indices in indices_of_class.values()):
        return drawn
    counts = {
        name: min(max(1, round(len(indices) / step)), len(indices) - 1) for name, indices in indices_of_class.items()
    }
    return {i for name, indices in indices_of_class.items() for i in indices[: counts[name]]}


def _search(assignment: list[int], masks: Sequence[int], n_speakers: int, seed: int) -> list[int]:
    """Search for validation speakers so that both parts have every class that two or more speakers have.

    Speakers that alone have a class stay in training.
    """
    once, twice = 0, 0
    for mask in masks:
        once, twice = once | mask, twice | (once & mask)
    movable = [k for k, mask in enumerate(masks) if not mask & once & ~twice]
    fixed = union([mask for mask in masks if mask & ~twice])
    movable_masks = [masks[k] for k in movable]

    def cost(parts: Sequence[int]) -> tuple[float, ...]:
        training, validation = part_masks(parts, movable_masks, 2)
        missing = n_missing(training | fixed, twice), n_missing(validation, twice)
        return (*missing, abs(sum(parts) - n_speakers))

    start = [assignment[k] for k in movable]
    improved = improve_assignment(start, movable_masks, 2, cost, (0, 0), seed)
    result = [_TRAINING] * len(masks)
    for k, part in zip(movable, improved, strict=True):
        result[k] = part
    return result
