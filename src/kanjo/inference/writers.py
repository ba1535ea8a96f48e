"""Format predictions as CSV, JSON, JSON Lines, SRT or WebVTT."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

from kanjo.file_names import encode_name, escape_text
from kanjo.inference.prediction import Prediction, Segment
from kanjo.labels import SILENCE

#: Turns predictions and their emotions into pieces of text.
Formatter = Callable[[Iterable[Prediction], Sequence[str]], Iterator[str]]

_TOKENS_PER_PIECE = 10_000


def csv_lines(predictions: Iterable[Prediction], labels: Sequence[str]) -> Iterator[str]:
    """Yield the lines of a CSV file: its header, then the rows of each recording."""
    yield csv_row(csv_header(labels))
    for prediction in predictions:
        yield from csv_rows(prediction, labels)


def csv_header(labels: Sequence[str]) -> list[str]:
    """Return the columns. The first three are those of an audformat table; ``start`` and ``end`` are in seconds."""
    return ["file", "start", "end", "part", "emotion", "confidence", *labels, "warnings", "error"]


def csv_rows(prediction: Prediction, labels: Sequence[str]) -> Iterator[str]:
    """Yield the rows of one recording as lines of CSV; see :func:`table_rows`."""
    return map(csv_row, table_rows(prediction, labels))


def table_rows(prediction: Prediction, labels: Sequence[str]) -> Iterator[list[str]]:
    """Yield the rows of one recording, with the cells of :func:`csv_header`.

    Column ``part`` is "recording" in the first row. If the recording has a timeline, a row for each "segment" and
    each "window" follows. A part with the times of an earlier row is left out: the index of an audformat table must
    not contain an entry twice.
    """
    file = encode_name(prediction.file)
    if prediction.error:
        yield [file, "", "", "recording", "", "", *("" for _ in labels), "", escape_text(prediction.error)]
        return
    recording = Segment(0.0, prediction.duration_s, prediction.label, prediction.confidence, prediction.probabilities)
    yield _segment_row(file, "recording", recording, labels, escape_text("; ".join(prediction.warnings)))
    if prediction.has_timeline:
        written = {_span(recording)}
        for part, segments in (("segment", prediction.segments), ("window", prediction.windows)):
            for segment in segments:
                if (span := _span(segment)) not in written:
                    written.add(span)
                    yield _segment_row(file, part, segment, labels)


def _span(segment: Segment) -> tuple[str, str]:
    return f"{segment.start_s:.3f}", f"{segment.end_s:.3f}"


def _segment_row(file: str, part: str, segment: Segment, labels: Sequence[str], warnings: str = "") -> list[str]:
    probabilities = [f"{segment.probabilities[name]:.6f}" if segment.probabilities else "" for name in labels]
    span = _span(segment)
    return [file, *span, part, segment.label, f"{segment.confidence:.6f}", *probabilities, warnings, ""]


def csv_row(cells: Sequence[str]) -> str:
    """Return one line of CSV without the line ending."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="").writerow(cells)
    return buffer.getvalue()


def json_array(predictions: Iterable[Prediction], labels: Sequence[str]) -> Iterator[str]:
    """Yield the pieces of one JSON array, some thousand values at a time, so that memory use stays small."""
    encoder = json.JSONEncoder(ensure_ascii=False, indent=2)
    separator = "["
    for prediction in predictions:
        yield separator + "\n  "
        tokens = encoder.iterencode(prediction.as_dict())
        while piece := "".join(islice(tokens, _TOKENS_PER_PIECE)):
            yield piece.replace("\n", "\n  ")  # a line feed inside of a text is written as \n
        separator = ","
    yield "[]" if separator == "[" else "\n]"


def jsonl(predictions: Iterable[Prediction], labels: Sequence[str]) -> Iterator[str]:
    """Yield one JSON object for each recording (JSON Lines)."""
    for prediction in predictions:
        yield json.dumps(prediction.as_dict(), ensure_ascii=False)


def srt(predictions: Iterable[Prediction], labels: Sequence[str]) -> Iterator[str]:
    """Yield the subtitles of SubRip: one for each segment with speech. Use it for a single recording."""
    number = 0
    for prediction in predictions:
        for segment in _segments_with_speech(prediction):
            number += 1
            span = f"{_subtitle_time(segment.start_s, ',')} --> {_subtitle_time(segment.end_s, ',')}"
            yield f"{number}\n{span}\n{segment.label} {segment.confidence:.0%}\n"


def vtt(predictions: Iterable[Prediction], labels: Sequence[str]) -> Iterator[str]:
    """Yield the subtitles of WebVTT. The voice tag is the emotion, so that a style sheet can set its color."""
    yield "WEBVTT\n"
    for prediction in predictions:
        for segment in _segments_with_speech(prediction):
            span = f"{_subtitle_time(segment.start_s, '.')} --> {_subtitle_time(segment.end_s, '.')}"
            yield f"{span}\n<v {segment.label}>{segment.label} {segment.confidence:.0%}\n"


#: All formats by name.
FORMATS: dict[str, Formatter] = {
    "csv": csv_lines,
    "json": json_array,
    "jsonl": jsonl,
    "srt": srt,
    "vtt": vtt,
}
#: Formats whose files contain a single recording.
SUBTITLE_FORMATS = frozenset(["srt", "vtt"])


def render(name: str, predictions: Iterable[Prediction], labels: Sequence[str]) -> Iterator[str]:
    """Yield the text of a file in pieces.

    Args:
        name: A key of :data:`FORMATS`.
        predictions: Predictions, which may be computed while the file is written.
        labels: Emotions of the predictions.
    """
    separator = "" if name == "json" else "\n"
    for piece in FORMATS[name](predictions, labels):
        yield piece + separator
    if name == "json":
        yield "\n"


def _segments_with_speech(prediction: Prediction) -> list[Segment]:
    return [segment for segment in prediction.segments if segment.label != SILENCE]


def _subtitle_time(seconds: float, decimal_mark: str) -> str:
    """Format a time as 00:00:01,250."""
    ms = round(1000 * seconds)
    return f"{ms // 3_600_000:02d}:{ms // 60_000 % 60:02d}:{ms // 1000 % 60:02d}{decimal_mark}{ms % 1000:03d}"
