"""docs/results.md is what benchmarks/accuracy/*.json say, and nothing else."""

from __future__ import annotations

import importlib.util
import json
import shlex
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def make() -> ModuleType:
    import sys

    spec = importlib.util.spec_from_file_location("make_results", ROOT / "benchmarks" / "accuracy" / "make.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_page_is_written_from_the_figures(make: ModuleType) -> None:
    assert make.page() == (ROOT / "docs" / "results.md").read_text(encoding="utf-8"), "make results ONLY=none"


def test_every_figure_belongs_to_an_experiment_that_can_be_run_again(make: ModuleType) -> None:
    from kanjo.train.config.loading import load_recipe

    names = {experiment.name for experiment in make.EXPERIMENTS}
    assert len(names) == len(make.EXPERIMENTS)
    assert {path.stem for path in (ROOT / "benchmarks" / "accuracy").glob("*.json")} <= names
    for experiment in make.EXPERIMENTS:
        words = shlex.split(experiment.words)
        assert experiment.part in make.PARTS
        overrides = [
            words[i + 1] for i, word in enumerate(words) if word == "--set" and not words[i + 1].startswith("init=")
        ]
        load_recipe(words[2] if words[0] == "baseline" else words[1], overrides)


def test_a_row_says_what_was_measured(make: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interval = {"value": 0.5, "low": 0.4, "high": 0.625}
    scores = {
        "uar": interval,
        "accuracy": interval,
        "macro_f1": {"value": 0.25, "low": None, "high": None},
        "ece": 0.0312,
    }
    content = {
        **scores,
        "n": 10,
        "parameters": 527_272,
        "megabytes": 2.61,
        "minutes": 12.3,
        "ms": 4.9,
        "enrolled": scores,
        "command": "kanjo x",
    }
    (tmp_path / "ravdess-mobilenet.json").write_text(json.dumps(content))
    (tmp_path / "effects.csv").write_text(
        "variant,uar,spread,seeds,difference,difference_spread,enrolled\nas it is,0.6,0.02,3,,,0.65\nno mixup,0.58,0.01,3,-0.02,0.005,\n"
    )
    monkeypatch.setattr(make, "HERE", tmp_path)
    page = make.page()
    assert (
        "| mobilenet | 50.0 [40.0, 62.5] | 50.0 [40.0, 62.5] | 25.0 | 0.031 | 0.53 M | 2.6 MB | 12 min | 5 ms |" in page
    )
    assert "| mobilenet, **speakers known** | 50.0 [40.0, 62.5] |" in page
    assert "| no mixup | 58.0 | 1.0 | -2.0 | 0.5 |  |" in page
    assert "nEMO (Polish)" not in page, "what has no figures has no table"
