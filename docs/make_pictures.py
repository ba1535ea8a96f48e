"""Draw the pictures of README.md and the docs, and write what they were drawn from to docs/pictures/sources.json.

    make pictures                            # all; needs Chromium
    make pictures ONLY="timeline page-dark"  # these
    python docs/make_pictures.py timeline    # the same in an environment with kanjo[dev-all]

The recordings are the synthetic examples of this repository. ``report``, ``confusion-matrix`` and ``learning-curves``
need the corpora EMOVO and RAVDESS in the folder that the environment variable KANJO_CORPORA names (default:
../shared/corpora); the script leaves these pictures out if they are absent. tests/test_pictures.py fails if a source
has changed since a picture was drawn.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "docs" / "pictures"
SOURCES_FILE = PICTURES / "sources.json"
PACKAGE = ROOT / "src" / "kanjo"
CORPORA = Path(os.environ.get("KANJO_CORPORA") or ROOT.parent / "shared" / "corpora")
WIDTH, HEIGHT = 1000, 700
#: A small network, so that the training takes a few minutes on a CPU.
TRAINING_OPTIONS = (
    "model.channels=[8,16,16,32]",
    "model.pools=[[2,2],[4,4],[4,1],[4,1]]",
    "model.lstm_units=64",
    "audio.window_s=4",
    "features.hop_length=1024",
    "training.epochs=20",
)

#: What pictures are drawn from: files, and folders with all their files.
SOURCES: dict[str, tuple[str, ...]] = {
    "bundle": ("src/kanjo/bundle/builtin/default/model.onnx",),
    "page": ("src/kanjo/server/page", "src/kanjo/server/emotion_styles.py"),
    "palette": ("src/kanjo/palette.py",),
    "report": ("src/kanjo/evaluation/reports/templates",),
    "recipe": ("src/kanjo/recipes/zhao2019/cnn-lstm-2d.yaml",),
    "recordings": ("examples/recordings",),
}


class CorpusMissingError(Exception):
    """A picture needs a corpus that is not on this machine."""


def longest_recording() -> Path:
    """Return the example recording that lasts longest: a conversation, or one with several segments."""
    import soundfile

    recordings = sorted((ROOT / "examples" / "recordings").glob("*.flac"))
    return max(recordings, key=lambda path: float(soundfile.info(path).duration))


def run_kanjo(*arguments: object) -> None:
    """Run a command of kanjo. Its messages appear, its results do not."""
    command = [sys.executable, "-m", "kanjo", *map(str, arguments)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def find_corpus(name: str) -> Path:
    """Return the folder of a corpus. Raises CorpusMissingError."""
    if not (CORPORA / name).is_dir():
        raise CorpusMissingError(f"{CORPORA / name} does not exist; set KANJO_CORPORA to the folder of the corpora")
    return CORPORA / name


def draw_timeline(picture: Path) -> None:
    """Draw the waveform, the segments and the probabilities of a recording."""
    run_kanjo("predict", longest_recording(), "--plot", picture)


def draw_log_mel(picture: Path) -> None:
    """Draw the log-mel spectrogram of a recording."""
    run_kanjo("plot", "mel", longest_recording(), "-o", picture)


def draw_confusion_matrix(picture: Path) -> None:
    """Draw the confusion matrix of the built-in model on EMOVO, which it was not trained on."""
    with evaluated_model() as folder:
        shutil.copy(folder / "confusion_matrix.png", picture)


def draw_report(picture: Path) -> None:
    """Take a screenshot of the start of the report of the built-in model on EMOVO."""
    with evaluated_model() as folder, open_browser() as browser:
        page = browser.new_page(viewport={"width": WIDTH, "height": 900})
        page.goto((folder / "report.html").resolve().as_uri())
        page.screenshot(path=str(picture))


def draw_learning_curves(picture: Path) -> None:
    """Train a small CNN-LSTM on RAVDESS, and draw loss, UAR and accuracy over the epochs."""
    find_corpus("ravdess")
    with tempfile.TemporaryDirectory() as folder:
        options = [argument for option in TRAINING_OPTIONS for argument in ("--set", option)]
        run_kanjo("train", "cnn-lstm-2d", "--corpus-root", CORPORA, *options, "-o", Path(folder) / "run")
        shutil.copy(Path(folder) / "run" / "learning_curves.png", picture)


def draw_page(picture: Path, color_scheme: Literal["light", "dark"]) -> None:
    """Start ``kanjo serve``, predict two recordings in Chromium, and take a screenshot of the page."""
    longest = longest_recording()
    other = next(path for path in sorted(longest.parent.glob("*.flac")) if path != longest)
    with start_service() as address, open_browser() as browser:
        page = browser.new_page(locale="en-US", color_scheme=color_scheme, viewport={"width": WIDTH, "height": HEIGHT})
        page.goto(address)
        page.wait_for_selector("html[data-ready]")
        page.set_input_files("input[type=file]", [str(other), str(longest)])
        page.wait_for_selector("#tab-1", timeout=120_000)
        page.wait_for_timeout(1000)  # the player appears
        page.screenshot(path=str(picture), full_page=True)


def draw_palette(picture: Path) -> None:
    """Draw the eight colors as each kind of color vision sees them, and in gray."""
    import make_palette_reference as reference
    import matplotlib
    import numpy as np
    from colour.models import eotf_inverse_sRGB

    from kanjo.evaluation.reports.rendering import create_figure
    from kanjo.palette import COLORS, OUTLINE_COLOR, text_color

    figure, axes = create_figure(9, 3.2)
    rows: dict[str, Callable[[str], Any]] = {
        vision: lambda color, deficiency=deficiency: reference.simulate(color, deficiency)
        for vision, deficiency in reference.VISION.items()
    }
    rows["gray"] = lambda color: np.repeat(reference.simulate(color, None) @ [0.2126, 0.7152, 0.0722], 3)
    for y, convert in enumerate(rows.values()):
        for x, color in enumerate(COLORS):
            seen = matplotlib.colors.to_hex(np.clip(eotf_inverse_sRGB(convert(color)), 0, 1))
            axes.barh(y, 0.96, 0.9, x - 0.48, color=seen, edgecolor=OUTLINE_COLOR)
            axes.text(x, y, reference.EIGHT[color], ha="center", va="center", color=text_color(seen), fontsize=9)
    axes.set_yticks(range(len(rows)), list(rows))
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.invert_yaxis()
    for side in axes.spines.values():
        side.set_visible(False)
    figure.savefig(picture, dpi=110)


@contextmanager
def evaluated_model() -> Iterator[Path]:
    """Evaluate the built-in model on EMOVO; the result is used by the pictures that need it."""
    corpus = find_corpus("emovo")
    if not _EVALUATION:
        folder = tempfile.TemporaryDirectory()
        run_kanjo("evaluate", "default", corpus, "-o", Path(folder.name) / "report")
        _EVALUATION.append(folder)
    yield Path(_EVALUATION[0].name) / "report"


_EVALUATION: list[tempfile.TemporaryDirectory[str]] = []


@contextmanager
def start_service() -> Iterator[str]:
    """Start ``kanjo serve``, and give its address."""
    from kanjo.server.run import find_port

    port = find_port("127.0.0.1", 0)
    command = [sys.executable, "-m", "kanjo", "serve", "--port", str(port)]
    service = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        if service.stderr is not None:
            service.stderr.readline()  # the service prints its address when it is ready
        yield f"http://127.0.0.1:{port}/"
    finally:
        service.terminate()
        service.wait(30)


@contextmanager
def open_browser() -> Iterator[Any]:
    """Open Chromium, and check that it has a font for the Japanese name of kanjo."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("Chromium is not installed; install it (Debian: apt install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        check_fonts(browser)
        yield browser
        browser.close()


def check_fonts(browser: Any) -> None:
    """End the script if the browser draws 感 and 情 as the sign for a missing character."""
    images = browser.new_page().evaluate(
        """() => ["感", "情", "\\u{10ffff}"].map((text) => {
            const canvas = document.createElement("canvas");
            const context = canvas.getContext("2d");
            context.font = "40px system-ui, sans-serif";
            context.fillText(text, 5, 60);
            return canvas.toDataURL();
        })"""
    )
    if len(set(images)) != len(images):
        raise SystemExit("no font has the characters 感情; install one (Debian: apt install fonts-noto-cjk)")


@dataclass(frozen=True)
class Picture:
    """A picture of the docs.

    Attributes:
        draw: Writes it to a PNG file.
        sources: Keys of SOURCES: it is out of date if one of these files changes.
    """

    draw: Callable[[Path], None]
    sources: tuple[str, ...]


DRAWN: dict[str, Picture] = {
    "palette": Picture(draw_palette, ("palette",)),
    "timeline": Picture(draw_timeline, ("bundle", "palette", "recordings")),
    "page-light": Picture(lambda path: draw_page(path, "light"), ("bundle", "page", "palette", "recordings")),
    "page-dark": Picture(lambda path: draw_page(path, "dark"), ("bundle", "page", "palette", "recordings")),
    "report": Picture(draw_report, ("bundle", "palette", "report")),
    "confusion-matrix": Picture(draw_confusion_matrix, ("bundle",)),
    "learning-curves": Picture(draw_learning_curves, ("recipe",)),
    "log-mel": Picture(draw_log_mel, ("recipe", "recordings")),
}


def hash_source(key: str) -> str:
    """Return the SHA-256 of a source: of the file, or of the names and contents of all its files."""
    roots = [ROOT / path for path in SOURCES[key]]
    if len(roots) == 1 and roots[0].is_file():
        return hashlib.sha256(_read(roots[0])).hexdigest()
    digest = hashlib.sha256()
    for path in sorted(each for root in roots for each in (root, *root.rglob("*")) if each.is_file()):
        digest.update(f"{path.relative_to(ROOT).as_posix()}\n{hashlib.sha256(_read(path)).hexdigest()}\n".encode())
    return digest.hexdigest()


def _read(path: Path) -> bytes:
    """Read a file. Git can write the lines of text files in two ways, which count as the same."""
    content = path.read_bytes()
    return content if path.suffix in (".onnx", ".flac") else content.replace(b"\r\n", b"\n")


def describe_picture(name: str) -> dict[str, str]:
    """Return the SHA-256 of a picture and of its sources."""
    picture = hashlib.sha256((PICTURES / f"{name}.png").read_bytes()).hexdigest()
    return {"sha256": picture} | {key: hash_source(key) for key in DRAWN[name].sources}


def read_sources() -> dict[str, dict[str, str]]:
    """Read what the pictures were drawn from."""
    content: dict[str, dict[str, str]] = json.loads(SOURCES_FILE.read_text("utf-8")) if SOURCES_FILE.exists() else {}
    return content


def draw(name: str) -> None:
    """Draw one picture, make it smaller, and write down its sources. Raises CorpusMissingError."""
    from PIL import Image

    with tempfile.TemporaryDirectory() as folder:
        drawn = Path(folder) / f"{name}.png"
        DRAWN[name].draw(drawn)
        with Image.open(drawn) as image:
            image.convert("RGB").save(PICTURES / f"{name}.png", optimize=True)
    sources = {**read_sources(), name: describe_picture(name)}
    text = json.dumps({key: sources[key] for key in sorted(sources) if key in DRAWN}, indent=2)
    SOURCES_FILE.write_text(text + "\n", encoding="utf-8")


def main(names: Sequence[str]) -> int:
    """Draw the pictures with these names, or all."""
    unknown = [name for name in names if name not in DRAWN]
    if unknown:
        sys.stderr.write(f"unknown picture {unknown[0]!r}; expected one of: {', '.join(DRAWN)}\n")
        return 2
    for name in names or DRAWN:
        sys.stderr.write(f"{name}\n")
        try:
            draw(name)
        except CorpusMissingError as error:
            sys.stderr.write(f"{name} was not drawn: {error}\n")
        except subprocess.CalledProcessError as error:
            sys.stderr.write(f"{name} was not drawn: this command failed: {shlex.join(error.cmd)}\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
