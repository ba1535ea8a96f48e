"""Predictions as a table for people; the other formats are in kanjo.inference.writers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from kanjo.cli.terminal import NO_BREAK, Terminal, display_width, pad
from kanjo.cli.timeline_strip import TimelineStrips, format_time, paint_label
from kanjo.file_names import encode_name, escape_text
from kanjo.inference.prediction import Prediction
from kanjo.labels import SILENCE, UNSURE

_FILE, _EMOTION, _CONFIDENCE, _NEXT, _DURATION = "file", "emotion", "confidence", "next", "duration"
_GAP, _MARK = "  ", "!"
_PERCENT_WIDTH, _NEXT_PERCENT_WIDTH, _DURATION_WIDTH = len("100 %"), len("50 %"), len("duration")
#: Widths of the bar, and whether there are the columns ``next`` and ``duration``, from wide to narrow.
_COLUMN_CHOICES = ((10, True, True), (5, True, True), (10, False, True), (5, False, True), (5, False, False))
#: The first choice that leaves so many columns for the names is used.
_WANTED_FILE_WIDTH, _MIN_FILE_WIDTH = 24, 8
#: Where lines may have any length, longer names do not widen the column.
_MAX_FILE_WIDTH = 100
#: How many kinds of warnings are printed at the end.
_MAX_WARNINGS = 10
_NUMBER = r"-?\d+(?:\.\d+)?"


class _Columns(NamedTuple):
    """Widths of the columns; 0: the column is left out."""

    file: int
    emotion: int
    bar: int
    next: int
    duration: int


class PredictionTable:
    """The table: a row for each recording, its timeline, and at the end the legend and the warnings.

    Args:
        names: Names of all recordings, from which the width of the first column follows.
        labels: The emotions.
        terminal: Where the table is printed.
        verbose: Whether all probabilities, segments and the warnings of each recording are printed below its row.
    """

    def __init__(self, names: Sequence[str], labels: Sequence[str], terminal: Terminal, verbose: bool = False) -> None:
        self.terminal, self.verbose = terminal, verbose
        self.lists_segments, self.lists_warnings = verbose or len(names) == 1, verbose and len(names) > 1
        self.strips = TimelineStrips(labels, terminal)
        self.columns = _choose_columns([self._printed_name(name) for name in names], labels, terminal.width)
        self.warnings = WarningSummary()

    def lines(self, predictions: Iterable[Prediction]) -> Iterator[str]:
        """Yield the lines, those of each prediction before the next one is requested."""
        yield self.terminal.bold(self.header())
        for prediction in predictions:
            yield from self.rows(prediction)
        yield from self.footer()

    def header(self) -> str:
        """Return the names of the columns."""
        _, emotion, bar, following, duration = self.columns
        cells = [f"{'':<{len(_MARK)}} {_EMOTION:<{emotion}}", f"{_CONFIDENCE:<{_PERCENT_WIDTH + 1 + bar}}"]
        cells += [f"{_NEXT:<{following}}"] if following else []
        cells += [f"{_DURATION:>{duration}}"] if duration else []
        return pad(_FILE, self.columns.file) + " " + _GAP.join(cells).rstrip()

    def rows(self, prediction: Prediction) -> Iterator[str]:
        """Yield the lines of one recording."""
        name = self.terminal.shorten(self._printed_name(prediction.file), self._name_width())
        file = pad(name, self.columns.file)
        if prediction.error:
            yield from self._error_lines(file, escape_text(prediction.error))
            return
        mark = _MARK if prediction.warnings else " " * len(_MARK)
        values = prediction.label, prediction.confidence, prediction.probabilities
        yield f"{file} {mark} {self._cells(*values, prediction.duration_s)}".rstrip()
        if self.verbose:
            ordered = by_probability(prediction.probabilities)
            yield from self._wrap(", ".join(f"{name} {percent(p)}".replace(" ", NO_BREAK) for name, p in ordered))
        if prediction.has_timeline:
            yield from self.strips.lines(prediction)
            if self.lists_segments:
                yield from self._segment_rows(prediction)
        if self.lists_warnings:
            for warning in prediction.warnings:
                yield from self._wrap(f"warning: {escape_text(warning)}")
        self.warnings.add(prediction)

    def footer(self) -> Iterator[str]:
        """Yield the legend of the timelines and the warnings."""
        legend, warnings = self.strips.legend(), self.warnings.lines()
        if legend or warnings:
            yield ""
        if legend:
            yield from self.terminal.wrap(legend, len(_GAP))
        if warnings:
            yield self.terminal.bold(f"Warnings ({_MARK}):")
            for line in warnings:
                yield from self.terminal.wrap(self.terminal.replace_unencodable(line), 2 * len(_GAP), _GAP)

    def _segment_rows(self, prediction: Prediction) -> Iterator[str]:
        for segment in prediction.segments:
            span = f"{_GAP}{format_time(segment.start_s)} - {format_time(segment.end_s)}"
            values = segment.label, segment.confidence, segment.probabilities
            cells = self._cells(*values, segment.end_s - segment.start_s)
            yield f"{pad(span, self.columns.file)} {' ' * len(_MARK)} {cells}".rstrip()

    def _cells(self, label: str, confidence: float, probabilities: dict[str, float], duration_s: float) -> str:
        """The columns after the name."""
        _, emotion_width, bar_width, next_width, duration_width = self.columns
        cells = [paint_label(label, label, self.terminal) + " " * (emotion_width - display_width(label))]
        if probabilities:
            bar = self.terminal.bar(confidence, bar_width)
            cells.append(f"{percent(confidence):>{_PERCENT_WIDTH}} {bar}")
        else:
            cells.append(" " * (_PERCENT_WIDTH + 1 + bar_width))
        if next_width:
            others = [f"{name} {percent(p)}" for name, p in by_probability(probabilities) if name != label]
            cells.append(pad(self.terminal.replace_unencodable(others[0]) if others else "", next_width))
        if duration_width:
            cells.append(f"{format_time(duration_s):>{duration_width}}")
        return _GAP.join(cells)

    def _error_lines(self, file: str, error: str) -> Iterator[str]:
        """The row of a recording that failed; a long error gets lines of its own."""
        error = self.terminal.replace_unencodable(f"error: {error}")
        row = f"{file} {' ' * len(_MARK)} {error}"
        if self.terminal.width is None or display_width(row) <= self.terminal.width:
            yield row
            return
        yield file.rstrip()
        yield from self._wrap(error)

    def _wrap(self, text: str) -> Iterator[str]:
        words = text.split(NO_BREAK)  # which some encodings don't have
        text = NO_BREAK.join(map(self.terminal.replace_unencodable, words))
        return self.terminal.wrap(text, 2 * len(_GAP), 2 * _GAP)

    def _printed_name(self, name: str) -> str:
        return self.terminal.replace_unencodable(encode_name(name))

    def _name_width(self) -> int:
        """The columns to which names are shortened; lines of any length contain the whole name."""
        return 1_000_000 if self.terminal.width is None else self.columns.file


class WarningSummary:
    """The warnings of many recordings, each kind once."""

    def __init__(self) -> None:
        self.n_recordings = 0
        self._kinds: dict[str, list[str]] = {}  # text without its numbers -> the texts

    def add(self, prediction: Prediction) -> None:
        """Add the warnings of a recording."""
        self.n_recordings += 1
        for warning in dict.fromkeys(map(escape_text, prediction.warnings)):
            self._kinds.setdefault(re.sub(_NUMBER, "#", warning), []).append(warning)

    def lines(self) -> list[str]:
        """Return one line for each kind of warning, the most frequent first, with the number of recordings."""
        kinds = sorted(self._kinds.values(), key=len, reverse=True)
        lines = [self._describe(texts) for texts in kinds[:_MAX_WARNINGS]]
        if len(kinds) > _MAX_WARNINGS:
            lines.append(f"and {len(kinds) - _MAX_WARNINGS} more kinds of warnings; -v prints all")
        return lines

    def _describe(self, texts: Sequence[str]) -> str:
        text = _merge_numbers(texts)
        return text if self.n_recordings == 1 else f"{len(texts)} of {self.n_recordings} recordings: {text}"


def _merge_numbers(texts: Sequence[str]) -> str:
    """Return texts that differ in their numbers only as one text: "1.3 to 1.5" where they differ."""
    columns = zip(*(re.findall(_NUMBER, text) for text in texts), strict=True)
    ranges = iter([(min(values, key=float), max(values, key=float)) for values in columns])

    def describe(_: re.Match[str]) -> str:
        low, high = next(ranges)
        return low if low == high else f"{low} to {high}"

    return re.sub(_NUMBER, describe, texts[0])


def _choose_columns(names: Sequence[str], labels: Sequence[str], width: int | None) -> _Columns:
    """Choose the columns that fit into the width of the terminal."""
    emotion = max(map(display_width, (*labels, UNSURE, SILENCE, _EMOTION)))
    following = max([display_width(label) for label in labels], default=0) + 1 + _NEXT_PERCENT_WIDTH
    longest = max([display_width(name) for name in names], default=0)
    longest = max(longest, len(_FILE), len("  0:00.0 - 0:00.0"))
    if width is None:
        return _Columns(min(longest, _MAX_FILE_WIDTH), emotion, 10, following, _DURATION_WIDTH)
    chosen = _Columns(_MIN_FILE_WIDTH, emotion, 0, 0, 0)
    for bar, has_next, has_duration in _COLUMN_CHOICES:
        gap = len(_GAP)
        used = 1 + len(_MARK) + 1 + emotion + gap + _PERCENT_WIDTH + 1 + bar
        used += (gap + following) * has_next + (gap + _DURATION_WIDTH) * has_duration
        chosen = _Columns(
            max(_MIN_FILE_WIDTH, min(longest, width - used)),
            emotion,
            bar,
            following * has_next,
            _DURATION_WIDTH * has_duration,
        )
        if width - used >= min(longest, _WANTED_FILE_WIDTH):
            break
    return chosen


def percent(probability: float) -> str:
    """Return a probability as on the web page: "42 %"."""
    return f"{100 * probability:.0f} %"


def by_probability(probabilities: dict[str, float]) -> list[tuple[str, float]]:
    """Return the emotions with their probabilities, the most probable first."""
    return sorted(probabilities.items(), key=lambda pair: pair[1], reverse=True)
