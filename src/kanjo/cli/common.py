"""What several commands share: options, messages, progress bars, and the recipe argument."""

from __future__ import annotations

import _thread
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from kanjo.cli.completion import complete_model, complete_recipe
from kanjo.errors import KanjoError, requires_extra
from kanjo.file_names import escape_text

if TYPE_CHECKING:
    from kanjo.inference.recognizer import Recognizer
    from kanjo.train.config.schema import Recipe

RecipeName = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE",
        help="A built-in recipe (see 'kanjo recipes'), or a YAML or JSON file.",
        autocompletion=complete_recipe,
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a value, as training.learning_rate=1e-4; repeatable."),
]
CorpusRoot = Annotated[
    str | None,
    typer.Option("--corpus-root", metavar="DIR", envvar="KANJO_CORPORA", help="Folder that contains the corpora."),
]
Output = Annotated[
    Path | None, typer.Option("-o", "--output", metavar="DIR", help="Run folder (default: a new one below runs/).")
]
Fold = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="Fold whose speakers are the test speakers (default: the recipe's)."),
]
Silent = Annotated[bool, typer.Option("-s", "--silent", help="Print results only, no progress.")]
Threads = Annotated[int, typer.Option(min=0, metavar="N", help="CPU cores to use; 0: all.")]
Jobs = Annotated[
    int,
    typer.Option("--jobs", "-j", min=0, metavar="N", help="Processes that run at the same time; 0: one per core."),
]
Format = Annotated[str, typer.Option("--format", "-f", metavar="FORMAT", help="table or json.")]

Model = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        metavar="BUNDLE",
        help="A built-in bundle (see 'kanjo models'), a bundle folder, or a run folder.",
        autocompletion=complete_model,
    ),
]
Device = Annotated[
    str,
    typer.Option(metavar="auto|cpu|cuda", help="Where the model runs; auto: on an NVIDIA GPU if there is one."),
]
Hop = Annotated[
    float | None,
    typer.Option(metavar="SECONDS", help="Distance of windows or time steps (default: the bundle's)."),
]
LabelMap = Annotated[
    list[str] | None,
    typer.Option("--label-map", metavar="WORD=EMOTION", help="The emotion that a label stands for; repeatable."),
]
Root = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Folder of the recordings of a table or filelist; paths of another machine are looked for below it.",
        show_default=False,
    ),
]
MinConfidence = Annotated[
    float | None,
    typer.Option(metavar="0..1", help='Lower confidences get the label "unsure" (default: the bundle\'s).'),
]
Emotions = Annotated[
    str | None,
    typer.Option(
        metavar="LIST",
        help="Choose the label among these emotions only, as anger,happiness,neutral (default: all of the bundle).",
        show_default=False,
    ),
]
Speaker = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="Name of an enrolled speaker (see 'kanjo enroll'), or a profile file.", show_default=False
    ),
]

_BAR_WIDTH = 28
#: A progress bar appears after this many seconds, and is redrawn at this interval.
_BAR_DELAY_S, _BAR_INTERVAL_S = 2.0, 0.1
#: An interrupt that had no effect is repeated after this many seconds.
_REPEAT_INTERRUPT_S = 0.05


def print_message(line: str) -> None:
    """Print a line on stderr; control characters, such as a line feed in the name of a file, are escaped."""
    print(escape_text(line), file=sys.stderr, flush=True)


def print_line(line: str) -> None:
    """Print a line with names of files on stdout; control characters are escaped."""
    print(escape_text(line))


def load_on(model: str, device: str, threads: int | None = None) -> Recognizer:
    """Load a bundle, and say which device it uses if that is a GPU or was requested.

    Raises:
        KanjoError: There is no such bundle, or ONNX Runtime can't use the device.
    """
    from kanjo.inference.recognizer import load

    recognizer = load(model, threads, device)
    if device != "auto" or recognizer.device != "cpu":
        print_message(f"device: {recognizer.device}")
    return recognizer


def train_on(device: str) -> None:
    """Choose the device of training, and say which one it is if it was requested. The log of a run names it, too.

    Raises:
        KanjoError: PyTorch can't use the device.
    """
    if device == "auto":
        return  # Lightning chooses the GPU if there is one; importing PyTorch takes seconds
    with requires_extra("train", "training needs PyTorch"):
        from kanjo.train.hardware import choose_training_device
    print_message(f"device: {choose_training_device(device)}")


class ConsoleReporter:
    """Reports the progress of an experiment on stderr (see kanjo.experiments.reporter.Reporter).

    Args:
        silent: Whether only messages are shown, no log and no progress.
    """

    def __init__(self, silent: bool = False) -> None:
        self.silent = silent

    @property
    def show_training_progress(self) -> bool:
        """Whether Lightning draws its progress bar: only on a terminal."""
        return not self.silent and sys.stderr.isatty()

    @contextmanager
    def progress(self, description: str) -> Iterator[Callable[[int, int], None]]:
        """A progress bar; see :func:`progress_bar`."""
        with progress_bar(description, self.silent) as update:
            yield update

    def message(self, line: str) -> None:
        """Print a message."""
        print_message(line)

    def log(self, line: str) -> None:
        """Print a line of the log, unless silent."""
        if not self.silent:
            print_message(line)


