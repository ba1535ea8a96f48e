"""Evaluate a bundle on labeled utterances, through the recognizer that users run."""

from __future__ import annotations

import contextlib
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kanjo import audio
from kanjo.corpora import Utterance
from kanjo.errors import AudioError, CorpusError, KanjoError
from kanjo.evaluation.metrics import Scores, require_scikit_learn, score_predictions
from kanjo.inference.adaptation import AdaptationProfile
from kanjo.inference.emotion_selection import select_emotions
from kanjo.inference.options import InferenceOptions
from kanjo.inference.prediction import NO_SPEECH, Prediction
from kanjo.inference.recognizer import Recognizer
from kanjo.inference.speaker_profiles import build_profile
from kanjo.labels import UNSURE

#: Called with the number of finished utterances and their total.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class ScoredUtterance:
    """An utterance with its true and its predicted emotion.

    Attributes:
        corpus: Name of the corpus.
        file: Path relative to the corpus root.
        speaker: Speaker, unique over corpora; "" is unknown.
        sex: Sex of the speaker; "" is unknown.
        emotion: True emotion.
        predicted: Predicted emotion, or "unsure".
        probabilities: Probability of each emotion (E).
        path: Path of the recording; "" if the utterance was read from a file of predictions.
        embedding: The model's embedding (D,), or None.
        window_probabilities: Probabilities (W, E) of all of the bundle's emotions for each window with speech, or None.
        speech_s: Seconds of speech.
        index: Position among the utterances that were given for evaluation, -1 if unknown.
    """

    corpus: str
    file: str
    speaker: str
    sex: str
    emotion: str
    predicted: str
    probabilities: tuple[float, ...]
    path: str = ""
    embedding: npt.NDArray[np.float32] | None = field(default=None, repr=False, compare=False)
    window_probabilities: npt.NDArray[np.float32] | None = field(default=None, repr=False, compare=False)
    speech_s: float = 0.0
    index: int = -1


@dataclass(frozen=True)
class Evaluation:
    """Predictions and scores on a set of utterances.

    Attributes:
        labels: The emotions among which the model's labels were chosen (E).
        utterances: The utterances with their predictions.
        scores: The scores of these utterances.
        failures: Path and error of each recording that could not be processed.
        excluded_emotions: True emotions that are not among ``labels``, with their numbers of utterances.
    """

    labels: tuple[str, ...]
    utterances: tuple[ScoredUtterance, ...]
    scores: Scores
    failures: tuple[tuple[str, str], ...] = ()
    excluded_emotions: tuple[tuple[str, int], ...] = ()


def evaluate(
    recognizer: Recognizer,
    rows: Sequence[Utterance],
    paths: Sequence[Path],
    progress: Progress | None = None,
    *,
    labels: Sequence[str] | str | None = None,
    adaptation: AdaptationProfile | None = None,
) -> Evaluation:
    """Predict the emotion of every utterance whose true emotion the model can predict, and score the predictions.

    Args:
        recognizer: The model.
        rows: The utterances.
        paths: The recording of each utterance.
        progress: Called after each utterance.
        labels: The emotions among which the label is chosen (default: all of the bundle). Utterances with another
            true emotion are left out.
        adaptation: Profile of the source of the recordings, made for the same emotions.

    Raises:
        CorpusError: No utterance can be scored.
        KanjoError: scikit-learn is not installed, or the labels are not emotions of the bundle.
    """
    require_scikit_learn()
    labels = select_emotions(labels, recognizer.labels)
    emotions = reference_emotions(recognizer, rows)
    indices = [i for i, emotion in enumerate(emotions) if emotion in labels]
    excluded = Counter(emotion for emotion in emotions if emotion not in labels)
    options = InferenceOptions(emotions=labels, adaptation=adaptation)
    utterances, failures = _predict_utterances(recognizer, rows, paths, emotions, indices, options, progress)
    if not utterances:
        reason = (
            failures[0][1]
            if failures
            else f"the bundle predicts {', '.join(labels)}; "
            f"the utterances have the emotions {', '.join(excluded) or '(none)'}"
        )
        raise CorpusError(f"nothing to score: {reason}")
    return Evaluation(
        labels,
        tuple(utterances),
        compute_scores(labels, utterances),
        tuple(failures),
        tuple(excluded.items()),
    )


