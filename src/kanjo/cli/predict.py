"""``kanjo predict``: recordings in, emotions out; without a path, a dialogue."""

from __future__ import annotations

import glob
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from kanjo import audio
from kanjo.cli.common import Hop, MinConfidence, Model, Speaker, progress, say
from kanjo.cli.rows import RESUMABLE, Rows
from kanjo.errors import AudioError, KanjoError
from kanjo.files import reason, written_whole
from kanjo.inference import speaker_profiles, writers
from kanjo.inference.prediction import Prediction, failed
from kanjo.inference.recognizer import Recognizer, load
from kanjo.inference.speaker_profiles import Profile

_STDIN = "-"


class How(NamedTuple):
    """How recordings are to be heard, as ``Recognizer.predict`` takes it."""

    window_s: float | None = None
    hop_s: float | None = None
    min_confidence: float | None = None
    language: str | None = None
    speaker: Profile | None = None


def register(app: typer.Typer) -> None:
    app.command()(predict)


def predict(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            help="Recordings, folders (searched through), patterns, or - for standard input.", show_default=False
        ),
    ] = None,
    model: Model = "default",
    form: Annotated[
        str,
        typer.Option(
            "--format", "-f", help="table, csv, json, jsonl, srt or vtt; default: by -o's suffix, else table."
        ),
    ] = "",
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write here instead of stdout.")] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Go on with -o (csv, jsonl) where a stopped run left it; what has its rows stays."
        ),
    ] = False,
    window: Annotated[float | None, typer.Option(help="Seconds heard at once (at most the bundle's).")] = None,
    hop: Hop = None,
    min_confidence: MinConfidence = None,
    language: Annotated[
        str | None, typer.Option(help="What is spoken (ko, pl, ...): one that the bundle never heard is warned of.")
    ] = None,
    speaker: Speaker = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw one recording's timeline: PNG or SVG (kanjo[train]).", show_default=False)
    ] = None,
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", min=0, help="Recordings decoded at once; 0: one for each core.")
    ] = 0,
    engine: Annotated[
        str, typer.Option(help="local, or ray: many machines; paths may be s3:// and the like (kanjo[cluster]).")
    ] = "local",
    address: Annotated[
        str,
        typer.Option(
            envvar="RAY_ADDRESS", help="With ray: the cluster's address (default: this machine).", show_default=False
        ),
    ] = "",
    silent: Annotated[bool, typer.Option("-s", "--silent", help="No progress bar.")] = False,
) -> None:
    """Say which emotion is in recordings.

    A recording longer than the bundle's window is cut into windows, and gets a timeline: which emotion from when to when.
    With no path, on a terminal: type one path a line; q ends.

    Example: kanjo predict talk.wav recordings/ --format json
    """
    form = _format(form, output)
    if not paths and not sys.stdin.isatty():
        raise typer.BadParameter("no recording named; give paths, or - to read one from standard input")
    if resume and (output is None or form not in RESUMABLE):
        raise typer.BadParameter("--resume goes on with a file of csv or jsonl: name it with -o")
    how = How(window, hop, min_confidence, language, speaker_profiles.read(speaker) if speaker else None)
    recognizer = load(model)
    recognizer.manner(*how)  # what the bundle can't do is said before anything is opened
    if not paths:
        _dialogue(recognizer, form, how)
        return
    if engine not in ("local", "ray"):
        raise typer.BadParameter(f"engine {engine!r}: expected local or ray")
    inputs = list(expanded(paths)) if engine == "local" else _listed(paths)
    if len(inputs) != 1 and (plot or form in writers.SUBTITLES):
        raise typer.BadParameter(
            f"{len(inputs)} recordings: {'--plot draws' if plot else form + ' holds'} one; name one"
        )
    rows = Rows(output, form, recognizer.labels, resume) if output and form in RESUMABLE else None
    if rows and rows.done:
        everything, inputs = len(inputs), [item for item in inputs if _name(item) not in rows.done]
        say(f"{everything - len(inputs)} of {everything} are answered already")
    answers = (
        predictions(recognizer, inputs, how, jobs)
        if engine == "local"
        else _shared_out(inputs, model, how, address, jobs)
    )
    bad: list[str] = []
    with progress("predicting", silent) as show:
        shown = _shown(answers, len(inputs), plot, show, bad)
        rows.write(shown) if rows else _write(form, shown, recognizer.labels, output)
    if bad:
        say(f"kanjo: {len(bad)} of {len(inputs)} recordings failed")
        raise typer.Exit(1)


