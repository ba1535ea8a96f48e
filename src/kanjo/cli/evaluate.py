"""``kanjo evaluate`` and ``export``: what a bundle scores, and a bundle taken elsewhere."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kanjo import bundle
from kanjo.cli.common import CorpusRoot, Run, Silent, progress, say
from kanjo.errors import BundleError, CorpusError
from kanjo.experiments.pipeline import prepared
from kanjo.experiments.scoring import tested

if TYPE_CHECKING:
    from kanjo.corpora import Manifest


def register(app: typer.Typer) -> None:
    for verb in (evaluate, export):
        app.command()(verb)


def evaluate(
    model: Annotated[
        str, typer.Argument(metavar="BUNDLE", help="A bundle: a name in the box, a bundle folder, a run folder.")
    ],
    data: Annotated[Path, typer.Argument(help="A manifest (CSV), a corpus's folder, or a table or folder of yours.")],
    corpus: Annotated[str, typer.Option(help="Which corpus the folder is (default: told by its name).")] = "",
    everyone: Annotated[
        bool, typer.Option("--all", help="Score speakers that the bundle was trained on, too.")
    ] = False,
    enrolled: Annotated[
        bool,
        typer.Option(
            "--enrolled",
            help="Score with speakers known, too: each by half of their clips, unlabelled, for the other half.",
        ),
    ] = False,
    output: Run = None,
    form: Annotated[str, typer.Option("--format", "-f", help="table or json.")] = "table",
    silent: Silent = False,
) -> None:
    """Score a bundle on labelled recordings, leaving out every speaker it was trained on.

    Example: kanjo evaluate default corpora/ravdess
    """
    from kanjo.evaluation import evaluate as scoring
    from kanjo.evaluation.reports import figures, run_report
    from kanjo.inference.recognizer import load

    if output:
        figures.require()
    recognizer = load(model)
    if enrolled:
        recognizer.enrollable()
    manifest = _labelled(data, corpus)
    trained = set(recognizer.facts.split.get("train_speakers", ()))
    rows = (
        manifest.utterances if everyone else tuple(row for row in manifest.utterances if row.speaker_key not in trained)
    )
    if not rows:
        raise CorpusError(f"{data}: the bundle was trained on all of its speakers; --all scores them nevertheless")
    if len(rows) < len(manifest.utterances):
        say(
            f"left out: {len(manifest.utterances) - len(rows)} utterances of speakers the bundle was trained on (--all keeps them)"
        )
    paths = [manifest.path(row) for row in rows]
    with progress("scoring", silent) as show:
        found = scoring.evaluate(recognizer, rows, paths, show)
    known = None
    if enrolled:
        with progress("scoring with speakers known", silent) as show:
            known = scoring.evaluate_enrolled(recognizer, rows, paths, found, progress=show)
    for name, n in found.left_out:
        say(f"left out: {n} utterances of {name}, which the bundle doesn't answer")
    protocol = "the bundle's own test speakers" if not everyone and trained else "all speakers given"
    if output:
        told = known.scores.as_dict() if known else None
        run_report.write_run(
            output, f"{recognizer.facts.name} on {data.name}", found, {"protocol": protocol, "enrolled": told}
        )
        if known:
            run_report.write_enrolled(output, known)
    if form == "json":
        content = found.scores.as_dict() | ({"enrolled": known.scores.as_dict()} if known else {})
        print(json.dumps(content, indent=2, ensure_ascii=False))
    else:
        print("\n".join(run_report.summary(found.scores, known.scores if known else None)))
    if found.failed:
        say(f"kanjo: {len(found.failed)} recordings failed, the first: {found.failed[0][0]}: {found.failed[0][1]}")
        raise typer.Exit(1)


def export(
    run: Annotated[Path, typer.Argument(help="A run folder, or a bundle.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Where the bundle goes.")],
    name: Annotated[str, typer.Option(help="The bundle's name (default: its recipe's).")] = "",
    weights: Annotated[bool, typer.Option("--weights/--no-weights", help="With the weights to train on from.")] = True,
    int8: Annotated[
        bool,
        typer.Option(
            "--int8",
            help="Large fully connected layers in int8: a quarter of their size, and faster. What it costs is measured.",
        ),
    ] = False,
    fp16: Annotated[
        bool,
        typer.Option(
            "--fp16",
            help="Weights stored in fp16 (with --int8: the others): half of their size, as fast. What it costs is measured.",
        ),
    ] = False,
    conditions: Annotated[
        bool,
        typer.Option(
            "--conditions", help="Score it faint, clipped, over a telephone, as MP3 and in noise, for its card."
        ),
    ] = False,
    corpus_root: CorpusRoot = None,
    silent: Silent = False,
) -> None:
    """Copy a run's bundle elsewhere, checked; with --int8 or --fp16 smaller, and scored again on its test speakers.

    Example: kanjo export runs/cnn-lstm-2d/20260101-120000-fold-1 -o my-bundle
    """
    found = bundle.read(run)
    if output.exists():
        raise BundleError(f"{output} is there already; choose another place, or remove it")
    kept = found.folder / bundle.WEIGHTS
    content = kept.read_bytes() if weights and kept.is_file() else None
    facts = replace(found.facts, name=name or found.facts.name)
    smaller = int8 or fp16
    if (smaller or conditions) and not corpus_root:
        raise BundleError(
            "--int8, --fp16 and --conditions measure on the run's test speakers: give --corpus-root, or set KANJO_CORPORA"
        )
    made = (
        _smaller(found, facts, output, content, int8, fp16)
        if smaller
        else bundle.write(output, found.graph.read_bytes(), facts, content)
    )
    if not corpus_root or not (smaller or conditions):
        print(output)
        return
    told = bundle.rewrite_facts(output, _measured(made, corpus_root, conditions, silent)).facts
    for condition, uar in told.conditions.items():
        print(f"{condition:<32}UAR {100 * uar['value']:.1f} %")
    before, after = (100 * item.scores["uar"]["value"] if item.scores else float("nan") for item in (found.facts, told))
    sizes = [path.stat().st_size / 1e6 for path in (found.graph, made.graph)]
    print(f"{output}: {sizes[0]:.1f} MB -> {sizes[1]:.1f} MB, UAR {before:.1f} % -> {after:.1f} %")


def _smaller(
    found: bundle.Bundle, facts: bundle.Facts, output: Path, weights: bytes | None, int8: bool, fp16: bool
) -> bundle.Bundle:
    from kanjo.train.export.quantize import fp16_weights, int8_linear

    graph, said = found.graph.read_bytes(), []
    if int8:
        graph, n = int8_linear(graph)
        if not n:
            raise BundleError(
                f"--int8: {found.folder} has no fully connected layer that is large enough to become smaller; leave it out"
            )
        said.append(f"{n} fully connected layers have int8 weights, a scale for each output")
    if fp16:
        graph, n = fp16_weights(graph)
        said.append(f"{n} tensors of weights are stored in fp16")
    facts = replace(facts, sha256=hashlib.sha256(graph).hexdigest(), quantization="; ".join(said))
    return bundle.write(output, graph, facts, weights)


def _measured(made: bundle.Bundle, corpus_root: str, conditions: bool, silent: bool) -> bundle.Facts:
    """The facts of a bundle with its scores on the test utterances of the fold that it was trained on."""
    from kanjo.train.config.loading import recipe_from

    recipe = recipe_from(made.facts.recipe, str(made.folder))
    with progress("decoding", silent) as show:
        material = prepared(recipe, corpus_root, show)
    return tested(made, material, material.fold(int(made.facts.split["fold"])), 0, silent, conditions).facts


def _labelled(data: Path, corpus: str) -> Manifest:
    from kanjo.corpora import CORPORA, OWN, read_corpus

    if data.is_file():
        return read_corpus(OWN, data)
    name = corpus or next((known.name for known in CORPORA.values() if data.resolve().name in known.folders), OWN)
    return read_corpus(name, data)
