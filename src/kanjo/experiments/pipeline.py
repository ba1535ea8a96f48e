"""Run folders: which one a command means, and what happens in it from recipe to report."""

from __future__ import annotations

import csv
import json
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from kanjo import bundle, files
from kanjo.cli.common import progress, say
from kanjo.errors import KanjoError, RecipeError
from kanjo.experiments.scoring import tested

if TYPE_CHECKING:
    from kanjo.corpora.splits import Fold
    from kanjo.train.config.schema import Recipe
    from kanjo.train.data.experiment_data import Material
    from kanjo.train.fit import Fitted
    from kanjo.train.tasks.two_stage import Finetuned

log = logging.getLogger("kanjo")
FINETUNE, TRAIN = "finetune", "train"
#: What an untested run leaves.
VALIDATION = "validation.json"


def experiment_of(name: str, overrides: list[str] | None, corpus_root: str | None, fold: int | None) -> Recipe:
    """The recipe that a command means. Raises KanjoError where the extra ``train`` isn't installed."""
    try:
        from kanjo.train.config.loading import load_recipe
    except ImportError as error:
        raise KanjoError(f"training needs more than the core install: pip install 'kanjo[train]' ({error})") from error
    extra = [f"split.fold={fold}"] if fold else []
    return load_recipe(name, [*(overrides or []), *extra], corpus_root)


def run_folder(experiment: Recipe, output: Path | None, resume: bool, kind: str, stage: str = "") -> Path:
    """The folder of a run: the one that was named, or a new one, or the one to go on with. Raises RecipeError.

    A second stage goes into the folder of the newest first stage that still waits for it.
    """
    if output is None:
        home = Path("runs") / experiment.name
        earlier = sorted(home.glob(f"*-{kind}"))
        waiting = [run for run in earlier if (run / FINETUNE).is_dir() and not (run / "checkpoints").exists()]
        if stage == TRAIN and waiting:
            output = waiting[-1]
        elif resume and not earlier:
            raise RecipeError(f"nothing to resume: no run under {home} ends in {kind}; name one with -o")
        else:
            output = earlier[-1] if resume else home / f"{time.strftime('%Y%m%d-%H%M%S')}-{kind}"
    # one stage alone goes into a folder that has the other's, or nothing but its recipe
    begun = {FINETUNE: [output / FINETUNE, output / "checkpoints"], TRAIN: [output / "checkpoints"]}.get(
        stage, [output]
    )
    if not resume and any(folder.is_dir() and any(folder.iterdir()) for folder in begun):
        raise RecipeError(f"{output} is not empty; go on with it by --resume, or choose another place with -o")
    return output


def settle(experiment: Recipe, run: Path, resume: bool) -> Recipe:
    """The recipe with what "auto" comes to written in; a run that goes on keeps what it began with.

    Raises RecipeError when the run was begun with another recipe.
    """
    from kanjo.train.config.loading import load_recipe
    from kanjo.train.models.pretrained_weights import AUTO, NONE, published_of, settled

    stored = run / "recipe.yaml"
    begun = load_recipe(str(stored)) if stored.is_file() else None
    source = getattr(experiment.network, "weights", "")
    if source == AUTO:
        known = getattr(begun.network, "weights", "") if begun else ""
        if experiment.init:
            known = NONE  # the bundle's weights take their place
        source, why = (known, "") if known else settled(source, published_of(experiment.network))
        if why:
            say(why)
        network = experiment.network.model_copy(update={"weights": source})
        experiment = experiment.model_copy(update={"network": network})
    aside: dict[str, Any] = {"ablations": {}, "tune": None}  # other commands' business: no run depends on them
    if begun is not None and resume and begun.model_copy(update=aside) != experiment.model_copy(update=aside):
        raise RecipeError(f"{run} was begun with another recipe (compare {stored}); resume it with the same one")
    return experiment


def run_fold(
    experiment: Recipe,
    corpus_root: str | None,
    run: Path,
    *,
    stage: str,
    resume: bool,
    threads: int,
    silent: bool,
    untested: bool = False,
) -> None:
    """One fold from recipe to report, to its validation scores (``untested``), or one of its two stages; of several processes (torchrun) the first tests and reports."""
    from kanjo.train.distributed import rank_and_size
    from kanjo.train.fit import fit
    from kanjo.train.tasks.two_stage import minutes_of

    rank, size = rank_and_size()
    if size > 1 and experiment.training.optimizer == "lbfgs":
        raise RecipeError(
            f"{experiment.name} fits its heads to all utterances at once, in one process; start it without torchrun"
        )
    if size > 1 and experiment.network.type == "dcnn-blstm-attention":
        raise RecipeError(f"{experiment.name} has two stages, which train in one process; start it without torchrun")
    silent = silent or rank > 0
    with logged(run, silent, rank == 0):
        with progress("decoding", silent) as show:
            material = prepared(experiment, corpus_root, show)
        fold = material.fold(experiment.split.fold)
        sentences = note_split(run, material, fold) if rank == 0 else []
        try:
            extractor = _first_stage(material, fold, run, stage, resume, threads, silent)
            if stage == FINETUNE:
                say(f"extractor: {extractor}   next: kanjo train {run} --stage train -o {run}")
                return
            shown = not silent and sys.stderr.isatty()
            fitted = fit(
                material,
                fold,
                run,
                extractor=extractor,
                resume=resume,
                threads=threads,
                progress=shown,
                refit=not untested,
            )
            if extractor:  # of two stages both took their time
                fitted = replace(fitted, minutes=fitted.minutes + minutes_of(extractor))
        except KeyboardInterrupt:
            say(f"kanjo: stopped; go on with --resume -o {run}")
            raise typer.Exit(130) from None
        if rank > 0:
            return
        if untested:
            _note_validation(run, fitted)
            return
        score_run(material, fold, sentences, fitted, run, threads, silent)
    say(f"run folder: {run}   report: {run / 'report.html'}   try: kanjo predict --model {run} clip.wav")


