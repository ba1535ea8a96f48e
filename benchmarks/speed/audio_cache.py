# extras: [train]
# needs: librosa
"""Building the audio cache (decode, mix, resample to 16 kHz, write) compared with librosa.load(sr=16000) in a loop.

The recordings are generated 48 kHz WAV files of 3.7 s, and nEMO's 24 kHz Ogg Opus files if the corpus is available.
kanjo uses one and two threads, librosa one core; they run in turn. Result: recordings per second.
Run: make bench-audio_cache
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path
from statistics import median

import librosa
import numpy as np
import soundfile

from kanjo.train.data.audio_cache import AudioSlice, build_audio_cache

SAMPLE_RATE = 16_000
N_RECORDINGS, N_LIBROSA, MAX_OPUS = 160, 60, 400
N_ROUNDS = 3
#: Threads -> goal of the ratio to librosa.
GOALS = {1: 8.0, 2: 14.0}


def write_recordings(folder: Path) -> list[Path]:
    """Write WAV files of 3.7 s at 48 kHz."""
    generator = np.random.default_rng(0)
    paths = [folder / f"{i}.wav" for i in range(N_RECORDINGS)]
    for path in paths:
        signal = np.cumsum(generator.normal(0, 1e-3, int(3.7 * 48_000))) * 0.1
        soundfile.write(path, signal, 48_000, subtype="PCM_16")
    return paths


def measure_kanjo(paths: list[Path], n_threads: int) -> float:
    """Recordings per second of kanjo."""
    cache = Path(tempfile.mkdtemp())
    started = time.perf_counter()
    build_audio_cache([AudioSlice(path) for path in paths], SAMPLE_RATE, cache, jobs=n_threads)
    duration_s = time.perf_counter() - started
    shutil.rmtree(cache)
    return len(paths) / duration_s


def measure_librosa(paths: list[Path]) -> float:
    """Recordings per second of librosa."""
    started = time.perf_counter()
    for path in paths:
        librosa.load(path, sr=SAMPLE_RATE)
    return len(paths) / (time.perf_counter() - started)


def compare(name: str, paths: list[Path]) -> dict[int, float]:
    """Print the medians of all rounds; return the ratio to librosa by number of threads."""
    measure_librosa(paths[:2])  # librosa imports its modules at the first use
    librosa_rates: list[float] = []
    kanjo_rates: dict[int, list[float]] = {n_threads: [] for n_threads in GOALS}
    for _ in range(N_ROUNDS):
        librosa_rates.append(measure_librosa(paths[:N_LIBROSA]))
        for n_threads, rates in kanjo_rates.items():
            rates.append(measure_kanjo(paths, n_threads))
    ratios = {n_threads: median(rates) / median(librosa_rates) for n_threads, rates in kanjo_rates.items()}
    print(f"{name}: librosa.load {median(librosa_rates):.0f} recordings/s")
    for n_threads, ratio in ratios.items():
        rate = median(kanjo_rates[n_threads])
        print(f"  kanjo, {n_threads} threads: {rate:.0f} recordings/s, ratio {ratio:.2f} (goal {GOALS[n_threads]:g})")
    return ratios


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        ratios = compare("48 kHz WAV", write_recordings(Path(folder)))
    corpora = Path(os.environ.get("KANJO_CORPORA") or Path(__file__).parents[3] / "shared" / "corpora")
    opus_files = sorted((corpora / "nemo" / "samples").glob("*.ogg"))[:MAX_OPUS]
    if opus_files:
        compare("nEMO, 24 kHz Opus", opus_files)
    else:
        print(f"nEMO: not in {corpora}; skipped")
    print(f"ratio {ratios[2]:.2f} (goal {GOALS[2]:g})")


if __name__ == "__main__":
    main()
