"""The report of a run: its files, its HTML page, its figures."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

import kanjo
from kanjo.errors import KanjoError
from kanjo.evaluation.evaluate import Evaluation
from kanjo.evaluation.reports import (
    embedding_projection,
    figures,
    html,
    rendering,
    run_report,
    signal_plots,
    tuning_plots,
)
from kanjo.evaluation.reports.paths import ReportPaths
from kanjo.evaluation.reports.run_info import OriginalModel, RunInfo, environment_info
from kanjo.labels import UNSURE
from kanjo.palette import OUTLINE_COLOR, emotion_color
from tests.corpora_fixtures import write_clip
from tests.evaluation.utterances import make_evaluation, make_utterances


def make_paths(folder: Path) -> ReportPaths:
    return ReportPaths(
        predictions=folder / "predictions.csv",
        scores=folder / "scores.json",
        predictions_enrolled=folder / "predictions-enrolled.csv",
        scores_enrolled=folder / "scores-enrolled.json",
        page=folder / "report.html",
        figures=folder,
        metrics=folder / "metrics.csv",
    )


def write_report(folder: Path, title: str, evaluation: Evaluation, info: RunInfo | None = None) -> str:
    run_report.write_run_report(make_paths(folder), title, evaluation, info or RunInfo())
    return (folder / "report.html").read_text(encoding="utf-8")


def test_report_page_is_complete_and_loads_nothing(tmp_path: Path) -> None:
    recordings = [write_clip(tmp_path / f"{n}.wav", n, seconds=0.5) for n in range(3)]
    evaluation = make_evaluation(make_utterances(60, 0.7, 0, recordings))
    info = RunInfo(
        protocol="loso & more",
        leakage=("LEAK: <x>", "no shared texts"),
        recipe="a: <b>",
        training="Best epoch 3.",
        scores_enrolled=evaluation.scores,
    )
    page = write_report(tmp_path / "r", "A <title>", evaluation, info)
    for heading in (
        "Confusion matrix",
        "UAR of each test speaker and of each sex",
        "Calibration",
        "Embeddings of the test utterances",
        "The 10 most confident errors",
        "Not scored",
    ):
        assert f"<h2>{heading}" in page
    assert page.count("<audio controls") == 10
    assert f"With enrollment: UAR {evaluation.scores.uar}" in page
    assert '<li class="leak">LEAK: &lt;x&gt;</li>' in page and "<li>no shared texts</li>" in page
    assert "onnxruntime" in page and "processor" in page and "chance UAR" in page and "33.3 %" in page
    assert not re.search(r'(?:src|href)="(?!data:)', page)
    for name in ("confusion_matrix", "speakers", "reliability", "embeddings"):
        assert (tmp_path / "r" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert "<svg" in (tmp_path / "r" / f"{name}.svg").read_text(encoding="utf-8")


def test_report_page_plays_the_beginning_of_the_recording(tmp_path: Path) -> None:
    recording = write_clip(tmp_path / "clip.wav", seconds=0.5)
    evaluation = make_evaluation(make_utterances(9, 0.0, 0, [recording]))
    page = html.render_run_page("title", evaluation, RunInfo(), {})
    player = re.search(r'src="data:audio/mpeg;base64,([^"]+)"', page)
    assert player is not None
    signal, rate = soundfile.read(io.BytesIO(base64.b64decode(player[1])))
    assert rate == 16_000 and len(signal) / rate == pytest.approx(0.5, abs=0.1)


def test_report_page_escapes_names_and_texts() -> None:
    evaluation = make_evaluation(make_utterances(30, 0.5, 0))
    page = html.render_run_page("<script>alert(1)</script>", evaluation, RunInfo(recipe="</pre><script>"), {})
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)" in page and "bad &lt;name&gt;.wav" in page and "no &lt;audio&gt;" in page


def test_report_page_without_errors_or_failures_leaves_the_sections_out() -> None:
    evaluation = make_evaluation(make_utterances(30, 1.0, 0))
    page = html.render_run_page("title", replace(evaluation, failures=()), RunInfo(), {})
    assert "confident errors" not in page and "Not scored" not in page and "With enrollment" not in page


def test_report_page_has_a_row_of_the_original_model(tmp_path: Path) -> None:
    evaluation, other = (make_evaluation(make_utterances(60, accuracy, 0)) for accuracy in (0.8, 0.3))
    original = OriginalModel("base <1>", other.scores, "It was trained on 2 of the 8 test speakers.")
    page = write_report(tmp_path, "title", evaluation, RunInfo(original=original))
    rows = re.findall(r"<tr><th>([^<]*model[^<]*)</th><td class=\"number\">([^<]*)</td>", page)
    assert rows == [
        ("this model", str(evaluation.scores.uar)),
        ("original model: base &lt;1&gt;", str(other.scores.uar)),
    ]
    assert f"<p>{original.note}</p>" in page
    content = json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))
    assert content["original"]["name"] == "base <1>"
    assert content["original"]["uar"]["value"] == other.scores.uar.value


def test_report_page_without_original_model_has_no_such_row() -> None:
    page = html.render_run_page("title", make_evaluation(make_utterances(9, 0.5, 0)), RunInfo(), {})
    assert "original model" not in page and "this model" not in page


def test_report_page_folds_the_recipe_away() -> None:
    evaluation = make_evaluation(make_utterances(9, 0.5, 0))
    page = html.render_run_page("title", evaluation, RunInfo(recipe="name: x"), {})
    assert re.search(r"<details>\s*<summary>Recipe</summary>\s*<pre>name: x</pre>\s*</details>", page)
    assert "<details" not in html.render_run_page("title", evaluation, RunInfo(), {})


@pytest.mark.parametrize("n_epochs", [1, 4])
def test_plot_learning_curves_marks_the_kept_epoch(n_epochs: int, tmp_path: Path) -> None:
    lines = [f"{n},{1 / n},0.5,nan,{0.9 / n}" for n in range(1, n_epochs + 1)]
    header = "epoch,train_loss,train_uar,validation_loss,validation_uar"
    (tmp_path / "metrics.csv").write_text("\n".join([header, *lines]), encoding="utf-8")
    kept = figures.plot_learning_curves(tmp_path / "metrics.csv", n_epochs)  # not the best one by validation UAR
    assert kept.svg.decode().count(f"<!-- kept: epoch {n_epochs} -->") == 2
    assert b"kept" not in figures.plot_learning_curves(tmp_path / "metrics.csv").svg


def test_plot_learning_curves_has_accuracy_if_the_metrics_have(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("epoch,train_loss,train_uar,validation_loss,validation_uar\n1,1,0.5,1,0.5\n", encoding="utf-8")
    assert b"<!-- accuracy, % -->" not in figures.plot_learning_curves(path).svg  # written by an earlier version
    header = "epoch,train_loss,train_uar,train_accuracy,validation_loss,validation_uar,validation_accuracy"
    path.write_text(f"{header}\n1,1,0.5,0.6,1,0.5,0.7\n2,1,0.5,0.7,1,0.5,0.8\n", encoding="utf-8")
    svg = figures.plot_learning_curves(path).svg.decode()
    assert all(svg.count(f"<!-- {name} -->") == 1 for name in ("loss", "UAR, %", "accuracy, %"))


def test_scores_file_has_scores_info_and_failures(tmp_path: Path) -> None:
    evaluation = replace(make_evaluation(make_utterances(9, 0.5, 0)), excluded_emotions=(("boredom", 2),))
    write_report(tmp_path, "title", evaluation, RunInfo(protocol="loso", leakage=("a", "b"), training_minutes=1.5))
    content = json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))
    assert content["uar"]["value"] == evaluation.scores.uar.value
    assert content["protocol"] == "loso" and content["leakage"] == ["a", "b"] and content["training_minutes"] == 1.5
    assert content["failures"] == [{"file": "bad <name>.wav", "error": "no <audio>"}]
    assert content["excluded_emotions"] == {"boredom": 2}


def test_summarize_with_enrollment_appends_those_scores() -> None:
    scores = make_evaluation(make_utterances(30, 0.5, 0)).scores
    lines = run_report.summarize(scores, scores)
    assert lines[0].startswith(f"UAR {scores.uar}   accuracy ") and lines[0].endswith("(30 utterances)")
    assert lines[1].startswith("recall: anger ") and lines[2].startswith("UAR by sex: female ")
    assert lines[3].startswith("with enrollment") and lines[4:] == lines[:3]


@pytest.mark.slow
def test_large_report_is_fast_and_small(tmp_path: Path) -> None:
    recordings = [write_clip(tmp_path / f"{n}.wav", n, seconds=4.0) for n in range(5)]
    evaluation = make_evaluation(make_utterances(4000, 0.6, 0, recordings, n_speakers=40))
    started = time.process_time()
    write_report(tmp_path / "r", "large", evaluation)
    assert time.process_time() - started < 30
    assert (tmp_path / "r" / "report.html").stat().st_size < 8_000_000


def test_report_of_a_training_run_has_all_figures_and_the_leakage(tiny_run: Path) -> None:
    page = (tiny_run / "report.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert not re.search(r'(?:src|href)="(?!data:)', page)
    for text in ("UAR", "Confusion matrix", "Learning curves", "not text-independent", "Recall of each emotion"):
        assert text in page
    figures = re.findall(r"data:image/png;base64,([A-Za-z0-9+/=]+)", page)
    assert len(figures) == 6
    assert all(base64.b64decode(figure).startswith(b"\x89PNG") for figure in figures)


@pytest.mark.parametrize("package", ["matplotlib", "jinja2"])
def test_report_without_package_names_the_extra(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(KanjoError, match=r"pip install 'kanjo\[evaluation\]'"):
        html.require_report_packages()


def test_save_figure_with_unknown_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KanjoError, match=r"\.png or \.svg"):
        rendering.save_figure(rendering.RenderedFigure(b"", b""), tmp_path / "figure.pdf")


@pytest.mark.parametrize("has_font", [True, False])
def test_render_draws_korean_names_or_says_that_no_font_has_them(
    has_font: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if not has_font:
        monkeypatch.setattr(rendering, "_CJK_FONTS", ())
        monkeypatch.setattr("matplotlib.font_manager.findSystemFonts", list)
    figure, axes = rendering.create_figure(3, 2)
    axes.set_title("슬픔 感情")
    if has_font and len(rendering._font_families()) == 1:
        pytest.skip("no font with Korean characters is installed")
    with caplog.at_level("WARNING", "kanjo"):
        assert rendering.render(figure).png
    assert bool(caplog.messages) is not has_font


def test_plot_embeddings_draws_emotions_in_their_colors_and_separates_those_that_share_one() -> None:
    emotions = ["anger", "calm", "boredom"] * 2
    points = np.random.default_rng(0).normal(size=(6, 2))
    svg = figures.plot_embeddings(points, emotions, ["a"] * 6, "test").svg.decode()
    # each of the two series of a color has its marker, and the legend repeats it
    markers = re.findall(r'<use xlink:href="#(\w+)"[^>]*style="fill: (#[0-9a-f]{6});', svg)
    n_markers = {color: len({name for name, filled in markers if filled == color}) for _, color in markers}
    assert n_markers[emotion_color("anger")] == 2
    assert emotion_color("calm") == emotion_color("boredom")
    assert n_markers[emotion_color("calm")] == 4


@pytest.mark.parametrize("label", ["anger", UNSURE])
def test_plot_timeline_draws_segment_and_line_in_the_color_of_the_emotion(label: str, tmp_path: Path) -> None:
    recording = write_clip(tmp_path / "clip.wav", 0, seconds=3.0)
    prediction = kanjo.load().predict(recording)
    segment = replace(prediction.segments[0], label=label, probabilities=prediction.probabilities)
    svg = signal_plots.plot_timeline(replace(prediction, segments=[segment]), recording).svg.decode()
    hatched = 'style="fill: url(' in svg
    assert hatched == (label == UNSURE)
    assert hatched or f'style="fill: {emotion_color(label)}; stroke: {OUTLINE_COLOR}' in svg
    for name in prediction.probabilities:
        assert f"stroke: {emotion_color(name)}" in svg


def test_report_page_shows_the_color_of_each_emotion(tmp_path: Path) -> None:
    evaluation = make_evaluation(make_utterances(60, 0.7, 0))
    page = write_report(tmp_path / "r", "title", evaluation)
    for label in evaluation.scores.labels:
        assert f'<span class="swatch" style="background:{emotion_color(label)}"></span>{label}</th>' in page


def test_draw_embeddings_of_few_utterances_is_none() -> None:
    assert embedding_projection.draw_embeddings(make_utterances(9, 0.5, 0)) is None


def test_fit_tsne_separates_distant_clusters() -> None:
    generator = np.random.default_rng(0)
    embeddings = np.repeat(np.eye(2, 16) * 20, 15, axis=0) + generator.normal(0, 0.1, (30, 16))
    points = embedding_projection.fit_tsne(embeddings)
    first, second = points[:15], points[15:]
    gap = np.linalg.norm(first.mean(0) - second.mean(0))
    assert gap > first.std(0).max() and gap > second.std(0).max()


def test_environment_info_names_versions_and_hardware() -> None:
    info = environment_info()
    assert {"kanjo", "numpy", "onnxruntime", "Python", "system", "processor"} <= set(info)


def test_tuning_figures_accept_numbers_words_and_wide_ranges() -> None:
    values = [
        {"training.learning_rate": 10 ** -(1 + n / 2), "training.balance": ("none", "class_weights")[n % 2], "n": n}
        for n in range(8)
    ]
    trials = [tuning_plots.TrialPoint(n, 0.3 + 0.05 * n, n != 0, item) for n, item in enumerate(values)]
    for figure in (
        tuning_plots.plot_history(trials),
        tuning_plots.plot_parallel_coordinates(trials),
        tuning_plots.plot_importance({"training.learning_rate": 0.7, "n": 0.3}),
    ):
        assert figure.png.startswith(b"\x89PNG") and b"<svg" in figure.svg


_BROWSER_PROBE = """<script>
addEventListener('load', async () => {
  const players = [...document.querySelectorAll('audio')];
  for (const player of players) {
    player.preload = 'auto';
    player.load();
    await new Promise(done => { player.onloadedmetadata = done; player.onerror = done; setTimeout(done, 4000); });
  }
  const images = [...document.images];
  document.title = 'probe ' + JSON.stringify({
    images: images.length,
    shown: images.filter(image => image.complete && image.naturalWidth > 50).length,
    players: players.length,
    playable: players.filter(player => player.duration > 0.1).length,
    overflow: document.documentElement.scrollWidth > innerWidth + 1,
  });
});
</script></body>"""
_BROWSER_OPTIONS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-sync",
    "--disable-component-update",
    "--virtual-time-budget=20000",
    "--window-size=1000,2000",
]


@pytest.fixture(scope="module")
def chromium() -> str:
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("Chromium is not installed")
    return path


@pytest.mark.slow
def test_report_page_in_browser_shows_figures_and_players(chromium: str, tiny_run: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    text = (tiny_run / "report.html").read_text(encoding="utf-8")
    page.write_text(text.replace("</body>", _BROWSER_PROBE), encoding="utf-8")
    command = [chromium, *_BROWSER_OPTIONS, f"--user-data-dir={tmp_path}/profile", "--dump-dom", page.as_uri()]
    for _ in range(4):  # the browser's virtual time may end before a slow machine has decoded the recordings
        result = subprocess.run(command, capture_output=True, text=True, timeout=120)
        title = re.search(r"<title>probe (\{.*?\})</title>", result.stdout)
        assert title, result.stdout[:500] + result.stderr[-500:]
        probe = json.loads(title[1])
        if probe["players"] == probe["playable"]:
            break
    assert probe["images"] == probe["shown"] >= 5
    assert probe["players"] == probe["playable"] > 0
    assert not probe["overflow"]
