# extras:
# needs:
"""`kanjo predict` of one recording in a new process, compared with `python -c "import onnxruntime"`.

Both run in turn, each in a new process, after one run that is not counted. Result: the medians of the duration, of the
CPU time, and of the peak memory. Other programs on the machine change the CPU time less than the duration.
Run: make bench-cold_start
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

N_ROUNDS, GOAL_S, GOAL_MB, GOAL_RATIO = 15, 0.5, 150, 2.2
RECORDING = Path(__file__).parents[2] / "examples" / "recordings" / "sadness-1.flac"
COMMANDS = {
    "import onnxruntime": [sys.executable, "-c", "import onnxruntime"],
    "kanjo predict": [sys.executable, "-m", "kanjo", "predict", str(RECORDING)],
}
#: Python may save compiled modules, as pip does when it installs kanjo; the first run saves those of kanjo.
ENVIRONMENT = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}


@dataclass(frozen=True)
class Cost:
    """Duration and CPU time in seconds, and peak memory in MB."""

    duration: float
    cpu: float
    memory: float


def run(command: list[str]) -> Cost:
    """Run a command in a new process."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=ENVIRONMENT)
    _, status, usage = os.wait4(process.pid, 0)
    duration = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{command} failed with exit code {process.returncode}")
    return Cost(duration, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def main() -> None:
    costs: dict[str, list[Cost]] = {name: [] for name in COMMANDS}
    for n in range(N_ROUNDS + 1):
        for name, command in COMMANDS.items():
            cost = run(command)
            if n:
                costs[name].append(cost)
    medians = {
        name: Cost(median(c.duration for c in runs), median(c.cpu for c in runs), median(c.memory for c in runs))
        for name, runs in costs.items()
    }
    print(f"new process, medians of {N_ROUNDS} runs in turn; goals of kanjo: {GOAL_S:g} s, {GOAL_MB} MB")
    for name, cost in medians.items():
        print(f"{name:20}{cost.duration:6.2f} s   CPU {cost.cpu:5.2f} s   {cost.memory:4.0f} MB")
    peer, kanjo = medians.values()
    print(f"ratio of CPU time {kanjo.cpu / peer.cpu:.2f}")
    print(f"ratio {kanjo.duration / peer.duration:.2f} (goal at most {GOAL_RATIO:g})")


if __name__ == "__main__":
    main()
