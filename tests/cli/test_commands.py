"""kanjo corpus, evaluate and export."""

from __future__ import annotations

import json
from pathlib import Path

from tests import corpora_fixtures
from tests.shell import run_kanjo


def test_corpus_list_and_info_describe_corpora() -> None:
    assert "ravdess" in run_kanjo("corpus", "list").stdout
    assert "PLoS ONE" in run_kanjo("corpus", "info", "ravdess").stdout


def test_corpus_check_of_an_incomplete_corpus_exits_with_1(tmp_path: Path) -> None:
    corpora_fixtures.make_nemo(tmp_path / "nemo")
    result = run_kanjo("corpus", "check", "nemo", tmp_path / "nemo")
    assert result.returncode == 1 and "DIFFERS" in result.stdout and "differs from its publication" in result.stderr
    result = run_kanjo("corpus", "check", "nemo", tmp_path / "nemo", "--format", "json", "--headers")
    assert json.loads(result.stdout)["ok"] is False


def test_corpus_manifest_writes_the_utterances(tmp_path: Path) -> None:
    corpora_fixtures.make_nemo(tmp_path / "nemo")
    result = run_kanjo("corpus", "manifest", "nemo", tmp_path / "nemo", "-o", tmp_path / "nemo.csv")
    assert result.returncode == 0 and "18 utterances written" in result.stderr
    assert len((tmp_path / "nemo.csv").read_text().splitlines()) == 19


def test_corpus_own_folder_maps_unknown_labels(tmp_path: Path) -> None:
    own = corpora_fixtures.make_emotion_folders(tmp_path / "own")
    assert run_kanjo("corpus", "check", "own", own).returncode == 0
    corpora_fixtures.write_clip(own / "grumpy" / "1.wav")
    assert "'grumpy'" in run_kanjo("corpus", "manifest", "own", own).stderr
    result = run_kanjo("corpus", "manifest", "own", own, "--label-map", "grumpy=anger")
    assert result.returncode == 0 and len(result.stdout.splitlines()) == 10


def test_evaluate_omits_training_speakers(tiny_run: Path, tiny_corpora: Path, tmp_path: Path) -> None:
    corpus = tiny_corpora / "ravdess"
    result = run_kanjo("evaluate", tiny_run, corpus, "--format", "json", "-o", tmp_path / "report")
    scores = json.loads(result.stdout)
    assert result.returncode == 0 and scores["n"] == 16
    assert "omitted: 48 utterances of speakers that the bundle was trained on" in result.stderr
    assert scores["uar"]["value"] == json.loads((tiny_run / "scores.json").read_text())["uar"]["value"]
    assert (tmp_path / "report" / "report.html").is_file()


def test_evaluate_includes_training_speakers_on_request(tiny_run: Path, tiny_corpora: Path) -> None:
    corpus = tiny_corpora / "ravdess"
    result = run_kanjo("evaluate", tiny_run, corpus, "--include-training-speakers", "--format", "json")
    assert json.loads(result.stdout)["n"] == 64


def test_evaluate_without_held_out_speakers_is_one_line(tiny_run: Path, tmp_path: Path) -> None:
    (tmp_path / "ravdess").mkdir()
    result = run_kanjo("evaluate", tiny_run, tmp_path / "ravdess")
    assert result.returncode == 1 and len(result.stderr.splitlines()) == 1


def test_export_copies_a_complete_bundle(tiny_run: Path, tmp_path: Path) -> None:
    result = run_kanjo("export", tiny_run, "-o", tmp_path / "copy", "--name", "copy", "--no-weights")
    assert result.returncode == 0
    names = sorted(path.name for path in (tmp_path / "copy").iterdir())
    assert names == ["README.md", "bundle.json", "model.onnx"]
    clip = corpora_fixtures.write_clip(tmp_path / "a.wav", seconds=0.6)
    assert run_kanjo("predict", clip, "-m", tmp_path / "copy").returncode == 0
    assert "exists already" in run_kanjo("export", tiny_run, "-o", tmp_path / "copy").stderr
