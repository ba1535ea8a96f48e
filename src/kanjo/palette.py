"""The colors of emotions: the same on the web page, in plots, in reports and on terminals.

Eight colors have different lightness, so that they differ in print without color, and they differ for readers with
protanopia, deuteranopia and tritanopia (``tests/test_palette.py`` computes it; ``docs/reference/palette.md`` has the
figures). No color has enough contrast with both a white and a dark background. Draw an outline around each area and
line in :data:`OUTLINE_COLOR`, which has, and write text on a color in :func:`text_color`.
"""

from __future__ import annotations

import zlib

_ANGER, _CALM, _DISGUST, _FEAR = "#a50f02", "#45bcd4", "#22774f", "#571b7d"
_HAPPINESS, _NEUTRAL, _SADNESS, _SURPRISE = "#ebe10f", "#949494", "#3a78ec", "#ffb392"

#: Color of each emotion of the vocabulary, as ``#rrggbb``. Nine emotions share the color of a related one.
EMOTION_COLORS: dict[str, str] = {
    "anger": _ANGER,
    "anxiety": _FEAR,
    "boredom": _CALM,
    "calm": _CALM,
    "contempt": _DISGUST,
    "disgust": _DISGUST,
    "excitement": _SURPRISE,
    "fear": _FEAR,
    "frustration": _ANGER,
    "happiness": _HAPPINESS,
    "neutral": _NEUTRAL,
    "other": _NEUTRAL,
    "sadness": _SADNESS,
    "sarcasm": _DISGUST,
    "surprise": _SURPRISE,
    "subdued": _SADNESS,
    "intense": _ANGER,
}
#: The eight colors, from dark to light.
COLORS: tuple[str, ...] = (_FEAR, _ANGER, _DISGUST, _SADNESS, _NEUTRAL, _CALM, _SURPRISE, _HAPPINESS)
#: Color of the label "unsure". Areas in this color are hatched as well.
UNSURE_COLOR = "#d0d0d0"
#: Color of the label "silence" on a light background.
SILENCE_COLOR = "#f4f4f4"
#: Color of the outlines of areas and lines; contrast of at least 3:1 with white and with the dark page.
OUTLINE_COLOR = "#808080"

_LABEL_COLORS = {**EMOTION_COLORS, "unsure": UNSURE_COLOR, "silence": SILENCE_COLOR}


def emotion_color(label: str) -> str:
    """Return the color of a label as ``#rrggbb``: ``emotion_color("anger") == "#a50f02"``.

    A word outside the vocabulary, such as a class of the user, always gets the same one of the eight colors.
    """
    if label in _LABEL_COLORS:
        return _LABEL_COLORS[label]
    return COLORS[zlib.crc32(label.encode("utf-8", "surrogatepass")) % len(COLORS)]


def rgb(color: str) -> tuple[int, int, int]:
    """Return red, green and blue (0 to 255) of a color ``#rrggbb``."""
    red, green, blue = bytes.fromhex(color.removeprefix("#"))
    return red, green, blue


def relative_luminance(color: str) -> float:
    """Return the relative luminance (0 to 1) of a color ``#rrggbb`` as WCAG 2.2 defines it."""
    linear = [
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
        for value in (channel / 255 for channel in rgb(color))
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(color: str, other: str) -> float:
    """Return the contrast ratio (1 to 21) of two colors as WCAG 2.2 defines it."""
    low, high = sorted([relative_luminance(color), relative_luminance(other)])
    return (high + 0.05) / (low + 0.05)


def text_color(color: str) -> str:
    """Return black or white, whichever has more contrast on a color. The contrast is at least 4.5:1."""
    return max("#000000", "#ffffff", key=lambda text: contrast(text, color))