def _note_validation(run: Path, fitted: Fitted) -> None:
    """``validation.json``: UAR of the last epoch and of the best, and with speakers known; shares of 1."""
    with (run / "metrics.csv").open(encoding="utf-8", newline="") as stream:
        last = list(csv.DictReader(stream))[-1]
    enrolled = fitted.enrolled.validation_uar if fitted.enrolled else None
    content = {
        "uar": float(last["validation_uar"]),
        "best_uar": fitted.validation_uar,
        "enrolled": enrolled,
        "minutes": fitted.minutes,
    }
    files.write_text(run / VALIDATION, json.dumps(content) + "\n")
    print(f"validation speakers: UAR {100 * float(last['validation_uar']):.1f} % at the last epoch; {_said(fitted)}")


def look_ahead(experiment: Recipe, corpus_root: str | None, threads: int, silent: bool) -> None:
    """What a run would be and cost."""
    from kanjo.train import cost_estimate
    from kanjo.train.models.pretrained_weights import AUTO, NONE

    if (
        getattr(experiment.network, "weights", "") == AUTO
    ):  # what a run costs doesn't depend on them, so they aren't fetched
        experiment = experiment.model_copy(update={"network": experiment.network.model_copy(update={"weights": NONE})})
    with progress("decoding", silent) as show:
        material = prepared(experiment, corpus_root, show)
    fold = material.fold(experiment.split.fold)
    for line in [*material.audit(fold).sentences(), *_inherited_leak(material, fold)]:
        print(line)
    found = cost_estimate.cost(material, fold, threads)
    clips = experiment.training.batch_size / found.seconds_a_step
    print(f"{experiment.name}: {found.parameters:,} parameters, emotions {', '.join(material.emotions)}")
    print(f"{found.steps} steps an epoch, {found.seconds_a_step:.2f} s each ({clips:.0f} clips/s)")
    print(
        f"at most {found.minutes:.0f} minutes for {experiment.training.epochs} epochs, {found.peak_mb / 1024:.1f} GB of memory"
    )


def note_split(run: Path, material: Material, fold: Fold) -> list[str]:
    """Recipe and split into the run's folder; what the split leaks into the log, and returned."""
    from kanjo.train.data.experiment_data import write_split

    files.write_text(run / "recipe.yaml", material.recipe.text())
    write_split(run / "split.csv", material, fold)
    sentences = [*material.audit(fold).sentences(), *_inherited_leak(material, fold)]
    for line in sentences:
        log.info("%s", line)
    return sentences


def _inherited_leak(material: Material, fold: Fold) -> list[str]:
    """What the bundle that training starts from has heard of the test speakers."""
    from kanjo.train.warm_start import inherited

    found = []
    test = {material.rows[i].speaker_key for i in fold.test} - {""}
    for before in inherited(material.recipe):
        shared = len(test & set(before.split.get("train_speakers", ())))
        found.append(
            f"LEAK: the bundle {before.name}, which training starts from, was trained on {shared} of {len(test)} test speakers"
            if shared
            else f"the bundle {before.name}, which training starts from, has heard none of the test speakers"
        )
    return found


def _first_stage(
    material: Material, fold: Fold, run: Path, stage: str, resume: bool, threads: int, silent: bool
) -> Path | None:
    """The finetuned extractor: made now, or (for the second stage alone, and in a run that goes on) found. None: no such stage."""
    from kanjo.train.tasks.two_stage import find_extractor, finetune

    if material.recipe.finetune is None and stage != FINETUNE:
        return None
    if stage == TRAIN or resume:
        known = find_extractor(material, fold, run)
        if known is not None and (stage == TRAIN or known.is_relative_to(run)):
            log.info("extractor: %s", known)
            return known
        if stage == TRAIN:
            raise RecipeError(
                f"no finetuned extractor of this recipe and fold in {run} or beside it; make one: "
                f"kanjo train {run} --stage finetune -o {run}"
            )
    shown = not silent and sys.stderr.isatty()
    made = finetune(material, fold, run, resume=resume, threads=threads, progress=shown)
    _draw_stage(material, made)
    return made.path