def evaluate_with_enrollment(
    recognizer: Recognizer,
    rows: Sequence[Utterance],
    paths: Sequence[Path],
    without_enrollment: Evaluation,
    max_clips: int = 0,
    progress: Progress | None = None,
) -> Evaluation:
    """Evaluate with every speaker enrolled.

    The utterances of each speaker are divided at random into two halves. The speaker is enrolled with one half, without
    its labels, to predict the other half, and the other way round. Utterances of unknown speakers, and of speakers
    without usable speech, are predicted without enrollment.

    Args:
        recognizer: The model.
        rows: The utterances.
        paths: The recording of each utterance.
        without_enrollment: The result of :func:`evaluate` for the same utterances; its embeddings make the profiles,
            and its labels are used.
        max_clips: Enroll each speaker with at most this many utterances (0: with the whole half).
        progress: Called with the number of finished utterances and their total.

    Raises:
        CorpusError: No utterance can be scored.
    """
    labels = without_enrollment.labels
    emotions = reference_emotions(recognizer, rows)
    enrollment_clips = {utterance.index: utterance for utterance in without_enrollment.utterances}
    indices_by_speaker: dict[str, list[int]] = {}
    for i, emotion in enumerate(emotions):
        if emotion in labels:
            indices_by_speaker.setdefault(rows[i].speaker_key, []).append(i)
    n_utterances = sum(map(len, indices_by_speaker.values()))
    utterances: list[ScoredUtterance] = []
    failures: list[tuple[str, str]] = []
    for speaker, indices in indices_by_speaker.items():
        for enrollment, test in _split_into_halves(speaker, indices):
            profile = None
            limit = max_clips or len(enrollment)
            clips = [enrollment_clips[i] for i in enrollment[:limit] if i in enrollment_clips]
            with contextlib.suppress(KanjoError):  # the clips have no speech
                profile = build_profile(speaker, recognizer.metadata, clips)
            options = InferenceOptions(speaker=profile, emotions=labels)
            scored, failed = _predict_utterances(recognizer, rows, paths, emotions, test, options)
            utterances += scored
            failures += failed
            if progress:
                progress(len(utterances) + len(failures), n_utterances)
    if not utterances:
        raise CorpusError("nothing to score: no utterance could be decoded")
    scores = compute_scores(labels, utterances)
    return Evaluation(labels, tuple(utterances), scores, tuple(failures))


def reference_emotions(recognizer: Recognizer, rows: Sequence[Utterance]) -> list[str]:
    """The true emotion of each utterance; emotions that the model does not predict go through its label map."""
    label_map = dict(recognizer.metadata.recipe.get("labels", {}).get("map", {}))
    return [
        row.emotion if row.emotion in recognizer.labels else label_map.get(row.emotion, row.emotion) for row in rows
    ]


def labels_in_data(recognizer: Recognizer, rows: Sequence[Utterance]) -> tuple[str, ...]:
    """The bundle's emotions that occur in the data; all of the bundle's if fewer than two occur."""
    occurring = set(reference_emotions(recognizer, rows))
    labels = tuple(label for label in recognizer.labels if label in occurring)
    return labels if len(labels) > 1 else recognizer.labels


def describe_labels(evaluation: Evaluation, bundle_labels: Sequence[str]) -> str:
    """Say among which of a bundle's emotions the labels were chosen, and the UAR of a random choice."""
    n_present = sum(recall is not None for recall in evaluation.scores.recalls.values())
    return (
        f"evaluated among {len(evaluation.labels)} of the bundle's {len(bundle_labels)} emotions: "
        f"{', '.join(evaluation.labels)}; chance {100 / n_present:.3g} %"
    )


def compute_scores(labels: Sequence[str], utterances: Sequence[ScoredUtterance]) -> Scores:
    """Scores of utterances, from one fold or from many pooled."""
    index_of_label = {name: i for i, name in enumerate(labels)} | {UNSURE: -1}
    return score_predictions(
        labels,
        np.asarray([index_of_label[utterance.emotion] for utterance in utterances]),
        np.asarray([utterance.probabilities for utterance in utterances]),
        [utterance.speaker for utterance in utterances],
        [utterance.sex for utterance in utterances],
        np.asarray([index_of_label[utterance.predicted] for utterance in utterances]),
    )


