"""All folds of a cross-validation as one: every test speaker's answers, scored and reported together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from kanjo.cli.common import say
from kanjo.errors import KanjoError
from kanjo.experiments.pipeline import protocol_of

if TYPE_CHECKING:
    from kanjo.train.data.experiment_data import Material


def pool(folder: Path, material: Material) -> None:
    """Scores and report of all folds that are done, pooled. Raises KanjoError when none is."""
    from kanjo.evaluation import evaluate as scoring
    from kanjo.evaluation.reports import run_report

    answers, known, missing = [], [], []
    minutes = 0.0
    for fold in material.folds:
        place = folder / f"fold-{fold.index}"
        if (place / "predictions.csv").is_file():
            answers += scoring.read_answers(place / "predictions.csv")[1]
            minutes += json.loads((place / "scores.json").read_text(encoding="utf-8")).get("minutes") or 0.0
            enrolled = place / f"predictions-{run_report.ENROLLED}.csv"
            known += scoring.read_answers(enrolled)[1] if enrolled.is_file() else []
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
    facts: dict[str, Any] = {
        "protocol": protocol_of(experiment, what),
        "audit": sentences,
        "recipe": experiment.text(),
        "minutes": minutes,
    }
    told = None
    if known:
        told = scoring.Evaluation(material.emotions, tuple(known), scoring.scores_of(material.emotions, known))
        run_report.write_enrolled(folder, told)
        facts["enrolled"] = told.scores.as_dict()
    run_report.write_run(folder, f"{experiment.name}, cross-validation", pooled, facts)
    print(f"{experiment.name}, {protocol_of(experiment, what)}")
    print("\n".join(run_report.summary(pooled.scores, told.scores if told else None)))
    say(f"report: {folder / 'report.html'}")
    if missing:
        say(f"kanjo: missing folds: {', '.join(map(str, missing))}; run again with --resume -o {folder}")
        raise typer.Exit(1)