def _draw_stage(material: Material, made: Finetuned) -> None:
    """The first stage's pictures: how its segments were told apart, on validation speakers, and its learning curves."""
    import numpy as np

    from kanjo.evaluation import metrics
    from kanjo.evaluation.reports import run_report

    truths, shares = np.asarray(made.truths), np.asarray(made.probabilities)
    run_report.write_stage(made.path.parent, metrics.score(material.emotions, truths, shares, made.speakers))


def score_run(
    material: Material,
    fold: Fold,
    sentences: list[str],
    fitted: Fitted,
    run: Path,
    threads: int,
    silent: bool,
) -> None:
    """Export, then answer the test utterances with what was exported, as users will."""
    from kanjo.evaluation.reports import run_report
    from kanjo.train.export.onnx import export as make_bundle

    experiment = material.recipe
    made = make_bundle(material, fold, fitted, run / "bundle", _split_facts(material, fold, sentences))
    log.info("bundle written; torch and ONNX Runtime agree to %.1e", made.facts.parity["largest_difference"])
    done = tested(made, material, fold, threads, silent)
    facts = {
        "protocol": protocol_of(experiment, fold.name),
        "audit": sentences,
        "recipe": experiment.text(),
        "training": _said(fitted),
        "minutes": fitted.minutes,
        "pictures": _seen(material, fold, fitted),
        "enrolled": done.facts.enrolled,
    }
    if done.known:
        run_report.write_enrolled(run, done.known)
    run_report.write_run(run, f"{experiment.name}, {fold.name}", done.found, facts)
    bundle.rewrite_facts(made.folder, done.facts)
    lines = run_report.summary(done.found.scores, done.known.scores if done.known else None)
    for line in lines:
        log.debug("test: %s", line)  # into log.txt; the terminal gets it on stdout
    print("\n".join(lines))


def _seen(material: Material, fold: Fold, fitted: Fitted) -> dict[str, Any]:
    """What the network sees of one test utterance of each emotion, drawn; nothing for networks over raw samples."""
    from kanjo.evaluation.reports import figures
    from kanjo.train.features.log_mel import LogMel
    from kanjo.train.features.spectrogram_images import log_mels_of

    frontend = fitted.system.frontend
    if not isinstance(frontend, LogMel):
        return {}
    first = {material.rows[i].emotion: i for i in reversed(fold.test)}
    chosen = [(name, first[name]) for name in material.emotions if name in first]
    features = log_mels_of(frontend, [material.pack.signal(i) for _, i in chosen], material.recipe.audio.window)
    hop_s = frontend.power.hop_length / material.recipe.audio.sample_rate
    return {"log_mels": figures.log_mels(features, [name for name, _ in chosen], hop_s)}


def prepared(experiment: Recipe, corpus_root: str | None, show: Any) -> Material:
    """The recipe's corpora, split and decoded."""
    from kanjo.train.data.experiment_data import prepare

    return prepare(experiment, corpus_root, show)


def _split_facts(material: Material, fold: Fold, sentences: list[str]) -> dict[str, Any]:
    from kanjo.train.warm_start import inherited

    heard = [name for before in inherited(material.recipe) for name in before.split.get("train_speakers", ())]

    def speakers(part: tuple[int, ...]) -> list[str]:
        return sorted({material.rows[i].speaker_key for i in part} - {""})

    return {
        "protocol": material.recipe.split.protocol,
        "fold": fold.index,
        "note": fold.name,
        "audit": sentences,
        "train_speakers": sorted({*heard, *speakers(fold.train), *speakers(fold.validation)}),
        "validation_speakers": speakers(fold.validation),
        "test_speakers": speakers(fold.test),
    }


def protocol_of(experiment: Recipe, what: str) -> str:
    return f"{experiment.split.protocol}, {what}; corpora: {', '.join(section.name for section in experiment.corpora)}"


def _said(fitted: Fitted) -> str:
    uar = f"{100 * fitted.validation_uar:.1f} %"
    kept = (
        f"Validation UAR {uar} at epoch {fitted.best_epoch}"
        if fitted.first
        else f"Best epoch {fitted.best_epoch} by validation UAR ({uar})"
    )
    doubt = (
        f" (up to {fitted.doubt.furthest**fitted.doubt.plain:.1f} times that for what sounds strange)"
        if fitted.doubt
        else ""
    )
    again = " Then trained anew, on the validation speakers too: that one is tested and kept." if fitted.first else ""
    return f"{kept}, temperature {fitted.temperature:.2f}{doubt}, {fitted.minutes:.1f} minutes of training.{again}"


@contextmanager
def logged(run: Path, silent: bool, first: bool = True) -> Iterator[None]:
    """The run's log goes to ``log.txt`` (of several processes the ``first``'s) and, unless silent, to stderr."""
    handlers: list[logging.Handler] = []
    try:
        if first:  # the others write nothing, or the first would find its folder not empty
            run.mkdir(parents=True, exist_ok=True)
            handlers.append(logging.FileHandler(run / "log.txt", encoding="utf-8"))
            handlers[0].setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    except OSError as error:
        raise KanjoError(f"can't write {run}: {files.reason(error)}") from error
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
