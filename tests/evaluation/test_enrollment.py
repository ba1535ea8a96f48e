"""Evaluation with enrolled speakers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

import kanjo
from kanjo.bundle import BundleMetadata
from kanjo.corpora import read_corpus
from kanjo.evaluation import evaluate as evaluation
from kanjo.inference.options import InferenceOptions
from kanjo.inference.speaker_profiles import EnrollmentClip, SpeakerProfile


@dataclass
class Record:
    """What an evaluation used.

    Attributes:
        enrolled: Files of each profile.
        predicted: Files and speaker of each group of predictions; None: without enrollment.
    """

    enrolled: list[set[str]] = field(default_factory=list)
    predicted: list[tuple[set[str], str | None]] = field(default_factory=list)


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch) -> Record:
    """Record profiles and predictions; every clip counts as one second of speech."""
    record = Record()
    predictions, build_profile = evaluation._predictions, evaluation.build_profile

    def recorded_predictions(
        recognizer: kanjo.Recognizer,
        rows: Sequence[Any],
        paths: Sequence[Path],
        indices: Sequence[int],
        options: InferenceOptions,
    ) -> Iterator[kanjo.Prediction]:
        speaker = options.speaker
        name = speaker.name if isinstance(speaker, SpeakerProfile) else None
        record.predicted.append(({rows[i].file for i in indices}, name))
        for prediction in predictions(recognizer, rows, paths, indices, options):
            yield replace(prediction, speech_s=1.0)

    def recorded_profile(name: str, metadata: BundleMetadata, clips: Sequence[EnrollmentClip]) -> SpeakerProfile:
        record.enrolled.append({clip.file for clip in clips})  # type: ignore[attr-defined]
        return build_profile(name, metadata, clips)

    monkeypatch.setattr(evaluation, "_predictions", recorded_predictions)
    monkeypatch.setattr(evaluation, "build_profile", recorded_profile)
    return record


def test_evaluate_with_enrollment_no_clip_is_in_the_profile_that_predicts_it(
    tiny_corpora: Path, record: Record
) -> None:
    recognizer = kanjo.load()
    manifest = read_corpus("ravdess", tiny_corpora / "ravdess")
    rows = [row for row in manifest.utterances if row.speaker in ("01", "02") and row.emotion in recognizer.labels]
    paths = [manifest.audio_path(row) for row in rows]
    without_enrollment = evaluation.evaluate(recognizer, rows, paths)
    result = evaluation.evaluate_with_enrollment(recognizer, rows, paths, without_enrollment)
    assert len(result.utterances) == len(rows)
    assert record.predicted[0] == ({row.file for row in rows}, None)
    halves = record.predicted[1:]
    assert len(halves) == len(record.enrolled) == 4
    assert {speaker for _, speaker in halves} == {"ravdess/01", "ravdess/02"}
    for enrolled, (predicted, speaker) in zip(record.enrolled, halves, strict=True):
        assert enrolled | predicted == {row.file for row in rows if row.speaker_key == speaker}
        assert not enrolled & predicted
    assert sum(len(predicted) for predicted, _ in halves) == len(rows)  # each clip is predicted once


def test_evaluate_with_enrollment_max_clips_limits_the_profiles(tiny_corpora: Path, record: Record) -> None:
    recognizer = kanjo.load()
    manifest = read_corpus("ravdess", tiny_corpora / "ravdess")
    rows = [row for row in manifest.utterances if row.speaker == "01" and row.emotion in recognizer.labels]
    paths = [manifest.audio_path(row) for row in rows]
    without_enrollment = evaluation.evaluate(recognizer, rows, paths)
    one_clip = evaluation.evaluate_with_enrollment(recognizer, rows, paths, without_enrollment, max_clips=1)
    assert [len(files) for files in record.enrolled] == [1, 1]
    assert len(one_clip.utterances) == len(rows)
    # One clip is no evidence: the predictions are those without a profile.
    probabilities = {item.file: item.probabilities for item in without_enrollment.utterances}
    assert {item.file: item.probabilities for item in one_clip.utterances} == probabilities
