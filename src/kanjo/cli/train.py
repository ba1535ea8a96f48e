"""``kanjo train``, ``crossval``, ``evaluate``, ``export``: experiments, and what comes out of them."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kanjo import bundle, files
from kanjo.cli._common import progress, say
from kanjo.errors import BundleError, CorpusError, KanjoError, RecipeError

if TYPE_CHECKING:
    from kanjo.corpora import Manifest
    from kanjo.splits import Fold
    from kanjo.train.fit import Fitted, Material
    from kanjo.train.recipe import Recipe

log = logging.getLogger("kanjo")

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


def register(app: typer.Typer) -> None:
    for verb in (train, crossval, evaluate, export):
        app.command()(verb)


def train(
    recipe: RecipeName,
    overrides: Overrides = None,
    corpus_root: CorpusRoot = None,
    fold: Annotated[int | None, typer.Option(min=1, help="Which fold tests (default: the recipe's).")] = None,
    output: Run = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in -o (default: the recipe's latest) where it stopped.")
    ] = False,
    threads: Threads = 0,
    silent: Silent = False,
) -> None:
    """Train a recipe on one fold, test it on speakers it has not heard, and write its bundle.

    Example: kanjo train cnn-lstm-2d --corpus-root corpora --fold 1
    """
    experiment = _experiment(recipe, overrides, corpus_root, fold)
    run = _run_folder(experiment, output, resume, f"fold-{experiment.split.fold}")
    _run_fold(experiment, corpus_root, run, resume, threads, silent)


def crossval(
    recipe: RecipeName,
    overrides: Overrides = None,
    corpus_root: CorpusRoot = None,
    output: Run = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the folder in -o: folds that are done stay.")] = False,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=0, help="Folds at once; 0: one for each core.")] = 0,
    silent: Silent = False,
) -> None:
    """Train and test every fold of a recipe; scores are pooled over all test speakers.

    Example: kanjo crossval cnn-lstm-2d-long --corpus-root corpora
    """
    from kanjo.cli.crossval import run_folds

    experiment = _experiment(recipe, overrides, corpus_root, None)
    folder = _run_folder(experiment, output, resume, "crossval")
    with progress("decoding", silent) as show:
        material = _prepare(experiment, corpus_root, show)
    files.write_text(folder / "recipe.yaml", experiment.text())
    run_folds(folder, [fold.index for fold in material.folds], corpus_root, jobs, silent)
    _pool(folder, material, silent)


def evaluate(
    model: Annotated[str, typer.Argument(metavar="BUNDLE", help="A bundle: a name in the box, a bundle folder, a run folder.")],
    data: Annotated[Path, typer.Argument(help="A manifest (CSV), a corpus's folder, or a table or folder of yours.")],
    corpus: Annotated[str, typer.Option(help="Which corpus the folder is (default: told by its name).")] = "",
    everyone: Annotated[bool, typer.Option("--all", help="Score speakers that the bundle was trained on, too.")] = False,
    output: Run = None,
    form: Annotated[str, typer.Option("--format", "-f", help="table or json.")] = "table",
    silent: Silent = False,
) -> None:
    """Score a bundle on labelled recordings, leaving out every speaker it was trained on.

    Example: kanjo evaluate default corpora/ravdess
    """
    from kanjo.evaluation import evaluate as scoring
    from kanjo.evaluation import figures, report
    from kanjo.recognizer import load

    if output:
        figures.require()
    recognizer = load(model)
    manifest = _labelled(data, corpus)
    trained = set(recognizer.facts.split.get("train_speakers", ()))
    rows = manifest.utterances if everyone else tuple(row for row in manifest.utterances if row.speaker_key not in trained)
    if not rows:
        raise CorpusError(f"{data}: the bundle was trained on all of its speakers; --all scores them nevertheless")
    if len(rows) < len(manifest.utterances):
        say(
            f"left out: {len(manifest.utterances) - len(rows)} utterances of speakers the bundle was trained on (--all keeps them)"
        )
    with progress("scoring", silent) as show:
        found = scoring.evaluate(recognizer, rows, [manifest.path(row) for row in rows], show)
    for name, n in found.left_out:
        say(f"left out: {n} utterances of {name}, which the bundle doesn't answer")
    protocol = "the bundle's own test speakers" if not everyone and trained else "all speakers given"
    if output:
        report.write_run(output, f"{recognizer.facts.name} on {data.name}", found, {"protocol": protocol})
    if form == "json":
        print(json.dumps(found.scores.as_dict(), indent=2, ensure_ascii=False))
    else:
        print("\n".join(report.summary(found.scores)))
    if found.failed:
        say(f"kanjo: {len(found.failed)} recordings failed, the first: {found.failed[0][0]}: {found.failed[0][1]}")
        raise typer.Exit(1)


def export(
    run: Annotated[Path, typer.Argument(help="A run folder, or a bundle.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Where the bundle goes.")],
    name: Annotated[str, typer.Option(help="The bundle's name (default: its recipe's).")] = "",
    weights: Annotated[bool, typer.Option("--weights/--no-weights", help="With the weights to train on from.")] = True,
) -> None:
    """Copy a run's bundle elsewhere, checked.

    Example: kanjo export runs/cnn-lstm-2d/20260101-120000-fold-1 -o my-bundle
    """
    found = bundle.read(run)
    if output.exists():
        raise BundleError(f"{output} is there already; choose another place, or remove it")
    kept = found.folder / bundle.WEIGHTS
    content = kept.read_bytes() if weights and kept.is_file() else None
    facts = replace(found.facts, name=name or found.facts.name)
    bundle.write(output, found.graph.read_bytes(), facts, content)
    print(output)


def _experiment(name: str, overrides: list[str] | None, corpus_root: str | None, fold: int | None) -> Recipe:
    try:
        from kanjo.train.recipe import load_recipe
    except ImportError as error:
        raise KanjoError(f"training needs more than the core install: pip install 'kanjo[train]' ({error})") from error
    extra = [f"split.fold={fold}"] if fold else []
    return load_recipe(name, [*(overrides or []), *extra], corpus_root)


def _run_folder(experiment: Recipe, output: Path | None, resume: bool, kind: str) -> Path:
    if output is None:
        home = Path("runs") / experiment.name
        if resume:
            earlier = sorted(home.glob(f"*-{kind}"))
            if not earlier:
                raise RecipeError(f"nothing to resume: no run under {home} ends in {kind}; name one with -o")
            output = earlier[-1]
        else:
            output = home / f"{time.strftime('%Y%m%d-%H%M%S')}-{kind}"
    if not resume and output.exists() and any(output.iterdir()):
        raise RecipeError(f"{output} is not empty; go on with it by --resume, or choose another place with -o")
    stored = output / "recipe.yaml"
    if resume and stored.is_file() and stored.read_text(encoding="utf-8") != experiment.text():
        raise RecipeError(f"{output} was begun with another recipe (compare {stored}); resume it with the same one")
    return output


def _run_fold(experiment: Recipe, corpus_root: str | None, run: Path, resume: bool, threads: int, silent: bool) -> None:
    from kanjo.evaluation import evaluate as scoring
    from kanjo.evaluation import report
    from kanjo.recognizer import Recognizer
    from kanjo.train.export import export as make_bundle
    from kanjo.train.fit import fit, write_split

    with _logged(run, silent):
        with progress("decoding", silent) as show:
            material = _prepare(experiment, corpus_root, show)
        fold = material.fold(experiment.split.fold)
        files.write_text(run / "recipe.yaml", experiment.text())
        write_split(run / "split.csv", material, fold)
        sentences = material.audit(fold).sentences()
        for line in sentences:
            log.info("%s", line)
        try:
            fitted = fit(material, fold, run, resume=resume, threads=threads, progress=not silent and sys.stderr.isatty())
        except KeyboardInterrupt:
            say(f"kanjo: stopped; go on with --resume -o {run}")
            raise typer.Exit(130) from None
        split = _split_facts(material, fold, sentences)
        made = make_bundle(material, fold, fitted, run / "bundle", split)
        log.info("bundle written; torch and ONNX Runtime agree to %.1e", made.facts.parity["largest_difference"])
        test = [material.rows[i] for i in fold.test]
        with progress("testing", silent) as show:
            found = scoring.evaluate(Recognizer(made, threads or None), test, [material.paths[i] for i in fold.test], show)
        facts = {
            "protocol": _protocol(experiment, fold.name),
            "audit": sentences,
            "recipe": experiment.text(),
            "training": _said(fitted),
        }
        report.write_run(run, f"{experiment.name}, {fold.name}", found, facts)
        bundle.rewrite_facts(made.folder, replace(made.facts, scores=found.scores.as_dict()))
        for line in report.summary(found.scores):
            log.debug("test: %s", line)  # into log.txt; the terminal gets it below, on stdout
    print("\n".join(report.summary(found.scores)))
    say(f"run folder: {run}   report: {run / 'report.html'}   try: kanjo predict --model {run} clip.wav")


def _prepare(experiment: Recipe, corpus_root: str | None, show: Any) -> Material:
    from kanjo.train.fit import prepare

    return prepare(experiment, corpus_root, show)


def _split_facts(material: Material, fold: Fold, sentences: list[str]) -> dict[str, Any]:
    def speakers(part: tuple[int, ...]) -> list[str]:
        return sorted({material.rows[i].speaker_key for i in part} - {""})

    return {
        "protocol": material.recipe.split.protocol,
        "fold": fold.index,
        "note": fold.name,
        "audit": sentences,
        "train_speakers": sorted({*speakers(fold.train), *speakers(fold.validation)}),
        "validation_speakers": speakers(fold.validation),
        "test_speakers": speakers(fold.test),
    }


def _protocol(experiment: Recipe, what: str) -> str:
    return f"{experiment.split.protocol}, {what}; corpora: {', '.join(section.name for section in experiment.corpora)}"


def _said(fitted: Fitted) -> str:
    return (
        f"Best epoch {fitted.best_epoch} by validation UAR ({100 * fitted.validation_uar:.1f} %), temperature {fitted.temperature:.2f}, "
        f"{fitted.minutes:.1f} minutes of training."
    )


def _pool(folder: Path, material: Material, silent: bool) -> None:
    from kanjo.evaluation import evaluate as scoring
    from kanjo.evaluation import report

    answers, missing = [], []
    for fold in material.folds:
        found = folder / f"fold-{fold.index}" / "predictions.csv"
        if found.is_file():
            answers += scoring.read_answers(found)[1]
        else:
            missing.append(fold.index)
    if not answers:
        raise KanjoError(f"no fold was finished; see {folder}/fold-*/log.txt")
    said: dict[str, list[int]] = {}
    for fold in material.folds:
        for line in material.audit(fold).sentences():
            said.setdefault(line, []).append(fold.index)
    everywhere = len(material.folds)
    sentences = [
        f"every fold: {line}" if len(where) == everywhere else f"fold {', '.join(map(str, where))}: {line}"
        for line, where in said.items()
    ]
    pooled = scoring.Evaluation(material.emotions, tuple(answers), scoring.scores_of(material.emotions, answers))
    experiment = material.recipe
    what = f"{len(material.folds) - len(missing)} of {len(material.folds)} folds pooled"
    facts = {"protocol": _protocol(experiment, what), "audit": sentences, "recipe": experiment.text()}
    report.write_run(folder, f"{experiment.name}, cross-validation", pooled, facts)
    print(f"{experiment.name}, {_protocol(experiment, what)}")
    print("\n".join(report.summary(pooled.scores)))
    say(f"report: {folder / 'report.html'}")
    if missing:
        say(f"kanjo: missing folds: {', '.join(map(str, missing))}; run again with --resume -o {folder}")
        raise typer.Exit(1)


def _labelled(data: Path, corpus: str) -> Manifest:
    from kanjo.corpora import CORPORA, OWN, read_corpus, read_manifest

    if data.is_file():
        try:
            return read_manifest(data)
        except CorpusError:
            return read_corpus(OWN, data)
    name = corpus or next((known.name for known in CORPORA.values() if data.resolve().name in known.folders), OWN)
    return read_corpus(name, data)


@contextmanager
def _logged(run: Path, silent: bool) -> Iterator[None]:
    """The run's log goes to ``log.txt`` and, unless silent, to stderr."""
    try:
        run.mkdir(parents=True, exist_ok=True)
        handlers: list[logging.Handler] = [logging.FileHandler(run / "log.txt", encoding="utf-8")]
    except OSError as error:
        raise KanjoError(f"can't write {run}: {files.reason(error)}") from error
    handlers[0].setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    if not silent:
        handlers.append(logging.StreamHandler(sys.stderr))
        handlers[-1].setLevel(logging.INFO)
    log.setLevel(logging.DEBUG)
    log.propagate = False
    for handler in handlers:
        log.addHandler(handler)
    try:
        yield
    finally:
        for handler in handlers:
            log.removeHandler(handler)
            handler.close()
