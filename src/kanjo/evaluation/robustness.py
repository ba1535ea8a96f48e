"""Robustness: scores of a bundle on degraded copies of the test utterances."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import soundfile

from kanjo import audio
from kanjo.audio import Signal
from kanjo.corpora import Utterance
from kanjo.errors import AudioError, CorpusError
from kanjo.evaluation.evaluate import (
    Progress,
    ScoredUtterance,
    compute_scores,
    read_utterance,
    reference_emotions,
    scored_utterance,
)
from kanjo.evaluation.metrics import Scores
from kanjo.file_names import encode_name
from kanjo.inference.recognizer import Recognizer

#: Degrades a signal (N,) at a sampling rate (Hz); returns the new signal and its rate. Randomness is the generator's.
Degradation = Callable[[Signal, int, np.random.Generator], tuple[Signal, int]]

_QUIETER_DB = 30
_CLIPPING_DB = 10
_NOISE_SNR_DB = 10
_TELEPHONE_RATE = 8000
_MP3_KBIT_S = 32
_MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)


def reduce_level(signal: Signal, rate: int, generator: np.random.Generator) -> tuple[Signal, int]:
    """Reduce the level by 30 dB."""
    return signal * np.float32(10 ** (-_QUIETER_DB / 20)), rate


def clip(signal: Signal, rate: int, generator: np.random.Generator) -> tuple[Signal, int]:
    """Amplify until the peak is 10 dB over full scale, and clip at full scale."""
    peak = max(float(np.abs(signal).max()), 1e-9)
    return np.clip(signal * np.float32(10 ** (_CLIPPING_DB / 20) / peak), -1, 1), rate


def limit_to_telephone_band(signal: Signal, rate: int, generator: np.random.Generator) -> tuple[Signal, int]:
    """Resample to 8 kHz, so that nothing is left above 4 kHz."""
    return audio.resample(signal, rate, _TELEPHONE_RATE), _TELEPHONE_RATE


def compress_mp3(signal: Signal, rate: int, generator: np.random.Generator) -> tuple[Signal, int]:
    """Encode and decode as MP3 at 32 kbit/s, at 16 kHz if MP3 does not support the sampling rate."""
    if rate not in _MP3_RATES:
        signal, rate = audio.resample(signal, rate, 16000), 16000
    # libsndfile maps the compression level from 0 to 1 linearly to this range of bit rates, and refuses 1 itself
    lowest, highest = (32, 320) if rate >= 32000 else (8, 160)
    level = min((highest - _MP3_KBIT_S) / (highest - lowest), 0.999)
    buffer = io.BytesIO()
    soundfile.write(
        buffer, signal, rate, "MPEG_LAYER_III", format="MP3", bitrate_mode="CONSTANT", compression_level=level
    )
    buffer.seek(0)
    return soundfile.read(buffer, dtype="float32")[0], rate


def add_pink_noise(signal: Signal, rate: int, generator: np.random.Generator) -> tuple[Signal, int]:
    """Add pink noise at a signal-to-noise ratio of 10 dB."""
    spectrum = np.fft.rfft(generator.standard_normal(len(signal)))
    noise = np.fft.irfft(spectrum / np.sqrt(np.arange(1, len(spectrum) + 1)), len(signal))
    power_ratio = np.mean(np.square(signal)) / max(float(np.mean(np.square(noise))), 1e-12)
    gain = np.sqrt(power_ratio / 10 ** (_NOISE_SNR_DB / 10))
    return np.asarray(signal + gain * noise, np.float32), rate


#: Name in the model card and in ``bundle.json`` -> degradation.
DEGRADATIONS: dict[str, Degradation] = {
    "30 dB quieter": reduce_level,
    "clipped (10 dB over full scale)": clip,
    "telephone band (8 kHz)": limit_to_telephone_band,
    "MP3 at 32 kbit/s": compress_mp3,
    "pink noise (10 dB SNR)": add_pink_noise,
}


def evaluate_robustness(
    recognizer: Recognizer, rows: Sequence[Utterance], paths: Sequence[Path], progress: Progress | None = None
) -> Iterator[tuple[str, Scores]]:
    """Yield the name and the scores of each degradation.

    The random numbers depend only on the file names, so that every call degrades the utterances in the same way.

    Args:
        recognizer: The model.
        rows: The utterances; those with an emotion that the model does not predict are left out.
        paths: The recording of each utterance.
        progress: Called after each degraded utterance.

    Raises:
        CorpusError: No utterance can be scored.
    """
    emotions = reference_emotions(recognizer, rows)
    indices = [i for i, emotion in enumerate(emotions) if emotion in recognizer.labels]
    n_done = 0
    for name, degradation in DEGRADATIONS.items():
        utterances = []
        for i in indices:
            utterance = _predict_degraded(recognizer, rows[i], paths[i], emotions[i], degradation)
            if utterance is not None:
                utterances.append(utterance)
            n_done += 1
            if progress:
                progress(n_done, len(indices) * len(DEGRADATIONS))
        if not utterances:
            raise CorpusError("nothing to score: no utterance could be decoded")
        yield name, compute_scores(recognizer.labels, utterances)


def _predict_degraded(
    recognizer: Recognizer, row: Utterance, path: Path, emotion: str, degradation: Degradation
) -> ScoredUtterance | None:
    """The prediction for the degraded utterance; None if it can't be decoded."""
    try:
        signal, rate = read_utterance(row, path)
        generator = np.random.default_rng(zlib.crc32(encode_name(row.file).encode()))
        prediction = recognizer.predict_signal(*degradation(signal, rate, generator), name=str(path))
    except (AudioError, soundfile.LibsndfileError):
        return None
    return scored_utterance(row, emotion, prediction, recognizer.labels, path)
