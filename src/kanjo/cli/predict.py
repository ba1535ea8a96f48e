"""``kanjo predict``: the emotions of recordings; without a path, an interactive prompt."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from kanjo.cli.common import (
    Device,
    Emotions,
    Hop,
    MinConfidence,
    Model,
    Root,
    Speaker,
    load_on,
    print_message,
    progress_bar,
)
from kanjo.cli.inputs import (
    STDIN,
    STDIN_NAME,
    Input,
    find_cluster_inputs,
    find_inputs,
    input_name,
    predict_inputs,
    predict_on_cluster,
)
from kanjo.cli.path_lists import read_piped_paths
from kanjo.cli.resumable import RESUMABLE_FORMATS, ResumableWriter
from kanjo.errors import KanjoError
from kanjo.file_names import encode_name
from kanjo.files import atomic_text
from kanjo.inference import adaptation as adaptation_profiles
from kanjo.inference import parquet_file, speaker_profiles, writers
from kanjo.inference.options import InferenceOptions, resolve_options
from kanjo.inference.prediction import Prediction
from kanjo.inference.recognizer import Recognizer

#: Suffixes of files that get the table for people, besides none at all.
_TABLE_SUFFIXES = ("", ".txt", ".log")

Paths = Annotated[
    list[str] | None,
    typer.Argument(
        help="Recordings, folders (with subfolders), patterns, filelists, or - (a recording on standard input).",
        show_default=False,
    ),
]
PredictionFormat = Annotated[
    str,
    typer.Option(
        "--format", "-f", help="table, csv, json, jsonl, srt, vtt or parquet (default: the suffix of -o, else table)."
    ),
]
OutputFile = Annotated[
    Path | None, typer.Option("-o", "--output", metavar="FILE", help="Output file (default: stdout).")
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Continue the csv or jsonl file of an interrupted command, given with -o.")
]
Window = Annotated[
    float | None,
    typer.Option(metavar="SECONDS", help="Length of a window, at most the bundle's (default: the bundle's)."),
]
Language = Annotated[
    str | None,
    typer.Option(
        metavar="LANGUAGE", help="Spoken language (ko, Korean, ...). One without training data causes a warning."
    ),
]
Plot = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Draw the timeline of one recording as PNG or SVG (kanjo[evaluation]).", show_default=False
    ),
]
DecodeJobs = Annotated[
    int, typer.Option("--jobs", "-j", min=0, help="Recordings decoded at the same time; 0: one per core.")
]
Engine = Annotated[
    str, typer.Option(help="local, or ray: a cluster; paths may be URLs such as s3://... (kanjo[cluster]).")
]
Address = Annotated[
    str,
    typer.Option(envvar="RAY_ADDRESS", help="Address of the Ray cluster (default: this machine).", show_default=False),
]
Adapt = Annotated[
    bool, typer.Option("--adapt", help="Adapt to these recordings: at least 20, all of one source, without labels.")
]
Adaptation = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Use an adaptation profile that --save-adaptation wrote.")
]
SaveAdaptation = Annotated[
    Path | None, typer.Option(metavar="FILE", help="With --adapt: write the adaptation profile into this .json file.")
]
NoProgress = Annotated[bool, typer.Option("-s", "--silent", help="No progress bar.")]


def predict(
    paths: Paths = None,
    model: Model = "default",
    form: PredictionFormat = "",
    output: OutputFile = None,
    resume: Resume = False,
    window: Window = None,
    hop: Hop = None,
    min_confidence: MinConfidence = None,
    language: Language = None,
    speaker: Speaker = None,
    emotions: Emotions = None,
    adapt: Adapt = False,
    adaptation: Adaptation = None,
    save_adaptation: SaveAdaptation = None,
    plot: Plot = None,
    root: Root = None,
    jobs: DecodeJobs = 0,
    engine: Engine = "local",
    address: Address = "",
    silent: NoProgress = False,
    device: Device = "auto",
) -> None:
    """Predict the emotions of recordings.

    A recording with several segments of speech, or changes of emotion, gets a timeline: segments with one emotion
    each. Without a path, the command reads one path per line from standard input; on a terminal it asks for them, and q
    quits.

    Example: kanjo predict talk.wav recordings/ --format json
    """
    form = _resolve_format(form, output)
    _check_usage(form, output, resume, engine)
    _check_adaptation(adapt, adaptation, save_adaptation, speaker, engine)
    paths = paths or ([] if sys.stdin is not None and sys.stdin.isatty() else read_piped_paths())
    profile = speaker_profiles.read_profile(speaker) if speaker else None
    options = InferenceOptions(window, hop, min_confidence, language, profile, emotions, _read_adaptation(adaptation))
    recognizer = load_on(model, device)
    labels = resolve_options(options, recognizer.metadata).emotions  # fails before a file is opened
    if not paths and (adapt or form == parquet_file.PARQUET):
        raise typer.BadParameter(f"{'--adapt' if adapt else 'parquet'} needs the paths of the recordings")
    if not paths:
        _prompt(recognizer, form, options, labels)
        return
    inputs = find_inputs(paths, root) if engine == "local" else find_cluster_inputs(paths)
    _check_count(inputs, form, plot)
    if adapt:
        options = replace(options, adaptation=_adapt(recognizer, inputs, options, jobs, silent, save_adaptation))
    writer = None
    if output and form in RESUMABLE_FORMATS:
        writer = ResumableWriter(output, form, labels, resume)
        inputs = _skip_finished(inputs, writer)
    if engine == "local":
        predictions = predict_inputs(recognizer, inputs, options, jobs)
    else:
        predictions = predict_on_cluster(inputs, model, options, address, jobs)
    with progress_bar("predicting", silent) as progress:
        failed: list[str] = []
        _write(form, _watch(predictions, len(inputs), plot, progress, failed), labels, output, writer)
    _report_failed(failed, len(inputs), writer)


def _check_count(inputs: list[Input], form: str, plot: Path | None) -> None:
    """Refuse several recordings where only one is possible."""
    if len(inputs) != 1 and (plot or form in writers.SUBTITLE_FORMATS):
        raise typer.BadParameter(f"{len(inputs)} recordings; {'--plot' if plot else form} needs exactly one")


def _check_adaptation(
    adapt: bool, adaptation: Path | None, save_adaptation: Path | None, speaker: str | None, engine: str
) -> None:
    """Refuse options of the adaptation that can't be combined."""
    if adapt and adaptation is not None:
        raise typer.BadParameter("--adapt makes a new profile; leave out --adaptation")
    if speaker and (adapt or adaptation is not None):
        raise typer.BadParameter("an adaptation can't be combined with --speaker; give one of them")
    if save_adaptation is not None and not adapt:
        raise typer.BadParameter("--save-adaptation writes the profile of --adapt; give both")
    if save_adaptation is not None and save_adaptation.suffix != ".json":
        raise typer.BadParameter(f"{save_adaptation}: expected a name that ends in .json")
    if adapt and engine != "local":
        raise typer.BadParameter("--adapt runs on this machine; make a profile here and give it with --adaptation")


