"""The colors of emotions: their differences, also with color blindness and in gray, and their contrasts."""

from __future__ import annotations

import re
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

import kanjo
from kanjo import labels, palette

ROOT = Path(__file__).parent.parent
#: The smallest CIEDE2000 difference of two of the eight colors, with each kind of color vision.
MIN_DIFFERENCE = 14.0
#: The smallest difference in lightness L* of two of the eight colors.
MIN_LIGHTNESS_DIFFERENCE = 7.0
MIN_GRAPHICS_CONTRAST, MIN_TEXT_CONTRAST = 3.0, 4.5


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    pytest.importorskip("colour", reason="colour-science (extra dev) is not installed")
    path = ROOT / "docs" / "make_palette_reference.py"
    spec = spec_from_file_location("make_palette_reference", path)
    assert spec and spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def describe_too_small(differences: dict[tuple[str, str], float], minimum: float) -> dict[tuple[str, str], float]:
    return {pair: value for pair, value in differences.items() if value < minimum}


def test_differences_of_colors_exceed_the_minimum_with_each_color_vision(reference: ModuleType) -> None:
    for vision, deficiency in reference.VISION.items():
        differences = reference.differences(palette.COLORS, deficiency)
        assert len(differences) == 28
        assert not describe_too_small(differences, MIN_DIFFERENCE), vision


def test_lightness_of_colors_differs_in_gray(reference: ModuleType) -> None:
    assert not describe_too_small(reference.gray_differences(palette.COLORS), MIN_LIGHTNESS_DIFFERENCE)
    assert sorted(palette.COLORS, key=reference.lightness) == list(palette.COLORS)


def test_differences_with_okabe_ito_colors_are_below_the_minimum(reference: ModuleType) -> None:
    """The check can fail: the colors of earlier versions do not pass it."""
    earlier = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
    assert describe_too_small(reference.differences(earlier, "Deuteranomaly"), MIN_DIFFERENCE)
    assert describe_too_small(reference.gray_differences(earlier), MIN_LIGHTNESS_DIFFERENCE)


def test_reference_page_is_up_to_date(reference: ModuleType) -> None:
    page = (ROOT / "docs" / "reference" / "palette.md").read_text(encoding="utf-8")
    assert reference.render_page() == page, "run: python docs/make_palette_reference.py"


def page_backgrounds() -> list[str]:
    """The backgrounds of the web page: light, and dark."""
    styles = (Path(kanjo.__file__).parent / "server" / "page" / "style.css").read_text(encoding="utf-8")
    found = re.findall(r"--background: #([0-9a-f]+);", styles)
    return [f"#{value * 2 if len(value) == 3 else value}" for value in found]


def test_outline_has_contrast_with_every_background() -> None:
    backgrounds = [*page_backgrounds(), "#ffffff"]
    assert backgrounds == ["#ffffff", "#161616", "#ffffff"]
    assert all(palette.contrast(palette.OUTLINE_COLOR, each) >= MIN_GRAPHICS_CONTRAST for each in backgrounds)


def test_text_on_every_color_has_contrast() -> None:
    for color in (*palette.COLORS, palette.UNSURE_COLOR, palette.SILENCE_COLOR, palette.OUTLINE_COLOR):
        assert palette.contrast(palette.text_color(color), color) >= MIN_TEXT_CONTRAST


@pytest.mark.parametrize(
    ("color", "other", "expected"),
    [
        ("#000000", "#ffffff", 21.0),
        ("#ffffff", "#ffffff", 1.0),
        ("#777777", "#ffffff", 4.48),
        ("#ff0000", "#fff0f0", 3.61),
    ],
)
def test_contrast_equals_published_values(color: str, other: str, expected: float) -> None:
    assert palette.contrast(color, other) == pytest.approx(expected, abs=0.01)


def test_every_emotion_of_the_vocabulary_has_one_of_the_colors() -> None:
    assert tuple(palette.EMOTION_COLORS) == labels.EMOTIONS
    assert set(palette.EMOTION_COLORS.values()) == set(palette.COLORS)
    assert len(set(palette.COLORS)) == 8


def test_emotions_of_the_built_in_models_have_different_colors() -> None:
    names = kanjo.load().labels
    assert len({palette.emotion_color(name) for name in names}) == len(names)


def test_labels_without_emotion_have_colors_of_their_own() -> None:
    assert palette.emotion_color(labels.UNSURE) == palette.UNSURE_COLOR
    assert palette.emotion_color(labels.SILENCE) == palette.SILENCE_COLOR


@pytest.mark.parametrize("word", ["stressed", "", "żal", "'\"<b>", "\udcff", "a" * 10_000])
def test_other_word_always_gets_the_same_color(word: str) -> None:
    assert palette.emotion_color(word) in palette.COLORS
    assert palette.emotion_color("stressed") == "#45bcd4"


def test_no_other_module_has_colors_of_emotions() -> None:
    """The colors are written in one file; the style sheet of the page and the plots take them from there."""
    pattern = re.compile("|".join(palette.COLORS), re.IGNORECASE)
    root = Path(kanjo.__file__).parent
    paths = [path for path in root.rglob("*") if path.suffix in (".py", ".js", ".css", ".html", ".j2")]
    assert [path.name for path in paths if pattern.search(path.read_text(encoding="utf-8"))] == ["palette.py"]
