"""The page as a person uses it, in a real Chromium with a microphone that hears a WAV file."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import soundfile

import kanjo
from kanjo.corpora import read_corpus
from tests.server_fixtures import SPOKEN, Service, service

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

MOODS = SPOKEN / "two-moods.flac"
PAGE = Path(kanjo.__file__).parent / "server" / "page"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not chromium:
        pytest.skip("no Chromium on this machine (Debian: apt install chromium)")
    from playwright.sync_api import sync_playwright

    voice = tmp_path_factory.mktemp("microphone") / "voice.wav"
    samples, rate = soundfile.read(MOODS)
    soundfile.write(voice, samples, rate, subtype="PCM_16")
    flags = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update "
    flags += "--disable-sync --use-fake-ui-for-media-stream --use-fake-device-for-media-stream --autoplay-policy=no-user-gesture-required"
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=chromium, args=[*flags.split(), f"--use-file-for-fake-audio-capture={voice}"]
        )
        yield started
        started.close()


@pytest.fixture(scope="module")
def running(browser: Browser) -> Iterator[Service]:
    with service() as found:
        yield found


@pytest.fixture
def page(browser: Browser, running: Service) -> Iterator[Page]:
    """A page that was opened; no error may come up in it, and no request may leave the service."""
    context = browser.new_context(locale="en-US", viewport={"width": 1000, "height": 900}, accept_downloads=True)
    found = context.new_page()
    wrong: list[str] = []
    found.on("pageerror", lambda error: wrong.append(str(error)))
    found.on(
        "request",
        lambda request: (
            wrong.append(request.url) if not request.url.startswith((running.url, "blob:", "data:")) else None
        ),
    )
    found.goto(running.url)
    found.wait_for_selector("html[data-ready]")
    yield found
    context.close()
    assert not wrong


def until(page: Page, condition: str, seconds: float = 30.0) -> None:
    """Wait for a condition; Playwright's own way of asking is what the page's content security policy forbids."""
    deadline = time.monotonic() + seconds
    while not page.evaluate(condition):
        assert time.monotonic() < deadline, f"never came true: {condition}"
        time.sleep(0.05)


def drop(page: Page, *paths: Path) -> None:
    before = page.locator("#list button").count()
    page.set_input_files("#files", [str(path) for path in paths])
    page.wait_for_selector(f"#tab-{before + len(paths) - 1}")


def download(page: Page, kind: str) -> str:
    with page.expect_download() as coming:
        page.click(f"[data-export={kind}]")
    return Path(coming.value.path()).read_text(encoding="utf-8")


def test_it_is_small_and_soon_there(browser: Browser, running: Service) -> None:
    assert sum(path.stat().st_size for path in PAGE.iterdir()) < 150_000
    page = browser.new_page()
    page.goto(running.url)
    page.wait_for_selector("html[data-ready]")
    ready = page.evaluate("performance.now() - performance.getEntriesByType('navigation')[0].startTime")
    assert ready < 3000  # the goal is 1000; a shared machine gets three times that
    page.close()


def test_a_recording_gets_its_timeline_in_colour_word_and_number(page: Page) -> None:
    drop(page, MOODS, SPOKEN / "calm-low.flac")
    assert page.inner_text("#status").startswith("calm-low.flac: sadness, ")
    page.click("#tab-0")
    expected = kanjo.load().predict(MOODS)
    told = page.locator(".strip button").all_inner_texts()
    assert [re.sub(r" \d+ %", "", text) for text in told] == [segment.label for segment in expected.segments]
    assert re.fullmatch(r"sadness \d\d %", told[0])
    rows = page.locator("tbody tr").count()
    assert rows == len(expected.segments)
    page.click("#tab-0")
    drawn = (
        "(() => { const c = document.querySelector('.wave'); const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
        " return d.filter((v, i) => i % 4 === 3 && v > 0).length / (c.width * c.height); })()"
    )
    until(page, f"{drawn} > 0.02")  # it is drawn with the browser's next frame


def test_play_from_any_point_by_mouse_and_keyboard(page: Page) -> None:
    drop(page, MOODS)
    until(page, "document.querySelector('audio').readyState >= 2")
    box = page.locator(".wave").bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 0.75 * box["width"], box["y"] + 20)
    until(page, "document.querySelector('audio').currentTime > 7")
    page.evaluate("document.querySelector('audio').pause()")
    page.evaluate(
        "document.querySelector('.wave').click(); document.querySelector('audio').pause()"
    )  # before it can have begun: no error
    page.locator(".wave").focus()
    for key, seconds in (("Home", 0), ("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1)):
        page.keyboard.press(key)
        until(page, f"Math.abs(document.querySelector('audio').currentTime - {seconds}) < 0.2")
    assert page.get_attribute(".wave", "aria-valuetext") == "0:01.0"
    page.keyboard.press("Space")
    until(page, "!document.querySelector('audio').paused")
    page.click(".strip button >> nth=2")
    until(page, "document.querySelector('audio').currentTime > 5.5")


def test_record_from_the_microphone_with_live_bars(page: Page) -> None:
    page.focus("#record")
    page.keyboard.press("Enter")
    page.wait_for_selector("#live:not([hidden])")
    until(page, "parseFloat(document.getElementById('clock').textContent) > 4.5")
    until(page, "[...document.querySelectorAll('#bars li')].some((li) => parseInt(li.lastChild.textContent) > 20)")
    assert page.locator("#bars li").count() == 7
    # Stopped by a page that was busy: what the microphone said meanwhile comes only after the stop
    page.evaluate(
        "const end = performance.now() + 600; while (performance.now() < end); document.getElementById('record').click()"
    )
    page.wait_for_selector("#tab-0")
    assert page.inner_text("#tab-0").startswith("recording-1.wav: ")
    assert page.is_hidden("#live")
    with page.expect_download() as coming:
        page.get_by_role("button", name="Download the recording").click()
    samples, rate = soundfile.read(coming.value.path())
    assert 4 < len(samples) / rate < 20 and abs(samples).max() > 0.05
    answer = kanjo.load().predict(coming.value.path())
    assert answer.label in page.inner_text("#tab-0")


def test_correct_a_label_and_take_the_manifest_to_training(page: Page, tmp_path: Path) -> None:
    drop(page, MOODS)
    expected = kanjo.load().predict(MOODS).segments
    spoken = [n for n, segment in enumerate(expected) if segment.label != "silence"]
    labels = [*(expected[n].label for n in spoken[:-1]), "happiness"]
    page.locator("tbody select").nth(spoken[-1]).select_option("happiness")
    assert page.locator(".strip button").nth(spoken[-1]).inner_text().startswith("happiness")
    rows = list(csv.DictReader(io.StringIO(download(page, "manifest"))))
    assert [row["emotion"] for row in rows] == labels
    assert float(rows[-1]["start"]) == pytest.approx(expected[spoken[-1]].start_s, abs=1e-3)
    shutil.copy(MOODS, tmp_path)
    (tmp_path / "manifest.csv").write_text(download(page, "manifest"), encoding="utf-8")
    utterances = read_corpus("own", tmp_path / "manifest.csv").utterances
    assert [(u.emotion, u.file) for u in utterances] == [(label, MOODS.name) for label in labels]
    assert "happiness" in download(page, "srt") and "silence" not in download(page, "srt")
    assert json.loads(download(page, "json"))[0]["label"] == "sadness"
    lines = list(csv.DictReader(io.StringIO(download(page, "csv"))))
    assert [line["part"] for line in lines] == ["recording"] + ["segment"] * len(expected)


@pytest.mark.parametrize(
    ("language", "record", "silence"),
    [("ja", "録音する", "無音"), ("ko", "녹음", "무음"), ("de", "Aufnehmen", "Stille")],
)
def test_other_languages(page: Page, language: str, record: str, silence: str) -> None:
    drop(page, MOODS)
    page.select_option("#language", language)
    assert page.inner_text("#record") == record
    first = [segment.label for segment in kanjo.load().predict(MOODS).segments].index("silence")
    assert page.locator(".strip button").nth(first).inner_text() == silence
    assert page.get_attribute("html", "lang") == language
    page.reload()
    page.wait_for_selector("html[data-ready]")
    assert page.inner_text("#record") == record  # it is remembered


def test_every_language_says_everything(page: Page) -> None:
    text = page.evaluate("() => fetch('/page/words.js').then((answer) => answer.text())")
    blocks = re.findall(r"^  (en|ja|ko|de): \{(.*?)^  \},", text, re.MULTILINE | re.DOTALL)
    keys = {name: set(re.findall(r"(\w+): \"", body.split("labels:")[0])) for name, body in blocks}
    assert set(keys) == {"en", "ja", "ko", "de"} and len(keys["en"]) > 30
    assert all(found == keys["en"] for found in keys.values())
    spoken = set(re.findall(r"data-word=\"(\w+)\"", (PAGE / "index.html").read_text(encoding="utf-8")))
    assert spoken <= keys["en"]
    from kanjo.labels import EMOTIONS, SILENCE, UNSURE

    for name, body in blocks:
        if name != "en":
            assert set(re.findall(r"(\w+): \"", body.split("labels:")[1])) == {*EMOTIONS, SILENCE, UNSURE}


def test_narrow_and_dark(browser: Browser, running: Service) -> None:
    context = browser.new_context(viewport={"width": 320, "height": 700}, color_scheme="dark", locale="en-US")
    page = context.new_page()
    page.goto(running.url)
    page.wait_for_selector("html[data-ready]")
    drop(page, MOODS)
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    ground, ink = page.evaluate(
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
    )
    assert sum(map(int, re.findall(r"\d+", ground))) < 100 and sum(map(int, re.findall(r"\d+", ink))) > 600
    context.close()


def test_everything_is_reached_by_keyboard(page: Page) -> None:
    drop(page, MOODS, SPOKEN / "calm-low.flac")
    reached = set()
    page.evaluate("document.activeElement.blur()")
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate("(e => e.id || e.dataset.export || e.className || e.tagName)(document.activeElement)")
        )
    assert {
        "language",
        "record",
        "choose",
        "tab-1",
        "wave",
        "AUDIO",
        "SELECT",
        "csv",
        "json",
        "srt",
        "manifest",
    } <= reached
    page.focus("#tab-1")
    page.keyboard.press("ArrowLeft")
    assert page.get_attribute("#tab-0", "aria-selected") == "true"


def test_what_is_no_recording_is_said_and_the_next_is_heard(page: Page, tmp_path: Path) -> None:
    bad = tmp_path / "notes <b>.wav"
    bad.write_text("no sound")
    page.set_input_files("#files", str(bad))
    until(page, "document.getElementById('status').textContent.includes('not audio that can be read')")
    assert page.get_attribute("#status", "class") == "bad"
    drop(page, MOODS)
    assert page.get_attribute("#status", "class") == ""


def test_a_token_is_asked_for(browser: Browser) -> None:
    with service(token="sesame") as running:
        page = browser.new_page(locale="en-US")
        page.goto(running.url)
        page.wait_for_selector("#ask-token:not([hidden])")
        page.fill("#token", "sesame")
        page.keyboard.press("Enter")
        until(page, "document.getElementById('model').textContent.includes('default')")
        drop(page, MOODS)
        page.close()


def test_a_service_that_went_away_is_said(browser: Browser) -> None:
    with service() as running:
        page = browser.new_page(locale="en-US")
        page.goto(running.url)
        page.wait_for_selector("html[data-ready]")
        running.stop()
        page.set_input_files("#files", str(MOODS))
        until(page, "document.getElementById('status').textContent === \"The service can't be reached.\"")
        page.close()
