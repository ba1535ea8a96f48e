"""The leakage report of a fold: which speakers, texts and recordings training and test share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kanjo.corpora.manifest import Utterance
from kanjo.corpora.splits import Fold


@dataclass(frozen=True)
class LeakageReport:
    """What the training and validation utterances of a fold share with its test utterances.

    Attributes:
        shared_speakers: Test speakers that are also in training or validation; None if speakers are unknown.
        test_speakers: Number of test speakers.
        shared_texts: Test texts that are also in training or validation; None if texts are unknown.
        test_texts: Number of different test texts.
        shared_recordings: Test utterances whose samples are identical to those of a training utterance.
        utterances: Numbers of training, validation and test utterances.
    """

    shared_speakers: int | None
    test_speakers: int
    shared_texts: int | None
    test_texts: int
    shared_recordings: int
    utterances: tuple[int, int, int]

    @property
    def speaker_independent(self) -> bool | None:
        """Whether no test speaker is in training or validation; None if speakers are unknown."""
        return None if self.shared_speakers is None else self.shared_speakers == 0

    def describe(self) -> list[str]:
        """Return the report as short sentences."""
        return [
            "{} utterances train, {} validate, {} test".format(*self.utterances),
            self._describe_speakers(),
            self._describe_texts(),
            f"LEAK: {self.shared_recordings} test recordings are identical to training recordings"
            if self.shared_recordings
            else "no test recording is identical to a training recording",
        ]

    def _describe_speakers(self) -> str:
        if self.shared_speakers is None:
            return "speakers unknown: test speakers may also be in training"
        if self.shared_speakers:
            return (
                f"SPEAKER-DEPENDENT: {self.shared_speakers} of {self.test_speakers} test speakers are also in training"
            )
        return f"speaker-independent: none of the {self.test_speakers} test speakers is in training or validation"

    def _describe_texts(self) -> str:
        if self.shared_texts is None:
            return "texts unknown"
        if self.shared_texts:
            return f"not text-independent: {self.shared_texts} of {self.test_texts} test texts are also in training"
        return f"text-independent: none of the {self.test_texts} test texts is in training"


def check_leakage(
    utterances: Sequence[Utterance], fold: Fold, fingerprints: Sequence[str] | None = None
) -> LeakageReport:
    """Report what the training and validation utterances of a fold share with its test utterances.

    Args:
        utterances: All utterances that the fold's indices refer to.
        fold: The fold.
        fingerprints: One string for each utterance, equal for equal samples. Without them, file names are compared,
            which misses copies under other names.
    """
    training, test = [*fold.train, *fold.validation], fold.test
    if not fingerprints:
        fingerprints = [f"{row.corpus}/{row.file}@{row.start_s}" for row in utterances]
    training_fingerprints = {fingerprints[i] for i in training}

    def count_shared(value: Callable[[Utterance], str]) -> tuple[int | None, int]:
        training_values, test_values = ({value(utterances[i]) for i in part} for part in (training, test))
        unknown = "" in test_values or training_values == {""}
        return None if unknown else len(training_values & test_values), len(test_values - {""})

    shared_speakers, test_speakers = count_shared(lambda row: row.speaker_key)
    shared_texts, test_texts = count_shared(lambda row: " ".join(row.text.casefold().split()))
    return LeakageReport(
        shared_speakers=shared_speakers,
        test_speakers=test_speakers,
        shared_texts=shared_texts,
        test_texts=test_texts,
        shared_recordings=sum(fingerprints[i] in training_fingerprints for i in test),
        utterances=(len(fold.train), len(fold.validation), len(fold.test)),
    )