def _read_adaptation(path: Path | None) -> adaptation_profiles.AdaptationProfile | None:
    return None if path is None else adaptation_profiles.read_adaptation(path)


def _adapt(
    recognizer: Recognizer, inputs: list[Input], options: InferenceOptions, jobs: int, silent: bool, path: Path | None
) -> adaptation_profiles.AdaptationProfile:
    """Make the adaptation profile of the recordings, say what it does, and write it if a path is given."""
    recordings = [item for item in inputs if isinstance(item, str) and item != STDIN]
    chosen: list[Input] = [*adaptation_profiles.choose_clips(recordings)]
    labels = resolve_options(options, recognizer.metadata).emotions
    with progress_bar("adapting", silent) as progress:
        predictions = []
        for prediction in predict_inputs(recognizer, chosen, options, jobs):
            predictions.append(prediction)
            progress(len(predictions), len(chosen))
    profile = adaptation_profiles.build_adaptation(recognizer.metadata, predictions, labels)
    print_message(f"kanjo: {adaptation_profiles.describe(profile)}")
    if path is not None:
        adaptation_profiles.write_adaptation(profile, path)
        print_message(f"kanjo: adaptation profile written to {path}")
    return profile


def _refuse_failed(predictions: Iterable[Prediction]) -> list[Prediction]:
    """Predict before a file is opened: subtitles can't contain the error of a recording."""
    complete = list(predictions)
    for prediction in complete:
        if prediction.error:
            raise KanjoError(f"{encode_name(prediction.file)}: {prediction.error}")
    return complete


def _report_failed(failed: list[str], n_inputs: int, writer: ResumableWriter | None) -> None:
    """End with exit code 1 if recordings failed, or if the file still has errors of recordings that failed earlier."""
    if failed:
        print_message(f"kanjo: {len(failed)} of {n_inputs} recordings failed")
    earlier = sorted(writer.failed_files.difference(map(encode_name, failed))) if writer else []
    if writer and earlier:
        print_message(
            f"kanjo: {writer.output} still has the error of {_count(len(earlier))} not among these: {earlier[0]}"
            f"{', ...' if len(earlier) > 1 else ''}; name it to predict it again, or remove its row"
        )
    if failed or earlier:
        raise typer.Exit(1)


