"""Fixtures that several rooms share: where the real corpora are, a cache of one's own, a bundle."""

from __future__ import annotations

import csv
import os
import sys
from pathlib import Path

import pytest

from tests import corpora_fixtures
from tests.shell import typed

HERE = Path(__file__).parent
_SHARED = HERE.parent.parent / "shared"
#: Taken away from what the tests run: with it, a command that is given no corpora would find some.
_CORPORA = Path(os.environ.pop("KANJO_CORPORA", "") or _SHARED / "corpora")


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test reads or fills the user's cache."""
    os.environ["KANJO_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def corpora() -> Path:
    """The folder of real corpora, or a skip that says what is missing."""
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
split: {protocol: speakers-k, k: 4}
audio: {sample_rate: 16000, window_s: 1.0, hop_s: 0.5}
frontend: {n_fft: 512, hop_length: 160, n_mels: 40}
network:
  type: cnn-lstm-2d
  filters: [8, 8, 16, 16]
  pools: [[2, 2], [2, 2], [4, 2], [2, 2]]
  lstm_units: 16
training: {epochs: 25, batch_size: 8, learning_rate: 3.0e-3, patience: 25, precision: fp32}
"""


@pytest.fixture(scope="session")
def tiny_corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of corpora with a tiny RAVDESS of eight actors in it: half a second a clip, the pitch tells the emotion."""
    root = tmp_path_factory.mktemp("corpora")
    corpora_fixtures.ravdess(root / "ravdess", actors=8, seconds=0.5)
    return root


@pytest.fixture(scope="session")
def tiny_recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    path.write_text(TINY_RECIPE, encoding="utf-8")
    return path


def table(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def train_words(recipe: Path, corpora: Path, run: Path) -> list[str]:
    """What is typed after ``kanjo`` to train."""
    return ["train", str(recipe), "--corpus-root", str(corpora), "-o", str(run)]


def train_command(recipe: Path, corpora: Path, run: Path) -> list[str]:
    """``kanjo train`` as a process of its own."""
    return [sys.executable, "-m", "kanjo", *train_words(recipe, corpora, run)]


@pytest.fixture(scope="session")
def tiny_run(tiny_corpora: Path, tiny_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder: the tiny recipe trained, tested and exported by the command."""
    run = tmp_path_factory.mktemp("runs") / "tiny"
    done = typed(*train_words(tiny_recipe, tiny_corpora, run))
    assert done.returncode == 0, done.stderr
    return run
