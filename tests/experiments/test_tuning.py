"""Hyper-parameters by search: real Optuna, real training on a tiny corpus."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from kanjo.errors import RecipeError
from kanjo.train.config.loading import changed, load_recipe
from kanjo.train.tuning import check_space
from tests.conftest import TINY_RECIPE, table
from tests.shell import typed

SPACE = """
tune:
  trials: 3
  epochs: 3
  min_epochs: 1
  space:
    training.learning_rate: {low: 1.0e-3, high: 1.0e-2, log: true}
    training.batch_size: {low: 8, high: 16, step: 8}
    network.filters: {choices: [[8, 8, 16, 16], [4, 4, 8, 8]]}
"""


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    path.write_text(TINY_RECIPE + SPACE, encoding="utf-8")
    return path


def _words(recipe: Path, corpora: Path, folder: Path, *more: object) -> list[str]:
    return ["tune", str(recipe), "--corpus-root", str(corpora), "-o", str(folder), *map(str, more)]


def _tune(recipe: Path, corpora: Path, folder: Path, *more: object) -> subprocess.CompletedProcess[str]:
    return typed(*_words(recipe, corpora, folder, *more))


@pytest.fixture(scope="module")
def study(searched: Path, tiny_corpora: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("studies") / "study"
    done = _tune(searched, tiny_corpora, folder)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def test_a_search_writes_a_recipe_that_trains(study: tuple[Path, str]) -> None:
    folder, out = study
    assert out.startswith("3 trials: ") and "best: trial" in out and "training.learning_rate: 0.00" in out
    rows = table(folder / "trials.csv")
    assert len(rows) == 3 and {row["state"] for row in rows} <= {"done", "cut"}
    best = load_recipe(str(folder / "best.yaml"))
    assert best.name == "tiny-tuned" and best.tune is None
    assert best.training.epochs == 25  # the recipe's own, not a trial's
    chosen = max((row for row in rows if row["state"] == "done"), key=lambda row: float(row["validation_uar"]))
    assert best.training.learning_rate == pytest.approx(float(chosen["training.learning_rate"]))
    assert list(best.network.filters) in ([8, 8, 16, 16], [4, 4, 8, 8])  # type: ignore[union-attr]
    for name in ("history", "parallel"):
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert not list(folder.glob("trials/*/checkpoints"))


def test_a_search_goes_on_and_does_not_begin_by_mistake(
    study: tuple[Path, str], searched: Path, tiny_corpora: Path
) -> None:
    folder, _ = study
    refused = _tune(searched, tiny_corpora, folder)
    assert refused.returncode == 1 and "is not empty; go on with it by --resume" in refused.stderr
    again = _tune(searched, tiny_corpora, folder, "--resume", "--trials", 4)
    assert again.returncode == 0 and again.stdout.startswith("4 trials") and again.stderr.count("trial 3: ") == 1
    assert "trial 0" not in again.stderr


def test_two_processes_share_a_study(searched: Path, tiny_corpora: Path, tmp_path: Path) -> None:
    done = _tune(
        searched, tiny_corpora, tmp_path / "s", "--jobs", 2, "--trials", 4, "--storage", f"sqlite:///{tmp_path}/s.db"
    )
    assert done.returncode == 0, done.stderr
    rows = table(tmp_path / "s" / "trials.csv")
    assert 4 <= len(rows) <= 5  # two may begin their last at once
    assert sorted(int(row["trial"]) for row in rows) == list(range(len(rows)))


def test_a_killed_trial_is_tried_again(searched: Path, tiny_corpora: Path, tmp_path: Path) -> None:
    folder = tmp_path / "s"
    longer = ("--set", "tune.epochs=40", "--set", "tune.min_epochs=40", "--trials", 2)
    process = subprocess.Popen(
        [sys.executable, "-m", "kanjo", *_words(searched, tiny_corpora, folder, *longer)],
        stderr=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + 120
    while not list(folder.glob("trials/0000/metrics.csv")) and time.monotonic() < until:
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    done = _tune(searched, tiny_corpora, folder, "--resume", *longer)
    assert done.returncode == 0, done.stderr
    rows = table(folder / "trials.csv")
    states = Counter(row["state"] for row in rows)
    assert states["failed"] == 1 and states["done"] + states["cut"] == 2 and not states["running"]
    lost = next(row for row in rows if row["state"] == "failed")
    again = [row for row in rows if row["training.learning_rate"] == lost["training.learning_rate"]]
    assert len(again) == 2  # the same values, to their end


def test_poor_trials_are_cut(searched: Path, tiny_corpora: Path, tmp_path: Path) -> None:
    space = "{training.learning_rate: {choices: [1.0e-9, 3.0e-3]}}"
    rungs = ("--set", "tune.epochs=24", "--set", "tune.min_epochs=12", "--set", "tune.reduction=2")
    done = _tune(searched, tiny_corpora, tmp_path / "s", "--set", f"tune.space={space}", *rungs, "--trials", 9)
    assert done.returncode == 0, done.stderr
    rows = table(tmp_path / "s" / "trials.csv")
    cut = [row for row in rows if row["state"] == "cut"]
    assert cut and all(int(row["epochs"]) < 24 for row in cut)
    assert load_recipe(str(tmp_path / "s" / "best.yaml")).training.learning_rate == 3e-3
    assert "what mattered: training.learning_rate 100 %" in done.stdout


@pytest.mark.parametrize(
    ("space", "said"),
    [
        (
            "{training.learning_rat: {low: 1, high: 2}}",
            "training.learning_rat: 1 makes no recipe: .*did you mean 'learning_rate'",
        ),
        ("{training.learning_rate: {low: 2, high: 1}}", "low 2 is not below high 1"),
        ("{training.learning_rate: {low: 0, high: 1, log: true}}", "a log range starts above 0"),
        ("{training.batch_size: {choices: [8]}}", "at least 2 items"),
        ("{training.batch_size: {choices: [8, many]}}", "'many' makes no recipe"),
        (
            "{training.batch_size: {low: 0, high: 8}}",
            "training.batch_size: 0 makes no recipe: .*greater than or equal to 1",
        ),
        ("{corpora: {choices: [a, b]}}", "corpora can't be searched; what can: training"),
        ("{training.epochs: {low: 1, high: 9}}", "training.epochs can't be searched"),
        ("{}", "at least 1 item"),
    ],
)
def test_bad_search_spaces_are_one_line(searched: Path, space: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said) as caught:
        check_space(load_recipe(str(searched), [f"tune.space={space}"]))
    assert len(str(caught.value).splitlines()) == 1


def test_recipes_that_can_not_be_tuned() -> None:
    with pytest.raises(RecipeError, match="cnn-lstm-2d-long says nothing of what to search"):
        check_space(load_recipe("cnn-lstm-2d-long"))
    for name in ("cnn-lstm-2d", "cnn-lstm-1d"):
        assert check_space(load_recipe(name)).trials == 30
    with pytest.raises(RecipeError, match="unknown key 'training.lr'"):
        changed(load_recipe("cnn-lstm-2d"), {"training.lr": 1})


def test_values_that_do_not_go_together_fail_alone(searched: Path, tiny_corpora: Path, tmp_path: Path) -> None:
    """Each is a pool that the schema takes; only one leaves the network a time step."""
    pools = "{network.pools: {choices: [[[2,2],[2,2],[4,2],[2,2]], [[2,9],[2,9],[4,9],[2,9]]]}}"
    done = _tune(
        searched, tiny_corpora, tmp_path / "s", "--set", f"tune.space={pools}", "--set", "tune.seed=1", "--trials", 6
    )
    assert done.returncode == 0, done.stderr
    rows = table(tmp_path / "s" / "trials.csv")
    failed = [row for row in rows if row["state"] == "failed"]
    assert failed and all("time steps" in row["said"] for row in failed)
    only = "{network.pools: {choices: [[[2,8],[2,9],[4,9],[2,9]], [[2,9],[2,9],[4,9],[2,9]]]}}"
    none = _tune(searched, tiny_corpora, tmp_path / "n", "--set", f"tune.space={only}", "--trials", 2)
    assert (
        none.returncode == 1 and "nothing found in 2 trials: network cnn-lstm-2d: pools" in none.stderr.splitlines()[-1]
    )


def test_a_lost_or_damaged_study_is_one_line(searched: Path, tiny_corpora: Path, tmp_path: Path) -> None:
    lost = _tune(searched, tiny_corpora, tmp_path / "a", "--storage", f"sqlite:////{tmp_path}/no/such/folder.db")
    assert (
        lost.returncode == 1 and "can't be reached" in lost.stderr.splitlines()[-1] and "Traceback" not in lost.stderr
    )
    folder = tmp_path / "b"
    folder.mkdir()
    (folder / "study.journal").write_text("not a journal\n")
    damaged = _tune(searched, tiny_corpora, folder, "--resume")
    assert damaged.returncode == 1 and "can't be read or written" in damaged.stderr.splitlines()[-1]
    assert "Traceback" not in damaged.stderr
