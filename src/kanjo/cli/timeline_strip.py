"""The timeline of a recording as a strip: one block per time step, with the letter and the color of its label."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from kanjo.cli.terminal import NO_BREAK, Terminal
from kanjo.inference.prediction import Prediction, Segment
from kanjo.labels import SILENCE, UNSURE
from kanjo.palette import emotion_color

#: Symbols of the labels that are no emotions.
_SILENCE_SYMBOL, _UNSURE_SYMBOL = ".", "?"
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#: Most lines of a strip. If one block per time step needs more, a block is one of these numbers of time steps.
_MAX_LINES = 4
_STEPS_PER_BLOCK = (1, 2, 4, 8, 20, 40, 120, 240, 480, 1200, 2400)
#: Width of a strip where lines may have any length, and the unit of the number of blocks in a line.
_DEFAULT_WIDTH, _BLOCK_UNIT = 100, 20
_INDENT = "  "
#: Length of a time step in seconds if the prediction does not have it.
_DEFAULT_STEP_S = 0.25


class TimelineStrips:
    """Draws strips, and the legend of what they contained.

    Args:
        labels: The emotions.
        terminal: Where the strips are printed.
    """

    def __init__(self, labels: Sequence[str], terminal: Terminal) -> None:
        self.terminal = terminal
        self.symbols = {**_choose_symbols(labels), UNSURE: _UNSURE_SYMBOL, SILENCE: _SILENCE_SYMBOL}
        self._used: set[str] = set()
        self._block_s: set[float] = set()

    def lines(self, prediction: Prediction) -> Iterator[str]:
        """Yield the lines of a recording's strip. Each begins with its time; the last ends with the duration."""
        duration_s = prediction.duration_s
        end = format_time(duration_s)
        free = (self.terminal.width or _DEFAULT_WIDTH) - len(_INDENT) - 2 * len(end) - 2
        per_line = max(_BLOCK_UNIT // 2, free // _BLOCK_UNIT * _BLOCK_UNIT)
        block_s = _block_duration(_step_duration(prediction), duration_s, per_line)
        self._block_s.add(block_s)
        labels = list(_block_labels(prediction.segments, duration_s, block_s))
        self._used.update(labels)
        for start in range(0, len(labels), per_line):
            time = format_time(start * block_s).rjust(len(end))
            blocks = "".join(self._paint(label, len(list(run))) for label, run in groupby(labels[start:][:per_line]))
            yield f"{_INDENT}{time} {blocks}" + (f" {end}" if start + per_line >= len(labels) else "")

    def legend(self) -> str:
        """Return the meaning of the symbols, and the duration of a block, for wrapping; "" if there was no strip."""
        if not self._used:
            return ""
        used = [label for label in self.symbols if label in self._used]
        names = ", ".join(f"{self._paint(label, 1)}{NO_BREAK}{label}" for label in used)
        shortest, longest = min(self._block_s), max(self._block_s)
        duration = f"{shortest:g} s" if shortest == longest else f"{shortest:g} to {longest:g} s"
        return f"Timeline: {names}; one block is {duration.replace(' ', NO_BREAK)}"

    def _paint(self, label: str, n: int) -> str:
        return paint_label(self.symbols[label] * n, label, self.terminal)


def paint_label(text: str, label: str, terminal: Terminal) -> str:
    """Return a text on the color of its label; silence has none."""
    return text if label == SILENCE else terminal.paint_background(text, emotion_color(label))


def format_time(seconds: float) -> str:
    """Return a time or duration as "0:04.5" or "1:02:03.5"."""
    minutes, rest = divmod(round(seconds, 1), 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02d}:{rest:04.1f}" if hours else f"{minutes}:{rest:04.1f}"


def _choose_symbols(labels: Sequence[str]) -> dict[str, str]:
    """Choose a letter for each label: the first one of its name that is free, else any free letter, else "*"."""
    symbols: dict[str, str] = {}
    for label in labels:
        candidates = [*(letter for letter in label.upper() if letter in _LETTERS), *_LETTERS, "*"]
        symbols[label] = next(letter for letter in candidates if letter == "*" or letter not in symbols.values())
    return symbols


def _step_duration(prediction: Prediction) -> float:
    steps = prediction.time_steps
    if steps is None or len(steps.edges_s) < 3:  # a single step may be shorter than the others
        return _DEFAULT_STEP_S
    return float(steps.edges_s[1] - steps.edges_s[0])


def _block_duration(step_s: float, duration_s: float, per_line: int) -> float:
    """Return the duration of a block: a time step, or several so that the strip has few lines."""
    most_blocks = _MAX_LINES * per_line
    durations = (n * step_s for n in _STEPS_PER_BLOCK)
    return next((s for s in durations if duration_s <= s * most_blocks), duration_s / most_blocks)


def _block_labels(segments: Sequence[Segment], duration_s: float, block_s: float) -> Iterator[str]:
    """Yield the label of each block: the one with most time in it."""
    first, n_blocks = 0, max(1, int(-(-(duration_s - 1e-6) // block_s)))
    for block in range(n_blocks):
        start, end = block * block_s, (block + 1) * block_s
        while first + 1 < len(segments) and segments[first].end_s <= start:
            first += 1
        seconds: dict[str, float] = {}
        for segment in segments[first:]:
            if segment.start_s >= end:
                break
            overlap = min(end, segment.end_s) - max(start, segment.start_s)
            seconds[segment.label] = seconds.get(segment.label, 0.0) + overlap
        yield max(seconds, key=seconds.__getitem__, default=SILENCE)
