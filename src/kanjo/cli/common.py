"""What several verbs share: options, the progress bar, and saying something on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

RecipeName = Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe in the box, or a YAML or JSON file.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="KEY=VALUE, such as training.learning_rate=1e-4; may be repeated.")
]
CorpusRoot = Annotated[
    str | None,
    typer.Option("--corpus-root", envvar="KANJO_CORPORA", help="The folder that holds the corpora."),
]
Run = Annotated[Path | None, typer.Option("-o", "--output", help="The run folder (default: a new one under runs/).")]
Silent = Annotated[bool, typer.Option("-s", "--silent", help="No progress, results only.")]
Threads = Annotated[int, typer.Option(min=0, help="Cores to use; 0: all.")]
Jobs = Annotated[int, typer.Option("--jobs", "-j", min=0, help="How many at once; 0: one for each core.")]

Model = Annotated[
    str, typer.Option("--model", "-m", help="A bundle: a name in the box, a bundle folder, a run folder.")
]
Hop = Annotated[float | None, typer.Option(help="Seconds from one window to the next (default: the bundle's).")]
MinConfidence = Annotated[
    float | None, typer.Option(help='Below this the answer is "unsure", 0 to 1 (default: the bundle\'s).')
]
Speaker = Annotated[
    str | None,
    typer.Option(help="Who speaks: a name that 'kanjo enroll' was given, or a profile's file.", show_default=False),
]

_WIDTH = 28


def say(line: str) -> None:
    """A line on stderr."""
    print(line, file=sys.stderr, flush=True)


@contextmanager
def progress(what: str, silent: bool = False) -> Iterator[Callable[[int, int], None]]:
    """A ``(done, total)`` callback that draws a bar on stderr once two seconds have passed; only on a terminal."""
    started = time.monotonic()
    drawn = 0.0

    def show(done: int, total: int) -> None:
        nonlocal drawn
        now = time.monotonic()
        if silent or not sys.stderr.isatty() or now - started < 2 or (now - drawn < 0.1 and done < total):
            return
        drawn = now
        if not total:  # nobody knows how much there is
            sys.stderr.write(f"\r{what} {done} ")
            sys.stderr.flush()
            return
        left = (now - started) / max(done, 1) * (total - done)
        filled = _WIDTH * done // max(total, 1)
        bar = "#" * filled + "." * (_WIDTH - filled)
        sys.stderr.write(f"\r{what} [{bar}] {done}/{total}, {left:.0f} s left ")
        sys.stderr.flush()

    try:
        yield show
    finally:
        if drawn:
            sys.stderr.write("\r" + " " * 79 + "\r")
            sys.stderr.flush()
