"""``kanjo predict``: recordings in, emotions out; without a path, a dialogue."""

from __future__ import annotations

import glob
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from kanjo import audio, timeline
from kanjo.cli._common import progress, say
from kanjo.errors import AudioError, KanjoError
from kanjo.files import reason, written_whole
from kanjo.recognizer import Prediction, Recognizer, load

_STDIN = "-"


def register(app: typer.Typer) -> None:
    app.command()(predict)


def predict(
    paths: Annotated[
        list[str] | None,
        typer.Argument(help="Recordings, folders (searched through), patterns, or - for standard input.", show_default=False),
    ] = None,
    model: Annotated[
        str, typer.Option("--model", "-m", help="A bundle: a name in the box, a bundle folder, a run folder.")
    ] = "default",
    form: Annotated[
        str, typer.Option("--format", "-f", help="table, csv, json or jsonl; default: by -o's suffix, else table.")
    ] = "",
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write here instead of stdout.")] = None,
    window: Annotated[float | None, typer.Option(help="Seconds heard at once (at most the bundle's).")] = None,
    hop: Annotated[float | None, typer.Option(help="Seconds from one window to the next.")] = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=0, help="Recordings decoded at once; 0: one for each core.")] = 0,
    silent: Annotated[bool, typer.Option("-s", "--silent", help="No progress bar.")] = False,
) -> None:
    """Say which emotion is in recordings.

    A recording longer than the bundle's window is cut into windows: the answer is for each and for the whole.
    With no path, on a terminal: type one path a line; q ends.

    Example: kanjo predict talk.wav recordings/ --format json
    """
    form = _format(form, output)
    if not paths and not sys.stdin.isatty():
        raise typer.BadParameter("no recording named; give paths, or - to read one from standard input")
    recognizer = load(model)
    if not paths:
        _dialogue(recognizer, form, window, hop)
        return
    inputs = list(_expanded(paths))
    failed: list[str] = []
    with progress("predicting", silent) as show:

        def watched() -> Iterator[Prediction]:
            for done, item in enumerate(_predictions(recognizer, inputs, window, hop, jobs), 1):
                if item.error:
                    failed.append(item.file)
                show(done, len(inputs))
                yield item

        _write(form, watched(), recognizer.labels, output)
    if failed:
        say(f"kanjo: {len(failed)} of {len(inputs)} recordings failed")
        raise typer.Exit(1)


def _format(form: str, output: Path | None) -> str:
    if not form:
        suffix = output.suffix.lower().lstrip(".") if output else ""
        form = suffix if suffix in timeline.FORMATS else "table"
    if form not in timeline.FORMATS:
        raise typer.BadParameter(f"format {form!r}: expected one of {', '.join(timeline.FORMATS)}")
    return form


def _expanded(paths: Iterable[str]) -> Iterator[str | Prediction]:
    """Every recording meant; a path that means none becomes a failed prediction, so that it gets its row."""
    for word in paths:
        path = Path(word)
        if word == _STDIN:
            yield word
        elif path.is_dir():
            found = False
            try:
                next(path.iterdir(), None)
            except OSError as error:
                yield Prediction(word, "", 0.0, {}, error=f"can't read the folder: {reason(error)}")
                continue
            for recording in audio.find(path):
                found = True
                yield str(recording)
            if not found:
                yield Prediction(word, "", 0.0, {}, error="no recordings in this folder")
        elif not path.exists() and glob.has_magic(word):
            matches = sorted(match for match in glob.glob(word, recursive=True) if not Path(match).is_dir())  # noqa: PTH207
            yield from matches
            if not matches:
                yield Prediction(word, "", 0.0, {}, error="nothing matches this pattern")
        else:
            yield word


def _predictions(
    recognizer: Recognizer, inputs: list[str | Prediction], window: float | None, hop: float | None, jobs: int
) -> Iterator[Prediction]:
    """Answers in the order of the inputs."""
    files = (item for item in inputs if isinstance(item, str) and item != _STDIN)
    answers = recognizer.predict_many(files, jobs=jobs or None, window_s=window, hop_s=hop)
    for item in inputs:
        if isinstance(item, Prediction):
            yield item
        elif item == _STDIN:
            yield _from_stdin(recognizer, window, hop)
        else:
            yield next(answers)


def _from_stdin(recognizer: Recognizer, window: float | None, hop: float | None) -> Prediction:
    try:
        return recognizer.predict(sys.stdin.buffer.read(), name="<stdin>", window_s=window, hop_s=hop)
    except AudioError as error:
        return Prediction("<stdin>", "", 0.0, {}, error=str(error).removeprefix("<stdin>: "))


def _write(form: str, predictions: Iterable[Prediction], labels: tuple[str, ...], output: Path | None) -> None:
    if output is None:
        for chunk in timeline.chunks(form, predictions, labels):
            sys.stdout.write(chunk)
            sys.stdout.flush()
        return
    with written_whole(output) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        for chunk in timeline.chunks(form, predictions, labels):
            stream.write(chunk)


def _dialogue(recognizer: Recognizer, form: str, window: float | None, hop: float | None) -> None:
    say(f"{recognizer.facts.name}: {', '.join(recognizer.labels)}. One recording's path a line; q ends.")
    while True:
        try:
            word = input("path> ").strip().strip("'\"")
        except EOFError:
            return
        if word.lower() in ("q", "quit", "exit"):
            return
        if not word:
            continue
        try:
            answer = recognizer.predict(Path(word).expanduser(), window_s=window, hop_s=hop)
        except KanjoError as error:
            say(f"kanjo: {error}")
            continue
        lines = list(timeline.FORMATS[form]([answer], recognizer.labels))
        print("\n".join(lines[1:] if form == "table" else lines))
