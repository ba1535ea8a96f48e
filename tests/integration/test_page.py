"""The web page in Chromium, with a WAV file as its microphone."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest
import soundfile

import kanjo
from kanjo.corpora import read_corpus
from kanjo.labels import EMOTIONS, SILENCE, UNSURE
from kanjo.palette import OUTLINE_COLOR, emotion_color, rgb, text_color
from tests.clips import RECORDINGS
from tests.server_fixtures import CLIP, ServiceProcess, start_service

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PAGE_FOLDER = Path(kanjo.__file__).parent / "server" / "page"
OTHER_CLIP = RECORDINGS / "sadness-1.flac"
BROWSER_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not chromium:
        pytest.skip("Chromium is not installed (Debian: apt install chromium)")
    pytest.importorskip("playwright", reason="Playwright (extra dev-all) is not installed")
    from playwright.sync_api import sync_playwright

    microphone = tmp_path_factory.mktemp("microphone") / "voice.wav"
    samples, sample_rate = soundfile.read(CLIP)
    soundfile.write(microphone, samples, sample_rate, subtype="PCM_16")
    flags = [*BROWSER_FLAGS, f"--use-file-for-fake-audio-capture={microphone}"]
    with sync_playwright() as playwright:
        chromium_browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        yield chromium_browser
        chromium_browser.close()


@pytest.fixture(scope="module")
def service(browser: Browser) -> Iterator[ServiceProcess]:
    with start_service() as process:
        yield process


@pytest.fixture
def page(browser: Browser, service: ServiceProcess) -> Iterator[Page]:
    """The loaded page. After the test, check that it had no JavaScript errors and sent no requests elsewhere."""
    context = browser.new_context(locale="en-US", viewport={"width": 1000, "height": 900}, accept_downloads=True)
    new_page = context.new_page()
    errors: list[str] = []
    urls: list[str] = []
    new_page.on("pageerror", lambda error: errors.append(str(error)))
    new_page.on("request", lambda request: urls.append(request.url))
    load_page(new_page, service)
    yield new_page
    context.close()
    assert not errors
    assert not [url for url in urls if not url.startswith((service.url, "blob:", "data:"))]


def load_page(page: Page, service: ServiceProcess) -> None:
    page.goto(service.url)
    page.wait_for_selector("html[data-ready]")


def wait_until(page: Page, condition: str, timeout_s: float = 30.0) -> None:
    """Wait for a JavaScript condition. The page's content security policy forbids ``page.wait_for_function``."""
    deadline = time.monotonic() + timeout_s
    while not page.evaluate(condition):
        assert time.monotonic() < deadline, f"the condition did not become true: {condition}"
        time.sleep(0.05)


def choose_files(page: Page, *paths: Path) -> None:
    """Choose files and wait for their results."""
    n_tabs = page.locator("#tabs button").count()
    page.set_input_files("#files", [str(path) for path in paths])
    page.wait_for_selector(f"#tab-{n_tabs + len(paths) - 1}")


def export(page: Page, file_format: str) -> str:
    with page.expect_download() as download:
        page.click(f"[data-export={file_format}]")
    return Path(download.value.path()).read_text(encoding="utf-8")


def test_page_loads_fast_and_is_small(browser: Browser, service: ServiceProcess) -> None:
    assert sum(path.stat().st_size for path in PAGE_FOLDER.iterdir()) < 150_000
    page = browser.new_page()
    load_page(page, service)
    load_time_ms = page.evaluate("performance.now() - performance.getEntriesByType('navigation')[0].startTime")
    assert load_time_ms < 3000  # The goal is 1000 ms; test machines are slower.
    page.close()


def test_page_with_files_shows_waveform_timeline_and_table(page: Page) -> None:
    choose_files(page, CLIP, OTHER_CLIP)
    assert page.inner_text("#status").startswith("sadness-1.flac: sadness, ")
    page.click("#tab-0")
    segments = kanjo.load().predict(CLIP).segments
    texts = page.locator(".timeline button").all_inner_texts()
    assert [re.sub(r" \d+\s%", "", text) for text in texts] == [segment.label for segment in segments]
    assert re.fullmatch(r"fear \d\d\s%", texts[1])
    assert page.locator("tbody tr").count() == len(segments)
    page.click("#tab-0")
    painted_fraction = """(() => {
        const canvas = document.querySelector('.waveform');
        const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
        return data.filter((value, i) => i % 4 === 3 && value > 0).length / (canvas.width * canvas.height);
    })()"""
    wait_until(page, f"{painted_fraction} > 0.02")


