"""``kanjo predict``: the emotions of recordings; without a path, an interactive prompt."""

from __future__ import annotations

import sys
import time
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
    Input,
    find_cluster_inputs,
    find_inputs,
    input_name,
    predict_inputs,
    predict_on_cluster,
)
from kanjo.cli.path_lists import read_piped_paths
from kanjo.cli.prediction_output import TABLE, PredictionOutput, resolve_format
from kanjo.cli.prediction_table import PredictionTable
from kanjo.cli.resumable import RESUMABLE_FORMATS, ResumableWriter
from kanjo.cli.terminal import detect_terminal
from kanjo.errors import KanjoError
from kanjo.file_names import encode_name
from kanjo.inference import adaptation as adaptation_profiles
from kanjo.inference import parquet_file, speaker_profiles, writers
from kanjo.inference.options import InferenceOptions, resolve_options
from kanjo.inference.prediction import Prediction
from kanjo.inference.recognizer import Recognizer

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
        "--format",
        "-f",
        metavar="FORMAT",
        help="table, csv, json, jsonl, srt, vtt or parquet (default: the suffix of -o, else table).",
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
        metavar="FILE", help="Draw the timeline of one recording as PNG or SVG (kanjo[plot]).", show_default=False
    ),
]
DecodeJobs = Annotated[
    int, typer.Option("--jobs", "-j", min=0, metavar="N", help="Recordings decoded at the same time; 0: one per core.")
]
Engine = Annotated[
    str,
    typer.Option(
        metavar="ENGINE", help="local, or ray: a cluster; paths may be URLs such as s3://... (kanjo[cluster])."
    ),
]
Address = Annotated[
    str,
    typer.Option(
        metavar="ADDRESS",
        envvar="RAY_ADDRESS",
        help="Address of the Ray cluster (default: this machine).",
        show_default=False,
    ),
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
Verbose = Annotated[
    bool,
    typer.Option("-v", "--verbose", help="Table with all probabilities, segments and warnings; durations on stderr."),
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
    verbose: Verbose = False,
    silent: NoProgress = False,
    device: Device = "auto",
) -> None:
    """Predict the emotions of recordings.

    A recording with several segments of speech, or changes of emotion, gets a timeline with one block per time step; a
    single recording, or -v, also lists the segments. "!" marks recordings with warnings, which follow at the end.
    Without a path, the command reads one path per line from standard input; on a terminal it asks for them, and q
    quits.

    Example: kanjo predict talk.wav recordings/ --format json
    """
    form = resolve_format(form, output)
    _check_usage(form, output, resume, engine, plot)
    _check_adaptation(adapt, adaptation, save_adaptation, speaker, engine)
    paths = paths or ([] if sys.stdin is not None and sys.stdin.isatty() else read_piped_paths())
    profile = speaker_profiles.read_profile(speaker) if speaker else None
    options = InferenceOptions(window, hop, min_confidence, language, profile, emotions, _read_adaptation(adaptation))
    started = time.monotonic()
    recognizer = load_on(model, device)
    load_s = time.monotonic() - started
    labels = resolve_options(options, recognizer.metadata).emotions  # fails before a file is opened
    if not paths:
        _prompt(recognizer, form, options, labels, adapt)
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
    results = PredictionOutput(form, labels, [input_name(item) for item in inputs], output, verbose)
    _write(results, predictions, plot, writer, silent, load_s)


class _Totals:
    """What a command processed.

    Attributes:
        n_recordings: Recordings with a prediction.
        duration_s: Their duration in seconds.
        failed: The other recordings.
    """

    def __init__(self) -> None:
        self.n_recordings, self.duration_s = 0, 0.0
        self.failed: list[str] = []

    def describe(self, load_s: float, predict_s: float) -> str:
        """Return the numbers and the durations of the command as a sentence."""
        factor = self.duration_s / max(predict_s, 1e-6)
        return (
            f"kanjo: {self.n_recordings} recording{'' if self.n_recordings == 1 else 's'}, {self.duration_s:.1f} s of "
            f"audio, predicted in {predict_s:.2f} s ({factor:.0f} times faster than real time); "
            f"the model was loaded in {load_s:.2f} s"
        )


def _check_count(inputs: list[Input], form: str, plot: Path | None) -> None:
    """Refuse several recordings where only one is possible."""
    if plot and STDIN in inputs:
        raise typer.BadParameter("--plot reads the recording a second time: give a file instead of -")
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


def _check_usage(form: str, output: Path | None, resume: bool, engine: str, plot: Path | None) -> None:
    """Refuse arguments that can't be combined, and a format or a figure without its package."""
    if form == parquet_file.PARQUET:
        parquet_file.require_pyarrow()
    if resume and (output is None or form not in RESUMABLE_FORMATS):
        raise typer.BadParameter("--resume continues a csv or jsonl file; give it with -o")
    if engine not in ("local", "ray"):
        raise typer.BadParameter(f"engine {engine!r}: expected local or ray")
    if plot:
        from kanjo.evaluation.reports.rendering import check_figure

        check_figure(plot)


def _skip_finished(inputs: list[Input], writer: ResumableWriter) -> list[Input]:
    """The inputs without rows in the output file."""
    remaining = [item for item in inputs if encode_name(input_name(item)) not in writer.finished_files]
    if len(remaining) < len(inputs):
        print_message(f"{len(inputs) - len(remaining)} of {len(inputs)} recordings are finished already")
    return remaining


def _write(
    results: PredictionOutput,
    predictions: Iterable[Prediction],
    plot: Path | None,
    writer: ResumableWriter | None,
    silent: bool,
    load_s: float,
) -> None:
    """Write the predictions with a progress bar, and report durations and failed recordings."""
    n_inputs, started, totals = len(results.names), time.monotonic(), _Totals()
    with progress_bar("predicting", silent or results.prints_rows) as progress:
        results.write(_watch(predictions, n_inputs, plot, progress, totals), writer)
    if results.verbose:
        print_message(totals.describe(load_s, time.monotonic() - started))
    _report_failed(totals.failed, n_inputs, writer)


def _watch(
    predictions: Iterable[Prediction],
    n: int,
    plot: Path | None,
    progress: Callable[[int, int], None],
    totals: _Totals,
) -> Iterator[Prediction]:
    """Pass predictions on; update the progress bar and the totals, and draw timelines."""
    for done, prediction in enumerate(predictions, 1):
        if prediction.error:
            totals.failed.append(prediction.file)
        else:
            totals.n_recordings += 1
            totals.duration_s += prediction.duration_s
            if plot:
                _draw_timeline(prediction, plot)
        progress(done, n)
        yield prediction


def _draw_timeline(prediction: Prediction, path: Path) -> None:
    from kanjo.evaluation.reports.rendering import save_figure
    from kanjo.evaluation.reports.signal_plots import plot_timeline

    save_figure(plot_timeline(prediction, Path(prediction.file)), path)


def _prompt(recognizer: Recognizer, form: str, options: InferenceOptions, labels: tuple[str, ...], adapt: bool) -> None:
    """Ask for paths on the terminal, and print the prediction of each."""
    if adapt or form == parquet_file.PARQUET:
        raise typer.BadParameter(f"{'--adapt' if adapt else 'parquet'} needs the paths of the recordings")
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
        if form == TABLE:
            table = PredictionTable([prediction.file], labels, detect_terminal(sys.stdout))
            print("\n".join([*table.rows(prediction), *table.footer()]))
        else:
            print("\n".join(writers.FORMATS[form]([prediction], labels)))


def _expand_home(path: str) -> Path:
    """Replace "~" by the home folder, if the user has one."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)
