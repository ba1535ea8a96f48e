"""The report pages: one HTML file each that opens offline and prints, pictures and recordings inside it."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import soundfile

from kanjo import audio
from kanjo.errors import AudioError
from kanjo.evaluation.compare import Difference, Run
from kanjo.evaluation.evaluate import Answer, Evaluation
from kanjo.evaluation.metrics import Interval, Scores
from kanjo.evaluation.reports.figures import Picture

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}
h1{margin-bottom:0}h2{margin-top:2.2rem;border-bottom:1px solid #ddd}table{border-collapse:collapse}
td,th{padding:.25rem .8rem .25rem 0;text-align:left;vertical-align:top}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
img{max-width:100%}audio{height:2rem;max-width:14rem}.big{font-size:1.6rem;font-weight:600}.leak{color:#a33;font-weight:600}
.won{font-weight:600}pre{background:#f5f5f5;padding:1rem;overflow:auto}
@media print{body{margin:0}h2{break-after:avoid}img,table{break-inside:avoid}audio{display:none}}
"""
_CAPTIONS = {
    "confusion_matrix": "Confusion matrix: rows truth, columns answer",
    "learning_curves": "Learning curves: validation speakers chose the epoch at the dotted line; training clips are scored as augmented",
    "speakers": "UAR of each test speaker, and of each sex",
    "reliability": "Calibration: how often answers of each confidence are right",
    "embeddings": "Where the test utterances lie in the network's embedding",
    "log_mels": "What the network sees: one test utterance of each emotion",
}
_PLAYED_S, _RATE, _MISTAKES = 12.0, 16_000, 10


def run_page(title: str, evaluation: Evaluation, pictures: Mapping[str, Picture], facts: Mapping[str, Any]) -> str:
    """The report of one run."""
    scores = evaluation.scores
    recalls = _rows([(name, _percent(value)) for name, value in scores.recalls.items()])
    sexes = _rows([(name, _percent(value)) for name, value in scores.sexes.items()])
    problems = _rows([*evaluation.failed, *((f"emotion {name}", f"{n} left out") for name, n in evaluation.left_out)])
    audit = "".join(
        f"<li{' class=leak' if any(word in line for word in ('SPEAKER-DEPENDENT', 'LEAK')) else ''}>{_e(line)}</li>"
        for line in facts.get("audit", [])
    )
    shown = "".join(_picture(_CAPTIONS[name], picture) for name, picture in pictures.items())
    body = f"""<h1>{_e(title)}</h1><p>{_e(facts.get("protocol", ""))}</p>
<p class="big">UAR {_e(str(scores.uar))}</p>{_enrolled(facts.get("enrolled"))}
<table><tr><th>accuracy (WA)<td class="n">{_e(str(scores.accuracy))}</tr><tr><th>macro-F1<td class="n">{_e(str(scores.macro_f1))}</tr>
<tr><th>calibration error (ECE)<td class="n">{scores.ece:.3f}</tr><tr><th>test utterances<td class="n">{scores.n}</tr>
<tr><th>chance UAR<td class="n">{100 / len(scores.labels):.1f} %</tr></table>
<p>In brackets: 95 % interval, bootstrapped over test speakers.</p>
<h2>What the split leaks</h2><ul>{audit}</ul>
<h2>Recall of each emotion</h2><table>{recalls}</table>
{f"<h2>UAR by sex</h2><table>{sexes}</table>" if sexes else ""}
{shown}
{_mistakes(evaluation.answers, scores)}
{f"<h2>Not scored</h2><table>{problems}</table>" if problems else ""}
<h2>How it was made</h2><p>{_e(facts.get("training", ""))}</p><table>{_rows(list(facts.get("made_with", {}).items()))}</table>
<pre>{_e(facts.get("recipe", ""))}</pre>"""
    return _page(title, body)


