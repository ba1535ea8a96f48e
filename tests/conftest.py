"""Fixtures that several rooms share: where the real corpora are, a cache of one's own, a bundle."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

HERE = Path(__file__).parent
_SHARED = HERE.parent.parent / "shared"


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test reads or fills the user's cache."""
    os.environ["KANJO_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def corpora() -> Path:
    """The folder of real corpora, or a skip that says what is missing."""
    root = Path(os.environ.get("KANJO_CORPORA") or _SHARED / "corpora")
    if not (root / "ravdess").is_dir():
        pytest.skip(f"real corpora are not at {root}; set KANJO_CORPORA to run this test")
    return root


@pytest.fixture(scope="session")
def ravdess_clips(corpora: Path) -> list[Path]:
    return sorted((corpora / "ravdess").glob("Actor_*/*.flac"))


@pytest.fixture(scope="session")
def folds_file() -> Path:
    path = _SHARED / "splits" / "emobox_test_folds.csv"
    if not path.is_file():
        pytest.skip(f"EmoBox's published folds are not at {path}")
    return path
