"""``kanjo evaluate`` and ``export``: the scores of a bundle, and copies of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kanjo import bundle
from kanjo.cli.common import (
    ConsoleReporter,
    CorpusRoot,
    Device,
    Format,
    LabelMap,
    Root,
    Silent,
    check_format,
    load_on,
    print_message,
)
from kanjo.cli.path_lists import find_missing_recordings, is_list_of_recordings
from kanjo.cli.results import print_scores
from kanjo.errors import BundleError
from kanjo.labels import parse_label_map

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kanjo.bundle import Bundle
    from kanjo.corpora import Manifest
    from kanjo.experiments.scoring import BundleScores

Emotions = Annotated[
    str | None,
    typer.Option(
        metavar="LIST",
        help="Choose labels among these emotions, as anger,neutral; all: all of the bundle "
        "(default: those that occur in the data).",
        show_default=False,
    ),
]

EnrollmentClips = Annotated[
    int,
    typer.Option(min=0, metavar="N", help="With enrollment from at most N clips of a speaker (0: half of the clips)."),
]


def evaluate(
    model: Annotated[
        str, typer.Argument(metavar="BUNDLE", help="A built-in bundle, a bundle folder, or a run folder.")
    ],
    data: Annotated[Path, typer.Argument(help="A manifest (CSV), the folder of a corpus, or your table or folder.")],
    corpus: Annotated[
        str, typer.Option(metavar="NAME", help="Name of the corpus (default: derived from the names of the folders).")
    ] = "",
    include_training_speakers: Annotated[
        bool,
        typer.Option("--include-training-speakers", help="Also score speakers that the bundle was trained on."),
    ] = False,
    with_enrollment: Annotated[
        bool,
        typer.Option(
            "--with-enrollment",
            help="Also score with enrolled speakers: each half of a speaker's clips enrolls for the other half.",
        ),
    ] = False,
    enrollment_clips: EnrollmentClips = 0,
    emotions: Emotions = None,
    label_map: LabelMap = None,
    root: Root = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="DIR", help="Folder of the report (default: no report).")
    ] = None,
    form: Format = "table",
    silent: Silent = False,
    device: Device = "auto",
) -> None:
    """Score a bundle on labeled recordings of speakers that it was not trained on.

    Example: kanjo evaluate default corpora/ravdess
    """
    from kanjo.evaluation.reports.html import require_report_packages
    from kanjo.experiments.scoring import evaluate_on_manifest

    check_format(form)
    if output:
        require_report_packages()  # report that matplotlib is missing before the recordings are scored
    recognizer = load_on(model, device)
    if with_enrollment or enrollment_clips:
        recognizer.check_enrollment()
    scores = evaluate_on_manifest(
        recognizer,
        _read_labeled(data, corpus, parse_label_map(label_map or []), root),
        ConsoleReporter(silent),
        include_training_speakers=include_training_speakers,
        with_enrollment=with_enrollment or enrollment_clips > 0,
        enrollment_clips=enrollment_clips,
        emotions=emotions,
    )
    _print_omitted(scores, recognizer.labels)
    if output:
        _write_report(output, f"{recognizer.metadata.name} on {data.name}", scores)
    _print(scores, form, recognizer.labels, is_default=emotions is None)
    if scores.plain.failures:
        file, error = scores.plain.failures[0]
        print_message(f"kanjo: {len(scores.plain.failures)} recordings failed, the first: {file}: {error}")
        raise typer.Exit(1)


def export(
    run: Annotated[Path, typer.Argument(help="A run folder, or a bundle.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Folder of the new bundle.")],
    name: Annotated[str, typer.Option(help="Name of the new bundle (default: the old one's).")] = "",
    weights: Annotated[
        bool, typer.Option("--weights/--no-weights", help="Copy the weights for further training.")
    ] = True,
    int8: Annotated[
        bool,
        typer.Option("--int8", help="Quantize large fully connected layers to int8: a quarter of their size, faster."),
    ] = False,
    fp16: Annotated[
        bool,
        typer.Option("--fp16", help="Store the (other) weights in fp16: half of their size, same speed."),
    ] = False,
    robustness: Annotated[
        bool,
        typer.Option("--robustness", help="Score it on quiet, clipped, telephone, MP3 and noisy copies, for its card."),
    ] = False,
    corpus_root: CorpusRoot = None,
    silent: Silent = False,
) -> None:
    """Copy the bundle of a run. With --int8 or --fp16 the copy is smaller, and is scored again on its test speakers.

    Example: kanjo export runs/cnn-lstm-2d/20260101-120000-fold-1 -o my-bundle
    """
    from kanjo.experiments.export import ExportOptions, export_copy, score_copy

    options = ExportOptions(name, weights, int8, fp16, robustness)
    source = bundle.read_bundle(run)
    if options.needs_scoring and not corpus_root:
        raise BundleError(
            "--int8, --fp16 and --robustness score the bundle on its test speakers: "
            "give --corpus-root, or set KANJO_CORPORA"
        )
    copy = export_copy(source, output, options)
    if options.needs_scoring and corpus_root:
        copy = score_copy(copy, corpus_root, robustness, ConsoleReporter(silent))
        _print_change(source, copy, output)
    else:
        print(output)


def _read_labeled(data: Path, corpus: str, label_map: Mapping[str, str], root: Path | None) -> Manifest:
    """The utterances of a manifest, a table, or the folder of a corpus."""
    from kanjo.corpora import CORPORA, OWN_CORPUS, read_corpus
    from kanjo.corpora.identify import check_corpus_name, identify_corpora, name_corpus, read_labeled_table

    if corpus not in ("", OWN_CORPUS):
        check_corpus_name(corpus)
    stated = "" if corpus == OWN_CORPUS else corpus
    if data.is_file():
        manifest = read_labeled_table(data, label_map, root=root, corpus=stated)
        _print_missing(data, manifest)
        return manifest
    if root is not None:
        raise typer.BadParameter(f"--root is for tables and filelists; {data} is not a file")
    folder_name = data.resolve().name
    derived = next((known.name for known in CORPORA.values() if folder_name in known.folders), OWN_CORPUS)
    if stated and stated not in CORPORA:
        return name_corpus(read_corpus(OWN_CORPUS, data, label_map), stated)
    return identify_corpora(read_corpus(corpus or derived, data, label_map))


def _print_missing(data: Path, manifest: Manifest) -> None:
    """Name the first line of a filelist whose recording does not exist."""
    if is_list_of_recordings(data) and (missing := find_missing_recordings(data, manifest)):
        index, line = next(iter(missing.items()))
        others = f"; {len(missing)} recordings of the list are missing" if len(missing) > 1 else ""
        print_message(f"kanjo: {line}: no such file: {manifest.audio_path(manifest.utterances[index])}{others}")


def _write_report(output: Path, title: str, scores: BundleScores) -> None:
    from kanjo.evaluation.reports.run_info import RunInfo
    from kanjo.evaluation.reports.run_report import write_enrolled_scores, write_run_report
    from kanjo.experiments.run_folder import RunFolder

    paths = RunFolder(output).report_paths
    scores_enrolled = scores.enrolled.scores if scores.enrolled else None
    write_run_report(paths, title, scores.plain, RunInfo(protocol=scores.description, scores_enrolled=scores_enrolled))
    if scores.enrolled:
        write_enrolled_scores(paths, scores.enrolled)


def _print_omitted(scores: BundleScores, bundle_labels: Sequence[str]) -> None:
    """Say which utterances were not scored, and why."""
    if scores.n_omitted:
        print_message(
            f"omitted: {scores.n_omitted} utterances of speakers that the bundle was trained on "
            "(--include-training-speakers scores them)"
        )
    for note in scores.notes:
        print_message(note)
    for emotion, n in scores.plain.excluded_emotions:
        reason = "is not among --emotions" if emotion in bundle_labels else "is not a label of the bundle"
        print_message(f"omitted: {n} utterances of {emotion}, which {reason}")


def _print(scores: BundleScores, form: str, bundle_labels: Sequence[str], is_default: bool) -> None:
    """Print the scores, and among which emotions the labels were chosen if these are not all of the bundle's."""
    from kanjo.evaluation.evaluate import describe_labels

    if len(scores.plain.labels) < len(bundle_labels):
        hint = "; --emotions all for all" if is_default else ""
        line = describe_labels(scores.plain, bundle_labels) + hint
        print(line, file=sys.stdout if form == "table" else sys.stderr)
    if form == "table":
        print_scores(scores.plain, scores.enrolled)
        return
    content = scores.plain.scores.as_dict()
    if scores.enrolled:
        content = {**content, "enrolled": scores.enrolled.scores.as_dict()}
    print(json.dumps(content, indent=2, ensure_ascii=False))


def _print_change(source: Bundle, copy: Bundle, output: Path) -> None:
    """Print size and UAR before and after, and the UARs on degraded recordings."""
    for condition, uar in copy.metadata.robustness.items():
        print(f"{condition:<32}UAR {100 * uar['value']:.1f} %")
    before, after = (
        100 * item.metadata.scores["uar"]["value"] if item.metadata.scores else float("nan") for item in (source, copy)
    )
    old_mb, new_mb = (item.graph.stat().st_size / 1e6 for item in (source, copy))
    print(f"{output}: {old_mb:.1f} MB -> {new_mb:.1f} MB, UAR {before:.1f} % -> {after:.1f} %")
