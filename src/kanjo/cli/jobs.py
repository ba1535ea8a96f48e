"""Runs as processes of their own: each has its cores to itself, and one that dies takes none along."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from kanjo.cli._common import say


@dataclass(frozen=True)
class Job:
    """``kanjo train recipe`` with these arguments, in a folder of its own."""

    name: str
    folder: Path
    recipe: Path
    arguments: tuple[str, ...] = ()


def run_jobs(jobs: Sequence[Job], corpus_root: str | None, at_once: int, silent: bool) -> None:
    """Run each job that has no scores yet, ``at_once`` at a time (0: one for each core); those that were begun go on.

    A job that fails is tried once more, then named on stderr; the others go on. Each one's log is in its own folder.
    """
    cores = os.cpu_count() or 1
    waiting = [job for job in jobs if not (job.folder / "scores.json").is_file()]
    at_once = min(at_once or cores, max(1, len(waiting)))
    threads = max(1, cores // at_once)
    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(lambda job: _tried(job, corpus_root, threads, silent), waiting))


def _tried(job: Job, corpus_root: str | None, threads: int, silent: bool) -> None:
    exit_code, last = _run(job, corpus_root, threads, silent)
    if exit_code not in (0, 1, 2):  # killed, out of memory: worth another try, from its last epoch; a misuse is not
        say(f"kanjo: {job.name} died (exit {exit_code}); once more")
        exit_code, last = _run(job, corpus_root, threads, silent)
    if exit_code:
        say(f"kanjo: {job.name} failed (exit {exit_code}): {last}")


def _run(job: Job, corpus_root: str | None, threads: int, silent: bool) -> tuple[int, str]:
    """The command's exit code and its last word."""
    command = [sys.executable, "-m", "kanjo", "train", str(job.recipe), *job.arguments]
    command += ["-o", str(job.folder), "--resume", "--threads", str(threads)]
    if corpus_root:
        command += ["--corpus-root", corpus_root]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, env=environment
    )
    last = ""
    assert process.stderr is not None
    with process:
        for line in process.stderr:
            last = line.rstrip() or last
            if not silent:
                say(f"[{job.name}] {line.rstrip()}")
    return process.returncode, last
