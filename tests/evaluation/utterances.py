"""Generated predictions for the tests of reports and comparisons."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kanjo.evaluation.evaluate import Evaluation, ScoredUtterance, compute_scores

LABELS = ("anger", "neutral", "sadness")


def make_utterances(
    n: int, accuracy: float, seed: int, paths: list[Path] | None = None, n_speakers: int = 8
) -> list[ScoredUtterance]:
    """Utterances of which about the fraction ``accuracy`` is predicted correctly."""
    generator = np.random.default_rng(seed)
    utterances = []
    for i in range(n):
        true = i % 3
        predicted = true if generator.random() < accuracy else int((true + 1 + generator.integers(2)) % 3)
        probabilities = np.full(3, 0.2)
        probabilities[predicted] = 0.6
        utterance = ScoredUtterance(
            corpus="c",
            file=f"{i}.wav",
            speaker=f"c/s{i // 3 % n_speakers}",
            sex="female" if i % 2 else "male",
            emotion=LABELS[true],
            predicted=LABELS[predicted],
            probabilities=tuple(probabilities),
            path=str(paths[i % len(paths)]) if paths else "",
            embedding=(np.eye(8)[true] + 0.2 * generator.normal(size=8)).astype(np.float32),
        )
        utterances.append(utterance)
    return utterances


def make_evaluation(utterances: list[ScoredUtterance]) -> Evaluation:
    scores = compute_scores(LABELS, utterances)
    return Evaluation(LABELS, tuple(utterances), scores, failures=(("bad <name>.wav", "no <audio>"),))
