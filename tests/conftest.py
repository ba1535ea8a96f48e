"""Fixtures of several packages: the real corpora, tiny corpora, a recipe and a trained run."""

from __future__ import annotations

import csv
import os
import signal
import sys
from pathlib import Path

import pytest

from tests import corpora_fixtures
from tests.shell import run_kanjo

HERE = Path(__file__).parent
_SHARED = HERE.parent.parent / "shared"
#: Removed from the environment of the tests, so that commands without --corpus-root find no corpora.
_CORPORA = Path(os.environ.pop("KANJO_CORPORA", "") or _SHARED / "corpora")
#: Removed as well: they change what tables look like. The module readline, which pytest imports, sets COLUMNS for
#: subprocesses, but not in ``os.environ``.
for _name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"):
    os.environ.pop(_name, None)
    os.unsetenv(_name)
#: A shell starts background jobs with SIGINT ignored, which their subprocesses inherit; tests of Ctrl-C need it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="session")
def _separate_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the tests from reading or filling the user's cache."""
    os.environ["KANJO_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def corpora() -> Path:
    """The folder of the real corpora; skips the test if there is none."""
    if not (_CORPORA / "ravdess").is_dir():
        pytest.skip(f"real corpora are not at {_CORPORA}; set KANJO_CORPORA to run this test")
    return _CORPORA


@pytest.fixture(scope="session")
def ravdess_clips(corpora: Path) -> list[Path]:
    return sorted((corpora / "ravdess").glob("Actor_*/*.flac"))


@pytest.fixture(scope="session")
def folds_file() -> Path:
    path = _SHARED / "splits" / "emobox_test_folds.csv"
    if not path.is_file():
        pytest.skip(f"EmoBox's published folds are not at {path}")
    return path


TINY_RECIPE = """
name: tiny
corpora: [ravdess]
split: {protocol: speaker_kfold, n_folds: 4}
audio: {sample_rate: 16000, window_s: 1.0, hop_s: 0.5}
features: {n_fft: 512, hop_length: 160, n_mels: 40}
model:
  type: cnn-lstm-2d
  channels: [8, 8, 16, 16]
  pools: [[2, 2], [2, 2], [4, 2], [2, 2]]
  lstm_units: 16
training: {epochs: 25, batch_size: 8, learning_rate: 3.0e-3, early_stopping_patience: 25, precision: fp32}
"""


@pytest.fixture(scope="session")
def tiny_corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of corpora with a tiny RAVDESS: eight actors, clips of 0.5 s, one pitch per emotion."""
    root = tmp_path_factory.mktemp("corpora")
    corpora_fixtures.make_ravdess(root / "ravdess", actors=8, seconds=0.5)
    return root


@pytest.fixture(scope="session")
def tiny_recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    path.write_text(TINY_RECIPE, encoding="utf-8")
    return path


def read_table(path: Path) -> list[dict[str, str]]:
    """Read the rows of a CSV file."""
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def train_arguments(recipe: Path, corpora: Path, run: Path) -> list[str]:
    """The arguments of ``kanjo`` that train a recipe."""
    return ["train", str(recipe), "--corpus-root", str(corpora), "-o", str(run)]


def train_command(recipe: Path, corpora: Path, run: Path) -> list[str]:
    """The command line that trains a recipe in a subprocess."""
    return [sys.executable, "-m", "kanjo", *train_arguments(recipe, corpora, run)]


@pytest.fixture(scope="session")
def tiny_run(tiny_corpora: Path, tiny_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of the tiny recipe, trained, tested and exported."""
    run = tmp_path_factory.mktemp("runs") / "tiny"
    result = run_kanjo(*train_arguments(tiny_recipe, tiny_corpora, run))
    assert result.returncode == 0, result.stderr
    return run
