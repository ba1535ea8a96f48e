"""Fuzz decoding, prediction and every parser: ``make fuzz MINUTES=10``.

Each target runs in a process of its own under Atheris, which mutates the seeds and keeps the inputs that reach new
code. A finding is an exception that is not one of kanjo's, a crash of the process, an input that takes more than 10 s,
or one that needs more than 400 MB. The folder of findings gets its input, and its traceback if there is one.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_MAX_S, _MAX_MEMORY_MB = 10, 400
#: Longest input in bytes.
_MAX_LENGTH = 1 << 16
#: Weight of a slow target in the division of the time; that of the others is 1.
_SLOW_WEIGHT = 30
#: A target is given up after so many crashes, hangs and overflows of memory.
_MAX_CRASHES = 20
#: Seconds that a worker needs to import kanjo and read the seeds.
_START_S = 4


@dataclass
class Result:
    """What fuzzing one target gave."""

    target: str
    inputs: int = 0
    seconds: float = 0.0
    findings: int = 0
    peak_mb: int = 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzz all targets; return 1 if there are findings."""
    from tests.fuzz.targets import SLOW_TARGETS, TARGETS, remove_folder

    remove_folder()  # this process runs no target
    parser = argparse.ArgumentParser(description="Fuzz decoding, prediction and every parser.")
    parser.add_argument("--minutes", type=float, default=10, help="Minutes for all targets together.")
    parser.add_argument("--targets", default=",".join(TARGETS), help="Names of targets, with commas.")
    parser.add_argument("--inputs", type=int, default=0, help="Stop a target after so many inputs (0: no limit).")
    parser.add_argument("--findings", type=Path, default=Path("build/fuzz"), help="Folder of the findings.")
    parser.add_argument("--seed", type=int, default=0, help="Seed of the mutations (0: another one in each run).")
    options = parser.parse_args(arguments)
    targets = options.targets.split(",")
    options.findings.mkdir(parents=True, exist_ok=True)
    weights = {target: _SLOW_WEIGHT if target in SLOW_TARGETS else 1 for target in targets}
    seconds = max(60 * options.minutes - _START_S * len(targets), len(targets))
    print(f"{'target':<14}{'inputs':>10}{'seconds':>9}{'inputs/s':>10}{'findings':>10}{'peak MB':>9}")
    results = []
    for target in targets:
        duration_s = max(1, round(seconds * weights[target] / sum(weights.values())))
        result = fuzz(target, duration_s, options.findings, options.inputs, options.seed)
        rate = result.inputs / max(result.seconds, 1e-9)
        print(
            f"{target:<14}{result.inputs:>10,}{result.seconds:>9.0f}{rate:>10.0f}{result.findings:>10}"
            f"{result.peak_mb:>9}",
            flush=True,
        )
        results.append(result)
    n_findings = sum(result.findings for result in results)
    print(f"{sum(result.inputs for result in results):,} inputs, {n_findings} findings", end="")
    print(f" in {options.findings}" if n_findings else "")
    return int(n_findings > 0)


def fuzz(target: str, seconds: int, findings: Path, max_inputs: int, seed: int) -> Result:
    """Fuzz one target; a worker that ends with a finding is started again."""
    from tests.fuzz.seeds import write_seeds

    result, start = Result(target), time.monotonic()
    before = _list_findings(findings, target)
    with tempfile.TemporaryDirectory(prefix="kanjo-fuzz-") as temporary:
        seeds, inputs = Path(temporary) / "seeds", Path(temporary) / "inputs"
        inputs.mkdir()
        write_seeds(target, seeds)
        n_crashes = 0
        while n_crashes < _MAX_CRASHES:
            left_s = round(seconds - result.seconds)
            left_inputs = max_inputs - result.inputs if max_inputs else 0
            if left_s < 1 or (max_inputs and left_inputs < 1):
                break
            known = _list_findings(findings, target)
            returncode, output = _run_worker(target, (inputs, seeds), findings, left_s, left_inputs, seed)
            result.inputs += _last_number(r"(?:stat::number_of_executed_units: |#)(\d+)", output)
            result.peak_mb = max(result.peak_mb, _last_number(r"stat::peak_rss_mb: +(\d+)", output))
            result.seconds = time.monotonic() - start
            if returncode == 0:
                break
            if _is_sum_of_inputs(target, findings, _list_findings(findings, target) - known, Path(temporary)):
                continue
            n_crashes += 1
            (findings / f"{target}-log-{time.time_ns()}.txt").write_text(output[-20_000:], encoding="utf-8")
    result.findings = len(_list_findings(findings, target) - before)
    return result


