"""The UAR of bundles on recordings that are cut to the 0.7 s in their middle.

    python benchmarks/accuracy/short_clips.py default small [BUNDLE ...]

The recordings are those of RAVDESS's speakers that a bundle was not trained on, and all of EMOVO. The emotion is chosen
among those of the corpus that the first bundle knows. In brackets: 95 % interval, bootstrap over speakers.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

import kanjo
from kanjo import audio
from kanjo.corpora import read_corpus
from kanjo.corpora.registry import find_root
from kanjo.evaluation.metrics import score_predictions

RATE, LENGTH_S = 16_000, 0.7
Signal = npt.NDArray[np.float32]


def main() -> None:
    """Print a row for each corpus and bundle."""
    root = Path(os.environ.get("KANJO_CORPORA", "../shared/corpora"))
    recognizers = {name: kanjo.load(name, threads=1) for name in sys.argv[1:] or ("default", "small")}
    known = next(iter(recognizers.values())).labels
    print("| corpus | bundle | clips | UAR %, whole | UAR %, middle 0.7 s |\n|---|---|---|---|---|")
    for corpus in ("ravdess", "emovo"):
        folder = find_root(corpus, root)
        rows = [row for row in read_corpus(corpus, folder).utterances if row.emotion in known]
        emotions = sorted({row.emotion for row in rows})
        for name, recognizer in recognizers.items():
            trained = recognizer.metadata.split.get("train_speakers", ())
            held_out = [row for row in rows if row.speaker_key not in trained]
            signals = [audio.load(folder / row.file, RATE) for row in held_out]
            true = np.array([emotions.index(row.emotion) for row in held_out])
            cells = []
            for clips in (signals, [cut(signal) for signal in signals]):
                probabilities = np.array([predict(recognizer, clip, emotions) for clip in clips])
                scores = score_predictions(emotions, true, probabilities, [row.speaker for row in held_out])
                cells.append(str(scores.uar))
            print(f"| {corpus} | {name} | {len(held_out)} | {' | '.join(cells)} |", flush=True)


def cut(signal: Signal) -> Signal:
    """The middle of a recording."""
    start = max(0, (len(signal) - int(LENGTH_S * RATE)) // 2)
    return signal[start : start + int(LENGTH_S * RATE)]


def predict(recognizer: kanjo.Recognizer, signal: Signal, emotions: list[str]) -> list[float]:
    """The probability of each emotion; the rest is left out, so the values may not sum to 1."""
    probabilities = recognizer.predict_signal(signal, RATE).probabilities
    return [probabilities[emotion] for emotion in emotions]


if __name__ == "__main__":
    main()
