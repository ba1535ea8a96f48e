"""The command line. Results go to stdout, everything else to stderr; exit 0 done, 1 something failed, 2 misuse."""

from __future__ import annotations

import os
import sys
import traceback
from typing import Annotated

import typer

from kanjo.cli import (
    ablate,
    baseline,
    corpus,
    embed,
    enroll,
    evaluate,
    listen,
    plot,
    predict,
    report,
    serve,
    tools,
    train,
    tune,
)
from kanjo.errors import KanjoError

app = typer.Typer(
    name="kanjo",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
app.add_typer(corpus.app, name="corpus")
app.add_typer(tools.app, name="tools")
app.add_typer(plot.app, name="plot")
predict.register(app)
train.register(app)
ablate.register(app)
report.register(app)
tune.register(app)
evaluate.register(app)
serve.register(app)
listen.register(app)
baseline.register(app)
embed.register(app)
enroll.register(app)

_debug = False


def _print_version(asked: bool) -> None:
    if asked:
        import kanjo

        print(f"kanjo {kanjo.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    debug: Annotated[bool, typer.Option("--debug", help="Show the whole traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and leave.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """kanjo recognises emotion in speech.

    Try: kanjo predict clip.wav
    """
    global _debug
    _debug = debug


def main() -> None:
    """Entry point of the ``kanjo`` command."""
    try:
        app()
    except KanjoError as error:
        if _debug:
            traceback.print_exc()
        _say(f"kanjo: {error}")
        sys.exit(1)
    except BrokenPipeError:  # the reader left, as `| head` does: nothing is wrong
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        if _debug:
            traceback.print_exc()
        _say(f"kanjo: {error.filename or 'the system'}: {error.strerror or error}")
        sys.exit(1)


def _say(line: str) -> None:
    print(line, file=sys.stderr)
