"""Write docs/reference/palette.md from ``kanjo.palette``: the colors, their contrasts and their differences.

Run: python docs/make_palette_reference.py (needs colour-science, which the extra ``dev`` has).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import colour
import numpy as np
import numpy.typing as npt

from kanjo import palette

PAGE = Path(__file__).parent / "reference" / "palette.md"
WHITE, DARK_PAGE = "#ffffff", "#161616"
#: Kinds of color vision, and the name that ``colour`` gives to the deficiency; severity 1 is its complete form.
VISION: dict[str, str | None] = {
    "normal": None,
    "protanopia": "Protanomaly",
    "deuteranopia": "Deuteranomaly",
    "tritanopia": "Tritanomaly",
}
#: The emotion that gave each of the eight colors its name.
EIGHT = dict(
    zip(
        palette.COLORS,
        ("fear", "anger", "disgust", "sadness", "neutral", "calm", "surprise", "happiness"),
        strict=True,
    )
)
INTRODUCTION = """# Colors of emotions

An emotion has the same color on the web page, in plots, in reports and on terminals. Python has the colors as
`kanjo.palette.EMOTION_COLORS`:

```python
from kanjo.palette import emotion_color, text_color

print(emotion_color("anger"), text_color(emotion_color("anger")))
```

![The eight colors as normal vision, three kinds of color blindness and gray show them](../pictures/palette.png)
"""
NOTES = """
"Contrast" is the ratio of WCAG 2.2. Graphics need 3:1, text needs 4.5:1. Eight colors with different lightness can't
all have 3:1 with a white and with a dark page. Therefore areas and lines have an outline in `{outline}`: it has
{outline_white:.1f}:1 with white and {outline_dark:.1f}:1 with the dark page. Text on a color is black or white,
whichever has more contrast. The label is always written as well.

The other emotions of the vocabulary have the color of a related emotion: {shared}. A class of your own always gets the
same one of the eight colors, chosen by its name. If a plot has two emotions with one color, they have different markers
or lines. "unsure" is hatched `{unsure}`, "silence" has no color on the page and `{silence}` elsewhere.

## Differences

The smallest difference of two of the eight colors, as CIEDE2000. The color blindness is simulated as complete (Machado,
Oliveira and Fernandes 2009, severity 1; for tritanopia the authors call it an approximation). For gray, the difference
is that of the lightness L*.

{differences}

The script `docs/make_palette_reference.py` writes this page. `tests/test_palette.py` fails if a difference or a
contrast is too small.
"""


def simulate(color: str, deficiency: str | None) -> npt.NDArray[np.float64]:
    """Return the linear RGB values (3,) that a reader with a color vision deficiency sees."""
    linear = colour.models.eotf_sRGB(np.asarray(palette.rgb(color)) / 255)
    if deficiency is not None:
        linear = np.clip(linear @ np.asarray(colour.CVD_MATRICES_MACHADO2010[deficiency][1.0]).T, 0, 1)
    return np.asarray(linear, np.float64)


def to_lab(linear: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Convert linear RGB (..., 3) of sRGB to CIE L*a*b*."""
    xyz = colour.RGB_to_XYZ(linear, "sRGB", apply_cctf_decoding=False)
    return np.asarray(colour.XYZ_to_Lab(xyz, colour.CCS_ILLUMINANTS["CIE 1931 2 Degree Standard Observer"]["D65"]))


def lightness(color: str) -> float:
    """Return the lightness L* (0 to 100) of a color; a print without color keeps it."""
    return float(to_lab(simulate(color, None))[0])


def differences(colors: Sequence[str], deficiency: str | None) -> dict[tuple[str, str], float]:
    """Return the CIEDE2000 difference of each pair of colors."""
    lab = {color: to_lab(simulate(color, deficiency)) for color in colors}
    pairs = itertools.combinations(colors, 2)
    return {(a, b): float(colour.delta_E(lab[a], lab[b], method="CIE 2000")) for a, b in pairs}


def gray_differences(colors: Sequence[str]) -> dict[tuple[str, str], float]:
    """Return the difference in lightness of each pair of colors."""
    return {(a, b): abs(lightness(a) - lightness(b)) for a, b in itertools.combinations(colors, 2)}


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _difference_row(name: str, values: Mapping[tuple[str, str], float]) -> list[str]:
    (a, b), smallest = min(values.items(), key=lambda item: item[1])
    return [name, f"{smallest:.1f}", f"{EIGHT[a]}, {EIGHT[b]}"]


def render_page() -> str:
    """Return the page as Markdown."""
    rows: list[list[str]] = []
    for color, name in EIGHT.items():
        text = palette.text_color(color)
        contrasts = [palette.contrast(color, other) for other in (WHITE, DARK_PAGE, text)]
        text_name = "black" if text == "#000000" else "white"
        rows.append(
            [name, f"`{color}`", f"{lightness(color):.0f}", *(f"{value:.1f}" for value in contrasts), text_name]
        )
    header = ["emotion", "color", "lightness L*", "contrast with white", "with the dark page", "with its text", "text"]
    vision_rows = [
        _difference_row(name, differences(palette.COLORS, deficiency)) for name, deficiency in VISION.items()
    ]
    vision_rows.append(_difference_row("gray (L*)", gray_differences(palette.COLORS)))
    values: dict[str, Any] = {
        "outline": palette.OUTLINE_COLOR,
        "outline_white": palette.contrast(palette.OUTLINE_COLOR, WHITE),
        "outline_dark": palette.contrast(palette.OUTLINE_COLOR, DARK_PAGE),
        "unsure": palette.UNSURE_COLOR,
        "silence": palette.SILENCE_COLOR,
        "shared": ", ".join(
            f"{name} as {EIGHT[color]}" for name, color in palette.EMOTION_COLORS.items() if name not in EIGHT.values()
        ),
        "differences": _table(["vision", "smallest difference", "between"], vision_rows),
    }
    return f"{INTRODUCTION}\n{_table(header, rows)}\n{NOTES.format(**values)}"


def main() -> None:
    """Write the page."""
    PAGE.write_text(render_page(), encoding="utf-8")


if __name__ == "__main__":
    main()
