"""The command line.

Results go to stdout, everything else to stderr. Exit codes: 0 success, 1 failure, 2 usage error.
"""

from __future__ import annotations

import atexit
import gc
import sys
import traceback
from typing import Annotated

import typer

from kanjo.cli.common import print_message
from kanjo.cli.completion import show_completion
from kanjo.cli.console import abandon_output, flush_output, prepare_console
from kanjo.cli.lazy_commands import LazyGroup
from kanjo.cli.renamed import RenamedError, check_renamed
from kanjo.errors import KanjoError

app = typer.Typer(
    name="kanjo",
    cls=LazyGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
_debug = False


def _print_version(requested: bool) -> None:
    if requested:
        import kanjo

        print(f"kanjo {kanjo.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    debug: Annotated[bool, typer.Option("--debug", help="Show the full traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
    completion: Annotated[
        str | None,
        typer.Option(
            "--show-completion",
            metavar="SHELL",
            help="Print the completion script for bash, zsh, fish or powershell, and exit.",
            callback=show_completion,
            is_eager=True,
        ),
    ] = None,
) -> None:
    """Recognize emotion in speech.

    Try: kanjo predict clip.wav
    """
    global _debug
    _debug = debug


def main() -> None:
    """Entry point of the ``kanjo`` command."""
    atexit.register(gc.freeze)  # else Python searches all objects for cycles when it ends, which takes 0.03 s
    prepare_console()
    try:
        try:
            check_renamed(sys.argv[1:])
            app()
        finally:
            flush_output()
    except RenamedError as error:
        _fail(str(error), exit_code=2)
    except KanjoError as error:
        abandon_output()
        _fail(str(error))
    except BrokenPipeError:  # the reader of stdout has exited, as `| head` does: this is no error
        abandon_output()
        sys.exit(0)
    except OSError as error:
        abandon_output()
        _fail(f"{error.filename or 'the system'}: {error.strerror or error}")


def _fail(message: str, exit_code: int = 1) -> None:
    """Print the error in one line, or its traceback with ``--debug``, and exit."""
    if _debug:
        traceback.print_exc()
    print_message(f"kanjo: {message}")
    sys.exit(exit_code)
