"""Render docs/benchmarks/accuracy.md from the JSON and CSV files of this folder."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import yaml

from experiments import EXPERIMENTS, SECTIONS, Experiment
from kanjo.evaluation.metrics import format_interval

_INTRODUCTION = """# Accuracy: scores of all experiments

This page lists the scores of all models and recipes, with 95 % intervals. To score a model on your own recordings:

```console
$ kanjo evaluate default mine.csv
```

Every score is of speakers that were neither used for training nor for any choice about the model: epochs, temperatures
and settings are chosen on validation speakers, which come from the training speakers. If the recipe sets
`refit_on_train_val`, the model is then trained again on training and validation speakers. In brackets: 95 % interval,
bootstrap over test speakers. ECE: expected calibration error. The settings are the same in all folds, and a validation
speaker of one fold is a test speaker of another one: settings that were chosen here (not epochs or temperatures) depend
on some of the speakers that they are tested on. `make results` runs all experiments and writes this page; the folder
`benchmarks/accuracy/` has the JSON file of every row, and a row appears here when it has been measured. One seed for
each row: another seed changes a score by one or two points. The minutes are those of the training, without embeddings
of a frozen encoder that were in the cache. Minutes and milliseconds of the published models are from a machine that did
other work at the same time; they can be several times too long.

**With enrollment**: each speaker was enrolled (`kanjo enroll`) with half of their clips, without labels, to predict the
other half; then the other way round. These scores have rows of their own and must not be compared with scores without
enrollment. ("Each speaker standardized" of the SVM uses all clips of a speaker, without labels.)
"""

_TABLE_HEAD = [
    "| system | UAR % | accuracy % | macro-F1 % | ECE | parameters | bundle | training | 4 s, one core |",
    "|---|---|---|---|---|---|---|---|---|",
]
_EFFECTS_HEAD = [
    "| recipe | UAR % | std | difference | std | with enrollment |",
    "|---|---|---|---|---|---|",
]
_BENCHMARK_HEAD = [
    "| corpus | speakers | utterances | classes | chance | UAR %, all labels | UAR % | accuracy % | ECE | {clips} |",
    "|---|---|---|---|---|---|---|---|---|{lines}|",
]
_BENCHMARK_NOTE = """`UAR %, all labels`: among the {n_labels} emotions of the bundle. The other scores are among the
emotions that occur in the corpus: the probabilities of the other ones are set to zero and the rest is divided by its
sum. The last columns: each speaker enrolled with so many clips, without their labels. Corpora that the bundle was not
trained on: {unseen}. {omitted}
"""
#: A score of fewer utterances says too little.
_MIN_UTTERANCES = 50
#: Sections that also show the scores of each corpus.
_BY_CORPUS = ("cross", "default")

#: Test speakers of the Korean corpus that no setting was chosen on; each has equally many clips of every emotion.
_UNUSED_SPEAKERS = ("emb", "emf", "nea", "nec", "ned", "nee", "nen", "neo")
#: Experiments with the UAR of these speakers in the note of the Korean section.
_UNUSED_SPEAKER_EXPERIMENTS = ("korean-mobilenet", "korean-compare")

_NOTES = {
    "korean": """The pre-training and the batch size of 8 were chosen on validation speakers of folds 1 to 3 (table
below); seven of the fifteen test speakers are among them. UAR of the eight other speakers ({speakers}):
{korean-mobilenet} %; of the SVM on ComParE, on the same eight speakers, {korean-compare} %.

The row `mobilenet` was measured with log-mel statistics as additional input of the classifier, and its initial weights
come from a model with these statistics and with Freq-MixStyle. Both were removed on 2026-11-29; the row was not
measured again without them.
""",
    "ravdess": """Published UARs on the same six folds, of frozen models with a trained classifier (EmoBox, Ma et al.
2024, arXiv 2406.07162): Whisper-large-v3 75.3 (1550 M parameters), WavLM-large 72.0, HuBERT-large 70.0, HuBERT-base
65.4, WavLM-base 61.6, wav2vec2-base 54.3. On other splits, which can't be compared with these: a model trained from
scratch 65.2 (arXiv 2606.03359); CNN-14 finetuned (80 M) about 76 % accuracy.

The row `mobilenet` was measured with log-mel statistics as additional input of the classifier, which were removed on
2026-11-29; the row was not measured again without them.
""",
    "cross": """The row `cross-corpus (mobilenet)` was measured with log-mel statistics as additional input of the
classifier and with Freq-MixStyle. Both were removed on 2026-11-29; the row was not measured again without them. These
two settings were chosen with models that were trained on RAVDESS or nEMO alone and tested on the Korean clips, so that
the row's score on the Korean corpus is not independent of this choice.

