"""The search of the built documentation in Chromium: which page comes first for the words that people type."""

from __future__ import annotations

import functools
import shutil
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.test_docs import DOCS, ROOT, build

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow

#: Query -> the page that must come first.
FIRST_PAGES = {
    "fine-tune": "tutorials/own-recordings",
    "own data": "tutorials/own-recordings",
    "pandas": "how-to/pandas",
    "streaming": "how-to/streaming",
    "microphone": "how-to/microphone",
    "confidence": "explanation/calibration",
    "GPU": "how-to/gpu",
    "license": "explanation/licenses",
    "command line": "reference/cli",
    "glossary": "glossary",
}


class _Handler(SimpleHTTPRequestHandler):
    def log_message(self, *args: Any) -> None:
        """Print nothing."""


@pytest.fixture(scope="module")
def site_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("docs")
    shutil.copytree(DOCS, folder / "docs")
    shutil.copy(ROOT / "mkdocs.yml", folder)
    result = build(folder)
    assert result.returncode == 0, result.stdout + result.stderr
    handler = functools.partial(_Handler, directory=str(folder / "build" / "site"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def page(site_url: str) -> Iterator[Page]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not chromium:
        pytest.skip("Chromium is not installed (Debian: apt install chromium)")
    pytest.importorskip("playwright", reason="Playwright (extra dev-all) is not installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser.new_page()
        browser.close()


def search(page: Page, site_url: str, query: str) -> list[str]:
    """The pages that the search finds, best first, as paths without anchors."""
    page.goto(site_url)
    page.keyboard.press("/")
    field = page.locator("input[type=text]")
    field.wait_for()
    field.fill(query)
    results = page.locator("a[href*='h=']")
    results.first.wait_for()
    links = results.evaluate_all("links => links.map(link => link.href)")
    found = [link.removeprefix(site_url).partition("?")[0].strip("/") for link in links]
    return list(dict.fromkeys(found))


@pytest.mark.parametrize("query", FIRST_PAGES)
def test_search_finds_the_right_page_first(query: str, page: Page, site_url: str) -> None:
    found = search(page, site_url, query)
    assert found[0] == FIRST_PAGES[query], f"{query}: {found[:4]}"


def test_pages_have_no_wider_content_than_the_window(page: Page, site_url: str) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    for path in sorted(DOCS.rglob("*.md")):
        name = path.relative_to(DOCS).with_suffix("").as_posix().removesuffix("index")
        page.goto(site_url + name)
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= 390, f"{Path(name)} is {width} px wide"
