"""Comparison of runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from kanjo.errors import CorpusError
from kanjo.evaluation import compare
from kanjo.evaluation.predictions_file import write_predictions
from tests.evaluation.utterances import LABELS, make_utterances
from tests.shell import run_kanjo


def make_run(folder: Path, accuracy: float, seed: int, n_speakers: int = 8) -> compare.EvaluatedRun:
    utterances = make_utterances(240, accuracy, seed, n_speakers=n_speakers)
    write_predictions(folder / "predictions.csv", LABELS, utterances)
    return read_run(folder)


def read_run(folder: Path) -> compare.EvaluatedRun:
    return compare.read_run(folder, folder / "predictions.csv", folder / "metrics.csv")


def test_compare_pairs_finds_only_real_differences_significant(tmp_path: Path) -> None:
    good, bad = make_run(tmp_path / "good", 0.8, 1), make_run(tmp_path / "bad", 0.5, 2)
    (difference,) = compare.compare_pairs([bad, good])
    assert (difference.better, difference.other, difference.unit) == ("good", "bad", "speakers")
    uar = difference.difference.uar
    assert uar.low is not None and uar.high is not None
    assert difference.is_significant and 0.2 < uar.value < 0.4 and uar.low < uar.value < uar.high
    assert difference.describe().startswith("good is better than bad: +")
    (small,) = compare.compare_pairs([good, make_run(tmp_path / "twin", 0.8, 3)])
    assert not small.is_significant and "are not significantly different" in small.describe()


def test_compare_pairs_with_one_speaker_resamples_utterances(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / name, accuracy, 1, n_speakers=1) for name, accuracy in (("a", 0.9), ("b", 0.4))]
    (difference,) = compare.compare_pairs(runs)
    assert difference.unit == "utterances" and difference.is_significant


def test_report_command_with_different_test_sets_compares_nothing(tmp_path: Path) -> None:
    for name in ("x", "y"):
        make_run(tmp_path / name / "run", 0.8, 1)
    predictions = tmp_path / "y" / "run" / "predictions.csv"
    predictions.write_text(predictions.read_text().replace("\nc,0.wav", "\nc,other.wav"))
    result = run_kanjo("report", tmp_path / "x" / "run", tmp_path / "y" / "run", "-o", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    assert "x/run" in result.stdout and "y/run" in result.stdout and "same utterances" in result.stdout
    page = (tmp_path / "out" / "comparison.html").read_text(encoding="utf-8")
    assert "No two runs were tested on the same utterances." in page
    assert (tmp_path / "out" / "comparison.svg").is_file()


def test_report_command_writes_the_differences(tmp_path: Path) -> None:
    make_run(tmp_path / "good", 0.8, 1)
    make_run(tmp_path / "bad", 0.5, 2)
    result = run_kanjo("report", tmp_path / "good", tmp_path / "bad", "-o", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    assert "good is better than bad: +" in result.stdout
    page = (tmp_path / "out" / "comparison.html").read_text(encoding="utf-8")
    assert '<li class="significant">good is better than bad: +' in page
    assert page.startswith("<!doctype html>") and 'src="data:image/png;base64,' in page


def test_report_command_on_other_folder_prints_one_line(tmp_path: Path) -> None:
    result = run_kanjo("report", tmp_path)
    assert result.returncode == 1 and "can't read" in result.stderr and len(result.stderr.splitlines()) == 1


def test_read_run_without_predictions_is_refused(tmp_path: Path) -> None:
    (tmp_path / "predictions.csv").write_text("corpus,file,speaker,sex,emotion,predicted,anger\n")
    with pytest.raises(CorpusError, match="no predictions"):
        read_run(tmp_path)
