"""``kanjo benchmark``: a bundle on every corpus in a folder."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kanjo.cli.common import ConsoleReporter, CorpusRoot, Device, Silent, check_format, load_on, print_message
from kanjo.cli.results import name_width, percent
from kanjo.cli.terminal import detect_terminal
from kanjo.errors import CorpusError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from kanjo.experiments.benchmark import BenchmarkResult, CorpusScores
    from kanjo.inference.recognizer import Recognizer

#: Heads and widths of the columns of the table with one value per corpus, without those for enrollment.
_COLUMNS = {
    "speakers": 9,
    "utterances": 11,
    "classes": 8,
    "chance": 8,
    "UAR, all labels": 21,
    "UAR": 21,
    "accuracy": 9,
    "ECE": 7,
}
_ENROLLED_WIDTH = 9
#: Columns in the order in which a narrow terminal leaves them out; those for enrollment follow after the second.
_LEAST_IMPORTANT = ("classes", "UAR, all labels", "utterances", "accuracy", "chance", "ECE", "speakers")

Corpora = Annotated[
    str | None,
    typer.Option(
        metavar="LIST",
        help="Score these only, as ravdess,emovo; also folders and tables of your own in DIR "
        "(default: all published corpora in DIR).",
        show_default=False,
    ),
]
Robustness = Annotated[
    bool,
    typer.Option(
        "--robustness",
        help="Score also degraded copies of at most 500 recordings of each corpus: noise, telephone, MP3 etc.",
    ),
]


def benchmark(
    model: Annotated[
        str, typer.Argument(metavar="BUNDLE", help="A built-in bundle, a bundle folder, or a run folder.")
    ],
    corpus_root: CorpusRoot = None,
    corpora: Corpora = None,
    skip_enrollment: Annotated[
        bool,
        typer.Option("--skip-enrollment", help="Do not score with enrolled speakers: about a quarter of the time."),
    ] = False,
    adapt: Annotated[
        bool,
        typer.Option("--adapt", help="Score also after adaptation to each corpus, without its labels."),
    ] = False,
    robustness: Robustness = False,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="DIR", help="Folder of all scores (JSON) and predictions (CSV)."),
    ] = None,
    form: Annotated[str, typer.Option("--format", "-f", help="table, json or csv.")] = "table",
    silent: Silent = False,
    device: Device = "auto",
) -> None:
    """Score a bundle on every corpus in a folder, on speakers that it was not trained on.

    UAR, accuracy and ECE are among the emotions that occur in the corpus, "UAR, all labels" is among all emotions of
    the bundle. "2 clips": the UAR with each speaker enrolled with 2 clips. In brackets: 95 % interval over speakers.

    Example: kanjo benchmark default --corpus-root corpora
    """
    from kanjo.experiments.benchmark import BenchmarkOptions, benchmark_corpora, find_corpora

    check_format(form, ("table", "json", "csv"))
    if corpus_root is None:
        raise CorpusError("no folder of corpora: give --corpus-root, or set KANJO_CORPORA")
    names = None if corpora is None else [name.strip() for name in corpora.split(",")]
    found = find_corpora(Path(corpus_root), names)
    recognizer = load_on(model, device)
    if not skip_enrollment and not recognizer.metadata.speaker_size:
        print_message(f"no enrollment: the bundle {recognizer.metadata.name} does not support speaker profiles")
    if output:
        _write_scores(output, recognizer, [])  # report that the folder can't be written before the computation
    show = {"table": _table_printer([corpus.name for corpus in found], adapt), "csv": _csv_printer()}.get(form)
    options = BenchmarkOptions(not skip_enrollment, adapt, robustness)
    scored = benchmark_corpora(recognizer, found, ConsoleReporter(silent), options)
    results = _collect(scored, recognizer, show, output)
    if form == "json":
        print(json.dumps(_content(recognizer, results), indent=2, ensure_ascii=False))
    if form == "table" and robustness:
        _print_conditions(results)
    _print_notes(results)
    if any(result.error or (result.scores and result.scores.among_corpus_labels.failures) for result in results):
        raise typer.Exit(1)


def _collect(
    scored: Iterable[BenchmarkResult],
    recognizer: Recognizer,
    show: Callable[[BenchmarkResult], None] | None,
    output: Path | None,
) -> list[BenchmarkResult]:
    """Print and write each result when it is ready; return all of them."""
    results: list[BenchmarkResult] = []
    for result in scored:
        results.append(result)
        if show:
            show(result)
        if output:
            _write_scores(output, recognizer, results)
            _write_predictions(output, result)
    return results


def _print_conditions(results: Sequence[BenchmarkResult]) -> None:
    """Print the UAR under each condition, one column for each corpus."""
    columns = {result.corpus: result.scores.conditions for result in results if result.scores}
    names = list(dict.fromkeys(name for scores in columns.values() for name in scores))
    width = name_width(names, minimum=12)
    print("\n" + "UAR under conditions".ljust(width) + "".join(f"{corpus:>14}" for corpus in columns))
    for name in names:
        cells = [percent(scores[name].uar.value) if name in scores else "-" for scores in columns.values()]
        print(name.ljust(width) + "".join(f"{cell:>14}" for cell in cells))


def _table_printer(names: Sequence[str], adapt: bool) -> Callable[[BenchmarkResult], None]:
    """A function that prints the row of one corpus, and the head of the table before the first."""
    from kanjo.experiments.benchmark import ENROLLMENT_CLIPS

    terminal = detect_terminal(sys.stdout)
    width = name_width(names, minimum=8)
    heads = {**_COLUMNS, **{_clips(n): _ENROLLED_WIDTH for n in ENROLLMENT_CLIPS}}
    if adapt:
        heads["adapted"] = _COLUMNS["UAR"]
    shown = _fitting_columns(heads, width, terminal.width)
    head_line = "corpus".ljust(width) + "".join(name.rjust(heads[name]) for name in shown)
    head_is_printed = False

    def show(result: BenchmarkResult) -> None:
        nonlocal head_is_printed
        if not head_is_printed:
            print(terminal.bold(head_line))
            head_is_printed = True
        if result.scores is None:
            print("\n".join(terminal.wrap(result.error, width + 1, f"{result.corpus:<{width}} ")), flush=True)
            return
        adapted = result.scores.adapted
        values = [*_cells(result.scores), *([str(adapted.scores.uar) if adapted else "-"] if adapt else [])]
        cells = dict(zip(heads, values, strict=True))
        print(result.corpus.ljust(width) + "".join(cells[name].rjust(heads[name]) for name in shown), flush=True)

    return show


def _fitting_columns(heads: Mapping[str, int], name_width: int, width: int | None) -> list[str]:
    """The columns that fit into a terminal; a message names those that are left out."""
    clips = [name for name in heads if name not in _COLUMNS]
    shown = list(heads)
    for name in [*_LEAST_IMPORTANT[:2], *clips, *_LEAST_IMPORTANT[2:]]:
        if width is None or name_width + sum(heads[column] for column in shown) <= width:
            break
        shown.remove(name)
    if len(shown) < len(heads):
        omitted = ", ".join(name for name in heads if name not in shown)
        print_message(f"the terminal is too narrow for: {omitted}; --format csv prints all columns")
    return shown


def _clips(n: int) -> str:
    return f"{n} clip{'s' if n > 1 else ''}"


def _cells(scores: CorpusScores) -> list[str]:
    """The cells of one row of the table; "-" where nothing was measured."""
    from kanjo.evaluation.metrics import format_interval
    from kanjo.experiments.benchmark import ENROLLMENT_CLIPS

    plain = scores.among_corpus_labels.scores
    enrolled = [scores.enrolled.get(n) for n in ENROLLMENT_CLIPS]
    return [
        str(scores.n_speakers or "unknown"),
        str(plain.n),
        str(len(scores.emotions)),
        percent(scores.chance_uar),
        format_interval(**vars(scores.among_bundle_labels.scores.uar), unit=""),
        format_interval(**vars(plain.uar), unit=""),
        percent(plain.accuracy.value),
        f"{plain.ece:.3f}",
        *(percent(item.scores.uar.value) if item else "-" for item in enrolled),
    ]


def _csv_printer() -> Callable[[BenchmarkResult], None]:
    """A function that prints one row of CSV, and the header before the first."""
    head_is_printed = False

    def show(result: BenchmarkResult) -> None:
        nonlocal head_is_printed
        row = _csv_row(result)
        print(_csv_line(row.values() if head_is_printed else [*row.keys()]), end="", flush=True)
        if not head_is_printed:
            head_is_printed = True
            print(_csv_line(row.values()), end="", flush=True)

    return show


def _csv_row(result: BenchmarkResult) -> dict[str, Any]:
    """The values of one corpus by column; fractions from 0 to 1, None where nothing was measured."""
    from kanjo.experiments.benchmark import ENROLLMENT_CLIPS

    scores = result.scores
    plain = scores.among_corpus_labels.scores if scores else None
    evaluations = {
        "uar_all_labels": scores.among_bundle_labels if scores else None,
        "uar": scores.among_corpus_labels if scores else None,
        **{f"uar_enrolled_{n}": scores.enrolled.get(n) if scores else None for n in ENROLLMENT_CLIPS},
        "uar_adapted": scores.adapted if scores else None,
    }
    row: dict[str, Any] = {
        "corpus": result.corpus,
        "speakers": scores.n_speakers if scores else None,
        "utterances": plain.n if plain else None,
        "classes": len(scores.emotions) if scores else None,
        "chance": scores.chance_uar if scores else None,
        "accuracy": plain.accuracy.value if plain else None,
        "ece": plain.ece if plain else None,
    }
    for name, scored in evaluations.items():
        uar = scored.scores.uar if scored else None
        row |= {name: uar and uar.value, f"{name}_low": uar and uar.low, f"{name}_high": uar and uar.high}
    return {**row, "seconds": round(result.seconds, 1), "error": result.error}


def _csv_line(values: Iterable[Any]) -> str:
    buffer = io.StringIO()
    cells = [f"{value:.6g}" if isinstance(value, float) else value for value in values]
    csv.writer(buffer, lineterminator="\n").writerow(cells)
    return buffer.getvalue()


def _content(recognizer: Recognizer, results: Sequence[BenchmarkResult]) -> dict[str, Any]:
    """All results for JSON."""
    metadata = recognizer.metadata
    return {
        "bundle": metadata.name,
        "version": metadata.version,
        "sha256": metadata.sha256,
        "labels": list(metadata.labels),
        "corpora": [result.as_dict() for result in results],
    }


def _write_scores(output: Path, recognizer: Recognizer, results: Sequence[BenchmarkResult]) -> None:
    """Write the scores of all corpora so far."""
    from kanjo import files
    from kanjo.experiments.run_folder import RunFolder

    text = json.dumps(_content(recognizer, results), indent=2, ensure_ascii=False) + "\n"
    files.write_text(RunFolder(output).benchmark, text)


def _write_predictions(output: Path, result: BenchmarkResult) -> None:
    """Write the predictions for one corpus, among its emotions."""
    from kanjo.evaluation.predictions_file import write_predictions
    from kanjo.experiments.run_folder import RunFolder

    if result.scores:
        plain = result.scores.among_corpus_labels
        write_predictions(RunFolder(output).variant(result.corpus).predictions, plain.labels, plain.utterances)


def _print_notes(results: Sequence[BenchmarkResult]) -> None:
    """Print what limits the scores, and which corpora have none."""
    for result in results:
        scores = result.scores
        if scores and scores.n_omitted:
            n = scores.n_omitted
            print_message(f"{result.corpus}: omitted {n} utterances of speakers that the bundle was trained on")
        for note in scores.notes if scores else ():
            print_message(f"{result.corpus}: {note}")
    failed = [result.corpus for result in results if result.error]
    if failed:
        print_message(f"kanjo: {len(failed)} of {len(results)} corpora were not scored: {', '.join(failed)}")
