"""Draw the pictures of README.md and the docs from the built-in model: the timeline and the web page.

    python docs/make_pictures.py             # both; needs kanjo[evaluation,serve], Playwright and Chromium
    python docs/make_pictures.py timeline    # one of them

The pictures go to docs/pictures. The recordings are the synthetic examples of this repository.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from kanjo.server.run import find_port

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "docs" / "pictures"
RECORDING = ROOT / "examples" / "recordings" / "conversation.flac"
WIDTH, HEIGHT = 1000, 900


def draw_timeline() -> None:
    """Draw the waveform, the segments and the probabilities of a recording with ``kanjo predict --plot``."""
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "timeline.png"
        command = [sys.executable, "-m", "kanjo", "predict", str(RECORDING), "--plot", str(picture)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        shutil.copy(picture, PICTURES / "timeline.png")


def draw_page() -> None:
    """Start ``kanjo serve``, predict two recordings in Chromium, and take a screenshot of the page."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("Chromium is not installed; install it (Debian: apt install chromium)")
    port = find_port("127.0.0.1", 0)
    service = subprocess.Popen(
        [sys.executable, "-m", "kanjo", "serve", "--port", str(port)], stderr=subprocess.PIPE, text=True
    )
    try:
        if service.stderr is not None:
            service.stderr.readline()  # the service prints its address when it is ready
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
            page = browser.new_page(locale="en-US", viewport={"width": WIDTH, "height": HEIGHT})
            page.goto(f"http://127.0.0.1:{port}/")
            page.wait_for_selector("html[data-ready]")
            page.set_input_files("input[type=file]", [str(RECORDING.with_name("sadness-1.flac")), str(RECORDING)])
            page.wait_for_selector("#tab-1")  # the second recording is predicted
            page.wait_for_selector("table tbody tr")
            page.wait_for_timeout(1000)  # the player appears
            page.screenshot(path=str(PICTURES / "page.png"))
            browser.close()
    finally:
        service.terminate()
        service.wait(30)


DRAW = {"timeline": draw_timeline, "page": draw_page}


def main() -> None:
    """Draw the pictures that the arguments name, or all."""
    for name in sys.argv[1:] or DRAW:
        DRAW[name]()


if __name__ == "__main__":
    main()
