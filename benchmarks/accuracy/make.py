"""The table of results: run every experiment, keep what it scored as JSON beside this file, write docs/results.md.

    make results                      every experiment that has no figures yet, then the page (hours on a CPU; it goes on where it stopped)
    make results ONLY=ravdess-linear  that one, anew if its run folder is gone
    make results ONLY=none            the page alone, from the JSON that is here

Corpora are expected where KANJO_CORPORA says (default ../shared/corpora). Run folders, with their reports, lie under runs/results/.
"""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
ROOT = HERE.parent
RUNS = ROOT / "runs" / "results"
PAGE = ROOT / "docs" / "results.md"
FOUR = "labels.keep=[anger,happiness,neutral,sadness]"
THREE = "corpora=[ravdess,nemo,emotiontts]"


@dataclass(frozen=True)
class Experiment:
    """``kanjo`` with these words; ``part`` of the page that its row stands in; ``system`` as the row calls it."""

    name: str
    part: str
    system: str
    words: str


PARTS = {
    "ravdess": "RAVDESS (English), EmoBox's six folds: 24 unseen speakers, 8 emotions, chance 12.5 %",
    "nemo": "nEMO (Polish), leave one speaker out: 9 unseen speakers, 6 emotions, chance 16.7 %",
    "korean": "Open emotional TTS corpus (Korean), leave one speaker out: 15 unseen speakers, 4 emotions, chance 25 %",
    "cross": "Leave one corpus out: trained on two of RAVDESS, nEMO and the Korean corpus, tested on the third; 4 emotions, chance 25 %",
    "default": "The bundle in the box: speakers-k, fold 1 of 5, 7 emotions, chance 14.3 %",
}
NEMO, KOREAN = "--set corpora=[nemo] --set split.protocol=loso", "--set corpora=[emotiontts] --set split.protocol=loso"
#: The Korean clips are few: small batches make enough steps of them; and a start from the fold of cross-mobilenet that never heard them.
FEW = "--set training.epochs=30 --set training.batch_size=8 --set init=runs/results/cross-mobilenet/fold-3"
CROSS = f"--set {THREE} --set split.protocol=cross-corpus --set {FOUR}"
#: Two layers of Whisper's encoder, whole, as the box has them; and what linear heads are fitted to where a corpus is left out.
TWO = "--set network.layers=2 --set network.read=all --set network.hidden=1536"
LEFT_OUT = f"{CROSS} --set training.balance=corpora"
EXPERIMENTS = [
    *(
        Experiment(f"{part}-{name}{'-speaker' if known else ''}", part, f"openSMILE {title}, linear SVM{', each speaker standardised' if known else ''}",
                   f"baseline {name} mobilenet {words} {'--by-speaker' if known else ''}")
        for part, words in (("ravdess", ""), ("nemo", NEMO), ("korean", KOREAN), ("cross", CROSS))
        for name, title in (("egemaps", "eGeMAPS"), ("compare", "ComParE 2016"))
        for known in ((False, True) if part == "ravdess" else (False,))
    ),
    Experiment("ravdess-cnn-lstm-2d-long", "ravdess", "cnn-lstm-2d-long", "crossval cnn-lstm-2d-long"),
    Experiment("ravdess-mobilenet", "ravdess", "mobilenet", "crossval mobilenet"),
    Experiment("ravdess-linear", "ravdess", "whisper-linear", "crossval whisper-linear"),
    Experiment("ravdess-linear-two", "ravdess", "whisper-linear, two layers", f"crossval whisper-linear {TWO}"),
    Experiment("nemo-linear", "nemo", "whisper-linear", f"crossval whisper-linear {NEMO}"),
    Experiment("nemo-linear-two", "nemo", "whisper-linear, two layers", f"crossval whisper-linear {NEMO} {TWO}"),
    Experiment("cross-mobilenet", "cross", "cross-corpus (mobilenet)", "crossval cross-corpus"),
    Experiment("cross-linear-two", "cross", "whisper-linear, two layers", f"crossval whisper-linear {LEFT_OUT} --set training.calibration=strangers {TWO}"),
    Experiment("korean-linear-two", "korean", "whisper-linear, two layers", f"crossval whisper-linear {KOREAN} {TWO}"),
    Experiment("korean-mobilenet", "korean", "mobilenet, pre-trained on RAVDESS and nEMO too", f"crossval mobilenet {KOREAN} {FEW}"),
    Experiment("default-crossval", "default", "default, float32, all five folds (48 unseen speakers)", "crossval default"),
    Experiment("default", "default", "default, int8 and fp16: what is in the box", "train default --fold 1"),
]  # fmt: skip
#: Ablations of the recipe mobilenet that were measured with settings that it no longer has.
BEFORE = {
    "few": """Measured with log-mel statistics beside the embedding; the network that training starts from also had Freq-MixStyle. Both were removed on 2026-11-29. Without them:
not measured again.""",
    "switches": "Measured with log-mel statistics beside the embedding, which were removed on 2026-11-29. Without them: not measured again.",
}
#: Who neither validated nor trained in the folds that settings for the Korean corpus were chosen on; each has as many clips of every emotion.
UNSEEN = ("emb", "emf", "nea", "nec", "ned", "nee", "nen", "neo")
NOTES = {
    "korean": """The start elsewhere and the batches of 8 were chosen on validation speakers of folds 1 to 3 (table below), and seven of the fifteen speakers are among these.
The eight that chose nothing ({unseen}): {korean-mobilenet} %; the SVM on ComParE, of the same eight, {korean-compare}.

The row `mobilenet` was measured with log-mel statistics beside the embedding, and its initial weights come from a network with these and with Freq-MixStyle. Both were removed
on 2026-11-29. Without them the row was not measured again.
""",
    "ravdess": """Published on the same six folds, features of frozen models with a trained head (EmoBox, Ma et al. 2024, arXiv 2406.07162), UAR: Whisper-large-v3 75.3 (1550 M
parameters), WavLM-large 72.0, HuBERT-large 70.0, HuBERT-base 65.4, WavLM-base 61.6, wav2vec2-base 54.3. On splits of their own, so not to be set beside these:
a network from scratch 65.2 (arXiv 2606.03359); CNN-14 finetuned (80 M) about 76 % accuracy.

The row `mobilenet` was measured with log-mel statistics beside the embedding, which were removed on 2026-11-29. Without them it was not measured again.
""",
    "cross": """The row `cross-corpus (mobilenet)` was measured with log-mel statistics beside the embedding and with Freq-MixStyle. Both were removed on 2026-11-29. Without them the row
was not measured again. These two settings were chosen with networks that were trained on RAVDESS or nEMO alone and tested on the Korean clips, so the row's score on the
Korean corpus is not independent of this choice.

The Korean corpus's README has anger and sadness the wrong way round ([corpora](corpora.md#labels-that-kanjo-reads-differently)): with its labels every one of these figures is near chance.
""",
}


