"""Widths, colors and characters of terminals."""

from __future__ import annotations

import io
import math

import pytest

from kanjo.cli.terminal import Terminal, detect_terminal, display_width, nearest_256, pad


class FakeTerminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


@pytest.mark.parametrize(
    ("variables", "is_terminal", "n_colors"),
    [
        ({}, True, 256),
        ({}, False, 0),
        ({"COLORTERM": "truecolor"}, True, 2**24),
        ({"COLORTERM": "24bit", "NO_COLOR": "1"}, True, 0),
        ({"NO_COLOR": ""}, True, 256),
        ({"FORCE_COLOR": "1"}, False, 256),
        ({"FORCE_COLOR": "0"}, False, 0),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, True, 0),
        ({"TERM": "dumb"}, True, 0),
        ({"TERM": "dumb", "FORCE_COLOR": "1"}, False, 256),
    ],
)
def test_detect_terminal_follows_the_variables(
    variables: dict[str, str], is_terminal: bool, n_colors: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert detect_terminal(FakeTerminal() if is_terminal else io.StringIO()).n_colors == n_colors


@pytest.mark.parametrize(
    ("columns", "is_terminal", "width"),
    [("60", False, 60), ("60", True, 60), ("3", True, 20), ("", False, None), ("", True, 80), ("x", True, 80)],
)
def test_detect_terminal_width(
    columns: str, is_terminal: bool, width: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert detect_terminal(FakeTerminal() if is_terminal else io.StringIO()).width == width


@pytest.mark.parametrize(
    ("text", "width"),
    [("abc.wav", 7), ("감정.wav", 8), ("感情.wav", 8), ("ż", 1), ("z\u0307", 1), ("\u1112\u1161\u11ab", 2), ("😀", 2)],
)
def test_display_width_counts_columns(text: str, width: int) -> None:
    assert display_width(text) == width and pad(text, 10) == text + " " * (10 - width)


@pytest.mark.parametrize(
    "text", ["recordings/long name of a file.wav", "감정 녹음 파일 이름.wav", "感" * 40, "a" * 300]
)
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_shorten_keeps_start_end_and_width(text: str, encoding: str) -> None:
    terminal = Terminal(encoding=encoding)
    for width in range(6, 30):
        short = terminal.shorten(text, width)
        assert display_width(short) <= width
        if display_width(text) > width:
            start, _, end = short.partition("…" if encoding == "utf-8" else "...")
            assert text.startswith(start) and text.endswith(end) and len(end) >= 1
            assert display_width(short) >= width - 2  # a wide character may not fit
        else:
            assert short == text


@pytest.mark.parametrize(("fraction", "bar"), [(0, "    "), (0.5, "██  "), (0.3, "█▎  "), (1, "████"), (1.2, "████")])
def test_bar_has_constant_width(fraction: float, bar: str) -> None:
    assert Terminal().bar(fraction, 4) == bar
    assert len(Terminal(encoding="cp1252").bar(fraction, 4).strip("# ")) == 0


def test_bar_without_block_characters_consists_of_number_signs() -> None:
    assert Terminal(encoding="ascii").bar(0.5, 10) == "#####     "
    assert Terminal(encoding="ascii").replace_unencodable("ż█") == "\\u017c\\u2588"


def test_paint_background_uses_24_bit_color_or_the_nearest_of_256() -> None:
    assert Terminal(n_colors=2**24).paint_background("x", "#0a141e") == "\x1b[38;2;255;255;255;48;2;10;20;30mx\x1b[0m"
    assert Terminal(n_colors=256).paint_background("x", "#ffff00") == "\x1b[38;5;16;48;5;226mx\x1b[0m"
    assert Terminal().paint_background("x", "#ff0000") == "x" == Terminal().bold("x")


@pytest.mark.parametrize(
    ("color", "number"), [("#000000", 16), ("#ffffff", 231), ("#5f87af", 67), ("#808080", 244), ("#767676", 243)]
)
def test_nearest_256_finds_exact_colors(color: str, number: int) -> None:
    assert nearest_256(color) == number


def test_nearest_256_is_never_further_than_the_best_of_all() -> None:
    def rgb(number: int) -> tuple[int, ...]:
        if number >= 232:
            return (8 + 10 * (number - 232),) * 3
        values = (0, 95, 135, 175, 215, 255)
        return values[(number - 16) // 36], values[(number - 16) // 6 % 6], values[(number - 16) % 6]

    for color in ("#d55e00", "#009e73", "#cc79a7", "#888888", "#56b4e9", "#123456"):
        target = [int(color[n : n + 2], 16) for n in (1, 3, 5)]
        best = min(math.dist(rgb(number), target) for number in range(16, 256))
        assert math.dist(rgb(nearest_256(color)), target) == pytest.approx(best)


@pytest.mark.parametrize(("background", "text"), [("#ffff00", "0;0;0"), ("#000080", "255;255;255")])
def test_paint_background_chooses_black_or_white_text(background: str, text: str) -> None:
    assert f"38;2;{text};" in Terminal(n_colors=2**24).paint_background("A", background)


def test_wrap_keeps_words_and_ignores_escape_sequences() -> None:
    terminal = Terminal(width=20, n_colors=256)
    words = [terminal.bold("word") for _ in range(8)]
    lines = list(terminal.wrap(" ".join(words), 2))
    assert [line.count("word") for line in lines] == [4, 3, 1] and lines[1].startswith("  \x1b")
    assert list(terminal.wrap("a b 10\u00a0%", 0, "x" * 14 + " ")) == ["x" * 14 + " a b", "10 %"]
    assert list(Terminal().wrap("long " * 100, 2)) == ["long " * 100]
