"""``kanjo baseline``: what people use today, on the same folds, with the same report."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from kanjo import files
from kanjo.cli.common import CorpusRoot, Jobs, Overrides, RecipeName, Run, Silent, progress, say
from kanjo.experiments.pipeline import experiment_of, prepared, run_folder


def register(app: typer.Typer) -> None:
    app.command()(baseline)


def baseline(
    name: Annotated[str, typer.Argument(help="egemaps or compare: openSMILE's functionals for a linear SVM.")],
    recipe: RecipeName,
    overrides: Overrides = None,
    corpus_root: CorpusRoot = None,
    fold: Annotated[int | None, typer.Option(min=1, help="One fold only (default: all, pooled).")] = None,
    by_speaker: Annotated[
        bool,
        typer.Option(
            "--by-speaker", help="Standardise each speaker by their own clips; test speakers' unlabelled ones too."
        ),
    ] = False,
    output: Run = None,
    jobs: Jobs = 0,
    silent: Silent = False,
) -> None:
    """openSMILE's functionals and a linear SVM on a recipe's corpora, labels and folds, with the report that a network gets.

    Example: kanjo baseline compare mobilenet --corpus-root corpora
    """
    from kanjo.evaluation import baselines
    from kanjo.evaluation import evaluate as scoring
    from kanjo.evaluation.reports import run_report

    if name not in baselines.SETS:
        raise typer.BadParameter(f"baseline {name!r}: expected one of {', '.join(baselines.SETS)}")
    experiment = experiment_of(recipe, overrides, corpus_root, fold)
    folder = run_folder(experiment, output, False, f"baseline-{name}")
    with progress("decoding", silent) as show:
        material = prepared(experiment, corpus_root, show)
    from kanjo.train.data.audio_cache import cache_folder

    with progress("functionals", silent) as show:
        features = baselines.functionals(
            name, material.rows, material.paths, cache_folder() / "functionals", jobs, show
        )
    if by_speaker:
        features = baselines.by_speaker(features, [row.speaker_key for row in material.rows])
    folds = [material.fold(fold)] if fold else list(material.folds)
    answers: list[scoring.Answer] = []
    said: list[str] = []
    started = time.monotonic()
    for one in folds:
        fitted = baselines.fit(features, material.rows, material.labels, material.emotions, one)
        answers += fitted.answers
        said += [f"fold {one.index}: {line}" for line in material.audit(one).sentences()]
        scores = scoring.scores_of(material.emotions, fitted.answers)
        say(f"fold {one.index}: C {fitted.c:g}, validation UAR {100 * fitted.validation_uar:.1f} %, UAR {scores.uar}")
    what = f"{baselines.SETS[name]} and a linear SVM" + (
        ", each speaker standardised by their own clips" if by_speaker else ""
    )
    protocol = f"{experiment.split.protocol}, {len(folds)} of {len(material.folds)} folds"
    evaluation = scoring.Evaluation(material.emotions, tuple(answers), scoring.scores_of(material.emotions, answers))
    facts: dict[str, Any] = {
        "protocol": f"{protocol}; {what}", "audit": said, "recipe": experiment.text(),
        "training": f"{what}, {features.shape[1]} features, {(time.monotonic() - started) / 60:.1f} minutes.",
        "minutes": (time.monotonic() - started) / 60,
    }  # fmt: skip
    run_report.write_run(folder, f"{name} on {experiment.name}", evaluation, facts)
    files.write_text(folder / "recipe.yaml", experiment.text())
    print(f"{what}: {protocol}")
    print("\n".join(run_report.summary(evaluation.scores)))
    say(f"report: {folder / 'report.html'}")
