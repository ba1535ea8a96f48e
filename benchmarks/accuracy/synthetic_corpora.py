"""Write synthetic corpora in the layouts of EmoDB and AIHUB, which can't be downloaded here.

    python benchmarks/accuracy/synthetic_corpora.py build/synthetic

The folder gets ``emodb/`` (10 speakers, 10 sentences, 7 emotions) and ``aihub/`` (one year, 5 emotions, no speakers).
A recording is a glottal pulse train through three resonances, in noise. Its pitch, pitch range, tempo, level and
spectral tilt depend on the emotion (signs as in Juslin & Laukka 2003, doi 10.1037/0033-2909.129.5.770) and, at random,
on speaker and sentence. Scores on these trees show that the recipes run and learn. They say nothing about speech.
"""

from __future__ import annotations

import csv
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray
from scipy.signal import lfilter

_RATE = 16_000
_EMODB_SPEAKERS = ("03", "08", "09", "10", "11", "12", "13", "14", "15", "16")
_EMODB_TEXTS = ("a01", "a02", "a04", "a05", "a07", "b01", "b02", "b03", "b09", "b10")
_EMODB_LETTERS = {
    "anger": "W",
    "boredom": "L",
    "disgust": "E",
    "fear": "A",
    "happiness": "F",
    "sadness": "T",
    "neutral": "N",
}
_AIHUB_WORDS = {"anger": "Angry", "disgust": "Disgust", "fear": "Fear", "neutral": "Neutral", "sadness": "Sadness"}
_AIHUB_CLIPS_PER_EMOTION = 60


@dataclass(frozen=True)
class Prosody:
    """How an emotion changes neutral speech.

    Attributes:
        pitch: Factor of the mean pitch.
        pitch_range: Standard deviation of the pitch in semitones.
        tempo: Syllables per second.
        gain_db: Level relative to neutral.
        tilt: Pole of the low-pass of the source; nearer to 1 is a softer voice.
    """

    pitch: float
    pitch_range: float
    tempo: float
    gain_db: float
    tilt: float


_PROSODY = {
    "anger": Prosody(1.3, 3.5, 5.5, 8, 0.75),
    "boredom": Prosody(0.9, 0.8, 3.4, -4, 0.93),
    "disgust": Prosody(0.95, 1.8, 3.8, -1, 0.88),
    "fear": Prosody(1.5, 1.5, 6.0, 1, 0.86),
    "happiness": Prosody(1.4, 4.0, 5.0, 4, 0.80),
    "neutral": Prosody(1.0, 1.5, 4.5, 0, 0.90),
    "sadness": Prosody(0.85, 1.0, 3.0, -7, 0.95),
}


def main() -> None:
    """Write both corpora below the folder that the command line names."""
    root = Path(sys.argv[1] if len(sys.argv) > 1 else "build/synthetic")
    write_emodb(root / "emodb")
    write_aihub(root / "aihub")
    print(f"written: {root}/emodb, {root}/aihub")


def write_emodb(root: Path) -> None:
    """Write ``wav/03a01Wa.wav``, ...: one take of every sentence by every speaker in every emotion."""
    for s, speaker in enumerate(_EMODB_SPEAKERS):
        for t, text in enumerate(_EMODB_TEXTS):
            for e, (emotion, letter) in enumerate(_EMODB_LETTERS.items()):
                signal = synthesize(emotion, speaker_seed=s, text_seed=t, seed=1000 * s + 10 * t + e)
                _write(root / "wav" / f"{speaker}{text}{letter}a.wav", signal)


def write_aihub(root: Path) -> None:
    """Write ``4차년도.csv`` with five raters and ``4차년도/*.wav``; each recording has a voice of its own."""
    raters = [f"{n}번 {word}" for n in range(1, 6) for word in ("감정", "감정세기")]
    rows = [["wav_id", "발화문", "상황", *raters, "나이", "성별"]]
    for e, (emotion, word) in enumerate(_AIHUB_WORDS.items()):
        for n in range(_AIHUB_CLIPS_PER_EMOTION):
            name = f"{emotion}{n:03d}"
            signal = synthesize(emotion, speaker_seed=100 + n % 40, text_seed=100 + n, seed=100_000 + 1000 * e + n)
            _write(root / "4차년도" / f"{name}.wav", signal)
            rows.append([name, f"문장 {n}", emotion, *([word, "1"] * 5), "30", "남" if n % 2 else "여"])
    with (root / "4차년도.csv").open("w", encoding="cp949", newline="") as stream:
        csv.writer(stream).writerows(rows)


def synthesize(emotion: str, speaker_seed: int, text_seed: int, seed: int) -> NDArray[np.float32]:
    """Return a sentence of 8 to 12 syllables, shape (N,), at 16 kHz."""
    prosody = _PROSODY[emotion]
    speaker, text, take = (np.random.default_rng(s) for s in (speaker_seed, text_seed, seed))
    tempo = prosody.tempo * take.uniform(0.85, 1.15)
    n_syllables = int(text.integers(8, 13))
    vowels = text.uniform(0.75, 1.35, (n_syllables, 3))
    formants = np.array([550.0, 1500.0, 2600.0]) * speaker.uniform(0.92, 1.1)
    length = int(_RATE / tempo)
    t = np.arange(length) / length
    mean_hz = speaker.choice([115.0, 205.0]) * speaker.uniform(0.9, 1.1) * prosody.pitch * take.uniform(0.93, 1.07)
    contour = mean_hz * 2 ** (take.normal(0, prosody.pitch_range, n_syllables) / 12)
    phase = (
        np.cumsum(np.interp(np.arange(n_syllables * length) / length, np.arange(n_syllables) + 0.5, contour)) / _RATE
    )
    pulses = np.diff(np.floor(phase), prepend=0.0) + take.normal(0, 0.01, len(phase))
    source = lfilter([1 - prosody.tilt], [1, -prosody.tilt], pulses)
    syllables = [
        _resonate(part, formants * vowel) * np.sin(np.pi * t) ** 0.5
        for part, vowel in zip(np.split(source, n_syllables), vowels, strict=True)
    ]
    signal = np.concatenate(syllables)
    signal *= 0.03 * 10 ** ((prosody.gain_db + take.normal(0, 2)) / 20) / np.sqrt(np.mean(signal**2))
    return (signal + take.normal(0, 3e-4, len(signal))).clip(-1, 1).astype(np.float32)


def _resonate(signal: NDArray[np.float64], frequencies_hz: NDArray[np.float64]) -> NDArray[np.float64]:
    """Filter with one resonance of 80 Hz bandwidth at each frequency, in series."""
    radius = np.exp(-np.pi * 80 / _RATE)
    for hz in frequencies_hz:
        pole = [1.0, -2 * radius * np.cos(2 * np.pi * hz / _RATE), radius**2]
        signal = np.asarray(lfilter([sum(pole)], pole, signal))
    return signal


def _write(path: Path, signal: NDArray[np.float32]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, signal, _RATE)


if __name__ == "__main__":
    main()
