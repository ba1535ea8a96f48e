"""Draw docs/pictures/architecture.svg: how data passes from recordings to a bundle, and from a recording to its result.

Run: python docs/make_architecture_diagram.py (needs only Python). Below each step stands the package that does it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import escape

PICTURE = Path(__file__).parent / "pictures" / "architecture.svg"
TITLE = "Training: from a corpus folder to a bundle. Inference: from an audio file to a prediction"
_WIDTH, _HEIGHT = 900, 418
_BOX_WIDTH, _BOX_HEIGHT, _GAP, _LEFT = 118, 54, 26, 34
#: Top of the boxes of each row.
_ROWS = (64, 168, 330)
#: Row, column, step and package of each box; arrows connect the boxes of a row.
_BOXES = (
    (0, 0, "corpus folder", "corpora.readers"),
    (0, 1, "manifest", "corpora"),
    (0, 2, "splits", "corpora"),
    (0, 3, "audio cache", "train.data"),
    (1, 0, "batch", "train.data"),
    (1, 1, "features", "train.features"),
    (1, 2, "model", "train.models"),
    (1, 3, "loss", "train.tasks"),
    (1, 4, "run folder", "experiments"),
    (1, 5, "bundle", "bundle"),
    (2, 0, "audio file", "audio"),
    (2, 1, "decode", "audio"),
    (2, 2, "windows", "inference"),
    (2, 3, "ONNX graph", "bundle"),
    (2, 4, "prediction", "inference"),
    (2, 5, "output", "table, CSV, SRT, ..."),
)
#: Boxes whose steps are one graph, from samples to probabilities.
_GRAPH = {(1, 1), (1, 2), (2, 3)}
_STYLE = (
    "text{font-family:sans-serif;fill:#1a1a1a;text-anchor:middle;font-size:15px}"
    ".small{font-size:12px;fill:#444}.title{text-anchor:start;font-weight:bold;font-size:16px}"
    ".note{text-anchor:start;font-size:13px;fill:#444}"
    ".box{fill:#eef1fb;stroke:#3f51b5;stroke-width:1.5}.graph{fill:#fff0d6;stroke:#a65f00;stroke-width:1.5}"
    ".panel{fill:none;stroke:#c4c8d8}.arrow{fill:none;stroke:#333;stroke-width:1.5;marker-end:url(#head)}"
    ".dashed{stroke-dasharray:6 4;stroke:#a65f00}"
)


def render_picture() -> str:
    """Render the SVG."""
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'width="{_WIDTH}" height="{_HEIGHT}">',
        "<!-- docs/make_architecture_diagram.py draws this picture. -->",
        f"<title>{escape(TITLE)}</title>",
        f"<style>{_STYLE}</style>",
        '<defs><marker id="head" markerWidth="9" markerHeight="9" refX="8" refY="4" orient="auto">'
        '<path d="M0,0 L9,4 L0,8 z" fill="#333"/></marker></defs>',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" rx="8" fill="#ffffff"/>',
        f'<rect class="panel" x="12" y="12" width="{_WIDTH - 24}" height="232" rx="8"/>',
        f'<rect class="panel" x="12" y="276" width="{_WIDTH - 24}" height="130" rx="8"/>',
        f'<text class="title" x="{_LEFT}" y="44">Training (with PyTorch)</text>',
        f'<text class="title" x="{_LEFT}" y="308">Inference (with ONNX Runtime, without PyTorch)</text>',
        *_boxes(),
        *_arrows(),
    ]
    return "\n".join([*lines, "</svg>"]) + "\n"


def _left(column: int) -> int:
    return _LEFT + column * (_BOX_WIDTH + _GAP)


def _boxes() -> Iterator[str]:
    for row, column, step, package in _BOXES:
        x, y = _left(column), _ROWS[row]
        middle, style = x + _BOX_WIDTH // 2, "graph" if (row, column) in _GRAPH else "box"
        yield f'<rect class="{style}" x="{x}" y="{y}" width="{_BOX_WIDTH}" height="{_BOX_HEIGHT}" rx="6"/>'
        yield f'<text x="{middle}" y="{y + 24}">{escape(step)}</text>'
        yield f'<text class="small" x="{middle}" y="{y + 43}">{escape(package)}</text>'


def _arrows() -> Iterator[str]:
    places = {(row, column) for row, column, *_ in _BOXES}
    for row, column in sorted(places):
        if (row, column + 1) in places:
            y = _ROWS[row] + _BOX_HEIGHT // 2
            yield f'<path class="arrow" d="M{_left(column) + _BOX_WIDTH},{y} H{_left(column + 1)}"/>'
    half = _BOX_WIDTH // 2
    cache, batch, bundle, graph = _left(3) + half, _left(0) + half, _left(5) + half, _left(3) + half
    bottom, top = _ROWS[0] + _BOX_HEIGHT, _ROWS[1]
    yield f'<path class="arrow" d="M{cache},{bottom} V{bottom + 25} H{batch} V{top}"/>'
    bottom, top = _ROWS[1] + _BOX_HEIGHT, _ROWS[2]
    yield f'<path class="arrow dashed" d="M{bundle},{bottom} V260 H{graph} V{top}"/>'
    yield f'<text class="note" x="{graph + 14}" y="300">model.onnx: features, model, softmax, temperature</text>'


def main() -> None:
    """Write the picture."""
    PICTURE.write_text(render_picture(), encoding="utf-8")


if __name__ == "__main__":
    main()