def _count(n: int) -> str:
    return "1 recording that is" if n == 1 else f"{n} recordings that are"


def _check_usage(form: str, output: Path | None, resume: bool, engine: str) -> None:
    """Refuse arguments that can't be combined, and a format without its package."""
    if form == parquet_file.PARQUET:
        parquet_file.require_pyarrow()
    if resume and (output is None or form not in RESUMABLE_FORMATS):
        raise typer.BadParameter("--resume continues a csv or jsonl file; give it with -o")
    if engine not in ("local", "ray"):
        raise typer.BadParameter(f"engine {engine!r}: expected local or ray")


def _resolve_format(form: str, output: Path | None) -> str:
    """The output format: as requested, else by the suffix of the output file, else a table."""
    formats = [*writers.FORMATS, parquet_file.PARQUET]
    if not form:
        suffix = output.suffix.lower() if output else ""
        form = "table" if suffix in _TABLE_SUFFIXES else suffix.lstrip(".")
        if form not in formats:
            endings = ", ".join(f".{name}" for name in formats if name != "table")
            raise typer.BadParameter(
                f"{output}: kanjo does not write {suffix} files; expected a name that ends in {endings} or .txt, "
                "or give --format"
            )
    if form not in formats:
        raise typer.BadParameter(f"format {form!r}: expected one of {', '.join(formats)}")
    if form == parquet_file.PARQUET and output is None:
        raise typer.BadParameter("parquet is not text; give a file with -o")
    return form


def _skip_finished(inputs: list[Input], writer: ResumableWriter) -> list[Input]:
    """The inputs without rows in the output file."""
    remaining = [item for item in inputs if encode_name(input_name(item)) not in writer.finished_files]
    if len(remaining) < len(inputs):
        print_message(f"{len(inputs) - len(remaining)} of {len(inputs)} recordings are finished already")
    return remaining


def _watch(
    predictions: Iterable[Prediction],
    n: int,
    plot: Path | None,
    progress: Callable[[int, int], None],
    failed: list[str],
) -> Iterator[Prediction]:
    """Pass predictions on; update the progress bar, collect failed recordings, and draw timelines."""
    for done, prediction in enumerate(predictions, 1):
        if prediction.error:
            failed.append(prediction.file)
        elif plot:
            _draw_timeline(prediction, plot)
        progress(done, n)
        yield prediction


def _draw_timeline(prediction: Prediction, path: Path) -> None:
    from kanjo.evaluation.reports.rendering import save_figure
    from kanjo.evaluation.reports.signal_plots import plot_timeline

    if prediction.file == STDIN_NAME:
        raise KanjoError("--plot reads the recording a second time: give a file instead of -")
    save_figure(plot_timeline(prediction, Path(prediction.file)), path)


def _write(
    form: str,
    predictions: Iterable[Prediction],
    labels: tuple[str, ...],
    output: Path | None,
    writer: ResumableWriter | None,
) -> None:
    if form in writers.SUBTITLE_FORMATS:
        predictions = _refuse_failed(predictions)
    if writer:
        writer.write_all(predictions)
        return
    if output is None:
        for chunk in writers.render(form, predictions, labels):
            sys.stdout.write(chunk)
            sys.stdout.flush()
        return
    if form == parquet_file.PARQUET:
        parquet_file.write_parquet(output, predictions, labels)
        return
    with atomic_text(output) as stream:
        for chunk in writers.render(form, predictions, labels):
            stream.write(chunk)


def _prompt(recognizer: Recognizer, form: str, options: InferenceOptions, labels: tuple[str, ...]) -> None:
    """Ask for paths on the terminal, and print the prediction of each."""
    print_message(f"{recognizer.metadata.name}: {', '.join(labels)}. One path per line; q quits.")
    while True:
        try:
            line = input("path> ").strip().strip("'\"")
        except EOFError:
            return
        if line.lower() in ("q", "quit", "exit"):
            return
        if not line:
            continue
        try:
            prediction = recognizer.predict(_expand_home(line), **options.as_keywords())
        except KanjoError as error:
            print_message(f"kanjo: {error}")
            continue
        lines = list(writers.FORMATS[form]([prediction], labels))
        print("\n".join(lines[1:] if form == "table" else lines))


def _expand_home(path: str) -> Path:
    """Replace "~" by the home folder, if the user has one."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)
