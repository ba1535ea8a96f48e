# extras: [train]
# needs: librosa
"""Packing (decode, mix, resample to 16 kHz, write) against librosa.load(sr=16000) in a loop: recordings a second.

A tree of 48 kHz WAV that this bench writes (3.7 s each), and nEMO's 24 kHz Ogg Opus where the real corpora are there. Ours
on one and on two threads, the peer on one core, in turn. Run: make bench-pack
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path

import librosa
import numpy as np
import soundfile

from kanjo.train.data.audio_cache import Item, pack

RATE, ROUNDS = 16_000, 3
GOALS = {1: 8.0, 2: 14.0}


def tree(folder: Path, n: int = 160) -> list[Path]:
    chance = np.random.default_rng(0)
    paths = [folder / f"{i}.wav" for i in range(n)]
    for path in paths:
        soundfile.write(path, np.cumsum(chance.normal(0, 1e-3, int(3.7 * 48_000))) * 0.1, 48_000, subtype="PCM_16")
    return paths


def ours(paths: list[Path], jobs: int) -> float:
    cache = Path(tempfile.mkdtemp())
    started = time.perf_counter()
    pack([Item(path) for path in paths], RATE, cache, jobs=jobs)
    seconds = time.perf_counter() - started
    shutil.rmtree(cache)
    return len(paths) / seconds


def peer(paths: list[Path]) -> float:
    started = time.perf_counter()
    for path in paths:
        librosa.load(path, sr=RATE)
    return len(paths) / (time.perf_counter() - started)


def compare(name: str, paths: list[Path]) -> dict[int, float]:
    peer(paths[:2])  # librosa loads its parts on first use
    rates: dict[object, list[float]] = {"peer": [], 1: [], 2: []}
    for _ in range(ROUNDS):
        rates["peer"].append(peer(paths[:60]))
        for jobs in (1, 2):
            rates[jobs].append(ours(paths, jobs))
    middle = {what: sorted(found)[ROUNDS // 2] for what, found in rates.items()}
    ratios = {jobs: middle[jobs] / middle["peer"] for jobs in (1, 2)}
    print(f"{name}: librosa.load {middle['peer']:.0f} recordings/s")
    for jobs in (1, 2):
        print(f"  ours on {jobs}: {middle[jobs]:.0f} recordings/s, ratio {ratios[jobs]:.2f} (goal {GOALS[jobs]:g})")
    return ratios


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        ratios = compare("48 kHz WAV", tree(Path(folder)))
    corpora = Path(os.environ.get("KANJO_CORPORA") or Path(__file__).parents[3] / "shared" / "corpora")
    opus = sorted((corpora / "nemo" / "samples").glob("*.ogg"))[:400]
    if opus:
        compare("nEMO, 24 kHz Opus", opus)
    else:
        print(f"nEMO: not at {corpora}, left out")
    print(f"ratio {ratios[2]:.2f} (goal {GOALS[2]:g})")


if __name__ == "__main__":
    main()