def _is_sum_of_inputs(target: str, findings: Path, new: set[Path], temporary: Path) -> bool:
    """Whether a worker ended because all its inputs together, not the last one, needed too much memory.

    The code that Atheris instruments loses memory with each input (some 20 kB for each window of a prediction), the
    same code without Atheris does not. So the last input is repeated in a process of its own; it is removed if it does
    not need too much memory there.
    """
    overflows = {path for path in new if path.name.startswith(f"{target}-oom-")}
    if not overflows or overflows != {path for path in new if "-exception-" not in path.name}:
        return False
    if any(_run_worker(target, (path,), findings, 2 * _MAX_S, 0, 0, temporary)[0] for path in overflows):
        return False
    for path in overflows:
        path.unlink()
    return True


def _run_worker(
    target: str,
    inputs: tuple[Path, ...],
    findings: Path,
    seconds: int,
    n_inputs: int,
    seed: int,
    temporary: Path | None = None,
) -> tuple[int, str]:
    """Run a worker on folders, which it extends, or on one file; return its exit status and what libFuzzer wrote."""
    command = [sys.executable, "-m", "tests.fuzz.run", "worker", target, str(findings), *map(str, inputs)]
    command += [f"-max_total_time={seconds}", f"-timeout={_MAX_S}", f"-rss_limit_mb={_MAX_MEMORY_MB}"]
    command += [f"-artifact_prefix={findings}/{target}-", f"-max_len={_MAX_LENGTH}", "-print_final_stats=1"]
    command += [f"-runs={n_inputs}"] if n_inputs else []
    command += [f"-seed={seed}"] if seed else []
    environment = {**os.environ, "TMPDIR": str(temporary or inputs[0].parent)}  # removed with the files of the targets
    process = subprocess.run(command, capture_output=True, timeout=seconds + 120, check=False, env=environment)
    return process.returncode, process.stderr.decode("utf-8", "replace")


def _list_findings(findings: Path, target: str) -> set[Path]:
    kinds = ("exception", "crash", "timeout", "oom", "leak", "log")
    return {path for kind in kinds for path in findings.glob(f"{target}-{kind}-*") if path.suffix != ".traceback"}


def _last_number(pattern: str, text: str) -> int:
    numbers = re.findall(pattern, text)
    return int(numbers[-1]) if numbers else 0


def work(target: str, findings: Path, arguments: Sequence[str]) -> None:
    """Run Atheris in this process, which ends with it; exceptions are saved, and the next input follows."""
    import atheris  # here, because only the workers need it

    with atheris.instrument_imports(include=["kanjo"]):  # before any other module imports kanjo
        from tests.fuzz import targets

    signatures: set[str] = set()

    def run(content: bytes) -> None:
        try:
            targets.read_input(target, content)
        except Exception as error:
            _save_exception(target, content, error, findings, signatures)

    atheris.Setup([sys.argv[0], *arguments], run)
    atheris.Fuzz()


def _save_exception(target: str, content: bytes, error: Exception, findings: Path, signatures: set[str]) -> None:
    """Save the input of an exception; one input for each line of code that raises it."""
    frames = traceback.extract_tb(error.__traceback__)
    kanjo_frames = [frame for frame in frames if "kanjo" in frame.filename.split("site-packages")[-1]] or frames
    places = [f"{Path(frame.filename).stem}.{frame.lineno}" for frame in (kanjo_frames[-1], frames[-1])]
    signature = "-".join([type(error).__name__, *dict.fromkeys(places)])
    if signature in signatures:
        return
    signatures.add(signature)
    path = findings / f"{target}-exception-{signature}"
    path.write_bytes(content)
    path.with_name(path.name + ".traceback").write_text("".join(traceback.format_exception(error)), encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:2] == ["worker"]:
        work(sys.argv[2], Path(sys.argv[3]), sys.argv[4:])
    else:
        sys.exit(main())
