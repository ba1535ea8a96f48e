"""How stable the answers of a bundle are: small changes of a clip, and clips inside a longer recording.

    python benchmarks/accuracy/stability.py [BUNDLE] [--corpus-root DIR] [--clips 100]

Clips are those of the bundle's test speakers in RAVDESS. Rows: 100 ms of silence added at both ends; 100 ms cut off at
both ends; white noise 30 dB below the clip; two clips joined with 0.5 s of silence, each one's answer inside the pair
against its answer alone. Columns: clips with the same most probable emotion, and mean difference of the probabilities.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

import kanjo
from kanjo import audio
from kanjo.corpora import read_corpus
from kanjo.corpora.registry import find_root

RATE = 16_000
Signal = npt.NDArray[np.float32]
Probabilities = npt.NDArray[np.float64]


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", nargs="?", default="default")
    parser.add_argument("--corpus-root", default=os.environ.get("KANJO_CORPORA", "../shared/corpora"), type=Path)
    parser.add_argument("--clips", default=100, type=int)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    recognizer = kanjo.load(arguments.bundle)
    clips = load_clips(recognizer, arguments.corpus_root, arguments.clips)
    alone = [predict(recognizer, clip) for clip in clips]
    rng = np.random.default_rng(0)
    changed = {
        "100 ms of silence added": [np.pad(clip, RATE // 10) for clip in clips],
        "100 ms cut off": [clip[RATE // 10 : -RATE // 10] for clip in clips],
        "white noise 30 dB below": [add_noise(clip, 30, rng) for clip in clips],
    }
    rows = {name: compare(alone, [predict(recognizer, clip) for clip in signals]) for name, signals in changed.items()}
    inside = [row for i in range(len(clips)) for row in predict_pair(recognizer, clips[i - 1], clips[i])]
    expected = [row for i in range(len(clips)) for row in (alone[i - 1], alone[i])]
    rows["joined with 0.5 s of silence"] = compare(expected, inside)
    if arguments.json:
        print(json.dumps(rows))
        return
    print(f"{len(clips)} clips\n\n| change | same label | mean difference of the probabilities |\n|---|---|---|")
    for name, (same, difference) in rows.items():
        print(f"| {name} | {100 * same:.0f} % | {difference:.3f} |")


def load_clips(recognizer: kanjo.Recognizer, corpus_root: Path, n: int) -> list[Signal]:
    """Load clips of the test speakers, evenly spaced over the corpus."""
    root = find_root("ravdess", corpus_root)
    test_speakers = set(recognizer.metadata.split.get("test_speakers", ()))
    rows = [row for row in read_corpus("ravdess", root).utterances if f"ravdess/{row.speaker}" in test_speakers]
    if not rows:
        raise SystemExit("the bundle has no test speakers of RAVDESS")
    chosen = np.linspace(0, len(rows) - 1, min(n, len(rows))).astype(int)
    return [audio.load(root / rows[i].file, RATE) for i in chosen]


def predict(recognizer: kanjo.Recognizer, signal: Signal) -> Probabilities:
    """Probabilities (E,) of a recording."""
    return np.array(list(recognizer.predict_signal(signal, RATE).probabilities.values()))


def predict_pair(recognizer: kanjo.Recognizer, first: Signal, second: Signal) -> tuple[Probabilities, Probabilities]:
    """Probabilities (E,) of each of two clips in one recording: the mean of the windows in it, weighted by overlap."""
    joined = np.concatenate([first, np.zeros(RATE // 2, np.float32), second])
    prediction = recognizer.predict_signal(joined, RATE)
    border_s = (len(first) + RATE // 4) / RATE
    spans = ((0.0, border_s), (border_s, len(joined) / RATE))
    results = []
    for start, end in spans:
        overlaps = np.array([max(0.0, min(end, w.end_s) - max(start, w.start_s)) for w in prediction.windows])
        rows = np.array([list(window.probabilities.values()) for window in prediction.windows])
        results.append(overlaps @ rows / max(overlaps.sum(), 1e-9))
    return results[0], results[1]


def add_noise(clip: Signal, snr_db: float, rng: np.random.Generator) -> Signal:
    """Add white noise so many dB below the clip's RMS."""
    level = np.sqrt(np.mean(np.square(clip))) * 10 ** (-snr_db / 20)
    return (clip + level * rng.standard_normal(len(clip))).astype(np.float32)


def compare(expected: list[Probabilities], actual: list[Probabilities]) -> tuple[float, float]:
    """Fraction with the same most probable emotion, and mean absolute difference of the probabilities."""
    a, b = np.array(expected), np.array(actual)
    return float(np.mean(a.argmax(1) == b.argmax(1))), float(np.abs(a - b).mean())


if __name__ == "__main__":
    main()
