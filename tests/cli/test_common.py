"""Ctrl-C and estimated durations."""

from __future__ import annotations

import signal
import sys
import time

import pytest
import typer

from kanjo.cli.common import format_estimate, resumable, stoppable


@pytest.mark.parametrize("converted", [KeyboardInterrupt, SystemExit, RuntimeError])
def test_resumable_after_ctrl_c_names_the_folder(
    converted: type[BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as stop, resumable("runs/a"):
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt as error:  # libraries turn it into their own exceptions
            raise converted from error
    assert stop.value.exit_code == 130
    assert capsys.readouterr().err == "kanjo: stopped; continue with --resume -o runs/a\n"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


class _InterruptedDestructor:
    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


def test_stoppable_after_ctrl_c_in_a_destructor_stops(capsys: pytest.CaptureFixture[str]) -> None:
    hook = sys.unraisablehook
    with pytest.raises(typer.Exit), stoppable("stopped"):
        _InterruptedDestructor()
        for _ in range(500):
            time.sleep(0.01)
    assert capsys.readouterr().err == "kanjo: stopped\n"
    assert sys.unraisablehook is hook


def test_stoppable_without_ctrl_c_raises_the_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError, match="no memory"), stoppable("stopped"):
        raise RuntimeError("no memory")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("minutes", "text"),
    [(0.01, "10 s"), (0.7, "40 s"), (1.4, "80 s"), (1.6, "2 min"), (3.2, "3 min"), (89.4, "89 min"), (150, "2.5 h")],
)
def test_format_estimate_uses_the_unit_that_fits(minutes: float, text: str) -> None:
    assert format_estimate(minutes) == text
