"""Find recordings that a table lists twice with different emotions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from kanjo.corpora.manifest import Utterance
from kanjo.errors import CorpusError


class LabelConflicts:
    """Refuses a row whose recording, or whose part of a recording, has another emotion in an earlier row."""

    def __init__(self) -> None:
        self._first: dict[object, tuple[str, object]] = {}

    def check(self, row: Utterance, number: object) -> None:
        """Register a row.

        Args:
            row: The row.
            number: Its line number, or what else identifies it.

        Raises:
            CorpusError: An earlier row has the same recording and times, and another emotion.
        """
        key = row.file if row.start_s is None and row.end_s is None else _part_of(row)
        emotion, first = self._first.setdefault(key, (row.emotion, number))
        if emotion != row.emotion:
            raise CorpusError(
                f"{describe_part(row)} is {row.emotion} here, but {emotion} in line {first}; correct or remove one of "
                "the two lines"
            )


def find_label_conflicts(utterances: Sequence[Utterance]) -> list[tuple[str, str]]:
    """List the recordings, or parts of recordings, with several emotions, and these emotions."""
    emotions: dict[tuple[str, float, float | None], set[str]] = defaultdict(set)
    names: dict[tuple[str, float, float | None], str] = {}
    for row in utterances:
        key = _part_of(row)
        emotions[key].add(row.emotion)
        names.setdefault(key, describe_part(row))
    return [(names[key], " and ".join(sorted(words))) for key, words in emotions.items() if len(words) > 1]


def describe_part(row: Utterance) -> str:
    """The recording of an utterance, with its times if it is a part of the recording."""
    if row.start_s is None and row.end_s is None:
        return row.file
    end = "the end" if row.end_s is None else f"{row.end_s:g} s"
    return f"{row.file} from {row.start_s or 0.0:g} s to {end}"


def _part_of(row: Utterance) -> tuple[str, float, float | None]:
    return row.file, row.start_s or 0.0, row.end_s
