"""The log of a run."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from kanjo.errors import KanjoError
from kanjo.experiments.reporter import NullReporter, run_log

_log = logging.getLogger("kanjo")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_run_log_on_a_full_disk_ends_the_run_in_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "log.txt").symlink_to("/dev/full")
    with (
        pytest.raises(KanjoError, match=r"can't write .*log\.txt: the disk is full; free some space"),
        run_log(tmp_path / "log.txt", NullReporter()),
    ):
        _log.info("a line")
    assert capfd.readouterr().err == ""


def test_run_log_writes_all_lines_and_shows_those_that_are_not_debugging(tmp_path: Path) -> None:
    with run_log(tmp_path / "a" / "log.txt", NullReporter()):
        _log.debug("first")
        _log.info("second")
    lines = (tmp_path / "a" / "log.txt").read_text(encoding="utf-8").splitlines()
    assert [line.split(" ", 2)[2] for line in lines] == ["first", "second"]
