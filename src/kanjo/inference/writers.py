"""Write predictions: a table to read, CSV, JSON and JSONL to go on with, SRT and VTT to see beside the recording."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence

from kanjo.inference.prediction import Prediction, Segment
from kanjo.labels import SILENCE

Formatter = Callable[[Iterable[Prediction], Sequence[str]], Iterator[str]]


def table(predictions: Iterable[Prediction], labels: Sequence[str]) -> Iterator[str]:
    """A line a recording: file, label, confidence, the runner-up, warnings. One of several windows gets its timeline below it."""
    yield f"{'file':<40}  {'emotion':<10}  {'conf.':>5}  {'next':<16}  {'length':>8}"
    for item in predictions:
        if item.error:
            yield f"{_short(item.file):<40}  {'-':<10}  {'-':>5}  error: {item.error}"
            continue
        yield f"{_short(item.file):<40}  {_answer(item.label, item.confidence, item.probabilities)}  {_clock(item.duration_s):>8}"
        if len(item.windows) > 1:
            for segment in item.segments:
                span = f"{_clock(segment.start_s)} - {_clock(segment.end_s)}"
                yield f"{span:>40}  {_answer(segment.label, segment.confidence, segment.probabilities)}".rstrip()
        for warning in item.warnings:
            yield f"{'':<40}  warning: {warning}"


def csv_lines(predictions: Iterable[Prediction], labels: Sequence[str]) -> Iterator[str]:
    """A row for a recording; where it has several windows, then one for each of its segments and one for each window.

    audformat's columns ``file``, ``start``, ``end`` (seconds) first; ``part`` is "recording", "segment" or "window".
    """
    yield csv_row(csv_header(labels))
    for item in predictions:
        yield from csv_rows(item, labels)


def csv_header(labels: Sequence[str]) -> list[str]:
    return ["file", "start", "end", "part", "emotion", "confidence", *labels, "warnings", "error"]


def csv_rows(item: Prediction, labels: Sequence[str]) -> Iterator[str]:
    """The rows of one recording."""
    if item.error:
        yield csv_row([item.file, "", "", "recording", "", "", *("" for _ in labels), "", item.error])
        return
    whole = Segment(0.0, item.duration_s, item.label, item.confidence, item.probabilities)
    yield _part(item.file, "recording", whole, labels, "; ".join(item.warnings))
    if len(item.windows) > 1:
        for part, answers in (("segment", item.segments), ("window", item.windows)):
            for answer in answers:
                yield _part(item.file, part, answer, labels)


def _part(file: str, part: str, answer: Segment, labels: Sequence[str], warnings: str = "") -> str:
    shares = [f"{answer.probabilities[name]:.6f}" if answer.probabilities else "" for name in labels]
    span = (f"{answer.start_s:.3f}", f"{answer.end_s:.3f}")
    return csv_row([file, *span, part, answer.label, f"{answer.confidence:.6f}", *shares, warnings, ""])


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


def srt(predictions: Iterable[Prediction], labels: Sequence[str]) -> Iterator[str]:
    """SubRip: a cue a segment, silence left out. Made for one recording; another's cues would start at 0 again."""
    number = 0
    for item in predictions:
        for segment in _cues(item):
            number += 1
            span = f"{_stamp(segment.start_s, ',')} --> {_stamp(segment.end_s, ',')}"
            yield f"{number}\n{span}\n{segment.label} {segment.confidence:.0%}\n"


def vtt(predictions: Iterable[Prediction], labels: Sequence[str]) -> Iterator[str]:
    """WebVTT: as :func:`srt`, the emotion as the cue's voice, so that a style sheet may colour it."""
    yield "WEBVTT\n"
    for item in predictions:
        for segment in _cues(item):
            span = f"{_stamp(segment.start_s, '.')} --> {_stamp(segment.end_s, '.')}"
            yield f"{span}\n<v {segment.label}>{segment.label} {segment.confidence:.0%}\n"


FORMATS: dict[str, Formatter] = {
    "table": table,
    "csv": csv_lines,
    "json": json_lines,
    "jsonl": jsonl,
    "srt": srt,
    "vtt": vtt,
}
#: Formats of which a file holds one recording.
SUBTITLES = frozenset(["srt", "vtt"])


def chunks(name: str, predictions: Iterable[Prediction], labels: Sequence[str]) -> Iterator[str]:
    """The text of a format, piece by piece; put together, the pieces are the file."""
    joint = "" if name == "json" else "\n"
    for piece in FORMATS[name](predictions, labels):
        yield piece + joint
    if name == "json":
        yield "\n"


def _cues(item: Prediction) -> list[Segment]:
    return [segment for segment in item.segments if segment.label != SILENCE]


def _stamp(seconds: float, point: str) -> str:
    """00:00:01,250"""
    whole = round(1000 * seconds)
    return f"{whole // 3_600_000:02d}:{whole // 60_000 % 60:02d}:{whole // 1000 % 60:02d}{point}{whole % 1000:03d}"


def _answer(label: str, confidence: float, probabilities: dict[str, float]) -> str:
    if not probabilities:
        return label
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


def csv_row(cells: Sequence[str]) -> str:
    """A line of CSV, without its end."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="").writerow(cells)
    return buffer.getvalue()


def _indented(text: str) -> str:
    return "\n".join("  " + line for line in text.splitlines())
