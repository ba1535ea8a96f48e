"""The ``kanjo`` command, run in this process.

Importing PyTorch and Lightning takes six seconds, most of the time of a tiny training. Tests that need a separate
process (broken pipes, signals, imported modules) start one themselves.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import warnings
from pathlib import Path
from unittest import mock

from typer.testing import CliRunner

import kanjo.cli


def run_kanjo(
    *arguments: object, stdin: bytes | str = b"", cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run ``kanjo`` with these arguments.

    Returns:
        Exit code, stdout and stderr. Exceptions that the command does not handle are raised.
    """
    words = [str(argument) for argument in arguments]
    exit_code, previous_folder = 0, Path.cwd()
    with (
        CliRunner().isolation(input=stdin) as (out, err, _),
        mock.patch.dict(os.environ, environment),
        contextlib.ExitStack() as stack,
    ):
        stack.enter_context(mock.patch.object(sys, "argv", ["kanjo", *words]))
        stack.enter_context(mock.patch.object(kanjo.cli, "_debug", False))
        stack.enter_context(warnings.catch_warnings())
        if cwd is not None:
            os.chdir(cwd)
            stack.callback(os.chdir, previous_folder)
        try:
            kanjo.cli.main()
        except SystemExit as error:
            exit_code = error.code if isinstance(error.code, int) else int(error.code is not None)
        sys.stdout.flush()
        sys.stderr.flush()
        return subprocess.CompletedProcess(
            ["kanjo", *words], exit_code, out.getvalue().decode(), err.getvalue().decode()
        )
