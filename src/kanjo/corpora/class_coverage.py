"""Assign speakers to parts (folds, or training and validation) so that no part lacks a class where this is possible.

A heuristic such as scikit-learn's StratifiedGroupKFold balances the numbers of utterances, but a class of few speakers
may still be missing in a part. A deterministic local search then moves and swaps speakers.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Sequence

#: The part of each speaker, by the position of the speaker.
Assignment = list[int]
#: Returns numbers that should be small; earlier ones are more important.
Cost = Callable[[Sequence[int]], tuple[float, ...]]

#: Speakers that one search looks at, summed over all assignments that it tries: about 0.1 s.
_MAX_STEPS = 400_000
_N_RESTARTS = 4
#: With more speakers than this, two are only swapped if no move of one helps.
_MAX_SPEAKERS_TO_SWAP = 64


def class_masks(classes_of_speakers: Sequence[Collection[str]]) -> list[int]:
    """Encode the classes of each speaker as the bits of an integer."""
    bit_of_class: dict[str, int] = {}
    for classes in classes_of_speakers:
        for name in sorted(classes):
            bit_of_class.setdefault(name, len(bit_of_class))
    return [sum(1 << bit_of_class[name] for name in classes) for classes in classes_of_speakers]


def union(masks: Sequence[int]) -> int:
    """Return the classes that occur in at least one of the sets."""
    result = 0
    for mask in masks:
        result |= mask
    return result


def n_missing(mask: int, every: int) -> int:
    """Count the classes of ``every`` that ``mask`` lacks."""
    return bin(every & ~mask).count("1")


def part_masks(assignment: Sequence[int], masks: Sequence[int], n_parts: int) -> list[int]:
    """Return the classes of each part."""
    parts = [0] * n_parts
    for part, mask in zip(assignment, masks, strict=True):
        parts[part] |= mask
    return parts


def improve_assignment(
    assignment: Assignment, masks: Sequence[int], n_parts: int, cost: Cost, lowest: tuple[int, int], seed: int
) -> Assignment:
    """Move and swap speakers until no part lacks a class, or no move helps.

    The search starts at ``assignment``, and then a few times at random ones. It tries a limited number of assignments,
    and the same arguments give the same result.

    Args:
        assignment: The part of each speaker.
        masks: The classes of each speaker, see :func:`class_masks`.
        n_parts: Number of parts.
        cost: Cost of an assignment; the first two numbers count missing classes.
        lowest: No assignment has lower first two numbers.
        seed: Seed of the random starts.
    """
    rng = random.Random(seed)
    best, best_cost = list(assignment), cost(assignment)
    n_left = _MAX_STEPS // max(1, len(assignment))
    start = list(assignment)
    for _ in range(1 + _N_RESTARTS):
        if best_cost[:2] == lowest or n_left <= 0:
            break
        search = _Search(masks, n_parts, cost, lowest, n_left)
        found, found_cost = search.descend(start)
        if found_cost < best_cost:
            best, best_cost = found, found_cost
        n_left = search.n_left
        start = list(assignment)
        rng.shuffle(start)
    return best


class _Search:
    """A descent that moves speakers into parts that lack one of their classes.

    Args:
        masks: The classes of each speaker.
        n_parts: Number of parts.
        cost: Cost of an assignment.
        lowest: The descent ends at this cost.
        n_left: Number of assignments that may be tried.
    """

    def __init__(self, masks: Sequence[int], n_parts: int, cost: Cost, lowest: tuple[int, int], n_left: int) -> None:
        self.masks, self.n_parts, self.cost, self.lowest, self.n_left = masks, n_parts, cost, lowest, n_left

    def descend(self, start: Assignment) -> tuple[Assignment, tuple[float, ...]]:
        """Improve an assignment step by step. Return the last one and its cost."""
        current, current_cost = start, self.cost(start)
        while current_cost[:2] != self.lowest and self.n_left > 0:
            step = self._improve(current, current_cost)
            if step is None:
                break
            current, current_cost = step
        return current, current_cost

    def _improve(
        self, current: Assignment, current_cost: tuple[float, ...]
    ) -> tuple[Assignment, tuple[float, ...]] | None:
        """Find a change for the first class and part that can be improved; None if there is none."""
        every = union(self.masks)
        for part, mask in enumerate(part_masks(current, self.masks, self.n_parts)):
            lacking = every & ~mask
            while lacking and self.n_left > 0:
                bit = lacking & -lacking
                lacking ^= bit
                holders = [k for k, own in enumerate(self.masks) if own & bit and current[k] != part]
                moves: list[tuple[int, ...]] = [(k, part) for k in holders]
                members = [j for j, other in enumerate(current) if other == part]
                swaps: list[tuple[int, ...]] = [(k, part, j) for k in holders for j in members]
                candidates = [moves + swaps] if len(current) <= _MAX_SPEAKERS_TO_SWAP else [moves, swaps]
                for changes in candidates:
                    best, best_cost = self._best(current, changes)
                    if best_cost[:2] < current_cost[:2]:
                        return best, best_cost
        return None

    def _best(self, current: Assignment, changes: Sequence[tuple[int, ...]]) -> tuple[Assignment, tuple[float, ...]]:
        """Try changes (speaker, new part, and optionally a speaker that takes the old part); return the best."""
        best, best_cost = current, self.cost(current)
        for speaker, part, *partner in changes[: max(0, self.n_left)]:
            changed = list(current)
            changed[speaker] = part
            for other in partner:
                changed[other] = current[speaker]
            changed_cost = self.cost(changed)
            if changed_cost < best_cost:
                best, best_cost = changed, changed_cost
        self.n_left -= len(changes)
        return best, best_cost
