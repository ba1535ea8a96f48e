"""Measure speaker enrollment by the number of recordings, and with recordings of one emotion only.

    python benchmarks/accuracy/enrollment.py            the built-in bundle, the corpora in KANJO_CORPORA
    python benchmarks/accuracy/enrollment.py BUNDLE     another bundle

Speakers that the bundle was trained on are left out. Each speaker is enrolled 20 times with other recordings, drawn at
random; the speaker's other recordings are predicted and pooled. ``mean only`` is a profile whose weight is always 1.

Every recording is decoded once. The predictions with a profile come from the heads of the bundle. For recordings with
several segments of speech, the heads receive the mean embedding of the segments. It needs the extra ``train``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

import kanjo
from kanjo.corpora import find_root, read_corpus
from kanjo.evaluation.evaluate import ScoredUtterance, evaluate
from kanjo.inference.speaker_profiles import build_profile, speaker_vector
from kanjo.train.export.onnx_weights import read_onnx_graph

CORPORA = ("ravdess", "nemo", "emotiontts", "emovo")
CLIP_COUNTS = (1, 2, 5, 10, 20)
N_DRAWS = 20
#: A draw leaves at least this many recordings for the test.
MIN_TEST_CLIPS = 3

Classifier = Callable[[npt.NDArray[np.float32], npt.NDArray[np.float32]], npt.NDArray[np.float32]]
#: Indices of the enrollment recordings and of the test recordings.
Draw = tuple[list[int], list[int]]


def main() -> None:
    """Print a table for each corpus."""
    recognizer = kanjo.load(sys.argv[1] if len(sys.argv) > 1 else "default", threads=1)
    root = Path(os.environ.get("KANJO_CORPORA", "../shared/corpora"))
    classify = load_classifier(recognizer)
    print("| corpus | enrolled with | UAR % without | mean only | with weight | weight |")
    print("|---|---|---|---|---|---|")
    for name in CORPORA:
        utterances = predict_corpus(recognizer, name, root)
        for title, draws in schemes(utterances):
            if scores := score(recognizer, utterances, draws, classify):
                print(f"| {name} | {title} | {' | '.join(scores)} |", flush=True)


def load_classifier(recognizer: kanjo.Recognizer) -> Classifier:
    """The heads of a bundle: from embeddings (U, D) and a speaker vector (D + 1,) to logits (U, E)."""
    constants = read_onnx_graph(recognizer.bundle.graph).constants
    output, bias, offset = (constants[f"model.{name}"] for name in ("output.weight", "output.bias", "offset.weight"))

    def classify(embeddings: npt.NDArray[np.float32], speaker: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        mean, weight = speaker[:-1], speaker[-1]
        plain, with_profile = embeddings @ output + bias, (embeddings - mean) @ offset
        return np.asarray((1 - weight) * plain + weight * with_profile, np.float32)

    return classify


def predict_corpus(recognizer: kanjo.Recognizer, name: str, root: Path) -> list[ScoredUtterance]:
    """Predict the recordings with speech of all speakers that the bundle was not trained on."""
    manifest = read_corpus(name, find_root(name, root))
    train_speakers = set(recognizer.metadata.split.get("train_speakers", ()))
    rows = [row for row in manifest.utterances if row.speaker_key not in train_speakers]
    utterances = evaluate(recognizer, rows, [manifest.audio_path(row) for row in rows]).utterances
    return [utterance for utterance in utterances if utterance.speech_s > 0]  # as kanjo enroll requires


def schemes(utterances: Sequence[ScoredUtterance]) -> Iterator[tuple[str, list[Draw]]]:
    """The draws of each way of enrolling."""
    rng = np.random.default_rng(0)
    by_speaker: dict[str, list[int]] = {}
    by_emotion: dict[tuple[str, str], list[int]] = {}
    for i, utterance in enumerate(utterances):
        by_speaker.setdefault(utterance.speaker, []).append(i)
        by_emotion.setdefault((utterance.speaker, utterance.emotion), []).append(i)

    def draw(enrollment: list[int], test: list[int], n_clips: int) -> Iterator[Draw]:
        if len(enrollment) < n_clips or len(test) < n_clips + MIN_TEST_CLIPS:
            return
        for _ in range(N_DRAWS):
            chosen = rng.choice(enrollment, n_clips, replace=False).tolist()
            yield chosen, [i for i in test if i not in set(chosen)]

    for n in CLIP_COUNTS:
        yield count(n), [item for clips in by_speaker.values() for item in draw(clips, clips, n)]
    halves = [item for clips in by_speaker.values() for item in draw(clips, clips, len(clips) // 2)]
    yield "half of the clips", halves
    for n in CLIP_COUNTS:
        draws = [item for (name, _), clips in by_emotion.items() for item in draw(clips, by_speaker[name], n)]
        yield f"{count(n)} of one emotion", draws
    for n in CLIP_COUNTS:
        draws = [item for clips in by_emotion.values() for item in draw(clips, clips, n)]
        yield f"{count(n)} of one emotion, tested on the same emotion", draws


def count(n: int) -> str:
    """The number of clips in words."""
    return f"{n} clip{'' if n == 1 else 's'}"


def score(
    recognizer: kanjo.Recognizer, utterances: Sequence[ScoredUtterance], draws: Sequence[Draw], classify: Classifier
) -> list[str]:
    """UAR without a profile, its changes with weight 1 and with the profile's weight, and the mean weight."""
    if not draws:
        return []
    labels = recognizer.labels
    embeddings = np.stack([utterance.embedding for utterance in utterances if utterance.embedding is not None])
    truth = np.asarray([labels.index(utterance.emotion) for utterance in utterances])
    unknown = np.zeros(embeddings.shape[1] + 1, np.float32)
    predicted: list[list[npt.NDArray[np.int64]]] = [[], [], []]
    weights = []
    for enrollment, test in draws:
        profile = build_profile("speaker", recognizer.metadata, [utterances[i] for i in enrollment])
        weights.append(profile.weight)
        for results, item in zip(predicted, (None, replace(profile, weight=1.0), profile), strict=True):
            speaker = speaker_vector(item, recognizer.metadata)
            results.append(classify(embeddings[test], unknown if speaker is None else speaker).argmax(1))
    emotions = np.concatenate([truth[test] for _, test in draws])
    uars = [unweighted_average_recall(emotions, np.concatenate(results)) for results in predicted]
    changes = [f"{uar - uars[0]:+.1f}" for uar in uars[1:]]
    return [f"{uars[0]:.1f}", *changes, f"{np.mean(weights):.2f}"]


def unweighted_average_recall(truth: npt.NDArray[np.int64], predicted: npt.NDArray[np.int64]) -> float:
    """Mean recall of the emotions that occur, in percent."""
    return 100 * float(np.mean([(predicted[truth == label] == label).mean() for label in np.unique(truth)]))


if __name__ == "__main__":
    main()