def scores_by_corpus(labels: Sequence[str], utterances: Sequence[ScoredUtterance]) -> dict[str, Scores]:
    """Scores of each corpus; an empty dict if there is only one corpus."""
    names = list(dict.fromkeys(utterance.corpus for utterance in utterances))
    if len(names) < 2:
        return {}
    return {name: compute_scores(labels, [u for u in utterances if u.corpus == name]) for name in names}


def _split_into_halves(speaker: str, indices: list[int]) -> list[tuple[list[int], list[int]]]:
    """Pairs (enrollment indices, test indices) of one speaker; no enrollment for the unknown speaker ""."""
    shuffled = random.Random(speaker).sample(indices, len(indices))
    if not speaker:
        return [([], shuffled)]
    return [(shuffled[::2], shuffled[1::2]), (shuffled[1::2], shuffled[::2])]


def _predict_utterances(
    recognizer: Recognizer,
    rows: Sequence[Utterance],
    paths: Sequence[Path],
    emotions: Sequence[str],
    indices: Sequence[int],
    options: InferenceOptions,
    progress: Progress | None = None,
) -> tuple[list[ScoredUtterance], list[tuple[str, str]]]:
    """Predict the utterances at ``indices``: those that were processed, and path and error of the others."""
    utterances, failures = [], []
    labels = select_emotions(options.emotions, recognizer.labels)
    predictions = _predictions(recognizer, rows, paths, indices, options)
    for n_done, (i, prediction) in enumerate(zip(indices, predictions, strict=True), 1):
        if prediction.error:
            failures.append((str(paths[i]), prediction.error))
        else:
            utterances.append(scored_utterance(rows[i], emotions[i], prediction, labels, paths[i], i))
        if progress:
            progress(n_done, len(indices))
    return utterances, failures


def scored_utterance(
    row: Utterance, emotion: str, prediction: Prediction, labels: Sequence[str], path: Path, index: int = -1
) -> ScoredUtterance:
    """Combine an utterance, its true emotion and its prediction.

    An utterance in which no speech was detected is scored with its most probable emotion: its true emotion says that
    somebody speaks. Any other label "unsure" is an error.
    """
    predicted = prediction.label
    if prediction.unsure_reason == NO_SPEECH:
        predicted = max(labels, key=lambda label: prediction.probabilities[label])
    return ScoredUtterance(
        corpus=row.corpus,
        file=row.file,
        speaker=row.speaker_key,
        sex=row.sex,
        emotion=emotion,
        predicted=predicted,
        probabilities=tuple(prediction.probabilities[name] for name in labels),
        path=str(path),
        embedding=prediction.embedding,
        window_probabilities=prediction.window_probabilities,
        speech_s=prediction.speech_s,
        index=index,
    )


def _predictions(
    recognizer: Recognizer,
    rows: Sequence[Utterance],
    paths: Sequence[Path],
    indices: Sequence[int],
    options: InferenceOptions,
) -> Iterator[Prediction]:
    """Predictions for the utterances at ``indices``, in this order."""
    if all(rows[i].start_s is None and rows[i].end_s is None for i in indices):
        yield from recognizer.predict_many((paths[i] for i in indices), **options.as_keywords())
        return
    for i in indices:  # utterances that are parts of longer recordings
        name = str(paths[i])
        try:
            signal, rate = read_utterance(rows[i], paths[i])
            yield recognizer.predict_signal(signal, rate, name=name, **options.as_keywords())
        except AudioError as error:
            yield Prediction(name, "", 0.0, {}, error=str(error))


def read_utterance(row: Utterance, path: Path) -> tuple[audio.Signal, int]:
    """Samples (N,) of an utterance at the recording's own rate, and this rate in Hz. Raises AudioError."""
    reader = audio.open_audio(path)
    signal = audio.slice_signal(reader.signal(), reader.native_rate, row.start_s, row.end_s, str(path))
    return signal, reader.native_rate
