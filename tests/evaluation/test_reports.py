"""The report pages, read and looked at; runs compared."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from kanjo.errors import CorpusError
from kanjo.evaluation import compare, metrics
from kanjo.evaluation.evaluate import Answer, Evaluation, scores_of
from kanjo.evaluation.reports import html, run_report
from tests.corpora_fixtures import clip
from tests.shell import typed

LABELS = ("anger", "neutral", "sadness")


def _answers(n: int, skill: float, seed: int, paths: list[Path] | None = None, speakers: int = 8) -> list[Answer]:
    """``n`` answers of which a share of ``skill`` is right, speakers in turn."""
    chance = np.random.default_rng(seed)
    found = []
    for i in range(n):
        truth = i % 3
        said = truth if chance.random() < skill else int((truth + 1 + chance.integers(2)) % 3)
        shares = np.full(3, 0.2)
        shares[said] = 0.6
        embedding = (np.eye(8)[truth] + 0.2 * chance.normal(size=8)).astype(np.float32)
        path = str(paths[i % len(paths)]) if paths else ""
        sex = "female" if i % 2 else "male"
        found.append(
            Answer(
                "c",
                f"{i}.wav",
                f"c/s{i // 3 % speakers}",
                sex,
                LABELS[truth],
                LABELS[said],
                tuple(shares),
                path,
                embedding,
            )
        )
    return found


def _evaluation(answers: list[Answer]) -> Evaluation:
    return Evaluation(LABELS, tuple(answers), scores_of(LABELS, answers), failed=(("bad <name>.wav", "no <audio>"),))


def _run(folder: Path, skill: float, seed: int, **more: int) -> Path:
    run_report.write_run(folder, folder.name, _evaluation(_answers(240, skill, seed, **more)), {"recipe": "name: x"})  # type: ignore[arg-type]
    return folder


def test_a_page_has_everything_and_nothing_from_outside(tmp_path: Path) -> None:
    paths = [clip(tmp_path / f"{n}.wav", n, seconds=0.5) for n in range(3)]
    facts = {"audit": ["LEAK: <x>"], "protocol": "loso & more", "recipe": "a: <b>", "training": "Best epoch 3."}
    run_report.write_run(tmp_path / "r", "A <title>", _evaluation(_answers(120, 0.7, 0, paths)), facts)
    text = (tmp_path / "r" / "report.html").read_text(encoding="utf-8")
    for heading in (
        "Confusion matrix",
        "UAR of each test speaker, and of each sex",
        "Calibration",
        "Where the test utterances lie",
    ):
        assert f"<h2>{heading}" in text
    assert "The 10 most confident mistakes" in text and text.count("<audio controls") == 10
    assert "A &lt;title&gt;" in text and "bad &lt;name&gt;.wav" in text and "<x>" not in text
    assert "<li class=leak>LEAK: &lt;x&gt;" in text and "onnxruntime" in text and "processor" in text
    assert not re.search(r'(?:src|href)="(?!data:)', text)
    player = re.search(r'src="data:audio/mpeg;base64,([^"]+)"', text)
    assert player is not None
    import io

    import soundfile

    sound, rate = soundfile.read(io.BytesIO(base64.b64decode(player[1])))
    assert rate == 16_000 and len(sound) / rate == pytest.approx(0.5, abs=0.1)
    for name in ("confusion_matrix", "speakers", "reliability", "embeddings"):
        assert (tmp_path / "r" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert "<svg" in (tmp_path / "r" / f"{name}.svg").read_text(encoding="utf-8")


def test_a_large_report_is_quick_and_small(tmp_path: Path) -> None:
    """4,000 utterances: under 30 s and 8 MB."""
    paths = [clip(tmp_path / f"{n}.wav", n, seconds=4.0) for n in range(5)]
    evaluation = _evaluation(_answers(4000, 0.6, 0, paths, speakers=40))
    started = time.process_time()
    run_report.write_run(tmp_path / "r", "large", evaluation, {})
    assert time.process_time() - started < 30
    assert (tmp_path / "r" / "report.html").stat().st_size < 8_000_000


def test_a_better_run_is_told_apart_and_an_equal_one_is_not(tmp_path: Path) -> None:
    runs = [
        compare.read_run(_run(tmp_path / name, skill, seed))
        for name, skill, seed in (("good", 0.8, 1), ("bad", 0.5, 2))
    ]
    (difference,) = compare.differences(runs)
    assert (difference.better, difference.other, difference.units) == ("good", "bad", "speakers")
    assert difference.certain and 0.2 < difference.value < 0.4 and difference.low < difference.value < difference.high
    assert difference.sentence().startswith("good is better than bad: +")
    twin = compare.read_run(_run(tmp_path / "twin", 0.8, 3))
    (near,) = compare.differences([runs[0], twin])
    assert not near.certain and "can't be told apart" in near.sentence()


def test_the_paired_bootstrap_sees_what_intervals_hide() -> None:
    """One system is right wherever the other is, and on two more of each speaker: their intervals overlap, the pairs don't."""
    chance = np.random.default_rng(0)
    truth = np.tile([0, 1], 200)
    units = [f"s{i // 20}" for i in range(400)]
    hard = np.repeat(chance.uniform(0.2, 0.9, 20), 20)
    second = np.where(chance.random(400) < hard, truth, 1 - truth)
    first = second.copy()
    for speaker in range(20):
        wrong = [i for i in range(20 * speaker, 20 * speaker + 20) if first[i] != truth[i]]
        first[wrong[:2]] = truth[wrong[:2]]
    value, low, high, against = metrics.paired_bootstrap(truth, first, second, units, 2)
    assert low > 0 and against == 0.0
    one, two = (metrics.score(("a", "b"), truth, np.eye(2)[answer], units).uar for answer in (first, second))
    assert one.low is not None and two.high is not None and one.low < two.high
    assert value == pytest.approx(one.value - two.value)
    swapped = metrics.paired_bootstrap(truth, second, first, units, 2)
    assert swapped[0] == pytest.approx(-value) and swapped[1] == pytest.approx(-high)