def run(experiment: Experiment) -> None:
    """Run it in its folder, on from where it stopped, and keep its figures."""
    folder = RUNS / experiment.name
    words = shlex.split(experiment.words)
    corpora = os.environ.get("KANJO_CORPORA", str(ROOT.parent / "shared" / "corpora"))
    resume = ["--resume"] if words[0] in ("train", "crossval") else []
    command = [sys.executable, "-m", "kanjo", *words, "--corpus-root", corpora, "-o", str(folder), *resume]
    if not (folder / "scores.json").is_file():
        print(" ".join(command), flush=True)
        subprocess.run(command, check=True, cwd=ROOT)
    boxed = RUNS / "default-bundle"
    if (
        experiment.name == "default" and not boxed.is_dir()
    ):  # what goes into the box: with its scores under other conditions
        export = [
            "export",
            str(folder),
            "-o",
            str(boxed),
            "--int8",
            "--fp16",
            "--no-weights",
            "--conditions",
            "--corpus-root",
            corpora,
        ]
        subprocess.run([sys.executable, "-m", "kanjo", *export], check=True, cwd=ROOT)
    content = figures(boxed if experiment.name == "default" else folder, folder) | {
        "command": " ".join(["kanjo", *(shlex.quote(word) if " " in word else word for word in words)]),
        "measured": time.strftime("%Y-%m-%d"),
    }
    (HERE / f"{experiment.name}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def figures(bundles: Path, folder: Path) -> dict[str, Any]:
    """What a run folder says, in short: scores, with speakers known too, parameters, megabytes, minutes, milliseconds for a clip of 4 s."""
    scores = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
    enrolled = folder / "scores-enrolled.json"
    known = json.loads(enrolled.read_text(encoding="utf-8")) if enrolled.is_file() else None
    boxed = bundles / "bundle.json"
    if boxed.is_file():  # the box's weights are int8 and fp16: what is said of it is what it scores as it is
        facts = json.loads(boxed.read_text(encoding="utf-8"))
        scores |= {**facts["scores"], "by_corpus": facts["by_corpus"]}
        known = facts["enrolled"]
    kept = ("n", "uar", "accuracy", "macro_f1", "ece", "recalls", "sexes", "speakers", "by_corpus", "minutes")
    found: dict[str, Any] = {key: scores[key] for key in kept if scores.get(key)}
    if known:
        found["enrolled"] = {key: known[key] for key in ("n", "uar", "accuracy", "macro_f1", "ece")}
    bundle = next(iter(sorted(bundles.glob("**/model.onnx"))), None)
    if bundle:
        facts = json.loads((bundle.parent / "bundle.json").read_text(encoding="utf-8"))
        found |= {
            "parameters": facts["n_parameters"],
            "megabytes": bundle.stat().st_size / 1e6,
            "ms": milliseconds(bundle.parent),
        }
        if facts.get("conditions"):
            found["conditions"] = facts["conditions"]
    return found


def milliseconds(bundle: Path) -> float:
    """One run of the graph on 4 s, on one core: the median of 50."""
    import numpy as np

    from kanjo.inference.recognizer import load

    recognizer = load(bundle, threads=1)
    clip = np.random.default_rng(0).normal(0, 0.05, (1, recognizer.facts.window)).astype(np.float32)
    taken = []
    for _ in range(50):
        started = time.perf_counter()
        recognizer.probabilities(clip)
        taken.append(time.perf_counter() - started)
    return 1000 * float(np.median(taken))


def page() -> str:
    """docs/results.md, from the JSON beside this file alone."""
    lines = [
        "# Results",
        "",
        "Every score is of speakers that neither trained the network nor chose anything about it: epochs, temperatures and settings are chosen on",
        "validation speakers out of the training side; where the recipe says `refit`, the network is then trained anew with these. In brackets: 95 % interval,",
        "bootstrapped over test speakers. ECE: expected calibration error. A setting is the same in all folds, and who validates in one fold tests in",
        "another: settings that were chosen here (not epochs or temperatures) have been seen by some of the speakers that they are measured on.",
        "`make results` runs all of it and writes this page from what the commands wrote; the folder `benchmarks/accuracy/` has every row's JSON, and rows appear here as they",
        "are measured. One seed each: another seed moves a row by a point or two. Minutes are those of fitting: a frozen encoder's embeddings that were there already took none.",
        "",
        "**Speakers known**: the speaker was enrolled (`kanjo enroll`) with half of their clips, unlabelled, and the other half was answered; then the other way",
        "round. It is a row of its own: who compares must compare like with like (the SVM's is \"each speaker standardised\", by all of their clips).",
        "",
    ]  # fmt: skip
    for part, title in PARTS.items():
        rows = [(experiment, _read(experiment.name)) for experiment in EXPERIMENTS if experiment.part == part]
        there = [(experiment, content) for experiment, content in rows if content]
        if not there:
            continue
        lines += [
            f"## {title}",
            "",
            "| system | UAR % | accuracy % | macro-F1 % | ECE | parameters | bundle | train | 4 s, one core |",
        ]
        lines += ["|---|---|---|---|---|---|---|---|---|"]
        for experiment, content in there:
            lines.append(_row(experiment.system, content, content))
            if "enrolled" in content:
                lines.append(_row(f"{experiment.system}, **speakers known**", content["enrolled"], {}))
            if part in ("cross", "default"):
                lines += [
                    _row(f"{experiment.system}: {name} alone", alone, {})
                    for name, alone in content.get("by_corpus", {}).items()
                ]
        lines += ["", *_note(part), *_conditions(there)]
        lines += ["Commands: " + "; ".join(f"`{content['command']}`" for _, content in there) + ".", ""]
    lines += _effects()
    return "\n".join(lines).rstrip() + "\n"


def _note(part: str) -> list[str]:
    if part not in NOTES:
        return []
    if part != "korean":
        return [NOTES[part]]
    told = {"unseen": ", ".join(UNSEEN)}
    for name in ("korean-mobilenet", "korean-compare"):
        recalls = (_read(name) or {}).get("speakers")
        if not recalls:
            return []
        told[name] = f"{100 * sum(recalls[f'emotiontts/{speaker}'] for speaker in UNSEEN) / len(UNSEEN):.1f}"
    return [NOTES[part].format_map(told)]


def _row(system: str, scores: dict[str, Any], facts: dict[str, Any]) -> str:
    def percent(value: dict[str, Any]) -> str:
        span = "" if value.get("low") is None else f" [{100 * value['low']:.1f}, {100 * value['high']:.1f}]"
        return f"{100 * value['value']:.1f}{span}"

    shown = [percent(scores[key]) for key in ("uar", "accuracy", "macro_f1")]
    said = [
        f"{facts['parameters'] / 1e6:.2f} M" if "parameters" in facts else "",
        f"{facts['megabytes']:.1f} MB" if "megabytes" in facts else "",
        f"{facts['minutes']:.0f} min" if "minutes" in facts else "",
        f"{facts['ms']:.0f} ms" if "ms" in facts else "",
    ]
    return f"| {system} | {' | '.join(shown)} | {scores['ece']:.3f} | {' | '.join(said)} |"


def _conditions(rows: list[tuple[Experiment, dict[str, Any]]]) -> list[str]:
    lines = []
    for experiment, content in rows:
        if "conditions" in content:
            lines += [
                f"`{experiment.system}` on the same utterances as they might have come:",
                "",
                "| condition | UAR % |",
                "|---|---|",
            ]
            lines += [f"| {name} | {100 * uar['value']:.1f} |" for name, uar in content["conditions"].items()] + [""]
    return lines


def _effects() -> list[str]:
    """What single changes are worth, on validation speakers: benchmarks/accuracy/effects*.csv, written by ``kanjo ablate --seeds``."""
    lines: list[str] = []
    for path in sorted(HERE.glob("effects*.csv")):
        with path.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
        said = re.sub(r"^effects-?", "", path.stem) or "mobilenet"
        own = HERE / f"{said}.yaml"
        what = str(yaml.safe_load(own.read_text(encoding="utf-8"))["description"]) if own.is_file() else f"`{said}`"
        said = f"results/{own.name}" if own.is_file() else said
        lines += [f"## What single changes are worth: {what}; validation speakers", ""]
        lines += [
            "UAR of the last epoch on validation speakers, mean and standard deviation over seeds (each seed on a fold of its own; the difference is",
            f"seed by seed). No test speaker was heard. `kanjo ablate {said} --seeds {rows[0]['seeds']}`",
            "",
            *([BEFORE[own.stem], ""] if own.stem in BEFORE else []),
            "| recipe | UAR % | deviation | difference | deviation | speakers known |",
            "|---|---|---|---|---|---|",
        ]
        for row in rows:
            cells = [
                f"{100 * float(row[key]):{'+' if key == 'difference' else ''}.1f}" if row[key] else ""
                for key in ("uar", "spread", "difference", "difference_spread", "enrolled")
            ]
            lines.append(f"| {row['variant']} | {' | '.join(cells)} |")
        lines.append("")
    return lines


def _read(name: str) -> dict[str, Any] | None:
    path = HERE / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def main() -> None:
    only = os.environ.get("ONLY", "")
    for experiment in EXPERIMENTS:
        if (experiment.name == only) if only else not (HERE / f"{experiment.name}.json").is_file():
            run(experiment)
    PAGE.write_text(page(), encoding="utf-8")
    print(f"written: {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
