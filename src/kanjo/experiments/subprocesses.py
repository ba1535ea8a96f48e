"""Trainings in subprocesses: each uses its own cores, and one that fails does not stop the others."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from kanjo.experiments.reporter import Reporter
    from kanjo.experiments.run_folder import RunFolder

#: Set for a subprocess that ends when its standard input is closed.
_ENDS_WITH_STDIN = "KANJO_ENDS_WITH_STDIN"
#: Exit codes after which a process is not started again: success, failure, usage error, Ctrl-C.
_FINAL_EXIT_CODES = (0, 1, 2, 130)


@dataclass(frozen=True)
class TrainingJob:
    """One ``kanjo train`` in a subprocess.

    Attributes:
        name: How messages call the job.
        folder: The run folder.
        recipe: The file of the recipe.
        result: The file that the job writes last. A job with this file is finished.
        arguments: Further arguments of ``kanjo train``.
    """

    name: str
    folder: RunFolder
    recipe: Path
    result: Path
    arguments: tuple[str, ...] = ()

    @property
    def finished(self) -> bool:
        """Whether the job has been completed."""
        return self.result.is_file()


def run_jobs(jobs: Sequence[TrainingJob], corpus_root: str | None, n_parallel: int, reporter: Reporter) -> None:
    """Run the jobs that are not finished; interrupted jobs resume.

    A job that was killed is started once more. A job that fails is reported, and the others continue.

    Args:
        jobs: The jobs.
        corpus_root: The folder of the corpora.
        n_parallel: Jobs that run at the same time; 0: one per core. They share the cores equally.
        reporter: Receives the log lines and the failures.
    """
    n_cores = os.cpu_count() or 1
    unfinished = [job for job in jobs if not job.finished]
    n_parallel = min(n_parallel or n_cores, max(1, len(unfinished)))
    threads = max(1, n_cores // n_parallel)
    with ThreadPoolExecutor(n_parallel) as pool:
        list(pool.map(lambda job: _run_job(job, corpus_root, threads, reporter), unfinished))


def _run_job(job: TrainingJob, corpus_root: str | None, threads: int, reporter: Reporter) -> None:
    arguments = ["train", str(job.recipe), *job.arguments, "-o", str(job.folder), "--resume", "--threads", str(threads)]
    arguments += ["--corpus-root", corpus_root] if corpus_root else []
    exit_code, last_line = run_with_retry(arguments, job.name, threads, reporter, prefix=f"[{job.name}] ")
    if exit_code:
        reporter.message(f"kanjo: {job.name} failed (exit code {exit_code}): {last_line}")


def run_with_retry(
    arguments: Sequence[str],
    name: str,
    threads: int,
    reporter: Reporter,
    *,
    prefix: str = "",
    environment: Mapping[str, str] | None = None,
) -> tuple[int, str]:
    """Run ``kanjo`` with these arguments in a subprocess, and once more if it is killed or runs out of memory.

    Args:
        arguments: The arguments of ``kanjo``.
        name: How messages call the process.
        threads: Cores that the process uses.
        reporter: Receives the lines of its stderr.
        prefix: Put before each of these lines.
        environment: Further environment variables.

    Returns:
        The exit code and the last line of stderr.
    """
    exit_code, last_line = _run(arguments, threads, reporter, prefix, environment or {})
    if exit_code not in _FINAL_EXIT_CODES:
        reporter.message(f"kanjo: {name} died (exit code {exit_code}); starting it once more")
        exit_code, last_line = _run(arguments, threads, reporter, prefix, environment or {})
    return exit_code, last_line


def _run(
    arguments: Sequence[str], threads: int, reporter: Reporter, prefix: str, environment: Mapping[str, str]
) -> tuple[int, str]:
    """Run ``kanjo`` once; report the lines of its stderr."""
    last_line = ""
    with subprocess.Popen(
        [sys.executable, "-m", "kanjo", *arguments],
        stdin=subprocess.PIPE,  # closed when this process ends; see exit_with_parent
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": str(threads), _ENDS_WITH_STDIN: "1", **environment},
    ) as process:
        for line in process.stderr or ():
            last_line = line.rstrip() or last_line
            reporter.log(f"{prefix}{line.rstrip()}")
    return process.returncode, last_line


def exit_with_parent() -> None:
    """Let this process end when the process that started it was killed, so that it does not keep the run folder.

    The standard input of a process that :func:`run_with_retry` started is a pipe, whose other end is closed then.
    """
    if os.environ.pop(_ENDS_WITH_STDIN, ""):

        def wait() -> None:
            while os.read(0, 1):  # not sys.stdin, whose lock would be held when Python ends
                pass
            os._exit(1)

        threading.Thread(target=wait, daemon=True).start()
