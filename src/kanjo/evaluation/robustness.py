"""Robustness: scores of a bundle on degraded copies of the test utterances."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
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


def apply_telephone_codec(signal: Signal, rate: int, generator: np.random.Generator) -> tuple[Signal, int]:
    """Resample to 8 kHz and encode with mu-law (ITU-T G.711), at a peak of half of full scale."""
    narrow = audio.resample(signal, rate, _TELEPHONE_RATE)
    narrow = narrow * np.float32(0.5 / max(float(np.abs(narrow).max()), 1e-9))
    buffer = io.BytesIO()
    soundfile.write(buffer, narrow, _TELEPHONE_RATE, "ULAW", format="WAV")
    buffer.seek(0)
    return soundfile.read(buffer, dtype="float32")[0], _TELEPHONE_RATE


def add_pink_noise(signal: Signal, rate: int, generator: np.random.Generator, snr_db: float = 10) -> tuple[Signal, int]:
    """Add pink noise at a signal-to-noise ratio."""
    spectrum = np.fft.rfft(generator.standard_normal(len(signal)))
    noise = np.fft.irfft(spectrum / np.sqrt(np.arange(1, len(spectrum) + 1)), len(signal))
    return _mix(signal, noise, snr_db), rate


def reverberate(signal: Signal, rate: int, generator: np.random.Generator) -> tuple[Signal, int]:
    """Add the reverberation of a room: decay by 60 dB in 0.5 s, the direct sound 3 dB over the reverberation."""
    t = np.arange(rate // 2) / rate
    tail = generator.standard_normal(len(t)) * np.exp(-np.log(1000) * t / 0.5)
    response = np.concatenate([[1.0], tail * np.sqrt(0.5 / np.sum(np.square(tail)))])
    n = len(signal) + len(response)
    wet = np.fft.irfft(np.fft.rfft(signal, n) * np.fft.rfft(response, n), n)[: len(signal)]
    return np.asarray(wet / max(1.0, float(np.abs(wet).max())), np.float32), rate


def add_babble(
    signal: Signal, rate: int, generator: np.random.Generator, others: Sequence[Signal] = (), snr_db: float = 10
) -> tuple[Signal, int]:
    """Add other recordings, four at a time, at a signal-to-noise ratio."""
    chosen = generator.choice(len(others), min(4, len(others)), replace=False)
    noise = np.sum([np.resize(others[i], len(signal)) for i in chosen], 0)
    return _mix(signal, noise, snr_db), rate


def _mix(signal: Signal, noise: npt.NDArray[np.floating[Any]], snr_db: float) -> Signal:
    power_ratio = np.mean(np.square(signal)) / max(float(np.mean(np.square(noise))), 1e-12)
    return np.asarray(signal + np.sqrt(power_ratio / 10 ** (snr_db / 10)) * noise, np.float32)


#: Name in the model card and in ``bundle.json`` -> degradation.
DEGRADATIONS: dict[str, Degradation] = {
    "30 dB quieter": reduce_level,
    "clipped (10 dB over full scale)": clip,
    "telephone band (8 kHz)": limit_to_telephone_band,
    "telephone, mu-law": apply_telephone_codec,
    "MP3 at 32 kbit/s": compress_mp3,
    "reverberation (0.5 s)": reverberate,
    "pink noise (30 dB SNR)": partial(add_pink_noise, snr_db=30),
    "pink noise (20 dB SNR)": partial(add_pink_noise, snr_db=20),
    "pink noise (10 dB SNR)": partial(add_pink_noise, snr_db=10),
    "pink noise (5 dB SNR)": partial(add_pink_noise, snr_db=5),
}
BABBLE = "babble of four speakers (10 dB SNR)"
#: Utterances that are degraded, at most, evenly spaced.
MAX_UTTERANCES = 500
_N_BABBLE_RECORDINGS = 12


def evaluate_robustness(
    recognizer: Recognizer,
    rows: Sequence[Utterance],
    paths: Sequence[Path],
    progress: Progress | None = None,
    *,
    labels: Sequence[str] | None = None,
) -> Iterator[tuple[str, Scores]]:
    """Yield the name and the scores of each degradation.

    The random numbers depend only on the file names, so that every call degrades the utterances in the same way.

    Args:
        recognizer: The model.
        rows: The utterances; those with an emotion that the model does not predict are left out.
        paths: The recording of each utterance.
        progress: Called after each degraded utterance.
        labels: The emotions among which the label is chosen (default: all of the bundle).

    Raises:
        CorpusError: No utterance can be scored.
    """
    labels = tuple(labels or recognizer.labels)
    emotions = reference_emotions(recognizer, rows)
    indices = _evenly_spaced([i for i, emotion in enumerate(emotions) if emotion in labels], MAX_UTTERANCES)
    degradations = DEGRADATIONS | _babble(rows, paths)
    n_done = 0
    for name, degradation in degradations.items():
        utterances = []
        for i in indices:
            utterance = _predict_degraded(recognizer, rows[i], paths[i], emotions[i], degradation, labels)
            if utterance is not None:
                utterances.append(utterance)
            n_done += 1
            if progress:
                progress(n_done, len(indices) * len(degradations))
        if not utterances:
            raise CorpusError("nothing to score: no utterance could be decoded")
        yield name, compute_scores(labels, utterances)


def _babble(rows: Sequence[Utterance], paths: Sequence[Path]) -> dict[str, Degradation]:
    """The degradation by babble of these recordings; empty if fewer than four can be read."""
    others = []
    for i in _evenly_spaced(range(len(rows)), _N_BABBLE_RECORDINGS):
        with suppress(AudioError):
            others.append(read_utterance(rows[i], paths[i])[0])
    return {BABBLE: partial(add_babble, others=others)} if len(others) >= 4 else {}


def _evenly_spaced(indices: Sequence[int], n: int) -> list[int]:
    return [indices[i] for i in np.linspace(0, len(indices) - 1, min(n, len(indices))).astype(int)]


def _predict_degraded(
    recognizer: Recognizer,
    row: Utterance,
    path: Path,
    emotion: str,
    degradation: Degradation,
    labels: Sequence[str],
) -> ScoredUtterance | None:
    """The prediction for the degraded utterance; None if it can't be decoded."""
    try:
        signal, rate = read_utterance(row, path)
        generator = np.random.default_rng(zlib.crc32(encode_name(row.file).encode()))
        degraded = degradation(signal, rate, generator)
        prediction = recognizer.predict_signal(*degraded, name=str(path), emotions=labels)
    except (AudioError, soundfile.LibsndfileError):
        return None
    return scored_utterance(row, emotion, prediction, labels, path)
