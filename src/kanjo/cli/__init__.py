"""The command line.

Results go to stdout, everything else to stderr. Exit codes: 0 success, 1 failure, 2 usage error.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from typing import Annotated

import typer

from kanjo.cli import (
    ablate,
    baseline,
    benchmark,
    compare,
    corpus,
    embed,
    enroll,
    evaluate,
    finetune,
    info,
    listen,
    plot,
    predict,
    serve,
    tools,
    train,
    tune,
)
from kanjo.cli.common import print_message
from kanjo.cli.console import abandon_output, flush_output, prepare_console
from kanjo.cli.help_groups import CORPORA, PREDICT, TOOLS, TRAIN, GroupedCommands
from kanjo.cli.renamed import RenamedError, check_renamed
from kanjo.errors import KanjoError

app = typer.Typer(
    name="kanjo",
    cls=GroupedCommands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
_PREDICT_COMMANDS: tuple[Callable[..., None], ...] = (
    predict.predict,
    listen.listen,
    embed.embed,
    enroll.enroll,
    serve.serve,
)
_TRAIN_COMMANDS: tuple[Callable[..., None], ...] = (
    finetune.finetune,
    train.train,
    train.crossval,
    compare.compare,
    compare.report,
    ablate.ablate,
    tune.tune,
    evaluate.evaluate,
    benchmark.benchmark,
    evaluate.export,
    baseline.baseline,
)
for command in _PREDICT_COMMANDS:
    app.command(rich_help_panel=PREDICT)(command)
for command in _TRAIN_COMMANDS:
    app.command(rich_help_panel=TRAIN)(command)
app.add_typer(corpus.app, name="corpus", rich_help_panel=CORPORA)
app.add_typer(tools.app, name="tools", rich_help_panel=TOOLS)
app.add_typer(plot.app, name="plot", rich_help_panel=TOOLS)
app.command(rich_help_panel=TOOLS)(info.info)

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
) -> None:
    """Recognize emotion in speech.

    Try: kanjo predict clip.wav
    """
    global _debug
    _debug = debug


def main() -> None:
    """Entry point of the ``kanjo`` command."""
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
