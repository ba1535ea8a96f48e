"""Run folds as processes of their own: each has its cores to itself, and one that dies takes none along."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from kanjo.cli._common import say


def run_folds(folder: Path, folds: list[int], corpus_root: str | None, jobs: int, silent: bool) -> None:
    """``kanjo train`` for every fold that has no scores yet, ``jobs`` at once (0: one for each core).

    A fold that fails is named on stderr; the others go on. Each fold's log is in its own folder.
    """
    cores = os.cpu_count() or 1
    waiting = [index for index in folds if not (folder / f"fold-{index}" / "scores.json").is_file()]
    at_once = min(jobs or cores, max(1, len(waiting)))
    threads = max(1, cores // at_once)
    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(lambda index: _run(folder, index, corpus_root, threads, silent), waiting))


def _run(folder: Path, index: int, corpus_root: str | None, threads: int, silent: bool) -> None:
    command = [sys.executable, "-m", "kanjo", "train", str(folder / "recipe.yaml"), "--fold", str(index)]
    command += ["-o", str(folder / f"fold-{index}"), "--resume", "--threads", str(threads)]
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
                say(f"[fold {index}] {line.rstrip()}")
    if process.returncode:
        say(f"kanjo: fold {index} failed (exit {process.returncode}): {last}")
