"""``kanjo benchmark``."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from kanjo.evaluation.predictions_file import read_predictions
from tests.corpora_fixtures import write_clip
from tests.shell import run_kanjo


@pytest.fixture(scope="module")
def corpora_root(tiny_corpora: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny RAVDESS, a folder of nEMO without files, and own recordings of one speaker."""
    root = tmp_path_factory.mktemp("benchmark")
    (root / "ravdess").symlink_to(tiny_corpora / "ravdess")
    (root / "nemo").mkdir()
    for n, emotion in enumerate(("angry", "calm", "angry", "calm")):
        write_clip(root / "mine" / "ana" / emotion / f"{n}.wav", n, seconds=0.5)
    return root


def test_benchmark_prints_a_table_and_names_what_was_left_out(tiny_run: Path, corpora_root: Path) -> None:
    result = run_kanjo("benchmark", tiny_run, "--corpus-root", corpora_root)
    head, ravdess, nemo = result.stdout.splitlines()
    assert result.returncode == 1  # nEMO can't be read
    assert head.split()[:5] == ["corpus", "speakers", "utterances", "classes", "chance"]
    assert ravdess.split()[:5] == ["ravdess", "2", "16", "8", "12.5"] and ravdess.endswith(
        "-        -        -        -"
    )
    assert nemo.startswith("nemo") and "data.tsv" in nemo
    assert "ravdess: omitted 48 utterances of speakers that the bundle was trained on" in result.stderr
    assert "does not support speaker profiles" in result.stderr
    assert result.stderr.splitlines()[-1] == "kanjo: 1 of 2 corpora were not scored: nemo"


def test_benchmark_prints_adapted_scores_and_conditions(tiny_run: Path, corpora_root: Path, tmp_path: Path) -> None:
    arguments = ("benchmark", tiny_run, "--corpus-root", corpora_root, "--corpora", "mine", "--adapt", "--robustness")
    result = run_kanjo(*arguments, "-o", tmp_path)
    head, mine, _, conditions_head, *conditions = result.stdout.splitlines()
    assert head.split()[-1] == "adapted" and mine.split()[-1] == "-"
    assert conditions_head.split() == ["UAR", "under", "conditions", "mine"]
    assert len(conditions) == 11 and all("%" in line or line.split()[-1][0].isdigit() for line in conditions)
    assert "mine: not adapted: " in result.stderr
    (stored,) = json.loads((tmp_path / "benchmark.json").read_text())["corpora"]
    assert len(stored["conditions"]) == 11 and stored["adapted"] is None


@pytest.mark.parametrize("width", [40, 60, 80])
def test_benchmark_on_a_narrow_terminal_leaves_columns_out(tiny_run: Path, corpora_root: Path, width: int) -> None:
    result = run_kanjo("benchmark", tiny_run, "--corpus-root", corpora_root, COLUMNS=str(width))
    head, ravdess, *nemo = result.stdout.splitlines()
    assert max(len(head), len(ravdess)) <= width and "UAR" in head.split() and nemo[0].startswith("nemo")
    assert "the terminal is too narrow for: " in result.stderr and "--format csv" in result.stderr


def test_benchmark_csv_and_json_have_the_same_scores(tiny_run: Path, corpora_root: Path, tmp_path: Path) -> None:
    arguments = ("benchmark", tiny_run, "--corpus-root", corpora_root, "--corpora", "ravdess, mine", "-o", tmp_path)
    result = run_kanjo(*arguments, "--format", "csv")
    assert result.returncode == 0, result.stderr
    rows = {row["corpus"]: row for row in csv.DictReader(io.StringIO(result.stdout))}
    content = json.loads(run_kanjo(*arguments, "--format", "json").stdout)
    by_corpus = {corpus["corpus"]: corpus for corpus in content["corpora"]}
    assert list(rows) == list(by_corpus) == ["ravdess", "mine"]
    for name, row in rows.items():
        assert float(row["uar"]) == pytest.approx(by_corpus[name]["among_corpus_labels"]["uar"]["value"], abs=1e-5)
        uar = by_corpus[name]["among_bundle_labels"]["uar"]["value"]
        assert float(row["uar_all_labels"]) == pytest.approx(uar, abs=1e-5)
        assert row["uar_low"] == row["uar_enrolled_1"] == row["error"] == ""
    assert rows["mine"]["classes"] == "2" and rows["mine"]["chance"] == "0.5" and rows["mine"]["speakers"] == "1"
    stored = json.loads((tmp_path / "benchmark.json").read_text())
    assert [corpus["utterances"] for corpus in stored["corpora"]] == [16, 4]
    labels, utterances = read_predictions(tmp_path / "mine" / "predictions.csv")
    assert labels == ("anger", "calm") and len(utterances) == 4


def test_benchmark_predictions_can_be_compared_by_report(tiny_run: Path, corpora_root: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        arguments = ("--corpus-root", corpora_root, "--corpora", "mine", "-o", tmp_path / name)
        assert run_kanjo("benchmark", tiny_run, *arguments).returncode == 0
    result = run_kanjo("report", tmp_path / "a" / "mine", tmp_path / "b" / "mine", "-o", tmp_path / "comparison")
    assert result.returncode == 0 and "not significantly different" in result.stdout


def test_benchmark_table_of_the_default_bundle_has_enrollment(corpora_root: Path) -> None:
    result = run_kanjo("benchmark", "default", "--corpus-root", corpora_root, "--corpora", "mine")
    head, mine = result.stdout.splitlines()
    assert result.returncode == 0 and head.endswith("1 clip  2 clips  5 clips 10 clips")
    one, two, five, ten = mine.split()[-4:]
    assert 0 <= float(one) <= 100 and 0 <= float(two) <= 100 and five == ten == "-"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give --corpus-root, or set KANJO_CORPORA"),
        (["--corpus-root", "nowhere"], "nowhere: no such folder"),
        (["--corpus-root", "."], "no corpora found"),
        (["--corpus-root", ".", "--corpora", "ravdes"], "did you mean ravdess"),
        (["--corpus-root", ".", "--corpora", "nemo", "-o", "file"], "can't write"),
    ],
)
def test_benchmark_without_corpora_fails_in_one_line(arguments: list[str], message: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = run_kanjo("benchmark", "default", *arguments, cwd=tmp_path)
    assert result.returncode == 1 and result.stdout == ""
    assert message in result.stderr and len(result.stderr.splitlines()) == 1


def test_benchmark_with_unknown_format_is_a_usage_error(tmp_path: Path) -> None:
    assert run_kanjo("benchmark", "default", "--corpus-root", tmp_path, "--format", "xml").returncode == 2
