"""The same utterances as they might have come: fainter, clipped, over a telephone, as MP3, in noise; and what a bundle scores then."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from kanjo import audio
from kanjo.audio import Signal
from kanjo.corpora import Utterance
from kanjo.errors import AudioError, CorpusError
from kanjo.evaluation.evaluate import Answer, Progress, scores_of, truths_of
from kanjo.evaluation.metrics import Scores
from kanjo.inference.recognizer import Recognizer

#: A signal (N,) and its rate (Hz) -> the same in a condition. Chance is drawn from the generator.
Condition = Callable[[Signal, int, np.random.Generator], tuple[Signal, int]]


def fainter(signal: Signal, rate: int, chance: np.random.Generator) -> tuple[Signal, int]:
    """30 dB down."""
    return signal * np.float32(10 ** (-30 / 20)), rate


def clipped(signal: Signal, rate: int, chance: np.random.Generator) -> tuple[Signal, int]:
    """So loud that its peak would be 10 dB over full scale, and cut off there."""
    peak = max(float(np.abs(signal).max()), 1e-9)
    return np.clip(signal * np.float32(10 ** (10 / 20) / peak), -1, 1), rate


def telephone(signal: Signal, rate: int, chance: np.random.Generator) -> tuple[Signal, int]:
    """Sampled at 8 kHz: nothing above 4."""
    return audio.resample(signal, rate, 8000), 8000


def mp3(signal: Signal, rate: int, chance: np.random.Generator) -> tuple[Signal, int]:
    """Through MP3 at 32 kbit/s, at its own rate where MP3 knows that, else at 16 kHz."""
    if rate not in (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000):
        signal, rate = audio.resample(signal, rate, 16000), 16000
    low, high = (32, 320) if rate >= 32000 else (8, 160)  # what libsndfile spreads its compression levels over
    buffer = io.BytesIO()
    level = min((high - 32) / (high - low), 0.999)  # 1 itself is refused
    soundfile.write(
        buffer, signal, rate, "MPEG_LAYER_III", format="MP3", bitrate_mode="CONSTANT", compression_level=level
    )
    buffer.seek(0)
    return soundfile.read(buffer, dtype="float32")[0], rate


def noisy(signal: Signal, rate: int, chance: np.random.Generator) -> tuple[Signal, int]:
    """Pink noise, 10 dB below the utterance's own level."""
    spectrum = np.fft.rfft(chance.standard_normal(len(signal)))
    noise = np.fft.irfft(spectrum / np.sqrt(np.arange(1, len(spectrum) + 1)), len(signal))
    wanted = np.sqrt(np.mean(np.square(signal)) / max(float(np.mean(np.square(noise))), 1e-12) / 10)
    return np.asarray(signal + wanted * noise, np.float32), rate


CONDITIONS: dict[str, Condition] = {
    "30 dB quieter": fainter,
    "clipped, 10 dB over full scale": clipped,
    "8 kHz, as over a telephone": telephone,
    "MP3 at 32 kbit/s": mp3,
    "pink noise, 10 dB below": noisy,
}


def under(
    recognizer: Recognizer, rows: Sequence[Utterance], paths: Sequence[Path], progress: Progress | None = None
) -> Iterator[tuple[str, Scores]]:
    """Each condition's scores on every utterance whose emotion the bundle knows. The same chance each time. Raises CorpusError."""
    truths = truths_of(recognizer, rows)
    known = [i for i, truth in enumerate(truths) if truth in recognizer.labels]
    done = 0
    for name, condition in CONDITIONS.items():
        answers = []
        for i in known:
            found = _answer(recognizer, rows[i], paths[i], truths[i], condition)
            answers += [found] if found else []
            done += 1
            if progress:
                progress(done, len(known) * len(CONDITIONS))
        if not answers:
            raise CorpusError("nothing to score: no utterance could be heard")
        yield name, scores_of(recognizer.labels, answers)


def _answer(recognizer: Recognizer, row: Utterance, path: Path, truth: str, condition: Condition) -> Answer | None:
    try:
        source = audio.open_source(path)
        rate = source.native_rate
        signal = audio.stretch(source.signal(), rate, row.start_s, row.end_s, str(path))
        chance = np.random.default_rng(zlib.crc32(row.file.encode()))
        found = recognizer.predict_signal(*condition(signal, rate, chance), name=str(path))
    except (AudioError, soundfile.LibsndfileError):
        return None
    shares: npt.NDArray[np.float64] = np.asarray([found.probabilities[name] for name in recognizer.labels])
    return Answer(row.corpus, row.file, row.speaker_key, row.sex, truth, found.label, tuple(shares.tolist()), str(path))