The README of the Korean corpus exchanges anger and sadness
([corpora](../reference/corpora.md#labels-that-kanjo-reads-differently)); with its labels every one of these scores is
near chance.
""",
}

#: Notes on ablations that were measured with settings that kanjo no longer has, by name of the ablation.
_EFFECTS_NOTES = {
    "additional-corpora": """Measured with one layer of an older encoder (`whisper-linear`); not measured with
`whisper-base`.
""",
    "small-corpus": """Measured with log-mel statistics as additional input of the classifier; the model that training
starts from also had Freq-MixStyle. Both were removed on 2026-11-29; not measured again without them.
""",
    "training-options": """Measured with log-mel statistics as additional input of the classifier, which were removed on
2026-11-29; not measured again without them.
""",
}


def render_page(folder: Path) -> str:
    """Render the page; sections and rows without measured scores are left out.

    Args:
        folder: Folder with one JSON file for each experiment and one ``effects-NAME.csv`` for each ablation.
    """
    lines = [_INTRODUCTION]
    for section, title in SECTIONS.items():
        measured = [
            (experiment, scores)
            for experiment in EXPERIMENTS
            if experiment.section == section and (scores := _read_scores(folder, experiment.name))
        ]
        if measured:
            lines += [f"## {title}", "", *_section(folder, section, measured)]
    for path in sorted(folder.glob("effects-*.csv")):
        lines += _effects(path)
    return "\n".join(lines).rstrip() + "\n"


def _section(folder: Path, section: str, measured: list[tuple[Experiment, dict[str, Any]]]) -> list[str]:
    """The table of a section, with its note, robustness and commands."""
    if section == "benchmark":
        return [line for _, scores in measured for line in _benchmark(scores)]
    lines = [*_TABLE_HEAD]
    for experiment, scores in measured:
        lines.append(_row(experiment.system, scores, scores))
        if "scores_enrolled" in scores:
            lines.append(_row(f"{experiment.system}, **with enrollment**", scores["scores_enrolled"], {}))
        if section in _BY_CORPUS:
            by_corpus = scores.get("scores_by_corpus", {})
            lines += [_row(f"{experiment.system}: only {name}", item, {}) for name, item in by_corpus.items()]
    lines += ["", *_note(folder, section)]
    for experiment, scores in measured:
        if "robustness" in scores:
            lines += _robustness(experiment.system, scores["robustness"])
    commands = "; ".join(f"`{scores['command']}`" for _, scores in measured)
    lines += [f"Commands: {commands}.", ""]
    if section.startswith("published"):
        lines += _not_measured(folder, section)
    return [*lines, *_picture(section, measured)]


def _not_measured(folder: Path, section: str) -> list[str]:
    """The experiments of a section that have no scores yet, with their commands."""
    missing = [e for e in EXPERIMENTS if e.section == section and not _read_scores(folder, e.name)]
    if not missing:
        return []
    return ["Not measured: " + "; ".join(f"{e.system} (`kanjo {e.command}`)" for e in missing) + ".", ""]


def _picture(section: str, measured: list[tuple[Experiment, dict[str, Any]]]) -> list[str]:
    """The picture of learning curves and confusion matrices that ``published_pictures.py`` draws."""
    if not any("curves" in scores for _, scores in measured):
        return []
    text = "Accuracy of each epoch, and the confusion matrix of the test utterances, of each row of the table"
    return [f"![{text}](../pictures/{section}.png)", ""]


def _row(system: str, scores: dict[str, Any], model: dict[str, Any]) -> str:
    """One row of a table; ``model`` may have the size of the model, its latency and the duration of its training."""
    cells = [format_interval(**scores[key], unit="") for key in ("uar", "accuracy", "macro_f1")]
    cells.append(f"{scores['ece']:.3f}")
    cells.append(f"{model['n_parameters'] / 1e6:.2f} M" if "n_parameters" in model else "")
    cells.append(f"{model['model_megabytes']:.1f} MB" if "model_megabytes" in model else "")
    cells.append(f"{model['training_minutes']:.0f} min" if "training_minutes" in model else "")
    cells.append(f"{model['latency_ms']:.0f} ms" if "latency_ms" in model else "")
    return f"| {system} | {' | '.join(cells)} |"


def _benchmark(scores: dict[str, Any]) -> list[str]:
    """The table of a bundle on every corpus, as ``kanjo benchmark`` measures it."""
    measured = [corpus for corpus in scores["corpora"] if not corpus["error"]]
    corpora = [corpus for corpus in measured if corpus["utterances"] >= _MIN_UTTERANCES]
    small = [f"{corpus['corpus']} ({corpus['utterances']} utterances)" for corpus in measured if corpus not in corpora]
    clips = list(dict.fromkeys(n_clips for corpus in corpora for n_clips in corpus["enrolled"]))
    names = {
        "clips": " | ".join(f"{n} clip{'' if n == '1' else 's'}" for n in clips),
        "lines": "|".join("---" for _ in clips),
    }
    lines = [line.format_map(names) for line in _BENCHMARK_HEAD]
    for corpus in corpora:
        plain, enrolled = corpus["among_corpus_labels"], corpus["enrolled"]
        cells = [corpus["corpus"], corpus["speakers"], corpus["utterances"], len(corpus["emotions"])]
        cells += [
            f"{100 * corpus['chance_uar']:.1f} %",
            format_interval(**corpus["among_bundle_labels"]["uar"], unit=""),
        ]
        cells += [format_interval(**plain[key], unit="") for key in ("uar", "accuracy")]
        cells += [f"{plain['ece']:.3f}"]
        cells += [format_interval(**enrolled[n]["uar"], unit="") if n in enrolled else "" for n in clips]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    unseen = [corpus["corpus"] for corpus in corpora if not corpus["omitted_utterances_of_training_speakers"]]
    note = _BENCHMARK_NOTE.format(
        n_labels=len(scores["labels"]),
        unseen=", ".join(unseen) or "none",
        omitted=f"Not in the table, because it is too small: {', '.join(small)}." if small else "",
    )
    seconds = sum(corpus["seconds"] for corpus in scores["corpora"])
    return [*lines, "", note, f"Command: `{scores['command']}` ({seconds:.0f} s on two cores).", ""]


def _note(folder: Path, section: str) -> list[str]:
    """The note below a table."""
    if section not in _NOTES:
        return []
    if section != "korean":
        return [_NOTES[section]]
    values = {"speakers": ", ".join(_UNUSED_SPEAKERS)}
    for name in _UNUSED_SPEAKER_EXPERIMENTS:
        uars = (_read_scores(folder, name) or {}).get("uar_by_speaker")
        if not uars:
            return []
        mean = sum(uars[f"emotiontts/{speaker}"] for speaker in _UNUSED_SPEAKERS) / len(_UNUSED_SPEAKERS)
        values[name] = f"{100 * mean:.1f}"
    return [_NOTES[section].format_map(values)]


def _robustness(system: str, uars: dict[str, dict[str, float]]) -> list[str]:
    """UAR on degraded copies of the test utterances."""
    rows = [f"| {name} | {100 * uar['value']:.1f} |" for name, uar in uars.items()]
    return [
        f"`{system}` on degraded copies of the test utterances:",
        "",
        "| degradation | UAR % |",
        "|---|---|",
        *rows,
        "",
    ]


def _effects(path: Path) -> list[str]:
    """The table of an ablation on validation speakers, as ``kanjo ablate --seeds`` writes it."""
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    name = re.sub(r"^effects-", "", path.stem)
    recipe = path.parent / f"{name}.yaml"
    title, command_recipe = f"`{name}`", name
    if recipe.is_file():
        title = yaml.safe_load(recipe.read_text(encoding="utf-8"))["description"]
        command_recipe = f"benchmarks/accuracy/{recipe.name}"
    lines = [
        f"## Ablation: {title}; validation speakers",
        "",
        "UAR of the last epoch on validation speakers: mean and standard deviation (std) over seeds. Each seed uses",
        "another fold; differences are taken seed by seed. No test speaker was used.",
        f"`kanjo ablate {command_recipe} --seeds {rows[0]['seeds']}`",
        "",
        *([_EFFECTS_NOTES[name]] if name in _EFFECTS_NOTES else []),
        *_EFFECTS_HEAD,
    ]
    for row in rows:
        cells = [_percent(row[key]) for key in ("uar", "spread")]
        cells += [
            _percent(row["difference"], sign="+"),
            *(_percent(row[key]) for key in ("difference_spread", "enrolled")),
        ]
        lines.append(f"| {row['variant']} | {' | '.join(cells)} |")
    return [*lines, ""]


def _percent(text: str, sign: str = "") -> str:
    """A fraction from a CSV file in percent; empty cells stay empty."""
    return f"{100 * float(text):{sign}.1f}" if text else ""


def _read_scores(folder: Path, name: str) -> dict[str, Any] | None:
    """The scores of an experiment; None if it has not been measured."""
    path = folder / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