def _enrolled(scores: Mapping[str, Any] | None) -> str:
    """The line of a network that was also told who speaks."""
    if not scores:
        return ""
    uar = Interval(**scores["uar"])
    return (
        f"<p>With speakers known (each enrolled with half of their clips, unlabelled, to answer the other half): UAR {_e(str(uar))}, "
        f"calibration error {scores['ece']:.3f}. Scores above and pictures below are without.</p>"
    )


def comparison_page(runs: Sequence[Run], found: Sequence[Difference], picture: Picture) -> str:
    """Several runs side by side."""
    head = "".join(
        f"<th{' class=n' if n else ''}>{name}"
        for n, name in enumerate(("run", "UAR", "accuracy", "macro-F1", "ECE", "n"))
    )
    rows = "".join(
        f'<tr><th>{_e(run.name)}<td class="n">{_e(str(run.scores.uar))}<td class="n">{_e(str(run.scores.accuracy))}'
        f'<td class="n">{_e(str(run.scores.macro_f1))}<td class="n">{run.scores.ece:.3f}<td class="n">{run.scores.n}</tr>'
        for run in runs
    )
    verdicts = "".join(f"<li{' class=won' if item.certain else ''}>{_e(item.sentence())}</li>" for item in found)
    body = f"""<h1>Comparison of runs</h1><p>In brackets: 95 % interval, bootstrapped over test speakers.</p>
<table><tr>{head}</tr>{rows}</table>
<h2>Who wins</h2>{f"<ul>{verdicts}</ul>" if found else "<p>No two of them were tested on the same utterances.</p>"}
<p>A pair is told apart where the 95 % interval of its difference, both drawn with the same speakers, leaves zero out. One seed
each: another seed moves a score by a point or two.</p>
{_picture("Test UAR of each run with its interval, and validation UAR over the epochs", picture)}"""
    return _page("Comparison of runs", body)


def _page(title: str, body: str) -> str:
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{_e(title)}</title>
<style>{_STYLE}</style></head><body>
{body}
</body></html>
"""


def _picture(caption: str, picture: Picture) -> str:
    content = base64.b64encode(picture.png).decode()
    return f'<h2>{_e(caption)}</h2><img alt="{_e(caption)}" src="data:image/png;base64,{content}">'


def _mistakes(answers: Sequence[Answer], scores: Scores) -> str:
    """The wrong answers that were most confident, each with a player where its recording is at hand."""
    wrong = [answer for answer in answers if answer.answer != answer.emotion and answer.answer in scores.labels]
    chosen = sorted(wrong, key=lambda answer: -max(answer.probabilities))[:_MISTAKES]
    if not chosen:
        return ""
    rows = "".join(
        f"<tr><th>{_e(answer.file)}<td>{_e(answer.speaker)}<td>{_e(answer.emotion)}<td>{_e(answer.answer)}"
        f'<td class="n">{100 * max(answer.probabilities):.0f} %<td>{_player(answer.path)}</tr>'
        for answer in chosen
    )
    return (
        f"<h2>The {len(chosen)} most confident mistakes</h2><table><tr><th>recording<th>speaker<th>truth<th>answered"
        f'<th class="n">confidence<th></tr>{rows}</table><p>These recordings are inside this file: mind their licence before you '
        "pass it on.</p>"
    )


def _player(path: str) -> str:
    """The beginning of a recording as MP3, which every browser plays; nothing where it can't be read."""
    if not path:
        return ""
    try:
        signal = audio.load(path, _RATE)[: int(_PLAYED_S * _RATE)]
        buffer = io.BytesIO()
        soundfile.write(buffer, np.clip(signal, -1, 1), _RATE, format="MP3", subtype="MPEG_LAYER_III")
    except (AudioError, soundfile.LibsndfileError, ValueError):
        return ""
    return f'<audio controls preload="none" src="data:audio/mpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"></audio>'


def _rows(pairs: Sequence[tuple[str, str]]) -> str:
    return "".join(f'<tr><th>{_e(name)}<td class="n">{_e(value)}</tr>' for name, value in pairs)


def _percent(value: float | None) -> str:
    return "no such utterance" if value is None else f"{100 * value:.1f} %"


def _e(text: str) -> str:
    return html.escape(str(text))
