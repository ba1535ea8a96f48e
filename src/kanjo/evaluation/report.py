"""The report page: one HTML file that opens offline, with the scores, what the split leaks, and the pictures."""

from __future__ import annotations

import base64
import html
import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kanjo import files
from kanjo.evaluation import figures
from kanjo.evaluation.compare import Difference, Run
from kanjo.evaluation.evaluate import Evaluation, write_answers
from kanjo.evaluation.metrics import Scores

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}
h1{margin-bottom:0}h2{margin-top:2.2rem;border-bottom:1px solid #ddd}table{border-collapse:collapse}
td,th{padding:.25rem .8rem .25rem 0;text-align:left;vertical-align:top}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
img{max-width:100%}.big{font-size:1.6rem;font-weight:600}.won{font-weight:600}.leak{color:#a33;font-weight:600}pre{background:#f5f5f5;padding:1rem;overflow:auto}
@media print{body{margin:0}h2{break-after:avoid}img,table{break-inside:avoid}}
"""


def write_run(run: Path, title: str, evaluation: Evaluation, facts: Mapping[str, Any]) -> None:
    """Everything a run folder says of its test side: predictions.csv, scores.json, PNG pictures, report.html.

    ``facts``: "audit" (sentences), "protocol", "recipe" (YAML text), "training" (a line). Raises KanjoError.
    """
    scores = evaluation.scores
    write_answers(run / "predictions.csv", evaluation.labels, evaluation.answers)
    content = {
        **scores.as_dict(),
        "protocol": facts.get("protocol", ""),
        "audit": list(facts.get("audit", [])),
        "failed": [list(pair) for pair in evaluation.failed],
        "left_out": dict(evaluation.left_out),
    }
    files.write_text(run / "scores.json", json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    pictures = {"confusion_matrix": figures.confusion(scores)}
    if (run / "metrics.csv").is_file():
        pictures["learning_curves"] = figures.learning_curves(run / "metrics.csv")
    if scores.speakers:
        pictures["speakers"] = figures.speakers(scores)
    _write_pictures(run, pictures)
    files.write_text(run / "report.html", page(title, scores, pictures, evaluation, facts))


def write_stage(folder: Path, scores: Scores) -> None:
    """The pictures of a first stage, whose scores are of validation speakers: confusion matrix and learning curves."""
    pictures = {
        "confusion_matrix": figures.confusion(scores, "validation segments"),
        "learning_curves": figures.learning_curves(folder / "metrics.csv"),
    }
    _write_pictures(folder, pictures)


def _write_pictures(folder: Path, pictures: Mapping[str, bytes]) -> None:
    for name, picture in pictures.items():
        with files.written_whole(folder / f"{name}.png") as temporary:
            temporary.write_bytes(picture)


def page(title: str, scores: Scores, pictures: Mapping[str, bytes], evaluation: Evaluation, facts: Mapping[str, Any]) -> str:
    """The report as one HTML document, pictures inside it."""
    captions = {
        "confusion_matrix": "Confusion matrix: rows truth, columns answer",
        "learning_curves": "Learning curves: validation speakers chose the epoch at the dotted line; training clips are scored as augmented",
        "speakers": "UAR of each test speaker",
    }
    shown = "".join(
        f'<h2>{_e(captions[name])}</h2><img alt="{_e(captions[name])}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'
        for name, png in pictures.items()
    )
    recalls = _rows([(name, _percent(value)) for name, value in scores.recalls.items()])
    sexes = _rows([(name, _percent(value)) for name, value in scores.sexes.items()])
    problems = _rows([*evaluation.failed, *((f"emotion {name}", f"{n} left out") for name, n in evaluation.left_out)])
    audit = "".join(
        f"<li{' class=leak' if any(word in line for word in ('SPEAKER-DEPENDENT', 'LEAK')) else ''}>{_e(line)}</li>"
        for line in facts.get("audit", [])
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{_e(title)}</title>
<style>{_STYLE}</style></head><body>
<h1>{_e(title)}</h1><p>{_e(facts.get("protocol", ""))}</p>
<p class="big">UAR {_e(str(scores.uar))}</p>
<table><tr><th>accuracy (WA)<td class="n">{_e(str(scores.accuracy))}</tr><tr><th>macro-F1<td class="n">{_e(str(scores.macro_f1))}</tr>
<tr><th>calibration error (ECE)<td class="n">{scores.ece:.3f}</tr><tr><th>test utterances<td class="n">{scores.n}</tr>
<tr><th>chance UAR<td class="n">{100 / len(scores.labels):.1f} %</tr></table>
<p>In brackets: 95 % interval, bootstrapped over test speakers.</p>
<h2>What the split leaks</h2><ul>{audit}</ul>
<h2>Recall of each emotion</h2><table>{recalls}</table>
{f"<h2>UAR by sex</h2><table>{sexes}</table>" if sexes else ""}
{shown}
{f"<h2>Not scored</h2><table>{problems}</table>" if problems else ""}
<h2>How it was made</h2><p>{_e(facts.get("training", ""))}</p><p>Python {platform.python_version()} on {_e(platform.system())}</p>
<pre>{_e(facts.get("recipe", ""))}</pre>
</body></html>
"""


def comparison_page(runs: Sequence[Run], found: Sequence[Difference], picture: bytes) -> str:
    """Several runs side by side as one HTML document, the picture inside it."""
    head = "".join(
        f"<th{' class=n' if n else ''}>{name}" for n, name in enumerate(("run", "UAR", "accuracy", "macro-F1", "ECE", "n"))
    )
    rows = "".join(
        f'<tr><th>{_e(run.name)}<td class="n">{_e(str(run.scores.uar))}<td class="n">{_e(str(run.scores.accuracy))}'
        f'<td class="n">{_e(str(run.scores.macro_f1))}<td class="n">{run.scores.ece:.3f}<td class="n">{run.scores.n}</tr>'
        for run in runs
    )
    verdicts = "".join(f"<li{' class=won' if item.certain else ''}>{_e(item.sentence())}</li>" for item in found)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Comparison of runs</title>
<style>{_STYLE}</style></head><body>
<h1>Comparison of runs</h1><p>In brackets: 95 % interval, bootstrapped over test speakers.</p>
<table><tr>{head}</tr>{rows}</table>
<h2>Who wins</h2>{f"<ul>{verdicts}</ul>" if found else "<p>No two of them were tested on the same utterances.</p>"}
<p>A pair is told apart where the 95 % interval of its difference, both drawn with the same speakers, leaves zero out. One seed
each: another seed moves a score by a point or two.</p>
<h2>Scores and learning curves</h2><img alt="test UAR of each run with its interval, and validation UAR over the epochs"
src="data:image/png;base64,{base64.b64encode(picture).decode()}">
</body></html>
"""


def summary(scores: Scores) -> list[str]:
    """The scores in a few lines for a terminal."""
    recalls = ", ".join(f"{name} {100 * value:.0f} %" for name, value in scores.recalls.items() if value is not None)
    lines = [
        f"UAR {scores.uar}   accuracy {scores.accuracy}   macro-F1 {scores.macro_f1}   ECE {scores.ece:.3f}   ({scores.n} utterances)",
        f"recall: {recalls}",
    ]
    if scores.sexes:
        lines.append("UAR by sex: " + ", ".join(f"{name} {100 * value:.1f} %" for name, value in scores.sexes.items()))
    return lines


def _rows(pairs: Sequence[tuple[str, str]]) -> str:
    return "".join(f'<tr><th>{_e(name)}<td class="n">{_e(value)}</tr>' for name, value in pairs)


def _percent(value: float | None) -> str:
    return "no such utterance" if value is None else f"{100 * value:.1f} %"


def _e(text: str) -> str:
    return html.escape(str(text))
