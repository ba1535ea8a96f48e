"""Locks between processes."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from kanjo.locks import LockedError, hold_lock

_HOLD = "import sys, time; from pathlib import Path; from kanjo.locks import hold_lock\n" + (
    "with hold_lock(Path(sys.argv[1])):\n    print(flush=True)\n    time.sleep(60)"
)


def test_hold_lock_held_by_somebody_else_is_refused_and_the_file_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with hold_lock(path, wait=False):
        with pytest.raises(LockedError), hold_lock(path, wait=False):
            pass
        assert path.exists()
    assert not path.exists()
    with hold_lock(path, wait=False):
        pass


def test_hold_lock_of_a_killed_process_does_not_block(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with subprocess.Popen([sys.executable, "-c", _HOLD, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(LockedError), hold_lock(path, wait=False):
            pass
        process.kill()
    with hold_lock(path, wait=False):
        pass
    assert not path.exists()


def test_hold_lock_of_many_threads_lets_one_in_at_a_time(tmp_path: Path) -> None:
    n_inside, most = 0, 0

    def enter() -> None:
        nonlocal n_inside, most
        for _ in range(5):
            with hold_lock(tmp_path / "lock"):
                n_inside += 1
                most = max(most, n_inside)
                time.sleep(0.001)
                n_inside -= 1

    threads = [threading.Thread(target=enter) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1 and list(tmp_path.iterdir()) == []
