"""Run the experiments of docs/benchmarks/accuracy.md, and write the page from their scores.

    make results                      every experiment that has no scores yet, then the page (hours on a CPU; resumes)
    make results ONLY=ravdess-linear  one experiment; it is run again if its run folder was removed
    make results ONLY=none            only the page, from the JSON files in this folder

The environment variable KANJO_CORPORA names the folder of the corpora (default: ../shared/corpora). The run folders
with their reports are in runs/results/.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from published_pictures import collect_curves, draw_published, is_published
from results_page import render_page

from experiments import EXPERIMENTS, SYNTHETIC, Experiment

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]
RUNS = ROOT / "runs" / "results"
PAGE = ROOT / "docs" / "benchmarks" / "accuracy.md"
#: The runs of these experiments are exported as the built-in bundles: with smaller weights and scores of robustness.
BUILTIN = ("default", "small")
EXPORT_OPTIONS = ["--int8", "--fp16", "--no-weights", "--robustness"]
_SCORES = (
    "n",
    "uar",
    "accuracy",
    "macro_f1",
    "ece",
    "recalls",
    "uar_by_sex",
    "uar_by_speaker",
    "scores_by_corpus",
    "training_minutes",
)
_SCORES_ENROLLED = ("n", "uar", "accuracy", "macro_f1", "ece")
_LATENCY_RUNS = 50


def main() -> None:
    """Run what is missing, or the experiment that ONLY names, and write the page."""
    only = os.environ.get("ONLY", "")
    for experiment in EXPERIMENTS:
        is_missing = not (FOLDER / f"{experiment.name}.json").is_file()
        if experiment.name == only or (not only and is_missing):
            run_experiment(experiment)
    draw_published()
    PAGE.write_text(render_page(FOLDER), encoding="utf-8")
    print(f"written: {PAGE.relative_to(ROOT)}")


def run_experiment(experiment: Experiment) -> None:
    """Run an experiment, or resume it, and write its scores as JSON."""
    run = RUNS / experiment.name
    arguments = shlex.split(experiment.command)
    if arguments[0] == "benchmark":
        _kanjo([*arguments, "-o", str(run)], experiment.corpus_root)
        _write_scores(experiment, collect_benchmark(run))
        return
    if not (run / "scores.json").is_file():
        resume = ["--resume"] if arguments[0] in ("train", "crossval") else []
        _kanjo([*arguments, "-o", str(run), *resume], experiment.corpus_root)
    bundles = run
    if experiment.name in BUILTIN:
        bundles = RUNS / f"{experiment.name}-bundle"
        if not bundles.is_dir():
            _kanjo(["export", str(run), "-o", str(bundles), *EXPORT_OPTIONS])
    content = collect_scores(run, bundles)
    if is_published(experiment.section):
        scores = _read_json(run / "scores.json")
        content |= {key: scores[key] for key in ("labels", "confusion_matrix")} | {"curves": collect_curves(run)}
    _write_scores(experiment, content)


def _write_scores(experiment: Experiment, scores: dict[str, Any]) -> None:
    content = {**scores, "command": f"kanjo {experiment.command}", "measured": time.strftime("%Y-%m-%d")}
    (FOLDER / f"{experiment.name}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def collect_benchmark(run: Path) -> dict[str, Any]:
    """Collect the scores of a bundle on each corpus, as ``kanjo benchmark`` writes them, without confusion matrices."""
    content = _read_json(run / "benchmark.json")
    for corpus in content["corpora"]:
        if corpus["error"]:
            continue
        for key in ("among_bundle_labels", "among_corpus_labels"):
            corpus[key] = {name: corpus[key][name] for name in (*_SCORES_ENROLLED, "recalls")}
        corpus["enrolled"] = {
            n_clips: {name: scores[name] for name in _SCORES_ENROLLED} for n_clips, scores in corpus["enrolled"].items()
        }
    return content


def collect_scores(run: Path, bundles: Path) -> dict[str, Any]:
    """Collect scores, and size and latency of the model.

    Args:
        run: The run folder.
        bundles: A folder below which the bundle of the run is. If it is itself an exported bundle, the scores are
            those of this bundle, because its weights are not those of the run.
    """
    scores = _read_json(run / "scores.json")
    enrolled_file = run / "scores-enrolled.json"
    scores_enrolled = _read_json(enrolled_file) if enrolled_file.is_file() else None
    if (bundles / "bundle.json").is_file():
        metadata = _read_json(bundles / "bundle.json")
        scores |= {**metadata["scores"], "scores_by_corpus": metadata["scores_by_corpus"]}
        scores_enrolled = metadata["scores_enrolled"]
    content: dict[str, Any] = {key: scores[key] for key in _SCORES if scores.get(key)}
    if scores_enrolled:
        content["scores_enrolled"] = {key: scores_enrolled[key] for key in _SCORES_ENROLLED}
    graphs = sorted(bundles.glob("**/model.onnx"))
    if graphs:
        metadata = _read_json(graphs[0].parent / "bundle.json")
        content["n_parameters"] = metadata["n_parameters"]
        content["model_megabytes"] = graphs[0].stat().st_size / 1e6
        content["latency_ms"] = measure_latency_ms(graphs[0].parent)
        if metadata.get("robustness"):
            content["robustness"] = metadata["robustness"]
    return content


def measure_latency_ms(bundle: Path) -> float:
    """Median duration of the graph for one window on one core."""
    from kanjo.inference.recognizer import load

    recognizer = load(bundle, threads=1)
    signal = np.random.default_rng(0).normal(0, 0.05, (1, recognizer.metadata.window_length)).astype(np.float32)
    durations_s = []
    for _ in range(_LATENCY_RUNS):
        started = time.perf_counter()
        recognizer.probabilities(signal)
        durations_s.append(time.perf_counter() - started)
    return 1000 * float(np.median(durations_s))


def _kanjo(arguments: list[str], corpus_root: str = "") -> None:
    corpora = corpus_root or os.environ.get("KANJO_CORPORA", str(ROOT.parent / "shared" / "corpora"))
    if corpus_root == SYNTHETIC and not (ROOT / SYNTHETIC).is_dir():
        subprocess.run([sys.executable, str(FOLDER / "synthetic_corpora.py"), SYNTHETIC], check=True, cwd=ROOT)
    command = [sys.executable, "-m", "kanjo", *arguments, "--corpus-root", corpora]
    print(shlex.join(command), flush=True)
    subprocess.run(command, check=True, cwd=ROOT)


def _read_json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


if __name__ == "__main__":
    main()
