"""Runs as processes of their own: each has its cores to itself, and one that dies takes none along."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from kanjo.cli.common import say


@dataclass(frozen=True)
class Job:
    """``kanjo train recipe`` with these arguments, in a folder of its own; done when the file ``proof`` lies there."""

    name: str
    folder: Path
    recipe: Path
    arguments: tuple[str, ...] = ()
    proof: str = "scores.json"


def run_jobs(jobs: Sequence[Job], corpus_root: str | None, at_once: int, silent: bool) -> None:
    """Run each job that has no scores yet, ``at_once`` at a time (0: one for each core); those that were begun go on.

    A job that fails is tried once more, then named on stderr; the others go on. Each one's log is in its own folder.
    """
    cores = os.cpu_count() or 1
    waiting = [job for job in jobs if not (job.folder / job.proof).is_file()]
    at_once = min(at_once or cores, max(1, len(waiting)))
    threads = max(1, cores // at_once)
    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(lambda job: _tried(job, corpus_root, threads, silent), waiting))


def _tried(job: Job, corpus_root: str | None, threads: int, silent: bool) -> None:
    words = ["train", str(job.recipe), *job.arguments, "-o", str(job.folder), "--resume", "--threads", str(threads)]
    words += ["--corpus-root", corpus_root] if corpus_root else []
    exit_code, last = run_twice(words, job.name, threads, f"[{job.name}] ", silent)
    if exit_code:
        say(f"kanjo: {job.name} failed (exit {exit_code}): {last}")


def run_twice(
    words: Sequence[str],
    name: str,
    threads: int,
    prefix: str,
    silent: bool,
    environment: Mapping[str, str] | None = None,
) -> tuple[int, str]:
    """``kanjo`` with these words on ``threads`` cores, its stderr shown after ``prefix``: exit code and last line.

    One that was killed, or ran out of memory, is run once more; one that was misused, or stopped by Ctrl-C, is not.
    """
    exit_code, last = _run(words, threads, prefix, silent, environment or {})
    if exit_code not in (0, 1, 2, 130):
        say(f"kanjo: {name} died (exit {exit_code}); once more")
        exit_code, last = _run(words, threads, prefix, silent, environment or {})
    return exit_code, last


def _run(
    words: Sequence[str], threads: int, prefix: str, silent: bool, environment: Mapping[str, str]
) -> tuple[int, str]:
    command = [sys.executable, "-m", "kanjo", *words]
    known = {**os.environ, "OMP_NUM_THREADS": str(threads), **environment}
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, env=known
    )
    last = ""
    assert process.stderr is not None
    with process:
        for line in process.stderr:
            last = line.rstrip() or last
            if not silent:
                say(f"{prefix}{line.rstrip()}")
    return process.returncode, last
