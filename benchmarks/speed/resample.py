# needs: librosa
"""`kanjo tools resample` of a folder compared with a loop of librosa.load at the new rate and soundfile.write.

Both resample the same generated WAV files from 48 to 16 kHz, in turn, each in its own process. Result: files per
second, and the peak memory of the process. Run: make bench-resample
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

N_FILES, DURATION_S, N_ROUNDS, GOAL = 600, 3.0, 2, 5.0
SOURCE_RATE, TARGET_RATE = 48_000, 16_000


def run_librosa(source: Path, target: Path) -> float:
    """Resample a folder with librosa; return the duration in seconds."""
    import librosa

    librosa.load(next(source.glob("*.wav")), sr=TARGET_RATE)  # the first call imports and compiles
    target.mkdir(exist_ok=True)
    started = time.perf_counter()
    signals = {path.name: librosa.load(path, sr=TARGET_RATE)[0] for path in sorted(source.glob("*.wav"))}
    for name, signal in signals.items():
        soundfile.write(target / name, signal, TARGET_RATE)
    return time.perf_counter() - started


def run_kanjo(source: Path, target: Path) -> float:
    """Resample a folder with kanjo; return the duration in seconds."""
    from functools import partial

    from kanjo.tools.file_tree import convert_tree
    from kanjo.tools.resample import resample

    started = time.perf_counter()
    result = convert_tree(source, target, partial(resample, sample_rate=TARGET_RATE))
    duration_s = time.perf_counter() - started
    if result.converted != len(list(source.glob("*.wav"))):
        raise RuntimeError(f"not all files were resampled: {result}")
    return duration_s


SYSTEMS: dict[str, Callable[[Path, Path], float]] = {"librosa": run_librosa, "kanjo": run_kanjo}


def run_in_process(system: str, source: Path, target: Path) -> tuple[float, float]:
    """Run one system in its own process; return seconds and peak memory in MB."""
    command = [sys.executable, __file__, system, str(source), str(target)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    duration_s, peak_mb = output.splitlines()[-1].split()
    return float(duration_s), float(peak_mb)


def write_files(folder: Path) -> None:
    """Write WAV files of noise."""
    noise = np.random.default_rng(0).normal(0, 0.1, int(SOURCE_RATE * DURATION_S)).astype(np.float32)
    for n in range(N_FILES):
        soundfile.write(folder / f"{n:04d}.wav", np.roll(noise, n), SOURCE_RATE)


def main() -> None:
    if len(sys.argv) > 1:
        duration_s = SYSTEMS[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
        print(duration_s, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        return
    with tempfile.TemporaryDirectory() as name:
        source = Path(name) / "in"
        source.mkdir()
        write_files(source)
        results: dict[str, list[tuple[float, float]]] = {system: [] for system in SYSTEMS}
        for n in range(N_ROUNDS):
            for system, runs in results.items():
                runs.append(run_in_process(system, source, Path(name) / f"{system}-{n}"))
    librosa_s, librosa_mb = min(results["librosa"])
    kanjo_s, kanjo_mb = min(results["kanjo"])
    print(f"{N_FILES} files of {DURATION_S:g} s, 48 to 16 kHz, better of {N_ROUNDS} rounds")
    print(f"librosa.load and soundfile.write   {N_FILES / librosa_s:6.0f} files/s   {librosa_mb:5.0f} MB")
    print(f"kanjo tools resample               {N_FILES / kanjo_s:6.0f} files/s   {kanjo_mb:5.0f} MB")
    print(f"ratio {librosa_s / kanjo_s:.2f} (goal {GOAL:g})")


if __name__ == "__main__":
    main()