def test_one_speaker_is_resampled_by_utterance(tmp_path: Path) -> None:
    runs = [compare.read_run(_run(tmp_path / name, skill, 1, speakers=1)) for name, skill in (("a", 0.9), ("b", 0.4))]
    (difference,) = compare.differences(runs)
    assert difference.units == "utterances" and difference.certain


def test_runs_on_other_utterances_are_not_set_against_each_other(tmp_path: Path) -> None:
    one, other = _run(tmp_path / "x" / "run", 0.8, 1), _run(tmp_path / "y" / "run", 0.8, 1)
    text = (other / "predictions.csv").read_text().replace("\nc,0.wav", "\nc,other.wav")
    (other / "predictions.csv").write_text(text)
    done = typed("report", one, other, "-o", tmp_path / "o")
    assert done.returncode == 0, done.stderr
    assert (
        "x/run" in done.stdout
        and "y/run" in done.stdout
        and "no two of them were tested on the same utterances" in done.stdout
    )
    assert (tmp_path / "o" / "comparison.html").is_file() and (tmp_path / "o" / "comparison.svg").is_file()


def test_folders_that_are_no_runs_are_one_line(tmp_path: Path) -> None:
    done = typed("report", tmp_path)
    assert done.returncode == 1 and "can't read" in done.stderr and len(done.stderr.splitlines()) == 1
    (tmp_path / "predictions.csv").write_text("corpus,file\n")
    with pytest.raises(CorpusError, match="no answers in it"):
        compare.read_run(tmp_path)


@pytest.fixture(scope="module")
def chromium() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no Chromium here; the page is looked at in one where there is")
    return found


def test_a_browser_shows_the_page(chromium: str, tiny_run: Path, tmp_path: Path) -> None:
    """A real Chromium lays the page out: every picture decodes, the players know their length, nothing overflows, no errors."""
    probe = (
        "<script>addEventListener('load',async()=>{const a=[...document.querySelectorAll('audio')];"
        "for(const e of a){e.preload='auto';e.load();await new Promise(r=>{e.onloadedmetadata=r;e.onerror=r;setTimeout(r,4000)})}"
        "const i=[...document.images];document.title='probe '+JSON.stringify({images:i.length,"
        "shown:i.filter(e=>e.complete&&e.naturalWidth>50).length,players:a.length,playable:a.filter(e=>e.duration>0.1).length,"
        "overflow:document.documentElement.scrollWidth>innerWidth+1})})</script></body>"
    )
    text = (tiny_run / "report.html").read_text(encoding="utf-8")
    (tmp_path / "page.html").write_text(text.replace("</body>", probe), encoding="utf-8")
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-sync",
    ]
    flags += [
        "--disable-component-update",
        "--virtual-time-budget=20000",
        "--window-size=1000,2000",
        f"--user-data-dir={tmp_path}/u",
    ]
    url = (tmp_path / "page.html").as_uri()
    for _ in range(4):  # virtual time runs ahead of the decoder on a busy machine
        dumped = subprocess.run([chromium, *flags, "--dump-dom", url], capture_output=True, text=True, timeout=120)
        found = re.search(r"<title>probe (\{.*?\})</title>", dumped.stdout)
        assert found, dumped.stdout[:500] + dumped.stderr[-500:]
        seen = json.loads(found[1])
        if seen["players"] == seen["playable"]:
            break
    assert seen["images"] == seen["shown"] >= 5
    assert seen["players"] == seen["playable"] > 0
    assert not seen["overflow"]


def test_pages_escape_what_they_are_told() -> None:
    evaluation = _evaluation(_answers(30, 0.5, 0))
    text = html.run_page("<script>alert(1)</script>", evaluation, {}, {"recipe": "</pre><script>"})
    assert "<script>" not in text
