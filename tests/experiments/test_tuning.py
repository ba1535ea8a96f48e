"""Hyper-parameter search with Optuna, and trainings on a tiny corpus."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from kanjo.errors import RecipeError
from kanjo.experiments.tuning import check_search_space
from kanjo.train.config.loading import load_recipe, override_values
from tests.conftest import TINY_RECIPE, read_table
from tests.shell import run_kanjo

SPACE = """
tune:
  trials: 3
  epochs: 3
  min_epochs: 1
  space:
    training.learning_rate: {low: 1.0e-3, high: 1.0e-2, log: true}
    training.batch_size: {low: 8, high: 16, step: 8}
    model.channels: {choices: [[8, 8, 16, 16], [4, 4, 8, 8]]}
"""


@pytest.fixture(scope="module")
def tuned_recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    path.write_text(TINY_RECIPE + SPACE, encoding="utf-8")
    return path


def _arguments(recipe: Path, corpora: Path, folder: Path, *options: object) -> list[str]:
    return ["tune", str(recipe), "--corpus-root", str(corpora), "-o", str(folder), *map(str, options)]


def _tune(recipe: Path, corpora: Path, folder: Path, *options: object) -> subprocess.CompletedProcess[str]:
    return run_kanjo(*_arguments(recipe, corpora, folder, *options))


@pytest.fixture(scope="module")
def study(tuned_recipe: Path, tiny_corpora: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("studies") / "study"
    result = _tune(tuned_recipe, tiny_corpora, folder)
    assert result.returncode == 0, result.stderr
    return folder, result.stdout


def test_tune_writes_a_recipe_with_the_best_values(study: tuple[Path, str]) -> None:
    folder, out = study
    assert out.startswith("3 trials: ") and "best: trial" in out and "training.learning_rate: 0.00" in out
    rows = read_table(folder / "trials.csv")
    assert len(rows) == 3 and {row["state"] for row in rows} <= {"done", "pruned"}
    best = load_recipe(str(folder / "best.yaml"))
    assert best.name == "tiny-tuned" and best.tune is None
    assert best.training.epochs == 25  # not those of a trial
    chosen = max((row for row in rows if row["state"] == "done"), key=lambda row: float(row["validation_uar"]))
    assert best.training.learning_rate == pytest.approx(float(chosen["training.learning_rate"]))
    assert list(best.model.channels) in ([8, 8, 16, 16], [4, 4, 8, 8])  # type: ignore[union-attr]
    for name in ("history", "parallel"):
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert not list(folder.glob("trials/*/checkpoints"))


def test_tune_resumes_only_with_resume(study: tuple[Path, str], tuned_recipe: Path, tiny_corpora: Path) -> None:
    folder, _ = study
    refused = _tune(tuned_recipe, tiny_corpora, folder)
    assert refused.returncode == 1 and "is not empty; continue this run with --resume" in refused.stderr
    again = _tune(tuned_recipe, tiny_corpora, folder, "--resume", "--trials", 4)
    assert again.returncode == 0 and again.stdout.startswith("4 trials") and again.stderr.count("trial 3: ") == 1
    assert "trial 0" not in again.stderr


@pytest.mark.slow
def test_tune_in_two_processes_shares_the_study(tuned_recipe: Path, tiny_corpora: Path, tmp_path: Path) -> None:
    result = _tune(
        tuned_recipe,
        tiny_corpora,
        tmp_path / "s",
        "--jobs",
        2,
        "--trials",
        4,
        "--storage",
        f"sqlite:///{tmp_path}/s.db",
    )
    assert result.returncode == 0, result.stderr
    rows = read_table(tmp_path / "s" / "trials.csv")
    assert 4 <= len(rows) <= 5  # both may start their last trial at the same time
    assert sorted(int(row["trial"]) for row in rows) == list(range(len(rows)))


@pytest.mark.slow
def test_tune_repeats_the_values_of_a_killed_trial(tuned_recipe: Path, tiny_corpora: Path, tmp_path: Path) -> None:
    folder = tmp_path / "s"
    longer = ("--set", "tune.epochs=40", "--set", "tune.min_epochs=40", "--trials", 2)
    process = subprocess.Popen(
        [sys.executable, "-m", "kanjo", *_arguments(tuned_recipe, tiny_corpora, folder, *longer)],
        stderr=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + 120
    while not list(folder.glob("trials/0000/metrics.csv")) and time.monotonic() < until:
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    result = _tune(tuned_recipe, tiny_corpora, folder, "--resume", *longer)
    assert result.returncode == 0, result.stderr
    rows = read_table(folder / "trials.csv")
    states = Counter(row["state"] for row in rows)
    assert states["failed"] == 1 and states["done"] + states["pruned"] == 2 and not states["running"]
    lost = next(row for row in rows if row["state"] == "failed")
    again = [row for row in rows if row["training.learning_rate"] == lost["training.learning_rate"]]
    assert len(again) == 2  # the same values, trained to the end


@pytest.mark.slow
def test_tune_prunes_poor_trials(tuned_recipe: Path, tiny_corpora: Path, tmp_path: Path) -> None:
    space = "{training.learning_rate: {choices: [1.0e-9, 3.0e-3]}}"
    rungs = ("--set", "tune.epochs=24", "--set", "tune.min_epochs=12", "--set", "tune.reduction=2")
    result = _tune(tuned_recipe, tiny_corpora, tmp_path / "s", "--set", f"tune.space={space}", *rungs, "--trials", 9)
    assert result.returncode == 0, result.stderr
    rows = read_table(tmp_path / "s" / "trials.csv")
    pruned = [row for row in rows if row["state"] == "pruned"]
    assert pruned and all(int(row["epochs"]) < 24 for row in pruned)
    assert load_recipe(str(tmp_path / "s" / "best.yaml")).training.learning_rate == 3e-3
    assert "importance: training.learning_rate 100 %" in result.stdout


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (
            "{training.learning_rat: {low: 1, high: 2}}",
            "training.learning_rat: 1 is not a valid value: .*did you mean 'learning_rate'",
        ),
        ("{training.learning_rate: {low: 2, high: 1}}", "low is 2 and high is 1; expected low below high"),
        ("{training.learning_rate: {low: 0, high: 1, log: true}}", "log: true needs a low above 0"),
        ("{training.batch_size: {choices: [8]}}", "at least 2 items"),
        ("{training.batch_size: {choices: [8, many]}}", "'many' is not a valid value"),
        (
            "{training.batch_size: {low: 0, high: 8}}",
            "training.batch_size: 0 is not a valid value: .*greater than 0",
        ),
        ("{corpora: {choices: [a, b]}}", "corpora can't be tuned; expected a key that starts with training"),
        ("{training.epochs: {low: 1, high: 9}}", "training.epochs can't be tuned"),
        ("{}", "at least 1 item"),
    ],
)
def test_invalid_search_space_is_one_line(tuned_recipe: Path, space: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        check_search_space(load_recipe(str(tuned_recipe), [f"tune.space={space}"]))
    assert len(str(caught.value).splitlines()) == 1


def test_recipe_without_search_space_is_refused() -> None:
    with pytest.raises(RecipeError, match="cnn-lstm-2d-long has no section 'tune'"):
        check_search_space(load_recipe("cnn-lstm-2d-long"))
    for name in ("cnn-lstm-2d", "cnn-lstm-1d"):
        assert check_search_space(load_recipe(name)).trials == 30
    with pytest.raises(RecipeError, match="unknown key 'training.lr'"):
        override_values(load_recipe("cnn-lstm-2d"), {"training.lr": 1})


def test_values_that_cannot_be_combined_fail_one_trial(tuned_recipe: Path, tiny_corpora: Path, tmp_path: Path) -> None:
    """Both pools are valid, but one leaves the LSTM no time step."""
    pools = "{model.pools: {choices: [[[2,2],[2,2],[4,2],[2,2]], [[2,9],[2,9],[4,9],[2,9]]]}}"
    result = _tune(
        tuned_recipe,
        tiny_corpora,
        tmp_path / "s",
        "--set",
        f"tune.space={pools}",
        "--set",
        "tune.seed=1",
        "--trials",
        6,
    )
    assert result.returncode == 0, result.stderr
    rows = read_table(tmp_path / "s" / "trials.csv")
    failed = [row for row in rows if row["state"] == "failed"]
    assert failed and all("time steps" in row["error"] for row in failed)
    only = "{model.pools: {choices: [[[2,8],[2,9],[4,9],[2,9]], [[2,9],[2,9],[4,9],[2,9]]]}}"
    none = _tune(tuned_recipe, tiny_corpora, tmp_path / "n", "--set", f"tune.space={only}", "--trials", 2)
    assert none.returncode == 1 and "the search has no result after 2 trials" in none.stderr.splitlines()[-1]


def test_lost_or_damaged_study_is_one_line(tuned_recipe: Path, tiny_corpora: Path, tmp_path: Path) -> None:
    lost = _tune(tuned_recipe, tiny_corpora, tmp_path / "a", "--storage", f"sqlite:////{tmp_path}/no/such/folder.db")
    assert (
        lost.returncode == 1 and "can't be reached" in lost.stderr.splitlines()[-1] and "Traceback" not in lost.stderr
    )
    folder = tmp_path / "b"
    folder.mkdir()
    (folder / "study.journal").write_text("not a journal\n")
    damaged = _tune(tuned_recipe, tiny_corpora, folder, "--resume")
    assert damaged.returncode == 1 and "can't be read or written" in damaged.stderr.splitlines()[-1]
    assert "Traceback" not in damaged.stderr


def test_tune_by_accuracy_scores_trials_by_it(tuned_recipe: Path, tiny_corpora: Path, tmp_path: Path) -> None:
    result = _tune(tuned_recipe, tiny_corpora, tmp_path / "study", "--set", "tune.metric=accuracy")
    assert result.returncode == 0 and ", validation accuracy " in result.stdout, result.stderr
    for row in read_table(tmp_path / "study" / "trials.csv"):
        metrics = read_table(tmp_path / "study" / "trials" / f"{int(row['trial']):04d}" / "metrics.csv")
        accuracies = {f"{float(epoch['validation_accuracy']):.4f}" for epoch in metrics}
        assert f"{float(row['validation_accuracy']):.4f}" in accuracies