def _shown(
    answers: Iterable[Prediction], n: int, plot: Path | None, show: Callable[[int, int], None], bad: list[str]
) -> Iterator[Prediction]:
    """The answers, with their progress; what failed is added to ``bad``, what worked is drawn where that is asked for."""
    for done, item in enumerate(answers, 1):
        if item.error:
            bad.append(item.file)
        elif plot:
            _draw(item, plot)
        show(done, n)
        yield item


def _listed(paths: Iterable[str]) -> list[str | Prediction]:
    from kanjo.inference import ray_inference

    found: list[str | Prediction] = []
    for word in paths:
        try:
            found += ray_inference.listed(word) or [failed(word, "no recordings in this folder")]
        except KanjoError as error:
            found.append(failed(word, str(error).removeprefix(f"{word}: ")))
    return found


def _shared_out(inputs: list[str | Prediction], model: str, how: How, address: str, jobs: int) -> Iterator[Prediction]:
    """Answers over a Ray cluster, in whatever order they come."""
    from kanjo.inference import ray_inference

    yield from (item for item in inputs if isinstance(item, Prediction))
    if names := [item for item in inputs if isinstance(item, str)]:
        yield from ray_inference.predict(names, model, how._asdict(), address, jobs)


def _format(form: str, output: Path | None) -> str:
    if not form:
        suffix = output.suffix.lower().lstrip(".") if output else ""
        form = suffix if suffix in writers.FORMATS else "table"
    if form not in writers.FORMATS:
        raise typer.BadParameter(f"format {form!r}: expected one of {', '.join(writers.FORMATS)}")
    return form


def expanded(paths: Iterable[str]) -> Iterator[str | Prediction]:
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
                yield failed(word, f"can't read the folder: {reason(error)}")
                continue
            for recording in audio.find(path):
                found = True
                yield str(recording)
            if not found:
                yield failed(word, "no recordings in this folder")
        elif not path.exists() and glob.has_magic(word):
            matches = sorted(match for match in glob.glob(word, recursive=True) if not Path(match).is_dir())  # noqa: PTH207
            yield from matches
            if not matches:
                yield failed(word, "nothing matches this pattern")
        else:
            yield word


def _name(item: str | Prediction) -> str:
    return item if isinstance(item, str) else item.file


def predictions(recognizer: Recognizer, inputs: list[str | Prediction], how: How, jobs: int) -> Iterator[Prediction]:
    """Answers in the order of the inputs: to paths, to "-" (standard input), and what has failed already as it is."""
    files = (item for item in inputs if isinstance(item, str) and item != _STDIN)
    answers = recognizer.predict_many(files, jobs=jobs or None, **how._asdict())
    for item in inputs:
        if isinstance(item, Prediction):
            yield item
        elif item == _STDIN:
            yield _from_stdin(recognizer, how)
        else:
            yield next(answers)


def _from_stdin(recognizer: Recognizer, how: How) -> Prediction:
    try:
        return recognizer.predict(sys.stdin.buffer.read(), name="<stdin>", **how._asdict())
    except AudioError as error:
        return failed("<stdin>", str(error).removeprefix("<stdin>: "))


def _draw(item: Prediction, place: Path) -> None:
    from kanjo.evaluation.reports import figures

    if item.file == "<stdin>":
        raise KanjoError("--plot reads the recording a second time: name a file, not -")
    figures.save(figures.timeline(item, Path(item.file)), place)


def _write(form: str, predictions: Iterable[Prediction], labels: tuple[str, ...], output: Path | None) -> None:
    if output is None:
        for chunk in writers.chunks(form, predictions, labels):
            sys.stdout.write(chunk)
            sys.stdout.flush()
        return
    with written_whole(output) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        for chunk in writers.chunks(form, predictions, labels):
            stream.write(chunk)


def _dialogue(recognizer: Recognizer, form: str, how: How) -> None:
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
            answer = recognizer.predict(Path(word).expanduser(), **how._asdict())
        except KanjoError as error:
            say(f"kanjo: {error}")
            continue
        lines = list(writers.FORMATS[form]([answer], recognizer.labels))
        print("\n".join(lines[1:] if form == "table" else lines))
