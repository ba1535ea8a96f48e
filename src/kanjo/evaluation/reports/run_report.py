"""What a run folder says of its test side: predictions, scores, pictures and the report page."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kanjo import files
from kanjo.evaluation.evaluate import Answer, Evaluation, by_corpus, write_answers
from kanjo.evaluation.metrics import Scores
from kanjo.evaluation.reports import figures, html
from kanjo.evaluation.reports.figures import Picture

#: A map of more than this many utterances is drawn of a sample of them.
_MAPPED = 2000
#: What the files of the scores with known speakers are called, and how their lines begin.
ENROLLED, ENROLLED_SAID = "enrolled", "speakers known (enrolled with half of their clips, unlabelled)"
_VERSIONS = ("kanjo", "torch", "lightning", "onnxruntime", "numpy", "soundfile", "soxr")


def write_run(run: Path, title: str, evaluation: Evaluation, facts: Mapping[str, Any]) -> None:
    """Everything a run folder says of its test side: predictions.csv, scores.json, PNG and SVG pictures, report.html.

    ``facts``: "audit" (sentences), "protocol", "recipe" (YAML text), "training" (a line), "minutes" (of it), "enrolled" (scores with
    speakers known), "pictures" (further ones, by name).
    Raises KanjoError.
    """
    scores = evaluation.scores
    write_answers(run / "predictions.csv", evaluation.labels, evaluation.answers)
    content = {
        **scores.as_dict(),
        "protocol": facts.get("protocol", ""),
        "audit": list(facts.get("audit", [])),
        "failed": [list(pair) for pair in evaluation.failed],
        "left_out": dict(evaluation.left_out),
        "by_corpus": {
            name: alone.as_dict() for name, alone in by_corpus(evaluation.labels, evaluation.answers).items()
        },
        "minutes": facts.get("minutes"),
    }
    files.write_text(run / "scores.json", json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    pictures = {"confusion_matrix": figures.confusion(scores)}
    if (run / "metrics.csv").is_file():
        pictures["learning_curves"] = figures.learning_curves(run / "metrics.csv")
    if scores.speakers:
        pictures["speakers"] = figures.speakers(scores)
    confidence = np.asarray([max(answer.probabilities) for answer in evaluation.answers])
    right = np.asarray([answer.answer == answer.emotion for answer in evaluation.answers])
    pictures["reliability"] = figures.reliability(confidence, right, scores.ece)
    if (mapped := _map(evaluation.answers)) is not None:
        pictures["embeddings"] = mapped
    pictures |= facts.get("pictures", {})
    figures.write(run, pictures)
    made_with = facts.get("made_with", made_here())
    files.write_text(run / "report.html", html.run_page(title, evaluation, pictures, {**facts, "made_with": made_with}))


def write_enrolled(run: Path, evaluation: Evaluation) -> None:
    """The same utterances with their speakers known: predictions-enrolled.csv, scores-enrolled.json. Raises KanjoError."""
    write_answers(run / f"predictions-{ENROLLED}.csv", evaluation.labels, evaluation.answers)
    files.write_text(
        run / f"scores-{ENROLLED}.json", json.dumps(evaluation.scores.as_dict(), indent=2, ensure_ascii=False) + "\n"
    )


def write_stage(folder: Path, scores: Scores) -> None:
    """The pictures of a first stage, whose scores are of validation speakers: confusion matrix and learning curves."""
    pictures = {
        "confusion_matrix": figures.confusion(scores, "validation segments"),
        "learning_curves": figures.learning_curves(folder / "metrics.csv"),
    }
    figures.write(folder, pictures)


def made_here() -> dict[str, str]:
    """Versions and hardware, for the page."""
    found = {}
    for name in _VERSIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {**found, "Python": platform.python_version(), "system": platform.system(), "processor": _processor()}


def _processor() -> str:
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n")
        name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), name)
    except OSError:
        pass  # no Linux
    return f"{name}, {os.cpu_count()} cores"


def _map(answers: Sequence[Answer]) -> Picture | None:
    """The utterances' embeddings on a plane; None where there are too few."""
    known = [answer for answer in answers if answer.embedding is not None]
    if len(known) < 10:
        return None
    if len(known) > _MAPPED:
        known = [known[i] for i in np.sort(np.random.default_rng(0).choice(len(known), _MAPPED, replace=False))]
    points, how = _plane(
        np.stack([answer.embedding for answer in known if answer.embedding is not None]).astype(np.float64)
    )
    if len(known) < len(answers):
        how += f", {len(known)} of {len(answers)}"
    return figures.embedding_map(
        points, [answer.emotion for answer in known], [answer.speaker for answer in known], how
    )


def _plane(embeddings: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], str]:
    """Embeddings (U, D) -> points (U, 2), and how: t-SNE where scikit-learn is installed, else the two principal axes."""
    centred = embeddings - embeddings.mean(0)
    scores, strengths, _ = np.linalg.svd(centred, full_matrices=False)
    principal = scores * strengths
    try:
        from sklearn.manifold import TSNE
    except ImportError:
        return principal[:, :2], "principal components"
    perplexity = min(30.0, (len(centred) - 1) / 3)
    start = 1e-4 * principal[:, :2] / max(float(principal[:, 0].std()), 1e-12)
    # it asks for so many neighbours that 30 axes say as much as 256
    return TSNE(2, perplexity=perplexity, init=start, random_state=0).fit_transform(principal[:, :30]), "t-SNE"


def summary(scores: Scores, known: Scores | None = None) -> list[str]:
    """The scores in a few lines for a terminal; behind them those with speakers ``known``."""
    recalls = ", ".join(f"{name} {100 * value:.0f} %" for name, value in scores.recalls.items() if value is not None)
    lines = [
        f"UAR {scores.uar}   accuracy {scores.accuracy}   macro-F1 {scores.macro_f1}   ECE {scores.ece:.3f}   ({scores.n} utterances)",
        f"recall: {recalls}",
    ]
    if scores.sexes:
        lines.append("UAR by sex: " + ", ".join(f"{name} {100 * value:.1f} %" for name, value in scores.sexes.items()))
    if known:
        lines += [ENROLLED_SAID, *summary(known)]
    return lines