def test_waveform_click_and_keys_change_playback_position(page: Page) -> None:
    choose_files(page, CLIP)
    wait_until(page, "document.querySelector('audio').readyState >= 2")
    box = page.locator(".waveform").bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 0.75 * box["width"], box["y"] + 20)
    wait_until(page, "document.querySelector('audio').currentTime > 7")
    page.evaluate("document.querySelector('audio').pause()")
    # A pause before the playback has started must not cause an error.
    page.evaluate("document.querySelector('.waveform').click(); document.querySelector('audio').pause()")
    page.locator(".waveform").focus()
    for key, time_s in (("Home", 0), ("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1)):
        page.keyboard.press(key)
        wait_until(page, f"Math.abs(document.querySelector('audio').currentTime - {time_s}) < 0.2")
    assert page.get_attribute(".waveform", "aria-valuetext") == "0:01.0"
    page.keyboard.press("Space")
    wait_until(page, "!document.querySelector('audio').paused")
    page.click(".timeline button >> nth=2")
    wait_until(page, "document.querySelector('audio').currentTime > 5.5")


@pytest.mark.slow
def test_microphone_recording_shows_live_probabilities_and_result(page: Page) -> None:
    page.focus("#record")
    page.keyboard.press("Enter")
    page.wait_for_selector("#live:not([hidden])")
    wait_until(page, "parseFloat(document.getElementById('duration').textContent) > 4.5")
    assert page.locator("#bars li").count() == len(kanjo.load().labels)
    wait_until(page, "[...document.querySelectorAll('#bars li')].some((li) => parseInt(li.lastChild.textContent) > 20)")
    wait_until(page, "document.getElementById('speech').value > 0.5")
    # Block the page before the click on "Stop": blocks of samples that arrive after it must be ignored.
    page.evaluate(
        "const end = performance.now() + 600; while (performance.now() < end); "
        "document.getElementById('record').click()"
    )
    page.wait_for_selector("#tab-0")
    assert page.inner_text("#tab-0").startswith("recording-1.wav: ")
    assert page.is_hidden("#live")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download the recording").click()
    samples, sample_rate = soundfile.read(download.value.path())
    assert 4 < len(samples) / sample_rate < 20
    assert abs(samples).max() > 0.05
    assert kanjo.load().predict(download.value.path()).label in page.inner_text("#tab-0")


def test_corrected_label_is_exported_as_training_manifest(page: Page, tmp_path: Path) -> None:
    choose_files(page, CLIP)
    segments = kanjo.load().predict(CLIP).segments
    speech = [n for n, segment in enumerate(segments) if segment.label != SILENCE]
    labels = [*(segments[n].label for n in speech[:-1]), "happiness"]
    page.locator("tbody select").nth(speech[-1]).select_option("happiness")
    assert page.locator(".timeline button").nth(speech[-1]).inner_text().startswith("happiness")

    manifest = export(page, "manifest")
    rows = list(csv.DictReader(io.StringIO(manifest)))
    assert [row["emotion"] for row in rows] == labels
    assert float(rows[-1]["start"]) == pytest.approx(segments[speech[-1]].start_s, abs=1e-3)
    shutil.copy(CLIP, tmp_path)
    (tmp_path / "manifest.csv").write_text(manifest, encoding="utf-8")
    utterances = read_corpus("own", tmp_path / "manifest.csv").utterances
    assert [(u.emotion, u.file) for u in utterances] == [(label, CLIP.name) for label in labels]


def test_exports_contain_all_segments(page: Page) -> None:
    choose_files(page, CLIP)
    prediction = kanjo.load().predict(CLIP)
    srt = export(page, "srt")
    labels = {segment.label for segment in prediction.segments} - {SILENCE}
    assert labels and all(label in srt for label in labels) and SILENCE not in srt
    assert json.loads(export(page, "json"))[0]["label"] == prediction.label
    rows = list(csv.DictReader(io.StringIO(export(page, "csv"))))
    assert [row["part"] for row in rows] == ["recording"] + ["segment"] * len(prediction.segments)


@pytest.mark.parametrize(
    ("language", "record", "silence"),
    [("de", "Aufnehmen", "Stille"), ("ja", "録音する", "無音"), ("ko", "녹음", "무음")],
)
def test_language_choice_translates_page_and_is_stored(page: Page, language: str, record: str, silence: str) -> None:
    choose_files(page, CLIP)
    page.select_option("#language", language)
    assert page.inner_text("#record") == record
    index = [segment.label for segment in kanjo.load().predict(CLIP).segments].index(SILENCE)
    assert page.locator(".timeline button").nth(index).inner_text() == silence
    assert page.get_attribute("html", "lang") == language
    page.reload()
    page.wait_for_selector("html[data-ready]")
    assert page.inner_text("#record") == record


def test_translations_have_all_texts_and_labels(page: Page) -> None:
    texts = page.evaluate("import('/page/i18n.js').then((module) => module.TEXTS)")
    assert set(texts) == {"en", "de", "ja", "ko"}
    for language, translations in texts.items():
        assert translations.keys() == texts["en"].keys(), language
        if language != "en":
            assert set(translations["labels"]) == {*EMOTIONS, SILENCE, UNSURE}
    html = (PAGE_FOLDER / "index.html").read_text(encoding="utf-8")
    scripts = "".join(path.read_text(encoding="utf-8") for path in PAGE_FOLDER.glob("*.js"))
    used = set(re.findall(r"data-text=\"(\w+)\"", html)) | set(re.findall(r"translate\(\"(\w+)\"", scripts))
    assert len(used) > 20
    assert used <= texts["en"].keys()


def test_page_in_narrow_dark_window_fits_and_is_dark(browser: Browser, service: ServiceProcess) -> None:
    context = browser.new_context(viewport={"width": 320, "height": 700}, color_scheme="dark", locale="en-US")
    page = context.new_page()
    load_page(page, service)
    choose_files(page, CLIP)
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    background, text = page.evaluate(
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
    )
    assert sum(map(int, re.findall(r"\d+", background))) < 100
    assert sum(map(int, re.findall(r"\d+", text))) > 600
    context.close()


@pytest.mark.parametrize("color_scheme", ["light", "dark"])
def test_segments_and_swatches_have_the_color_of_their_emotion(
    browser: Browser, service: ServiceProcess, color_scheme: Literal["light", "dark"]
) -> None:
    context = browser.new_context(color_scheme=color_scheme, locale="en-US")
    page = context.new_page()
    load_page(page, service)
    choose_files(page, CLIP)
    speech = [segment.label for segment in kanjo.load().predict(CLIP).segments if segment.label != SILENCE]
    for selector in (".timeline .emotion", ".swatch.emotion"):
        styles = page.eval_on_selector_all(
            selector,
            "all => all.map(e => getComputedStyle(e)).map(s => [s.backgroundColor, s.color, s.borderTopColor])",
        )
        expected = [
            [f"rgb{rgb(value)}" for value in (emotion_color(label), text_color(emotion_color(label)), OUTLINE_COLOR)]
            for label in speech
        ]
        assert styles == expected, selector
    context.close()


def test_all_controls_are_reachable_by_keyboard(page: Page) -> None:
    choose_files(page, CLIP, OTHER_CLIP)
    focused = set()
    page.evaluate("document.activeElement.blur()")
    get_name = "(e => e.id || e.dataset.export || e.className || e.tagName)(document.activeElement)"
    for _ in range(40):
        page.keyboard.press("Tab")
        focused.add(page.evaluate(get_name))
    assert {"language", "record", "choose", "tab-1", "waveform", "AUDIO", "SELECT"} <= focused
    assert {"csv", "json", "srt", "manifest"} <= focused
    page.focus("#tab-1")
    page.keyboard.press("ArrowLeft")
    assert page.get_attribute("#tab-0", "aria-selected") == "true"


def test_file_that_is_no_audio_shows_error_and_next_file_works(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "notes <b>.wav"
    path.write_text("no audio")
    page.set_input_files("#files", str(path))
    wait_until(page, "document.getElementById('status').className === 'error'")
    assert path.name in page.inner_text("#status")
    choose_files(page, CLIP)
    assert page.get_attribute("#status", "class") == ""


def test_service_with_token_shows_form_for_it(browser: Browser) -> None:
    with start_service(token="sesame") as service:
        page = browser.new_page(locale="en-US")
        page.goto(service.url)
        page.wait_for_selector("#token-form:not([hidden])")
        page.fill("#token", "sesame")
        page.keyboard.press("Enter")
        wait_until(page, "document.getElementById('model').textContent.includes('default')")
        choose_files(page, CLIP)
        page.close()


def test_stopped_service_shows_error(browser: Browser) -> None:
    with start_service() as service:
        page = browser.new_page(locale="en-US")
        load_page(page, service)
        service.stop()
        page.set_input_files("#files", str(CLIP))
        wait_until(page, "document.getElementById('status').textContent === 'The service cannot be reached.'")
        page.close()
