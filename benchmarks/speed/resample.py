# needs: librosa
"""`kanjo tools resample` of a folder against the reference's loop (librosa.load at the new rate, soundfile.write), files a second.

Both turn the same generated 48 kHz WAVs into 16 kHz ones, in turn, each in a process of its own; ours prints its peak memory
too. Run: make bench-resample
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

FILES, SECONDS, ROUNDS, GOAL = 600, 3.0, 2, 5.0


def peer(source: Path, target: Path) -> float:
    import librosa

    librosa.load(next(source.glob("*.wav")), sr=16_000)  # its first call imports and compiles
    target.mkdir(exist_ok=True)
    started = time.perf_counter()
    signals = {path.name: librosa.load(path, sr=16_000)[0] for path in sorted(source.glob("*.wav"))}
    for name, signal in signals.items():
        soundfile.write(target / name, signal, 16_000)
    return time.perf_counter() - started


def ours(source: Path, target: Path) -> float:
    from functools import partial

    from kanjo.tools.convert import resample
    from kanjo.tools.mirror import mirror

    started = time.perf_counter()
    done = mirror(source, target, partial(resample, sample_rate=16_000))
    assert done.changed == FILES, done
    return time.perf_counter() - started


def _in_process(what: str, source: Path, target: Path) -> list[float]:
    out = subprocess.run(
        [sys.executable, __file__, what, source, target], capture_output=True, text=True, check=True
    ).stdout
    return [float(word) for word in out.splitlines()[-1].split()]


def main() -> None:
    if len(sys.argv) > 1:
        import resource

        seconds = (peer if sys.argv[1] == "peer" else ours)(Path(sys.argv[2]), Path(sys.argv[3]))
        print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        return
    with tempfile.TemporaryDirectory() as name:
        source = Path(name) / "in"
        source.mkdir()
        noise = np.random.default_rng(0).normal(0, 0.1, int(48_000 * SECONDS)).astype(np.float32)
        for n in range(FILES):
            soundfile.write(source / f"{n:04d}.wav", np.roll(noise, n), 48_000)
        found = {what: [] for what in ("peer", "ours")}
        for n in range(ROUNDS):
            for what, seconds in found.items():
                seconds.append(_in_process(what, source, Path(name) / f"{what}-{n}"))
    slow, fast = min(found["peer"]), min(found["ours"])
    print(f"{FILES} files of {SECONDS:g} s, 48 to 16 kHz, better of {ROUNDS} rounds")
    print(f"peer   librosa.load and soundfile.write   {FILES / slow[0]:6.0f} files/s   {slow[1]:5.0f} MB")
    print(f"ours   kanjo tools resample               {FILES / fast[0]:6.0f} files/s   {fast[1]:5.0f} MB")
    print(f"ratio {slow[0] / fast[0]:.2f} (goal {GOAL:g})")


if __name__ == "__main__":
    main()
