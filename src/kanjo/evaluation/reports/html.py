"""Render the report pages: one HTML file each, which contains its figures and recordings and works offline.

The pages are Jinja templates in ``templates/``. Needs the extra ``evaluation``.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import soundfile

from kanjo import audio
from kanjo.errors import AudioError, requires_extra
from kanjo.evaluation.compare import EvaluatedRun, RunDifference
from kanjo.evaluation.evaluate import Evaluation, ScoredUtterance
from kanjo.evaluation.metrics import format_interval
from kanjo.evaluation.reports.rendering import RenderedFigure, require_matplotlib
from kanjo.evaluation.reports.run_info import RunInfo
from kanjo.palette import OUTLINE_COLOR, emotion_color

_CAPTIONS = {
    "confusion_matrix": "Confusion matrix: rows are true, columns predicted emotions",
    "learning_curves": "Learning curves (dotted line: the epoch that was kept)",
    "speakers": "UAR of each test speaker and of each sex",
    "reliability": "Calibration: accuracy of the predictions by confidence",
    "embeddings": "Embeddings of the test utterances",
    "log_mels": "Input of the model: one test utterance of each emotion",
}
#: Words that mark a sentence of the leakage report as a leak.
_LEAK_WORDS = ("SPEAKER-DEPENDENT", "LEAK")
_MAX_ERRORS = 10
_MAX_PLAYER_S = 12.0
_PLAYER_RATE = 16_000


@dataclass(frozen=True)
class _LeakageLine:
    text: str
    is_leak: bool


@dataclass(frozen=True)
class _ConfidentError:
    """A wrong prediction; ``mp3`` is the beginning of the recording, empty if it can't be read."""

    utterance: ScoredUtterance
    confidence: float
    mp3: bytes


def require_report_packages() -> None:
    """Raise KanjoError if reports can't be written; call this before a long computation that ends in a report."""
    require_matplotlib("evaluation")
    with requires_extra("evaluation", "reports need Jinja"):
        import jinja2  # noqa: F401


def render_run_page(title: str, evaluation: Evaluation, info: RunInfo, figures: Mapping[str, RenderedFigure]) -> str:
    """Render the report of one run.

    Args:
        title: The heading.
        evaluation: Predictions and scores of the test utterances.
        info: What else the page shows about the run.
        figures: The figures by name, in the order of the page.

    Raises:
        KanjoError: Jinja is not installed.
    """
    return _render(
        "run.html.j2",
        title=title,
        evaluation=evaluation,
        scores=evaluation.scores,
        info=info,
        leakage=[_LeakageLine(line, any(word in line for word in _LEAK_WORDS)) for line in info.leakage],
        figures=[(_CAPTIONS.get(name, name), figure.png) for name, figure in figures.items()],
        errors=_most_confident_errors(evaluation),
    )


def render_comparison_page(
    runs: Sequence[EvaluatedRun], differences: Sequence[RunDifference], figure: RenderedFigure
) -> str:
    """Render a comparison of runs. Raises KanjoError if Jinja is not installed."""
    return _render(
        "comparison.html.j2",
        title="Comparison of runs",
        runs=runs,
        differences=differences,
        comparison_png=figure.png,
    )


def _render(template: str, **values: Any) -> str:
    require_report_packages()
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("kanjo.evaluation.reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = format_interval
    environment.filters["data_uri"] = _data_uri
    environment.filters["emotion_color"] = emotion_color
    environment.globals["outline_color"] = OUTLINE_COLOR
    return environment.get_template(template).render(values)


def _data_uri(content: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def _most_confident_errors(evaluation: Evaluation) -> list[_ConfidentError]:
    """The wrong predictions with the highest confidence; "unsure" is not among them."""
    errors = [
        utterance
        for utterance in evaluation.utterances
        if utterance.predicted != utterance.emotion and utterance.predicted in evaluation.labels
    ]
    errors.sort(key=lambda utterance: -max(utterance.probabilities))
    return [
        _ConfidentError(utterance, max(utterance.probabilities), _encode_mp3(utterance.path))
        for utterance in errors[:_MAX_ERRORS]
    ]


def _encode_mp3(path: str) -> bytes:
    """The beginning of a recording as MP3, which every browser plays; empty if it can't be read."""
    if not path:
        return b""
    try:
        signal = audio.load(path, _PLAYER_RATE)[: int(_MAX_PLAYER_S * _PLAYER_RATE)]
        buffer = io.BytesIO()
        soundfile.write(buffer, np.clip(signal, -1, 1), _PLAYER_RATE, format="MP3", subtype="MPEG_LAYER_III")
    except (AudioError, soundfile.LibsndfileError, ValueError):
        return b""
    return buffer.getvalue()
