"""Create matplotlib figures and write them as PNG and SVG. Needs the extra ``plot``."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from kanjo import files
from kanjo.errors import KanjoError, requires_extra

log = logging.getLogger("kanjo")

# Colors of series that are no emotions, which color-blind readers can distinguish (Okabe and Ito 2008). Emotions have
# the colors of kanjo.palette.
BLUE, ORANGE, GREEN, GRAY = "#0072B2", "#D55E00", "#009E73", "#888888"
SERIES_COLORS = (BLUE, ORANGE, GREEN, "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = ("o", "^", "s", "x", "v", "D", "P", "*")
LINE_STYLES = ("-", "--", "-.", ":")
#: Suffixes of the files that can be written.
IMAGE_SUFFIXES = (".png", ".svg")
_DPI = 110
_FIRST_CJK_CHARACTER = "\u2e80"
#: Fonts with Korean, Japanese or Chinese characters on Linux, Windows and macOS.
_CJK_FONTS = (
    "Noto Sans CJK JP",
    "Noto Sans CJK KR",
    "Noto Sans CJK SC",
    "Noto Sans JP",
    "Noto Sans KR",
    "Noto Sans SC",
    "NanumGothic",
    "Malgun Gothic",
    "Yu Gothic",
    "Microsoft YaHei",
    "Apple SD Gothic Neo",
    "Hiragino Sans",
    "PingFang SC",
)


class RenderedFigure(NamedTuple):
    """A figure in both file formats."""

    png: bytes
    svg: bytes


def require_matplotlib(extra: str = "plot") -> None:
    """Raise KanjoError if matplotlib is not installed; call this before a long computation that ends in figures.

    Args:
        extra: The extra that the message names.
    """
    with requires_extra(extra, "figures need matplotlib"):
        import matplotlib  # noqa: F401


def create_figure(width: float, height: float, n_columns: int = 1, n_rows: int = 1) -> Any:
    """Create a figure and its axes.

    Args:
        width: Width in inches.
        height: Height in inches.
        n_columns: Columns of axes.
        n_rows: Rows of axes.

    Returns:
        The figure, and its axes as ``Figure.subplots`` returns them.

    Raises:
        KanjoError: matplotlib is not installed.
    """
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(n_rows, n_columns)


def count_earlier_uses(colors: Sequence[str]) -> list[int]:
    """Count for each color how often it occurs before: emotions with the same color get another marker or line."""
    return [colors[:n].count(color) for n, color in enumerate(colors)]


def render(figure: Any) -> RenderedFigure:
    """Render a matplotlib figure as PNG and SVG.

    Korean, Japanese and Chinese names are drawn with an installed font that has them. Without one, they are drawn as
    boxes, and a message says so.
    """
    from matplotlib.text import Text

    texts = figure.findobj(Text)
    if any(character >= _FIRST_CJK_CHARACTER for text in texts for character in text.get_text()):
        families = _font_families()
        if len(families) == 1:
            log.warning("a figure has boxes in place of names, because no font such as Noto Sans CJK is installed")
        for text in texts:
            text.set_fontfamily(families)
    contents = []
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # the message above says it in plain words
        for file_format in ("png", "svg"):
            buffer = io.BytesIO()
            figure.savefig(buffer, format=file_format, dpi=_DPI)
            contents.append(buffer.getvalue())
    return RenderedFigure(*contents)


def _font_families() -> list[str]:
    """The default font, and those of ``_CJK_FONTS`` that are installed."""
    from matplotlib import rcParams
    from matplotlib.font_manager import findSystemFonts, fontManager

    if not set(_CJK_FONTS) & set(fontManager.get_font_names()):  # matplotlib may have listed the fonts long ago
        for path in findSystemFonts():
            if "CJK" in Path(path).name:
                fontManager.addfont(path)
    installed = set(fontManager.get_font_names())
    return [*rcParams["font.family"], *(name for name in _CJK_FONTS if name in installed)]


def check_figure(path: Path) -> None:
    """Check that a figure can be drawn and written; call this before a long computation that ends in a figure.

    Raises:
        KanjoError: The file has another suffix than .png and .svg, or matplotlib is not installed.
    """
    _check_suffix(path)
    require_matplotlib()


def save_figure(figure: RenderedFigure, path: Path) -> None:
    """Write one file; its suffix (.png or .svg) selects the format.

    Raises:
        KanjoError: Another suffix, or the file can't be written.
    """
    _check_suffix(path)
    with files.atomic_write(path) as temporary:
        temporary.write_bytes(figure.png if path.suffix.lower() == ".png" else figure.svg)


def write_figures(folder: Path, figures: Mapping[str, RenderedFigure]) -> None:
    """Write ``NAME.png`` and ``NAME.svg`` of each figure. Raises KanjoError."""
    for name, figure in figures.items():
        for suffix in IMAGE_SUFFIXES:
            save_figure(figure, folder / f"{name}{suffix}")


def _check_suffix(path: Path) -> None:
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        raise KanjoError(f"{path}: unknown image format; expected a file name that ends in .png or .svg")
