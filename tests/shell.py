"""``kanjo`` as it is typed, run in this process: importing torch and Lightning anew takes six seconds a command, which is most of what a tiny training takes.

What needs a process of its own (pipes that break, signals, what is imported) starts one itself.
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


def typed(
    *words: object, stdin: bytes | str = b"", cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """``kanjo`` with these words: its exit status, stdout and stderr. What it raises but doesn't say is raised here."""
    said = [str(word) for word in words]
    code, before = 0, Path.cwd()
    with (
        CliRunner().isolation(input=stdin) as (out, err, _),
        mock.patch.dict(os.environ, environment),
        contextlib.ExitStack() as stack,
    ):
        stack.enter_context(mock.patch.object(sys, "argv", ["kanjo", *said]))
        stack.enter_context(mock.patch.object(kanjo.cli, "_debug", False))
        stack.enter_context(warnings.catch_warnings())
        if cwd is not None:
            os.chdir(cwd)
            stack.callback(os.chdir, before)
        try:
            kanjo.cli.main()
        except SystemExit as leaving:
            code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
        sys.stdout.flush(), sys.stderr.flush()
        return subprocess.CompletedProcess(["kanjo", *said], code, out.getvalue().decode(), err.getvalue().decode())
