"""Write predictions: a table to read, CSV, JSON and JSONL to go on with."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence

from kanjo.recognizer import Prediction

Formatter = Callable[[Iterable[Prediction], Sequence[str]], Iterator[str]]


def table(predictions: Iterable[Prediction], labels: Sequence[str]) -> Iterator[str]:
    """A line a recording: file, label, confidence, the runner-up, warnings. Several windows get a line each below it."""
    yield f"{'file':<40}  {'emotion':<10}  {'conf.':>5}  {'next':<16}  {'length':>8}"
    for item in predictions:
        if item.error:
            yield f"{_short(item.file):<40}  {'-':<10}  {'-':>5}  error: {item.error}"
            continue
        yield f"{_short(item.file):<40}  {_answer(item.label, item.confidence, item.probabilities)}  {_clock(item.duration_s):>8}"
        if len(item.segments) > 1:
            for segment in item.segments:
                span = f"{_clock(segment.start_s)} - {_clock(segment.end_s)}"
                yield f"{span:>40}  {_answer(segment.label, segment.confidence, segment.probabilities)}".rstrip()
        for warning in item.warnings:
            yield f"{'':<40}  warning: {warning}"


def csv_lines(predictions: Iterable[Prediction], labels: Sequence[str]) -> Iterator[str]:
    """One row a recording, for several windows one a window: audformat's file,start,end, then label and probabilities.

    ``start`` and ``end`` are seconds; a recording's own row leaves them empty.
    """
    yield _csv(["file", "start", "end", "emotion", "confidence", *labels, "warnings", "error"])
    for item in predictions:
        shares = [f"{item.probabilities.get(name, 0):.6f}" if item.probabilities else "" for name in labels]
        confidence = f"{item.confidence:.6f}" if item.probabilities else ""
        yield _csv([item.file, "", "", item.label, confidence, *shares, "; ".join(item.warnings), item.error])
        if len(item.segments) > 1:
            for segment in item.segments:
                shares = [f"{segment.probabilities[name]:.6f}" for name in labels]
                yield _csv(
                    [
                        item.file,
                        f"{segment.start_s:.3f}",
                        f"{segment.end_s:.3f}",
                        segment.label,
                        f"{segment.confidence:.6f}",
                        *shares,
                        "",
                        "",
                    ]
                )


def json_lines(predictions: Iterable[Prediction], labels: Sequence[str]) -> Iterator[str]:
    """One JSON array; written as it comes, so that it may be long."""
    opening = "["
    for item in predictions:
        yield opening + "\n" + _indented(json.dumps(item.as_dict(), ensure_ascii=False, indent=2))
        opening = ","
    yield "[]" if opening == "[" else "\n]"


def jsonl(predictions: Iterable[Prediction], labels: Sequence[str]) -> Iterator[str]:
    """One JSON object a line."""
    for item in predictions:
        yield json.dumps(item.as_dict(), ensure_ascii=False)


FORMATS: dict[str, Formatter] = {"table": table, "csv": csv_lines, "json": json_lines, "jsonl": jsonl}


def chunks(name: str, predictions: Iterable[Prediction], labels: Sequence[str]) -> Iterator[str]:
    """The text of a format, piece by piece; put together, the pieces are the file."""
    joint = "" if name == "json" else "\n"
    for piece in FORMATS[name](predictions, labels):
        yield piece + joint
    if name == "json":
        yield "\n"


def _answer(label: str, confidence: float, probabilities: dict[str, float]) -> str:
    others = sorted(((share, name) for name, share in probabilities.items() if name != label), reverse=True)
    share, name = others[0]
    return f"{label:<10}  {confidence:>4.0%}   {name + f' {share:.0%}':<16}"


def _clock(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02d}:{rest:04.1f}" if hours else f"{minutes}:{rest:04.1f}"


def _short(file: str) -> str:
    return file if len(file) <= 40 else "..." + file[-37:]


def _csv(cells: Sequence[str]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="").writerow(cells)
    return buffer.getvalue()


def _indented(text: str) -> str:
    return "\n".join("  " + line for line in text.splitlines())
