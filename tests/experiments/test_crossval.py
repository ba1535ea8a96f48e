"""Cross-validation, and comparison of recipes."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from kanjo.errors import KanjoError
from kanjo.experiments.crossval import pool_folds
from kanjo.experiments.pipeline import load_data
from kanjo.experiments.run_folder import RunFolder
from kanjo.train.config.loading import load_recipe
from tests.conftest import TINY_RECIPE
from tests.experiments.conftest import RecordingReporter
from tests.shell import run_kanjo

COMPARED_SCORES = ("uar", "accuracy", "macro_f1", "confusion_matrix")
TWO_FOLDS = ("--set", "training.epochs=1", "--set", "split.n_folds=2", "-s")


def test_pool_folds_scores_finished_folds_and_names_missing_ones(
    tiny_run: Path, tiny_recipe: Path, tiny_corpora: Path, tmp_path: Path, reporter: RecordingReporter
) -> None:
    folder = RunFolder(tmp_path)
    shutil.copytree(tiny_run, folder.fold(1).path)
    result = pool_folds(folder, load_data(load_recipe(str(tiny_recipe)), str(tiny_corpora), reporter))
    assert result.missing_folds == (2, 3, 4) and "1 of 4 folds pooled" in result.protocol
    pooled, fold = (json.loads(run.scores.read_text()) for run in (folder, folder.fold(1)))
    assert [pooled[name] for name in COMPARED_SCORES] == [fold[name] for name in COMPARED_SCORES]
    assert folder.report.is_file()
    assert sum(sentence.startswith("every fold: ") for sentence in pooled["leakage"]) >= 2


def test_pool_folds_without_a_finished_fold_is_refused(
    tiny_recipe: Path, tiny_corpora: Path, tmp_path: Path, reporter: RecordingReporter
) -> None:
    data = load_data(load_recipe(str(tiny_recipe)), str(tiny_corpora), reporter)
    with pytest.raises(KanjoError, match=r"no fold was finished; see .*fold-\*/log.txt"):
        pool_folds(RunFolder(tmp_path), data)


@pytest.mark.slow
def test_crossval_pools_all_folds(tiny_recipe: Path, tiny_corpora: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cv"
    arguments = ["crossval", tiny_recipe, "--corpus-root", tiny_corpora, "-o", folder, *TWO_FOLDS]
    result = run_kanjo(*arguments)
    assert result.returncode == 0, result.stderr
    assert "2 of 2 folds pooled" in result.stdout and "(64 utterances)" in result.stdout
    pooled = json.loads((folder / "scores.json").read_text())
    folds = [json.loads((folder / f"fold-{n}" / "scores.json").read_text()) for n in (1, 2)]
    assert pooled["n"] == 64
    pairs = zip(folds[0]["confusion_matrix"], folds[1]["confusion_matrix"], strict=True)
    assert pooled["confusion_matrix"] == [[a + b for a, b in zip(*rows, strict=True)] for rows in pairs]
    assert (folder / "report.html").is_file()
    shutil.rmtree(folder / "fold-2")
    resumed = run_kanjo(*arguments, "--resume")
    assert resumed.returncode == 0 and "(64 utterances)" in resumed.stdout


@pytest.mark.slow
def test_crossval_with_a_failed_fold_reports_the_others(tiny_recipe: Path, tiny_corpora: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cv"
    folder.mkdir()
    (folder / "fold-2").write_text("a file in place of the run folder")
    arguments = ("--corpus-root", tiny_corpora, "-o", folder, "--resume", *TWO_FOLDS)
    result = run_kanjo("crossval", tiny_recipe, *arguments)
    assert result.returncode == 1
    assert "fold 2 failed" in result.stderr and "missing folds: 2" in result.stderr
    assert "1 of 2 folds pooled" in result.stdout


@pytest.mark.slow
def test_compare_trains_recipes_and_tests_their_difference(tiny_corpora: Path, tmp_path: Path) -> None:
    short = TINY_RECIPE.replace("epochs: 25", "epochs: 2")
    for name, channels in (("small", "[4, 4, 8, 8]"), ("large", "[8, 8, 16, 16]")):
        text = short.replace("name: tiny", f"name: {name}").replace("[8, 8, 16, 16]", channels)
        (tmp_path / f"{name}.yaml").write_text(text)
    recipes = (tmp_path / "small.yaml", tmp_path / "large.yaml")
    arguments = ("compare", *recipes, "--corpus-root", tiny_corpora, "-o", tmp_path / "c")
    result = run_kanjo(*arguments)
    assert result.returncode == 0, result.stderr
    assert "small-fold-1" in result.stdout and "large-fold-1" in result.stdout
    assert re.search(r"(are not significantly different|is better than)", result.stdout)
    page = (tmp_path / "c" / "comparison.html").read_text()
    assert "small-fold-1" in page and "large-fold-1" in page
    resumed = run_kanjo(*arguments, "--resume")
    assert resumed.returncode == 0 and resumed.stdout == result.stdout and "epoch" not in resumed.stderr


def test_compare_two_recipes_of_one_name_is_refused(tiny_recipe: Path, tiny_corpora: Path) -> None:
    result = run_kanjo("compare", tiny_recipe, tiny_recipe, "--corpus-root", tiny_corpora)
    assert result.returncode == 1 and "two recipes have the same name and fold" in result.stderr