@contextmanager
def progress_bar(description: str, silent: bool = False) -> Iterator[Callable[[int, int], None]]:
    """A callback ``(done, total)`` that draws a progress bar on a terminal's stderr after two seconds."""
    started = time.monotonic()
    last_drawn = 0.0

    def update(done: int, total: int) -> None:
        nonlocal last_drawn
        now = time.monotonic()
        if silent or not sys.stderr.isatty() or now - started < _BAR_DELAY_S:
            return
        if now - last_drawn < _BAR_INTERVAL_S and done < total:
            return
        last_drawn = now
        sys.stderr.write(f"\r{description} {_bar(done, total, now - started)} ")
        sys.stderr.flush()

    try:
        yield update
    finally:
        if last_drawn:
            sys.stderr.write("\r" + " " * 79 + "\r")
            sys.stderr.flush()


def _bar(done: int, total: int, elapsed_s: float) -> str:
    if not total:  # the total is unknown
        return str(done)
    remaining_s = elapsed_s / max(done, 1) * (total - done)
    filled = _BAR_WIDTH * done // total
    return f"[{'#' * filled}{'.' * (_BAR_WIDTH - filled)}] {done}/{total}, {remaining_s:.0f} s left"


def load_recipe(name: str, overrides: Sequence[str] | None, corpus_root: str | None, fold: int | None = None) -> Recipe:
    """Load the recipe of a command.

    Raises:
        RecipeError: The recipe does not exist or is not valid.
        KanjoError: The extra ``train`` is not installed.
    """
    try:
        from kanjo.experiments.recipes import load_fold_recipe
    except ImportError as error:
        raise KanjoError(f"this command needs the extra 'train': pip install 'kanjo[train]' ({error})") from error
    return load_fold_recipe(name, overrides, corpus_root, fold)


def check_split(recipe: Recipe, corpus_root: str | None, *, all_folds: bool = False) -> None:
    """Refuse a recipe whose corpora can't be split, before PyTorch is imported and a run folder is made.

    Args:
        recipe: The recipe.
        corpus_root: The folder of the corpora.
        all_folds: Check all folds (else: the recipe's fold).

    Raises:
        KanjoError: A corpus can't be read or split, or a fold can't be trained and scored.
    """
    from kanjo.train.data.utterances import read_manifests, split_utterances

    split_utterances(recipe, read_manifests(recipe, corpus_root), all_folds=all_folds)


def check_format(value: str, allowed: Sequence[str] = ("table", "json")) -> None:
    """Refuse a format that a command does not write."""
    if value not in allowed:
        raise typer.BadParameter(f"format {value!r}: expected {', '.join(allowed[:-1])} or {allowed[-1]}")


def format_estimate(minutes: float) -> str:
    """An estimated duration with its unit: "40 s", "3 min" or "1.5 h"."""
    if minutes < 1.5:
        return f"{max(10, round(6 * minutes) * 10)} s"
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"


@contextmanager
def resumable(folder: object) -> Iterator[None]:
    """Turn Ctrl-C into a message that names the folder to resume, and exit code 130."""
    with stoppable(f"stopped; continue with --resume -o {folder}"):
        yield


@contextmanager
def stoppable(message: str) -> Iterator[None]:
    """Turn Ctrl-C into a message and exit code 130.

    Libraries catch the KeyboardInterrupt and raise other exceptions, so the signal itself is noted, too. Python ignores
    exceptions in destructors; the interrupt is then repeated.
    """
    stopped, active = False, True

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal stopped
        stopped = True
        raise KeyboardInterrupt

    def repeat() -> None:
        if active:
            _thread.interrupt_main()

    def repeat_if_ignored(ignored: sys.UnraisableHookArgs) -> None:
        if not isinstance(ignored.exc_value, KeyboardInterrupt):
            previous_hook(ignored)
            return
        timer = threading.Timer(_REPEAT_INTERRUPT_S, repeat)
        timer.daemon = True
        timer.start()

    default = threading.current_thread() is threading.main_thread() and (
        signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
    previous_hook = sys.unraisablehook
    if default:
        signal.signal(signal.SIGINT, stop)
        sys.unraisablehook = repeat_if_ignored
    try:
        yield
    except BaseException as error:
        if not stopped and not isinstance(error, KeyboardInterrupt):
            raise
        print_message(f"kanjo: {message}")
        raise typer.Exit(130) from None
    finally:
        active = False
        if default:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            sys.unraisablehook = previous_hook
